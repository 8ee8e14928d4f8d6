import OnnxGraph
import Units

/// Lets operations compute in float16, weights included, with a Cast at each border to float32.
///
/// Operations that only move or bound values follow their inputs into float16; others too where calibration data shows
/// that nothing they read or write overflows.
struct HalfPass {
    /// Largest finite float16.
    static let most: Float = 65504
    /// Give what they get, or less.
    private static let followers: Set<String> = [
        "Relu", "MaxPool", "Flatten", "Reshape", "Transpose", "Squeeze", "Unsqueeze", "Identity", "Clip", "Slice", "Sigmoid", "Tanh", "Concat", "AveragePool", "GlobalAveragePool",
    ]
    /// Follow where calibration shows that they do not overflow.
    private static let arithmetic: Set<String> = ["Add", "Sub", "Mul", "LeakyRelu", "Elu", "Softplus"]

    private var graph: Graph
    private var names: UniqueNames
    private let facts: [String: TensorFact]
    private let statistics: [String: ActivationStatistics]
    private let index: GraphIndex
    /// Float16 version by the tensor that it stands for.
    private var halves: [String: String] = [:]
    private var nodes: [Node] = []

    /// Operations that cannot compute in float16, with the reason.
    static func unfit(_ model: OnnxModel, _ selected: Set<String>, _ statistics: [String: ActivationStatistics]) throws(JouledError) -> [String: String] {
        let index = GraphIndex(model.graph)
        var reasons: [String: String] = [:]
        for node in model.graph.node where selected.contains(node.label) {
            for name in node.input {
                guard let at = index.initializer[name], model.graph.initializer[at].elementType == .float else { continue }
                let peak = try model.graph.initializer[at].floats().reduce(Float(0)) { max($0, $1.magnitude) }
                if !(peak <= most) { reasons[node.label] = "'\(name)' holds \(peak), beyond float16's \(most)" }
            }
            for name in node.input + node.output {
                // State that starts at zero has none of its own: the output that carries it on has them.
                guard let item = statistics[name], item.count > 0 else { continue }
                let peak = max(item.maximum.magnitude, item.minimum.magnitude)
                // Half of the range is kept for data that is louder than the calibration set's.
                if peak > most / 2 { reasons[node.label] = "'\(name)' reached \(peak) on the calibration data, float16 ends at \(most)" }
            }
        }
        return reasons
    }

    /// - Parameter statistics: peaks of the tensors on calibration data; empty: only what cannot grow follows.
    static func apply(_ model: inout OnnxModel, selected: Set<String>, statistics: [String: ActivationStatistics]) throws(JouledError) {
        var pass = HalfPass(
            graph: model.graph, names: UniqueNames(model.graph), facts: try ShapeInference.infer(model, usingDeclarations: true), statistics: statistics, index: GraphIndex(model.graph))
        for node in try GraphCheck.sorted(model.graph, path: model.path) { try pass.visit(node, selected) }
        pass.graph.node = pass.nodes
        pass.graph.removeDead()
        model.graph = pass.graph
    }

    private init(graph: Graph, names: UniqueNames, facts: [String: TensorFact], statistics: [String: ActivationStatistics], index: GraphIndex) {
        (self.graph, self.names, self.facts, self.statistics, self.index) = (graph, names, facts, statistics, index)
    }

    private mutating func visit(_ node: Node, _ selected: Set<String>) throws(JouledError) {
        guard selected.contains(node.label) || follows(node) else {
            nodes.append(node)
            return
        }
        var half = node
        for position in half.input.indices where isFloat(half.input[position]) { half.input[position] = try halfVersion(of: half.input[position]) }
        for position in half.output.indices where !half.output[position].isEmpty {
            let name = names.make(half.output[position] + "_half")
            halves[half.output[position]] = name
            half.output[position] = name
        }
        nodes.append(half)
        // For readers in float; removed again where there are none.
        for (float, name) in zip(node.output, half.output) where !float.isEmpty {
            nodes.append(Node("Cast", name: names.make(float + "_to_float"), inputs: [name], outputs: [float], attributes: [Attribute("to", 1)]))
        }
    }

    private func isFloat(_ name: String) -> Bool { !name.isEmpty && facts[name]?.elementType == ElementType.float.rawValue }

    /// All that it reads is float16 already, except for weights, and it cannot overflow.
    private func follows(_ node: Node) -> Bool {
        guard node.domain.isEmpty, node.subgraphs.isEmpty, Self.followers.contains(node.opType) || Self.arithmetic.contains(node.opType) else { return false }
        let read = node.input.filter(isFloat)
        guard read.contains(where: { halves[$0] != nil }), read.allSatisfy({ halves[$0] != nil || index.initializer[$0] != nil }) else { return false }
        guard Self.arithmetic.contains(node.opType) else { return read.allSatisfy { halves[$0] != nil } }
        return (node.input + node.output).filter(isFloat).allSatisfy { name in
            if index.initializer[name] != nil { return true }
            return statistics[name].map { $0.count > 0 && max($0.maximum.magnitude, $0.minimum.magnitude) <= Self.most / 2 } ?? false
        }
    }

    private mutating func halfVersion(of name: String) throws(JouledError) -> String {
        if let known = halves[name] { return known }
        let half = names.make(name + "_half")
        halves[name] = half
        if let at = index.initializer[name] {
            let tensor = graph.initializer[at]
            let bits = try tensor.floats().map(Half.bits)
            graph.initializer.append(Tensor(name: half, type: .float16, dims: tensor.shape, bytes: bits.withUnsafeBytes { [UInt8]($0) }))
        } else {
            nodes.append(Node("Cast", name: names.make(name + "_to_half"), inputs: [name], outputs: [half], attributes: [Attribute("to", Int(ElementType.float16.rawValue))]))
        }
        return half
    }
}
