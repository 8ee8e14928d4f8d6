import InferenceRuntime
import OnnxGraph
import Units

/// How much an error in each weight matters: the mean square of the activation that it is multiplied with.
///
/// For y = W x the expected squared error of y that an error e of W causes is the sum of e^2 E[x_i^2] as long as the inputs'
/// errors do not conspire; k-means with these weights is then least squares of the output, not of the weights.
enum Importance {
    /// One weight of an operation, and the activation's axis whose channels it has an axis for.
    private struct Link {
        let weight: String
        let activation: String
        /// From the end where negative.
        let activationAxis: Int
        /// Index of the activation's channel by position in the weight.
        let channel: (_ index: Int) -> Int
        let count: Int
    }

    /// Importance by weight, one value per weight, above 0; weights of other operations have none.
    /// - Throws: what running the model throws.
    static func measure(_ model: OnnxModel, _ entries: [Assignment.Entry], _ calibrator: Calibrator) throws(JouledError) -> [String: [Float]] {
        let index = GraphIndex(model.graph)
        var links: [Link] = []
        for entry in entries {
            guard let node = model.graph.node.first(where: { $0.label == entry.node }) else { continue }
            for weight in entry.weights {
                guard let at = index.initializer[weight], let position = node.input.firstIndex(of: weight) else { continue }
                if let link = link(node, position, model.graph.initializer[at]) { links.append(link) }
            }
        }
        var squares: [String: (axis: Int, sums: [Double], count: Int)] = [:]
        for link in links { squares[link.activation] = (link.activationAxis, [], 0) }
        try calibrator.watch(Array(squares.keys).sorted(), in: model) { _, name, value throws(JouledError) in
            guard let axis = squares[name]?.axis else { return }
            let view = ChannelView(shape: value.shape, axis: axis < 0 ? axis + value.shape.count : axis)
            let values = value.floats
            if squares[name]?.sums.isEmpty == true { squares[name]?.sums = [Double](repeating: 0, count: view.channels) }
            view.forEachRun { channel, start in
                var sum = 0.0
                for index in start..<start + view.inner { sum += Double(values[index]) * Double(values[index]) }
                squares[name]?.sums[channel] += sum
            }
            squares[name]?.count += view.channels > 0 ? values.count / view.channels : 0
        }
        var result: [String: [Float]] = [:]
        for link in links {
            guard let found = squares[link.activation], found.count > 0 else { continue }
            let means = found.sums.map { $0 / Double(found.count) }
            // A channel that was silent may speak later: it matters little, not nothing.
            let least = max((means.max() ?? 0) * 1e-4, 1e-30)
            let importance = (0..<link.count).map { Float(max(means[min(means.count - 1, link.channel($0))], least)) }
            result[link.weight] = result[link.weight].map { zip($0, importance).map { $0 + $1 } } ?? importance
        }
        return result
    }

    private static func link(_ node: Node, _ position: Int, _ tensor: Tensor) -> Link? {
        let shape = tensor.shape
        func link(_ activation: String, axis: Int, _ channel: @escaping (Int) -> Int) -> Link? {
            activation.isEmpty ? nil : Link(weight: tensor.name, activation: activation, activationAxis: axis, channel: channel, count: tensor.count)
        }
        switch node.opType {
        case "Conv" where shape.count >= 3:
            let (kernel, perGroup) = (shape[2...].reduce(1, *), shape[1])
            let outputsPerGroup = max(1, shape[0] / (node.integer("group") ?? 1))
            return link(node.input[0], axis: 1) { index in
                let output = index / (kernel * perGroup)
                return output / outputsPerGroup * perGroup + index / kernel % perGroup
            }
        case "MatMul" where position == 1 && shape.count == 2: return link(node.input[0], axis: -1) { $0 / shape[1] }
        case "Gemm" where position == 1 && (node.integer("transA") ?? 0) == 0:
            return (node.integer("transB") ?? 0) != 0 ? link(node.input[0], axis: -1) { $0 % shape[1] } : link(node.input[0], axis: -1) { $0 / shape[1] }
        case "LSTM" where position == 1 && shape.count == 3, "GRU" where position == 1 && shape.count == 3: return link(node.input[0], axis: -1) { $0 % shape[2] }
        // The recurrent weights are multiplied with what the layer gave one step before.
        case "LSTM" where position == 2 && shape.count == 3, "GRU" where position == 2 && shape.count == 3:
            return link(node.output.first { !$0.isEmpty } ?? "", axis: -1) { $0 % shape[2] }
        default: return nil
        }
    }
}
