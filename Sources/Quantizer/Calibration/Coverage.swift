import InferenceRuntime
import OnnxGraph
import Units

/// The float model that was calibrated and the ranges that its activations got.
public struct CalibratedModel: Sendable {
    public var model: OnnxModel
    public var ranges: [String: ActivationRange]
    /// In a quantized model a ReLU is the clipping of a range that begins at 0: what lies below is meant to be cut off.
    var clipsAtZero = false

    init(model: OnnxModel, ranges: [String: ActivationRange]) { (self.model, self.ranges) = (model, ranges) }

    /// A static int8 model by itself: what its QuantizeLinear operations can hold of what they read.
    /// - Returns: nil where it has none with one scale per tensor.
    public init?(variant: OnnxModel) {
        let index = GraphIndex(variant.graph)
        func values(_ name: String) -> Tensor? { index.initializer[name].map { variant.graph.initializer[$0] } }
        var ranges: [String: ActivationRange] = [:]
        for node in variant.graph.node where node.opType == "QuantizeLinear" && node.input.count == 3 && index.initializer[node.input[0]] == nil {
            guard let scale = (try? values(node.input[1])?.floats()), scale.count == 1, let zero = values(node.input[2]), zero.count == 1,
                let byte = zero.withRawBytes({ $0.first }) ?? zero.int32Data.first.map({ UInt8(truncatingIfNeeded: $0) })
            else { continue }
            let (offset, least) = zero.elementType == .int8 ? (Float(Int8(bitPattern: byte)), Float(-128)) : (Float(byte), 0)
            ranges[node.input[0]] = ActivationRange(lower: (least - offset) * scale[0], upper: (least + 255 - offset) * scale[0])
        }
        guard !ranges.isEmpty else { return nil }
        self.init(model: variant, ranges: ranges)
        clipsAtZero = true
    }
}

/// What calibration data covers, and what of other data lies beyond it.
public struct Coverage: Sendable {
    /// The values of one input over all windows.
    public struct Tails: Sendable {
        public var tensor: String
        /// Least, 0.1 %, 1 %, median, 99 %, 99.9 %, most.
        public var quantiles: [Float]
        public static let shares = [0, 0.001, 0.01, 0.5, 0.99, 0.999, 1]
    }
    /// One tensor of another data set against the calibrated range.
    public struct Outside: Sendable {
        public var tensor: String
        public var isInput: Bool
        public var lower: Float
        public var upper: Float
        /// Share of values outside, and of windows with at least one.
        public var values: Double
        public var windows: Double
        /// The farthest value's distance from the range, in widths of the range.
        public var farthest: Double
    }
    /// Another data set: evaluation, or out of distribution.
    public struct Other: Sendable {
        public var path: String
        public var windows: Int
        /// Worst first.
        public var tensors: [Outside]
        /// Windows nearly equal to one of the calibration set's, among those compared: data that judges what it taught.
        public var copies: Int
        public var compared: Int
    }

    public var path: String
    public var windows: Int
    /// Below the usual least, because that was asked for.
    public var isFew: Bool
    public var inputs: [Tails]
    /// Windows nearly equal to an earlier one, among those compared, with some pairs.
    public var duplicates: Int
    public var compared: Int
    public var examples: [(window: Int, like: Int)]
    /// Windows that are constant, by index.
    public var silent: [Int]
    public private(set) var others: [Other] = []

    private let dataset: Dataset

    public init(calibration dataset: Dataset) {
        self.dataset = dataset
        (path, windows) = (dataset.path, dataset.windows)
        isFew = dataset.windows < Calibrator.fewestWindows
        inputs = dataset.floatArrays.map { Tails(tensor: $0.name, quantiles: Self.quantiles($0.values)) }
        let found = dataset.signal.map { NearDuplicates($0, windows: dataset.windows) }
        (duplicates, compared, examples, silent) = (found?.duplicates ?? 0, found?.compared ?? 0, found?.examples ?? [], found?.silent ?? [])
    }

