import OnnxGraph
import Units

/// Which operation of a graph gets which settings, as a recipe says, with the reasons where it gets none.
public struct Assignment: Sendable {
    /// An operation with weights.
    public struct Entry: Sendable {
        public var node: String
        public var type: String
        public var settings: OperatorRecipe
        /// The initializers that are its weights.
        public var weights: [String]
        /// Why it stays in float, if it does.
        public var reason: String?
    }
    public var entries: [Entry]

    /// The inputs of an operation that hold weights, by position.
    static func weightInputs(_ node: Node) -> [Int] {
        guard node.domain.isEmpty || node.domain == "ai.onnx" else { return [] }
        switch node.opType {
        case "Conv", "ConvTranspose", "Gemm": return [1]
        case "MatMul": return [1, 0]
        case "LSTM", "GRU", "RNN": return [1, 2]
        case "Gather": return [0]
        default: return []
        }
    }

    /// The axis of an operation's weights that counts output channels; nil where a channel has no meaning.
    static func channelAxis(_ node: Node, input: Int, rank: Int) -> Int? {
        switch node.opType {
        case "Conv": return 0
        case "ConvTranspose": return 1
        case "Gemm": return (node.integer("transB") ?? 0) != 0 ? 0 : 1
        case "MatMul": return input == 1 && rank >= 1 ? rank - 1 : nil
        case "LSTM", "GRU", "RNN": return 1
        case "Gather": return 0
        default: return nil
        }
    }

    /// - Throws: `.invalidRecipe` for a name or type that the model does not have, for a tensor that operations with
    ///   different settings share (naming both), and for a scheme that an operation of that type cannot have when it was
    ///   asked for by name.
    public init(_ model: OnnxModel, _ recipe: Recipe) throws(JouledError) {
        let graph = model.graph
        let index = GraphIndex(graph)
        let types = Set(graph.node.map(\.opType))
        let labels = Set(graph.node.map(\.label))
        for name in recipe.names.keys.sorted() where !labels.contains(name) {
            throw JouledError(.invalidRecipe, "\(model.path): the recipe names operation '\(name)', which the model does not have")
        }
        for type in recipe.types.keys.sorted() where !types.contains(type) {
            throw JouledError(.invalidRecipe, "\(model.path): the recipe has settings for type '\(type)', of which the model has no operation")
        }
        entries = []
        var owner: [String: Int] = [:]
        for node in graph.node {
            let weights = Self.weightInputs(node).filter { $0 < node.input.count }.map { node.input[$0] }.filter { name in
                index.initializer[name].map { [ElementType.float, .float16, .double].contains(graph.initializer[$0].elementType) } ?? false
            }
            guard !weights.isEmpty else { continue }
            var entry = Entry(node: node.label, type: node.opType, settings: recipe.settings(name: node.label, type: node.opType), weights: weights)
            if entry.settings.scheme != .skip {
                // Proof for `!`: the filter above kept only names with an initializer.
                let most = weights.map { graph.initializer[index.initializer[$0]!].count }.max() ?? 0
                if most <= recipe.weightThreshold, recipe.names[node.label] == nil {
                    entry.reason = "its weights have \(most) values, at most \(recipe.weightThreshold) are left alone"
                } else if let reason = Self.unsuitable(node, entry.settings.scheme) {
                    if recipe.names[node.label] != nil { throw JouledError(.invalidRecipe, "\(model.path): operation '\(node.label)': \(reason)") }
                    entry.reason = reason
                }
                if entry.reason != nil { entry.settings.scheme = .skip }
            } else {
                entry.reason = "the recipe skips it"
            }
            for weight in weights {
                if let other = owner[weight], entries[other].settings != entry.settings {
                    throw JouledError(
                        .invalidRecipe,
                        "\(model.path): tensor '\(weight)' is shared by '\(entries[other].node)' (\(entries[other].settings.scheme.rawValue)) and '\(entry.node)' (\(entry.settings.scheme.rawValue)), which have different settings; give both the same")
                }
                owner[weight] = entries.count
            }
            entries.append(entry)
        }
    }

    private static func unsuitable(_ node: Node, _ scheme: Scheme) -> String? {
        switch scheme {
        case .int8 where !["Conv", "Gemm", "MatMul"].contains(node.opType):
            return "\(node.opType) has no static 8-bit form in ONNX Runtime"
        case .int8Dynamic where !["Gemm", "MatMul", "LSTM"].contains(node.opType):
            return "\(node.opType) has no dynamic 8-bit form that is faster than float"
        case .int8Dynamic where node.opType == "LSTM" && (node.integer("layout") ?? 0) != 0:
            return "a batch-first LSTM has no dynamic 8-bit form"
        case .fp16Compute where node.opType == "Gather": return "Gather computes nothing; fp16 stores its table in half the size"
        case .int8, .int8Dynamic:
            if node.opType == "Gemm", (node.integer("transA") ?? 0) != 0 || (node.float("alpha") ?? 1) != 1 || (node.float("beta") ?? 1) != 1 {
                return "a Gemm with transA, alpha or beta has no 8-bit form"
            }
            return nil
        default: return nil
        }
    }
}
