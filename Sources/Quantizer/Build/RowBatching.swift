import InferenceRuntime
import ModelStore
import OnnxGraph
import Units

/// Lets a variant take several consecutive windows in one run, as rows of its first axis, where that is the same and cheaper.
///
/// A recurrent model whose rows are time steps (its encoder sees a batch, its LSTM a sequence) answers a row exactly as it
/// would alone, and saves most of what a call costs and the reading of its weights. A variant that looks at all rows together, as dynamic
/// quantization does for its ranges, answers differently: it is found out by comparison and stays as it is.
struct RowBatching {
    /// More rows save hardly more: of silero-vad's 106 us a window, as its maker wrote it, 8 rows leave 72 and 31 leave 67.
    static let mostRows = 32
    /// Activations that the widest operation may hold: they stay allocated for as long as the variant is loaded.
    static let activationBytes = 4 << 20
    /// Difference of a value, relative to the larger of 1 and its magnitude, that rounding in another order explains.
    static let tolerance: Float = 1e-5
    /// Savings below this share of CPU time are not worth the memory, or noise.
    static let leastSaving = 0.1
    /// Windows of the data that are compared.
    static let windows = 512
    private static let timedRounds = 9

    let runtime: OnnxRuntime
    let contract: ModelManifest
    let dataset: Dataset

    /// A variant with an open first axis.
    struct Opened {
        var bytes: [UInt8]
        var rows: Int
        /// CPU time of a window in runs of `rows`, as a share of that in a run of its own.
        var share: Double
    }

    /// - Returns: nil, with the reason, where the variant is better run window by window.
    /// - Throws: what running the variant itself throws.
    func open(_ fixed: OnnxModel) throws(JouledError) -> (opened: Opened?, reason: String) {
        guard contract.input.shape.first == 1, contract.outputs.allSatisfy({ $0.tensor.shape.first == 1 }) else {
            return (nil, "its first axis is not for windows")
        }
        let rows = try Self.rows(fitting: fixed)
        guard rows > 1 else { return (nil, "its activations are too large for several windows at a time") }
        let bytes = try openedModel(fixed).serialized()
        let single = try InferenceSession(runtime: runtime, model: fixed.serialized(), path: fixed.path)
        let session: InferenceSession
        let many: InferenceRun
        do {
            session = try InferenceSession(runtime: runtime, model: bytes, path: fixed.path)
            many = try run(session, rows: rows)
        } catch {
            // A size was folded into the graph.
            return (nil, "its graph is made for one window")
        }
        let alone = try SequenceRunner(session: single, dataset: dataset)
        let windows = min(Self.windows, dataset.windows)
        let length = contract.input.count
        let input = TensorSpec(name: contract.input.name, shape: contract.input.shape)
        var state = alone.zeroState
        var start = 0
        while start < windows {
            if dataset.sequenceStarts.contains(start) { (state, _) = (alone.zeroState, reset(many)) }
            var count = 1
            while count < rows, start + count < windows, !dataset.sequenceStarts.contains(start + count) { count += 1 }
            for row in 0..<count {
                guard let value = try dataset.value(start + row, of: input), value.floats.count == length else { return (nil, "its data has no windows for '\(input.name)'") }
                _ = many.input(row: row).update(fromContentsOf: value.floats)
            }
            do { try many.run(rows: count) } catch { return (nil, "its graph is made for one window") }
            carry(many)
            for row in 0..<count {
                let expected = try alone.step(start + row, &state, outputs: contract.outputs.map(\.tensor.name))
                for (index, value) in expected.enumerated() {
                    // A NaN is as far off as can be.
                    let isSame = zip(value.floats, many.output(index, row: row)).allSatisfy { abs($0 - $1) <= Self.tolerance * max(1, abs($0)) }
                    guard isSame else { return (nil, "window \(start + row) differs among others") }
                }
            }
            start += count
        }
        let share = try timed(many, try run(single, rows: 1))
        guard share <= 1 - Self.leastSaving else { return (nil, "several windows at a time take \(decimal(share, places: 2)) of the time") }
        return (Opened(bytes: bytes, rows: rows, share: share), "")
    }

    /// The first axis of the window and of the results becomes open. What follows from it is left to ONNX Runtime.
    private func openedModel(_ fixed: OnnxModel) -> OnnxModel {
        var model = fixed
        let names = Set([contract.input.name] + contract.outputs.map(\.tensor.name))
        for list in [\Onnx_GraphProto.input, \.output] {
            for index in model.proto.graph[keyPath: list].indices where names.contains(model.proto.graph[keyPath: list][index].name) {
                model.proto.graph[keyPath: list][index].type.tensorType.shape.dim[0].dimParam = "windows"
            }
        }
        model.proto.graph.valueInfo = []
        return model
    }

    /// Rows for which the widest operation's inputs and results stay within `activationBytes`.
    static func rows(fitting model: OnnxModel) throws(JouledError) -> Int {
        let facts = try ShapeInference.infer(model, usingDeclarations: true)
        // Weights, and what is made of weights alone: ONNX Runtime folds it, or makes it once for all rows.
        var weights = Set(model.graph.initializer.map(\.name))
        var widest = 0
        for node in model.graph.node {
            if node.input.allSatisfy({ $0.isEmpty || weights.contains($0) }) {
                weights.formUnion(node.output)
                continue
            }
            var values = 0
            for name in node.input + node.output where !weights.contains(name) { values += facts[name]?.fixedShape?.reduce(1, *) ?? 0 }
            widest = max(widest, values * MemoryLayout<Float>.size)
        }
        return max(1, min(mostRows, activationBytes / max(1, widest)))
    }

    private func run(_ session: InferenceSession, rows: Int) throws(JouledError) -> InferenceRun {
        try InferenceRun(
            session: session, inputs: [TensorSpec(name: contract.input.name, shape: contract.input.shape)] + contract.states.map { TensorSpec(name: $0.input, shape: $0.shape) },
            outputs: contract.outputs.map { TensorSpec(name: $0.tensor.name, shape: $0.tensor.shape) } + contract.states.map { TensorSpec(name: $0.output, shape: $0.shape) },
            rows: rows, rowOutputs: contract.outputs.count)
    }

    private func reset(_ run: InferenceRun) {
        for index in contract.states.indices { run.input(index + 1).update(repeating: 0) }
    }

    private func carry(_ run: InferenceRun) {
        for index in contract.states.indices { _ = run.input(index + 1).update(from: run.output(contract.outputs.count + index)) }
    }

    /// CPU time of as many windows at a time as one by one, by turns; the median of the ratios.
    private func timed(_ many: InferenceRun, _ one: InferenceRun) throws(JouledError) -> Double {
        let clocks = SystemClocks()
        _ = one.input(0).update(from: many.input(0))
        var ratios: [Double] = []
        for round in 0..<Self.timedRounds + 1 {
            var marks = [clocks.threadCPU()]
            try many.run(rows: many.rows)
            marks.append(clocks.threadCPU())
            for _ in 0..<many.rows { try one.run() }
            marks.append(clocks.threadCPU())
            // The first run of a size allocates.
            if round > 0 { ratios.append((marks[1] - marks[0]) / (marks[2] - marks[1])) }
        }
        return ratios.sorted()[ratios.count / 2]
    }
}
