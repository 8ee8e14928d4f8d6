import InferenceRuntime
import ModelStore
import OnnxGraph
import Units

/// Rewrites a model for this device where that answers the same and is cheaper, before anything is quantized.
public struct Specialisation {
    /// Windows of the data that are compared.
    static let windows = 512
    /// Savings below this share of CPU time are noise, or not worth a graph that its maker would not know again.
    static let leastSaving = 0.1
    private static let timedRounds = 9
    private static let timedWindows = 32

    private let runtime: OnnxRuntime
    private let dataset: Dataset

    public struct Outcome: Sendable {
        /// nil: the model is better left as it is.
        public var model: OnnxModel?
        /// A sentence on what was done or why nothing was.
        public var note: String
    }

    /// - Parameter dataset: windows on which results are compared and CPU time is measured.
    public init(runtime: OnnxRuntime, dataset: Dataset) {
        self.runtime = runtime
        self.dataset = dataset
    }

    /// - Throws: what running the model itself throws.
    public func run(_ model: OnnxModel) throws(JouledError) -> Outcome {
        var rewritten = model
        let labels = try ShortConvolutions.rewrite(&rewritten)
        guard !labels.isEmpty else { return Outcome(note: "no convolution has so few positions that a matrix product would be cheaper") }
        let what = labels.count == 1 ? "1 short convolution" : "\(labels.count) short convolutions"
        let original = try runner(model)
        let candidate = try runner(rewritten)
        var (expected, found) = (original.zeroState, candidate.zeroState)
        let names = original.results.map(\.name)
        var worst: Float = 0
        for window in 0..<min(Self.windows, dataset.windows) {
            if dataset.sequenceStarts.contains(window) { (expected, found) = (original.zeroState, candidate.zeroState) }
            let values = try original.step(window, &expected, outputs: names)
            for (a, b) in zip(values, try candidate.step(window, &found, outputs: names)) {
                guard a.shape == b.shape else { return Outcome(note: "\(what) left as they are: as matrix products they give \(b.shape) instead of \(a.shape)") }
                // Of what is no float every bit counts.
                if a.elementType != 1, a != b { worst = .infinity }
                for (x, y) in zip(a.floats, b.floats) {
                    let difference = abs(x - y) / max(1, abs(x))
                    // A NaN is as far off as can be, unless the model itself gave one.
                    worst = max(worst, difference.isNaN ? (x.isNaN && y.isNaN ? 0 : .infinity) : difference)
                }
            }
        }
        guard worst <= RowBatching.tolerance else { return Outcome(note: "\(what) left as they are: as matrix products results differ by \(worst)") }
        let share = try timed(candidate, original)
        guard share <= 1 - Self.leastSaving else { return Outcome(note: "\(what) left as they are: as matrix products they take \(decimal(share, places: 2)) of the CPU time") }
        rewritten.path = model.path
        return Outcome(
            model: rewritten,
            note: "\(what) written as matrix products: \(decimal(share, places: 2)) of the CPU time, results within \(worst) over \(min(Self.windows, dataset.windows)) windows")
    }

    private func runner(_ model: OnnxModel) throws(JouledError) -> SequenceRunner {
        try SequenceRunner(session: InferenceSession(runtime: runtime, model: model.serialized(), path: model.path), dataset: dataset)
    }

    /// CPU time of windows back to back, by turns; the median of the ratios.
    private func timed(_ candidate: SequenceRunner, _ original: SequenceRunner) throws(JouledError) -> Double {
        let clocks = SystemClocks()
        let names = original.results.map(\.name)
        let count = min(Self.timedWindows, dataset.windows)
        var ratios: [Double] = []
        for round in 0..<Self.timedRounds + 1 {
            var marks = [clocks.threadCPU()]
            for runner in [candidate, original] {
                var state = runner.zeroState
                for window in 0..<count { _ = try runner.step(window, &state, outputs: names) }
                marks.append(clocks.threadCPU())
            }
            // The first run allocates.
            if round > 0 { ratios.append((marks[1] - marks[0]) / (marks[2] - marks[1])) }
        }
        return ratios.sorted()[ratios.count / 2]
    }
}