    /// Compares another set with what was calibrated.
    /// - Parameter calibrated: nil: the graph's inputs only.
    /// - Throws: what running the model throws.
    public mutating func compare(_ other: Dataset, calibrated: CalibratedModel?, runtime: OnnxRuntime) throws(JouledError) {
        var tallies: [String: Tally] = [:]
        for (name, values) in other.floatArrays {
            guard let tails = inputs.first(where: { $0.tensor == name }), let lower = tails.quantiles.first, let upper = tails.quantiles.last else { continue }
            var tally = Tally(lower: lower, upper: upper, isInput: true)
            let length = values.count / max(1, other.windows)
            for window in 0..<other.windows { tally.add(values[window * length..<(window + 1) * length]) }
            tallies[name] = tally
        }
        if let calibrated {
            let tensors = calibrated.ranges.keys.filter { tallies[$0] == nil }.sorted()
            for name in tensors { tallies[name] = calibrated.ranges[name].map { Tally(lower: $0.lower, upper: $0.upper, isInput: false, ignoresBelow: calibrated.clipsAtZero && $0.lower == 0) } }
            let graphInputs = Set(calibrated.model.graph.input.map(\.name))
            try Calibrator.watch(tensors.filter { !graphInputs.contains($0) }, in: calibrated.model, over: other, runtime) { _, name, value throws(JouledError) in
                tallies[name]?.add(value.floats[...])
            }
        }
        let near = dataset.signal.flatMap { mine in other.signal.map { NearDuplicates($0, windows: other.windows, among: (mine, dataset.windows)) } }
        others.append(
            Other(
                path: other.path, windows: other.windows,
                tensors: tallies.filter { $0.value.count > 0 }.map { $0.value.result($0.key) }.sorted { ($1.values, $0.tensor) < ($0.values, $1.tensor) },
                copies: near?.duplicates ?? 0, compared: near?.compared ?? 0))
    }

    /// Counts what lies outside of a range.
    private struct Tally {
        let lower: Float
        let upper: Float
        let isInput: Bool
        var ignoresBelow = false
        var count = 0
        var outside = 0
        var windows = 0
        var hit = 0
        var farthest: Float = 0

        mutating func add(_ values: ArraySlice<Float>) {
            var beyond = 0
            values.withUnsafeBufferPointer { buffer in
                var distance: Float = 0
                for value in buffer {
                    let miss = ignoresBelow ? value - upper : max(value - upper, lower - value)
                    beyond += miss > 0 ? 1 : 0
                    distance = miss > distance ? miss : distance
                }
                farthest = max(farthest, distance)
            }
            count += values.count
            outside += beyond
            windows += 1
            hit += beyond > 0 ? 1 : 0
        }

        func result(_ tensor: String) -> Outside {
            Outside(
                tensor: tensor, isInput: isInput, lower: lower, upper: upper, values: Double(outside) / Double(max(1, count)),
                windows: Double(hit) / Double(max(1, windows)), farthest: upper > lower ? Double(farthest / (upper - lower)) : 0)
        }
    }

    /// Of very many values an even selection, besides the least and the most.
    private static func quantiles(_ values: [Float]) -> [Float] {
        // A quarter of a million values tell a thousandth to 6 % of itself; sorting all would take longer than calibrating.
        let step = max(1, values.count >> 18)
        let sorted = (step == 1 ? values : stride(from: 0, to: values.count, by: step).map { values[$0] }).sorted()
        guard let last = sorted.indices.last, let least = values.min(), let most = values.max() else { return [] }
        return [least] + Tails.shares.dropFirst().dropLast().map { sorted[Int(($0 * Double(last)).rounded())] } + [most]
    }

    /// The report for a person.
    public var lines: [String] {
        func number(_ value: Float) -> String { decimal(Double(value), places: 4) }
        var lines = ["calibration: \(path), \(windows) windows\(isFew ? ", fewer than the \(Calibrator.fewestWindows) that are needed, as --allow-few says" : "")"]
        for item in inputs where item.quantiles.count == Tails.shares.count {
            let q = item.quantiles.map(number)
            lines.append("  \(item.tensor): \(q[0]) to \(q[6]); p0.1 \(q[1]), p1 \(q[2]), median \(q[3]), p99 \(q[4]), p99.9 \(q[5])")
        }
        if duplicates > 0 {
            let some = examples.map { "\($0.window) like \($0.like)" }.joined(separator: ", ")
            lines.append("  \(duplicates) of \(compared) windows nearly repeat an earlier one (normalized correlation \(NearDuplicates.leastCorrelation) or more): \(some)")
        }
        if let first = silent.first { lines.append("  \(silent.count) windows are constant, the first is \(first)") }
        for other in others {
            lines.append("outside the calibrated range: \(other.path), \(other.windows) windows")
            for item in other.tensors.prefix(5) {
                lines.append("  \(item.tensor)\(item.isInput ? " (input)" : ""): \(percent(item.values, places: 2)) of values, in \(percent(item.windows, places: 1)) of windows, of [\(number(item.lower)), \(number(item.upper))]; the farthest \(decimal(item.farthest, places: 2)) widths beyond")
            }
            if other.tensors.count > 5 { lines.append("  \(other.tensors.count - 5) more tensors with less outside") }
            if other.copies > 0 { lines.append("  \(other.copies) of \(other.compared) windows nearly repeat one of the calibration set: they judge what they taught") }
        }
        return lines
    }
}

extension Dataset {
    /// Arrays of floats by name.
    var floatArrays: [(name: String, values: [Float])] {
        arrays.sorted { $0.key < $1.key }.compactMap { name, array in
            if case .float(let values) = array.values { (name, values) } else { nil }
        }
    }

    /// The array that windows are compared by: the largest one of floats.
    var signal: [Float]? { floatArrays.max { $0.values.count < $1.values.count }?.values }
}
