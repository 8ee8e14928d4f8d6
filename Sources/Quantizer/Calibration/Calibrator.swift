import Glibc
import InferenceRuntime
import OnnxGraph
import Units

func logarithm(_ value: Double) -> Double { log(value) }

/// Runs a float model over calibration data and watches its tensors.
public struct Calibrator {
    /// Fewer windows are refused, unless that is asked for.
    public static let fewestWindows = 100
    /// Fewer windows work, with a warning.
    public static let enoughWindows = 500

    private let runtime: OnnxRuntime
    public let dataset: Dataset

    /// - Throws: `.unusableData` below `fewestWindows`, unless `allowFew`.
    public init(runtime: OnnxRuntime, dataset: Dataset, allowFew: Bool = false) throws(JouledError) {
        guard allowFew || dataset.windows >= Self.fewestWindows else {
            throw JouledError(
                .unusableData,
                "\(dataset.path): \(dataset.windows) windows are too few to calibrate with; \(Self.fewestWindows) are needed, \(Self.enoughWindows) are better (--allow-few to do it all the same)")
        }
        self.runtime = runtime
        self.dataset = dataset
    }

    /// A sentence where the data is enough to work but not to trust.
    public var warning: String? {
        dataset.windows < Self.enoughWindows ? "\(dataset.path): \(dataset.windows) windows calibrate, but \(Self.enoughWindows) or more would be safer" : nil
    }

    /// Statistics of `tensors` over all windows, state carried along.
    /// - Throws: `.unusableData` where a tensor is not float32 or becomes NaN or infinite, naming it and the window.
    /// - Parameter peaksOf: tensors whose peaks per channel are wanted too.
    public func statistics(
        of tensors: [String], in model: OnnxModel, histograms: Bool = true, peaksOf: Set<String> = []
    ) throws(JouledError) -> [String: ActivationStatistics] {
        var statistics = Dictionary(uniqueKeysWithValues: tensors.map { ($0, ActivationStatistics()) })
        try Self.watch(tensors, in: model, over: dataset, runtime) { window, name, value throws(JouledError) in
            guard statistics[name]?.add(value.floats, shape: value.shape, histogram: histograms, peaks: peaksOf.contains(name)) == true else {
                throw JouledError(.unusableData, "\(dataset.path): window \(window) makes tensor '\(name)' of \(model.path) NaN or infinite")
            }
        }
        return statistics
    }

    /// As the static one, over the calibration data.
    func watch(
        _ tensors: [String], in model: OnnxModel, _ body: (_ window: Int, _ tensor: String, _ value: TensorValue) throws(JouledError) -> Void
    ) throws(JouledError) { try Self.watch(tensors, in: model, over: dataset, runtime, body) }

    /// Hands over the values of `tensors`, inputs or any inner ones, window after window, state carried along.
    /// - Throws: `.unusableData` where a tensor is not float32; what `body` throws.
    static func watch(
        _ tensors: [String], in model: OnnxModel, over dataset: Dataset, _ runtime: OnnxRuntime,
        _ body: (_ window: Int, _ tensor: String, _ value: TensorValue) throws(JouledError) -> Void
    ) throws(JouledError) {
        var probe = model
        let inputs = Set(model.graph.input.map(\.name))
        let known = Set(model.graph.output.map(\.name)).union(inputs)
        for tensor in tensors where !known.contains(tensor) {
            // Without a type: ONNX Runtime infers it.
            var output = Onnx_ValueInfoProto()
            output.name = tensor
            probe.graph.output.append(output)
        }
        var settings = LoadSettings()
        // Copies of large weights in the kernels' layouts would save less time than they take memory.
        if model.weightBytes > 32 << 20 {
            settings.entries["session.disable_prepacking"] = "1"
            settings.optimization = 1
        }
        try probe.withSession(runtime: runtime, settings: settings) { session throws(JouledError) in
            try watch(tensors, in: model, session, over: dataset, body)
        }
    }

    private static func watch(
        _ tensors: [String], in model: OnnxModel, _ session: InferenceSession, over dataset: Dataset,
        _ body: (_ window: Int, _ tensor: String, _ value: TensorValue) throws(JouledError) -> Void
    ) throws(JouledError) {
        let inputs = Set(model.graph.input.map(\.name))
        // The watched tensors must not be taken for the outputs that carry state on.
        let runner = try SequenceRunner(session: session, dataset: dataset, outputs: Set(model.graph.output.map(\.name)))
        let inner = tensors.filter { !inputs.contains($0) }
        let outer = runner.session.inputs.filter { tensors.contains($0.name) }
        func handOver(_ window: Int, _ values: [TensorValue]) throws(JouledError) {
            for (name, value) in zip(inner, values) {
                guard value.elementType == 1 else { throw JouledError(.unusableData, "\(model.path): tensor '\(name)' is not float32") }
                try body(window, name, value)
            }
            for input in outer {
                if let value = try dataset.value(window, of: input) { try body(window, input.name, value) }
            }
        }
        // What only goes in needs no run.
        if inner.isEmpty {
            for window in 0..<dataset.windows { try handOver(window, []) }
        } else {
            try runner.run(outputs: inner, handOver)
        }
    }
}
