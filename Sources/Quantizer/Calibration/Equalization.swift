import Glibc
import OnnxGraph
import Units

/// Cross-layer equalization (Nagel et al. 2019): the same network with ranges that suit one 8-bit scale per tensor.
///
/// Between a convolution and the next there is freedom: dividing channel i of what the first writes by s_i and multiplying
/// what the second reads by s_i changes nothing as long as all that lies between (ReLU, pooling) keeps a positive factor.
/// s_i = sqrt(activation peak / weight peak), rounded to powers of two so that the float network stays the same to the bit.
enum Equalization {
    struct Seam {
        let producer: Int
        let consumer: Int
        /// What the consumer reads: the tensor whose channels are evened out.
        let tensor: String
    }

    /// Selected convolutions with the convolution before them, selected or not, and only scale-preserving operations between.
    static func seams(_ graph: Graph, selected: Set<String>) -> [Seam] {
        let index = GraphIndex(graph)
        let shared = index.consumers
        func ownWeights(_ node: Node) -> Bool {
            node.opType == "Conv" && (node.integer("group") ?? 1) == 1 && node.input.count > 1
                && index.initializer[node.input[1]] != nil && shared[node.input[1]]?.count == 1
                && (node.input.count < 3 || (index.initializer[node.input[2]] != nil && shared[node.input[2]]?.count == 1))
        }
        var seams: [Seam] = []
        for (number, node) in graph.node.enumerated() where ownWeights(node) && selected.contains(node.label) {
            var tensor = node.input[0]
            while let source = index.producer[tensor], shared[tensor]?.count == 1, !index.outputs.contains(tensor) {
                let before = graph.node[source]
                if ["Relu", "LeakyRelu", "MaxPool", "AveragePool"].contains(before.opType) {
                    tensor = before.input[0]
                    continue
                }
                if ownWeights(before) { seams.append(Seam(producer: source, consumer: number, tensor: node.input[0])) }
                break
            }
        }
        return seams
    }

    /// - Parameter peaks: largest magnitude per channel of each seam's tensor.
    static func apply(_ graph: inout Graph, _ seams: [Seam], peaks: [String: [Float]]) throws(JouledError) {
        let index = GraphIndex(graph)
        for seam in seams {
            let (producer, consumer) = (graph.node[seam.producer], graph.node[seam.consumer])
            // Proof for `!`: seams() took only convolutions whose weights are initializers.
            let reads = index.initializer[consumer.input[1]]!
            let writes = index.initializer[producer.input[1]]!
            let view = ChannelView(shape: graph.initializer[reads].shape, axis: 1)
            guard let activation = peaks[seam.tensor], activation.count == view.channels,
                graph.initializer[writes].shape.first == view.channels
            else { continue }
            var weights = try graph.initializer[reads].floats()
            var reading = [Float](repeating: 0, count: view.channels)
            view.forEachRun { channel, start in
                for position in start..<start + view.inner { reading[channel] = max(reading[channel], weights[position].magnitude) }
            }
            // A channel that was silent in the calibration data may speak later: its scale must not be what silence suggests.
            func floored(_ peaks: [Float]) -> [Double] {
                let least = max((peaks.max() ?? 0) / 256, 1e-12)
                return peaks.map { log2(Double(max($0, least))) }
            }
            let logs = zip(floored(activation), floored(reading)).map { 0.5 * ($0 - $1) }
            let mean = logs.reduce(0, +) / Double(logs.count)
            let scales = logs.map { Float(exp2(($0 - mean).rounded())) }
            view.forEachRun { channel, start in
                for position in start..<start + view.inner { weights[position] *= scales[channel] }
            }
            replace(&graph, reads, weights)
            for input in 1..<min(3, producer.input.count) {
                let item = index.initializer[producer.input[input]]!  // as above
                var values = try graph.initializer[item].floats()
                let rows = ChannelView(shape: graph.initializer[item].shape, axis: 0)
                rows.forEachRun { channel, start in
                    for position in start..<start + rows.inner { values[position] /= scales[channel] }
                }
                replace(&graph, item, values)
            }
        }
    }

    private static func replace(_ graph: inout Graph, _ index: Int, _ values: [Float]) {
        let old = graph.initializer[index]
        graph.initializer[index] = Tensor(name: old.name, dims: old.shape, floats: values)
    }
}
