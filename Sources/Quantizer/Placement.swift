import Glibc
import InferenceRuntime
import OnnxGraph
import Units
import Wire

/// What ONNX Runtime really ran of a model, operation by operation: from its own profile of some runs.
public struct Placement: Sendable {
    public struct Operation: Sendable {
        /// The runtime's name: the node's own, or what a fusion made of it.
        public var name: String
        /// The node of the file that it comes from; nil where the runtime put it in.
        public var origin: String?
        /// The kernel, e.g. `QLinearConv`, `FusedConv`.
        public var kernel: String
        /// Who ran it, e.g. `CPUExecutionProvider`.
        public var provider: String
        /// Element types of the inputs.
        public var types: [String]
        /// Median over the runs, in the profiler's whole microseconds, its own overhead included.
        public var time: Seconds
        /// Does nothing but bring values from one unit, number format or memory layout to another.
        public var isConversion: Bool
        public var isTransfer: Bool
        public var isInteger: Bool
    }

    /// In the order in which they ran.
    public var operations: [Operation]
    /// Copies between the memories of units.
    public var transfers: Int { operations.filter(\.isTransfer).count }
    /// QuantizeLinear, DequantizeLinear, Cast and changes of layout.
    public var conversions: Int { operations.filter(\.isConversion).count }

    static let runs = 15

    init(operations: [Operation]) { self.operations = operations }

    /// Loads the model, runs it on noise and reads the profile.
    /// - Throws: what loading and running throw; `.inferenceFailed` for a profile that cannot be read.
    public init(_ model: OnnxModel, _ runtime: OnnxRuntime) throws(JouledError) {
        let file = try TemporaryFile("placement")
        defer { file.remove() }
        var settings = LoadSettings()
        settings.profilePrefix = file.path
        let session = try InferenceSession(runtime: runtime, model: model.serialized(), path: model.path, settings: settings)
        let step: (Int) throws(JouledError) -> Void
        do throws(JouledError) { step = try FileProfiler.stepper(session) } catch {
            // The profile must be ended whatever comes: it is a file.
            if let written = try? session.endProfiling() { unlink(written) }
            throw error
        }
        try step(Self.runs)
        let written = try session.endProfiling()
        defer { unlink(written) }
        let events: JSONValue
        do throws(JouledError) {
            events = try JSONValue(parsing: BinaryFile.read(written), limits: JSONLimits(depth: 16, values: 1 << 26))
        } catch { throw JouledError(.inferenceFailed, "\(model.path): ONNX Runtime's profile cannot be read", cause: error) }
        operations = Self.operations(events, model)
    }

    private static func operations(_ events: JSONValue, _ model: OnnxModel) -> [Operation] {
        let origins = Origins(model)
        var order: [String] = []
        var found: [String: Operation] = [:]
        var times: [String: [Seconds]] = [:]
        for event in events.arrayValue ?? [] where event["cat"]?.stringValue == "Node" {
            guard var name = event["name"]?.stringValue, name.hasSuffix("_kernel_time"), let arguments = event["args"], let kernel = arguments["op_name"]?.stringValue else { continue }
            name.removeLast("_kernel_time".count)
            let key = name + " " + (arguments["node_index"]?.stringValue ?? "")
            times[key, default: []].append(Seconds(Double(event["dur"]?.intValue ?? 0) * 1e-6))
            guard found[key] == nil else { continue }
            let types = (arguments["input_type_shape"]?.arrayValue ?? []).compactMap { $0.objectValue?.members.first?.key }
            order.append(key)
            found[key] = Operation(
                name: name, origin: origins.origin(of: name, kernel: kernel), kernel: kernel, provider: arguments["provider"]?.stringValue ?? "?", types: types, time: .zero,
                isConversion: ["QuantizeLinear", "DequantizeLinear", "Cast", "ReorderInput", "ReorderOutput"].contains(kernel) || (kernel == "Transpose" && origins.origin(of: name, kernel: kernel) == nil),
                isTransfer: kernel.hasPrefix("Memcpy"),
                isInteger: kernel.hasPrefix("QLinear") || kernel.hasPrefix("QGemm") || kernel.hasPrefix("DynamicQuantize") || kernel.hasSuffix("Integer") || kernel.hasPrefix("MatMulInteger")
                    || kernel == "MatMulNBits" || kernel == "QAttention")
        }
        return order.compactMap { key in
            guard var operation = found[key] else { return nil }
            operation.time = Profiler.quantile(times[key] ?? [], 0.5)
            return operation
        }
    }
}

