import InferenceRuntime
import OnnxGraph
import Units

/// What is in a model file, and how ONNX Runtime runs it.
public struct Inspection: Sendable {
    public struct Weights: Sendable {
        public var operation: String
        public var type: String
        public var tensor: String
        public var shape: [Int]
        /// ONNX's number of the element type.
        public var elementType: Int32
        public var bytes: Int
        /// Share of zeros, for floats.
        public var sparsity: Double?
        /// Distinct values, for floats.
        public var distinct: Int?
        /// Squared error of an exact 4-bit palette relative to the signal, in dB: how well the values cluster.
        public var paletteNoise: Double?
    }
    public struct Kernel: Sendable {
        public var type: String
        public var provider: String
        public var count: Int
    }

    public var opset: Int
    public var producer: String
    public var parameters: Int
    public var weightBytes: Int
    public var operations: [(type: String, count: Int)]
    public var weights: [Weights]
    public var inputs: [TensorSpec]
    public var outputs: [TensorSpec]
    /// What ran, by kernel and provider.
    public var kernels: [Kernel]
    /// What ran, operation by operation; nil where the model was not loaded.
    public var placement: Placement?
    /// Sentences: what did not become an integer kernel, and what that means.
    public var findings: [String]

    /// - Parameter runtime: nil: the file only.
    public init(_ model: OnnxModel, runtime: OnnxRuntime?) throws(JouledError) {
        try GraphCheck.check(model)
        opset = model.opset
        producer = model.proto.producerName
        weightBytes = model.weightBytes
        var types: [String: Int] = [:]
        var parameters = 0
        var list: [Weights] = []
        var lifted = model
        lifted.proto.graph.liftConstants()
        lifted.graph.forEachGraph { graph in
            let index = GraphIndex(graph)
            for node in graph.node {
                types[node.domain.isEmpty || node.domain == "ai.onnx" ? node.opType : "\(node.domain).\(node.opType)", default: 0] += 1
                // Quantized weights belong to the operation that reads them; their scales are no weights of their own.
                let isUnpacking = node.opType == "DequantizeLinear" || node.opType == "Cast"
                let reader = isUnpacking ? index.consumers[node.output.first ?? ""]?.first.map { graph.node[$0] } ?? node : node
                for name in isUnpacking ? Array(node.input.prefix(1)) : node.input {
                    guard let at = index.initializer[name], graph.initializer[at].count > 1 else { continue }
                    list.append(Self.weights(graph.initializer[at], reader))
                }
            }
            parameters += graph.initializer.filter { [.float, .float16, .double, .int8, .uint8].contains($0.elementType) }.reduce(0) { $0 + $1.count }
        }
        self.parameters = parameters
        operations = types.sorted { ($1.value, $0.key) < ($0.value, $1.key) }.map { (type: $0.key, count: $0.value) }
        weights = list
        (inputs, outputs, kernels, findings) = ([], [], [], [])
        guard let runtime else { return }
        let session = try InferenceSession(runtime: runtime, model: model.serialized(), path: model.path)
        (inputs, outputs) = (session.inputs, session.outputs)
        let placement = try Placement(model, runtime)
        self.placement = placement
        kernels = Dictionary(grouping: placement.operations) { [$0.kernel, $0.provider] }
            .map { Kernel(type: $0.key[0], provider: $0.key[1], count: $0.value.count) }
            .sorted { ($1.count, $0.type, $0.provider) < ($0.count, $1.type, $1.provider) }
        findings = Findings.of(model, placement)
    }

    private static func weights(_ tensor: Tensor, _ node: Node) -> Weights {
        var item = Weights(operation: node.label, type: node.opType, tensor: tensor.name, shape: tensor.shape, elementType: tensor.dataType, bytes: tensor.byteCount)
        // A quarter of a million values tell enough, and k-means on them takes a moment.
        if tensor.elementType == .float, tensor.count >= 64, let values = try? tensor.floats() {
            let sample = values.count > 1 << 16 ? stride(from: 0, to: values.count, by: values.count >> 16).map { values[$0] } : values
            item.sparsity = Double(values.lazy.filter { $0 == 0 }.count) / Double(values.count)
            item.distinct = Set(values).count
            let signal = sample.reduce(0) { $0 + Double($1) * Double($1) }
            if sample.allSatisfy(\.isFinite), signal > 0 {
                let error = OptimalPalette.solve(sample, k: 16).error
                item.paletteNoise = error > 0 ? 10 * decibel(signal / error) : nil
            }
        }
        return item
    }

    private static func decibel(_ ratio: Double) -> Double { logarithm(ratio) / logarithm(10) }
}
