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
    /// After ONNX Runtime's optimisations: what runs.
    public var kernels: [Kernel]
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
                for name in node.input {
                    guard let at = index.initializer[name], graph.initializer[at].count > 1 else { continue }
                    list.append(Self.weights(graph.initializer[at], node))
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
        let optimized = try OptimizedGraph.load(model, runtime)
        kernels = optimized.kernels
        findings = Self.findings(model, optimized)
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

    private static func findings(_ model: OnnxModel, _ optimized: OptimizedGraph) -> [String] {
        var result: [String] = []
        let types = Dictionary(grouping: optimized.nodes, by: \.opType).mapValues(\.count)
        let hadPairs = model.graph.node.contains { $0.opType == "QuantizeLinear" }
        let floatConvolutions = optimized.nodes.filter { ["Conv", "FusedConv", "Gemm", "FusedGemm", "MatMul"].contains($0.opType) }
        if hadPairs {
            for node in floatConvolutions { result.append("'\(node.label)' (\(node.opType)) runs in float: it has no quantized input, output and weights") }
        }
        let weightOnly = optimized.nodes.filter { $0.opType == "DequantizeLinear" && optimized.constants.contains($0.input.first ?? "") }
        if !weightOnly.isEmpty {
            result.append("\(weightOnly.count) weights are dequantized at every run: about twice float's time for convolutions; load with session.disable_quant_qdq=1, or use int8 or palette")
        }
        if let count = types["ConvInteger"] { result.append("\(count) ConvInteger: dynamic 8-bit convolutions, several times slower than float") }
        let transposes = types["Transpose"] ?? 0
        let before = model.graph.node.filter { $0.opType == "Transpose" }.count
        if transposes > before + 2 { result.append("\(transposes - before) Transpose were added around integer convolutions: quantize what lies between them too") }
        if types["QLinearConv"] == nil, hadPairs, model.graph.node.contains(where: { $0.opType == "Conv" }) {
            result.append("no convolution became an integer kernel")
        }
        return result
    }
}

/// A model as ONNX Runtime optimises it for this device.
struct OptimizedGraph {
    var nodes: [Node]
    var constants: Set<String>
    var kernels: [Inspection.Kernel]

    static func load(_ model: OnnxModel, _ runtime: OnnxRuntime) throws(JouledError) -> OptimizedGraph {
        let file = try TemporaryFile("inspect")
        defer { file.remove() }
        var settings = LoadSettings()
        settings.optimizedModelPath = file.path
        // The runtime warns that such a file is for this device only, which is what is wanted.
        settings.entries["session.disable_prepacking"] = "1"
        _ = try InferenceSession(runtime: runtime, model: model.serialized(), path: model.path, settings: settings)
        let graph = try OnnxModel.load(file.path).graph
        let types = Dictionary(grouping: graph.node, by: \.opType)
        return OptimizedGraph(
            nodes: graph.node, constants: Set(graph.initializer.map(\.name)),
            // Without accelerators there is one provider; nodes do not say in the file.
            kernels: types.map { Inspection.Kernel(type: $0.key, provider: "CPUExecutionProvider", count: $0.value.count) }
                .sorted { ($1.count, $0.type) < ($0.count, $1.type) })
    }
}