/// Finds the nodes of a file behind the names that ONNX Runtime's optimisations give.
struct Origins {
    private var names: Set<String> = []
    /// Node by the tensor that it writes.
    private var writers: [String: Node] = [:]

    init(_ model: OnnxModel) {
        model.graph.forEachGraph { graph in
            for node in graph.node {
                names.insert(node.name)
                for output in node.output { writers[output] = node }
            }
        }
        names.remove("")
    }

    /// Fusions append to the name of a node that they replace (`_token_3`, `_quant`, `/Fusion/`), or call what they make
    /// after the tensor that it writes (`_nchwc`), which may be that of an activation behind it.
    func origin(of name: String, kernel: String) -> String? {
        if names.contains(name) { return name }
        if let node = writer(name, kernel) { return node }
        var text = name[...]
        while let cut = text.lastIndex(where: { "_/".contains($0) }) {
            text = text[..<cut]
            guard !text.isEmpty else { break }
            if names.contains(String(text)) { return String(text) }
            if let node = writer(String(text), kernel) { return node }
        }
        return nil
    }

    private func writer(_ tensor: String, _ kernel: String) -> String? {
        var node = writers[tensor]
        // Behind a fused activation and an addition lies what the kernel is called after.
        for _ in 0..<4 {
            guard let candidate = node, !candidate.name.isEmpty else { return nil }
            if kernel.contains(candidate.opType) { return candidate.name }
            node = candidate.input.first.flatMap { writers[$0] }
        }
        return nil
    }
}

/// How the way in which a model runs changed, for a model and what was made of it.
public struct PlacementChange: Sendable {
    /// Sentences: what moved, by operation.
    public var changes: [String] = []
    /// Sentences: what moved to a worse unit or a worse kernel.
    public var warnings: [String] = []

    public init(before: Placement, after: Placement) {
        let old = Dictionary(before.operations.compactMap { item in item.origin.map { ($0, item) } }, uniquingKeysWith: { first, _ in first })
        for item in after.operations {
            guard let origin = item.origin, let was = old[origin] else { continue }
            if item.kernel != was.kernel || item.provider != was.provider {
                changes.append("\(origin): \(was.kernel) on \(was.provider), \(was.time) -> \(item.kernel) on \(item.provider), \(item.time)")
            }
            if was.provider != item.provider, item.provider == "CPUExecutionProvider" {
                warnings.append("'\(origin)' moved from \(was.provider) to the processor")
            }
            if item.kernel == "ConvInteger" { warnings.append("'\(origin)' became ConvInteger, which is slower than float") }
            // Less than some microseconds is the profiler's own noise.
            if item.kernel != was.kernel, item.time.value > was.time.value * 1.25 + 3e-6 {
                warnings.append("'\(origin)' takes longer as \(item.kernel) than as \(was.kernel): \(item.time) instead of \(was.time)")
            }
        }
        if after.transfers > before.transfers { warnings.append("\(after.transfers - before.transfers) more transfers between memories of units") }
        let conversion = { (placement: Placement) in placement.operations.filter(\.isConversion).reduce(Seconds.zero) { $0 + $1.time } }
        let (was, now) = (conversion(before), conversion(after))
        if after.conversions > before.conversions { changes.append("conversions of format and layout: \(before.conversions) taking \(was) -> \(after.conversions) taking \(now)") }
        let gained = before.operations.reduce(0) { $0 + $1.time.value } - after.operations.reduce(0) { $0 + $1.time.value } + (now.value - was.value)
        if now.value - was.value > max(0, gained) + 5e-6 { warnings.append("conversions cost \(Seconds(now.value - was.value)) more, which is more than the integer kernels save") }
    }
}
