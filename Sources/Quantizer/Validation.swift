import Glibc
import InferenceRuntime
import OnnxGraph
import Units

/// How far a variant's answers are from the float model's, with the tail that breaks before the mean does.
public struct ValidationReport: Sendable {
    /// What the outputs are taken for: it decides what a decision is.
    public enum Task: String, Sendable {
        /// One probability; decided at 0.5.
        case binary
        /// One score per class; decided for the largest.
        case classes
        /// Anything else: no decision, only errors.
        case regression
    }
    public struct WorstWindow: Sendable {
        public var window: Int
        public var error: Double
    }
    public struct Output: Sendable {
        public var name: String
        /// 10 log10(signal power / error power); infinite for equal outputs.
        public var signalToNoise: Double
    }
    public struct ClassFigures: Sendable {
        public var index: Int
        /// Windows that the reference decides for this class, and how many of them the variant does.
        public var reference: Int
        public var agreed: Int
    }
    /// What the outputs do after a switch with the state carried over.
    public struct Seam: Sendable {
        public var direction: String
        public var switches: Int
        /// Largest error against the reference in the n-th window after the switch, n from 1.
        public var maximumByWindow: [Double]
    }

    public var task: Task
    public var windows: Int
    /// Share of windows with the reference's decision; 1 for regressors.
    public var agreement: Double
    /// Against labels where there are any: reference, variant.
    public var top1: (reference: Double, variant: Double)?
    public var top5: (reference: Double, variant: Double)?
    public var auc: (reference: Double, variant: Double)?
    /// Of the largest absolute difference within each window.
    public var meanError: Double
    public var p50Error: Double
    public var p95Error: Double
    public var p99Error: Double
    public var maximumError: Double
    public var outputs: [Output]
    public var classes: [ClassFigures]
    public var worst: [WorstWindow]
    /// Mean error in each eighth of the sequences, from their starts: whether it grows as a stream goes on.
    public var growth: [Double]
    public var seams: [Seam]

    /// What the variant loses of the reference's area under the ROC curve.
    public var aucLoss: Double? { auc.map { $0.reference - $0.variant } }
}

/// Limits that are declared before a variant is looked at; nil where none is.
public struct ValidationLimits: Sendable, Hashable {
    public var agreementMin: Double?
    public var p99ErrorMax: Double?
    public var aucLossMax: Double?
    public init(agreementMin: Double? = nil, p99ErrorMax: Double? = nil, aucLossMax: Double? = nil) {
        self.agreementMin = agreementMin
        self.p99ErrorMax = p99ErrorMax
        self.aucLossMax = aucLossMax
    }

    /// One phrase for each limit that the report breaks.
    public func broken(by report: ValidationReport) -> [String] {
        func text(_ value: Double) -> String { decimal(value, places: 4) }
        var broken: [String] = []
        if let agreementMin, report.agreement < agreementMin { broken.append("agreement \(text(report.agreement)) is below \(text(agreementMin))") }
        if let p99ErrorMax, !(report.p99Error <= p99ErrorMax) { broken.append("p99 error \(text(report.p99Error)) is above \(text(p99ErrorMax))") }
        if let aucLossMax {
            if let loss = report.aucLoss {
                if loss > aucLossMax { broken.append("AUC loss \(text(loss)) is above \(text(aucLossMax))") }
            } else {
                broken.append("AUC loss was not measured: the data has no labels of both kinds")
            }
        }
        return broken
    }

    /// How near the limits a report is: the largest share of a limit that is used up; above 1 it is broken.
    func use(of report: ValidationReport) -> Double {
        var most = 0.0
        if let agreementMin { most = max(most, (1 - report.agreement) / max(1e-9, 1 - agreementMin)) }
        if let p99ErrorMax { most = max(most, report.p99Error.isNaN ? .infinity : report.p99Error / max(1e-12, p99ErrorMax)) }
        if let aucLossMax, let loss = report.aucLoss { most = max(most, loss / max(1e-9, aucLossMax)) }
        return most
    }
}

/// Runs a reference and variants over the same held-out sequences.
public struct Validator {
    private let runtime: OnnxRuntime
    private let dataset: Dataset
    private let reference: InferenceSession
    private let runner: SequenceRunner
    private let rows: [[Float]]
    private let task: ValidationReport.Task
    /// The reference's state before each of some windows.
    private let checkpoints: [(window: Int, state: SequenceRunner.State)]
    /// Windows watched after a switch.
    private static let seamLength = 8

    /// Runs the reference once.
    /// - Throws: what loading and running it throw; `.unusableData` where it gives NaN.
    public init(reference model: OnnxModel, dataset: Dataset, runtime: OnnxRuntime) throws(JouledError) {
        self.runtime = runtime
        self.dataset = dataset
        reference = try InferenceSession(runtime: runtime, model: model.serialized(), path: model.path)
        let runner = try SequenceRunner(session: reference, dataset: dataset)
        var rows: [[Float]] = []
        var checkpoints: [(Int, SequenceRunner.State)] = []
        var state = runner.zeroState
        let stride = max(Self.seamLength, dataset.windows / 24)
        let names = runner.results.map(\.name)
        for window in 0..<dataset.windows {
            if dataset.sequenceStarts.contains(window) { state = runner.zeroState }
            if window > 0, window % stride == 0, window + Self.seamLength <= dataset.windows, !runner.states.isEmpty { checkpoints.append((window, state)) }
            let row = try runner.step(window, &state, outputs: names).flatMap(\.floats)
            guard row.allSatisfy(\.isFinite) else {
                throw JouledError(.unusableData, "\(model.path): gives NaN or infinity in window \(window) of \(dataset.path)")
            }
            rows.append(row)
        }
        self.runner = runner
        self.rows = rows
        self.checkpoints = checkpoints
        task = Self.task(rows)
    }

    static func task(_ rows: [[Float]]) -> ValidationReport.Task {
        guard let width = rows.first?.count, width > 0 else { return .regression }
        let areProbabilities = rows.allSatisfy { $0.allSatisfy { $0 >= -1e-4 && $0 <= 1.0001 } }
        if width == 1 { return areProbabilities ? .binary : .regression }
        let sumToOne = rows.allSatisfy { ($0.reduce(0, +) - 1).magnitude < 0.02 }
        return areProbabilities && sumToOne ? .classes : (areProbabilities ? .classes : .regression)
    }

    /// Compares a variant with the reference.
    /// - Parameter seams: also switch between the two, with state carried over, at some two dozen places.
    public func validate(_ variant: OnnxModel, seams: Bool = true) throws(JouledError) -> ValidationReport {
        let session = try InferenceSession(runtime: runtime, model: variant.serialized(), path: variant.path)
        let other = try SequenceRunner(session: session, dataset: dataset)
        guard other.results.map(\.name) == runner.results.map(\.name) else {
            throw JouledError(
                .contractBroken,
                "\(variant.path): has outputs \(other.results.map(\.name).joined(separator: ", ")), the reference \(runner.results.map(\.name).joined(separator: ", "))")
        }
        let variantRows = try other.allResults()
        var report = try figures(variantRows, variant.path)
        if seams, !runner.states.isEmpty {
            report.seams = [
                try seam("reference to variant", from: checkpoints, into: other),
                try seam("variant to reference", from: try states(of: other), into: runner),
            ]
        }
        return report
    }

    private func states(of other: SequenceRunner) throws(JouledError) -> [(window: Int, state: SequenceRunner.State)] {
        let wanted = Set(checkpoints.map(\.window))
        var list: [(Int, SequenceRunner.State)] = []
        var state = other.zeroState
        guard let last = wanted.max() else { return [] }
        for window in 0...last {
            if dataset.sequenceStarts.contains(window) { state = other.zeroState }
            if wanted.contains(window) { list.append((window, state)) }
            _ = try other.step(window, &state, outputs: [])
        }
        return list
    }

    private func seam(
        _ direction: String, from points: [(window: Int, state: SequenceRunner.State)], into target: SequenceRunner
    ) throws(JouledError) -> ValidationReport.Seam {
        var most = [Double](repeating: 0, count: Self.seamLength)
        let names = target.results.map(\.name)
        for (window, start) in points {
            var state = start
            for offset in 0..<Self.seamLength {
                if offset > 0, dataset.sequenceStarts.contains(window + offset) { break }
                let row = try target.step(window + offset, &state, outputs: names).flatMap(\.floats)
                most[offset] = max(most[offset], Self.difference(row, rows[window + offset]))
            }
        }
        return ValidationReport.Seam(direction: direction, switches: points.count, maximumByWindow: most)
    }

    private static func difference(_ left: [Float], _ right: [Float]) -> Double {
        var most: Float = 0
        for (a, b) in zip(left, right) {
            let distance = (a - b).magnitude
            if distance.isNaN { return .infinity }
            most = max(most, distance)
        }
        return Double(most)
    }

    private func decision(_ row: [Float]) -> Int {
        switch task {
        case .binary: row[0] >= 0.5 ? 1 : 0
        case .classes: row.indices.max { row[$0] < row[$1] } ?? 0
        case .regression: 0
        }
    }

    private func figures(_ variant: [[Float]], _ path: String) throws(JouledError) -> ValidationReport {
        guard variant.first?.count == rows.first?.count else {
            throw JouledError(.contractBroken, "\(path): gives \(variant.first?.count ?? 0) values per window, the reference \(rows.first?.count ?? 0)")
        }
        let errors = zip(variant, rows).map(Self.difference)
        let sorted = errors.sorted()
        let (mine, theirs) = (rows.map(decision), variant.map(decision))
        let agreed = zip(mine, theirs).reduce(0) { $0 + ($1.0 == $1.1 ? 1 : 0) }
        var classes: [ValidationReport.ClassFigures] = []
        if task != .regression {
            for index in 0..<(task == .binary ? 2 : rows[0].count) {
                let members = mine.indices.filter { mine[$0] == index }
                classes.append(.init(index: index, reference: members.count, agreed: members.filter { theirs[$0] == index }.count))
            }
        }
        var report = ValidationReport(
            task: task, windows: rows.count, agreement: Double(agreed) / Double(rows.count),
            meanError: errors.reduce(0, +) / Double(errors.count), p50Error: Self.quantile(sorted, 0.5), p95Error: Self.quantile(sorted, 0.95),
            p99Error: Self.quantile(sorted, 0.99), maximumError: sorted.last ?? 0, outputs: noise(variant), classes: classes,
            worst: errors.indices.sorted { (errors[$0], $1) > (errors[$1], $0) }.prefix(10).map { .init(window: $0, error: errors[$0]) },
            growth: growth(errors),
            seams: [])
        if let labels = dataset.labels { truth(&report, variant, labels) }
        return report
    }

    /// By the place of each window in its sequence; an eighth that no sequence is long enough for is left out.
    private func growth(_ errors: [Double]) -> [Double] {
        let starts = dataset.sequenceStarts.sorted() + [errors.count]
        var (sums, counts) = ([Double](repeating: 0, count: 8), [Int](repeating: 0, count: 8))
        for (start, end) in zip(starts, starts.dropFirst()) {
            for window in start..<end {
                let eighth = (window - start) * 8 / (end - start)
                sums[eighth] += errors[window]
                counts[eighth] += 1
            }
        }
        return zip(sums, counts).filter { $1 > 0 }.map { $0 / Double($1) }
    }

    /// What the outputs do after switching between any two variants, state carried over: one seam per ordered pair.
    /// - Throws: what loading and running them throw. Empty for models without state.
    public func seams(among variants: [(id: String, model: OnnxModel)]) throws(JouledError) -> [ValidationReport.Seam] {
        guard !runner.states.isEmpty else { return [] }
        var runners: [(id: String, runner: SequenceRunner, states: [(window: Int, state: SequenceRunner.State)])] = []
        for (id, model) in variants {
            let session = try InferenceSession(runtime: runtime, model: model.serialized(), path: model.path)
            let own = try SequenceRunner(session: session, dataset: dataset)
            runners.append((id, own, try states(of: own)))
        }
        var result: [ValidationReport.Seam] = []
        for from in runners {
            for to in runners where to.id != from.id { result.append(try seam("\(from.id) to \(to.id)", from: from.states, into: to.runner)) }
        }
        return result
    }

    private func truth(_ report: inout ValidationReport, _ variant: [[Float]], _ labels: [Int]) {
        let judged = labels.indices.filter { labels[$0] >= 0 }
        guard !judged.isEmpty, task != .regression else { return }
        func top(_ rows: [[Float]], _ count: Int) -> Double {
            let hits = judged.filter { index in
                if task == .binary { return (rows[index][0] >= 0.5 ? 1 : 0) == labels[index] }
                let row = rows[index]
                guard labels[index] < row.count else { return false }
                return row.filter { $0 > row[labels[index]] }.count < count
            }
            return Double(hits.count) / Double(judged.count)
        }
        report.top1 = (top(rows, 1), top(variant, 1))
        if task == .classes, rows[0].count > 5 { report.top5 = (top(rows, 5), top(variant, 5)) }
        guard task == .binary else { return }
        let positive = judged.map { labels[$0] == 1 }
        if let reference = Self.auc(judged.map { rows[$0][0] }, positive), let other = Self.auc(judged.map { variant[$0][0] }, positive) {
            report.auc = (reference, other)
        }
    }

    private func noise(_ variant: [[Float]]) -> [ValidationReport.Output] {
        var result: [ValidationReport.Output] = []
        var start = 0
        for output in runner.results {
            let width = runner.results.count == 1 ? rows[0].count : output.elementCount
            let range = start..<min(rows[0].count, start + width)
            start += width
            var (signal, error) = (0.0, 0.0)
            for (mine, theirs) in zip(rows, variant) {
                for index in range {
                    signal += Double(mine[index] * mine[index])
                    let difference = Double(mine[index] - theirs[index])
                    error += difference * difference
                }
            }
            result.append(.init(name: output.name, signalToNoise: error > 0 ? 10 * log10(signal / error) : .infinity))
        }
        return result
    }

    /// With linear interpolation between ranks, as numpy's default.
    static func quantile(_ sorted: [Double], _ q: Double) -> Double {
        guard let last = sorted.indices.last else { return 0 }
        let place = q * Double(last)
        let low = Int(place.rounded(.down))
        let (a, b) = (sorted[low], sorted[min(last, low + 1)])
        return a == b ? a : a + (b - a) * (place - Double(low))
    }

    /// Area under the ROC curve: the chance that a positive outranks a negative, ties counting half (Mann-Whitney).
    static func auc(_ scores: [Float], _ positive: [Bool]) -> Double? {
        let positives = positive.filter { $0 }.count
        let negatives = positive.count - positives
        guard positives > 0, negatives > 0 else { return nil }
        let order = scores.indices.sorted { scores[$0] < scores[$1] }
        var sum = 0.0
        var start = 0
        while start < order.count {
            var end = start
            while end < order.count, scores[order[end]] == scores[order[start]] { end += 1 }
            let rank = Double(start + end + 1) / 2
            for position in start..<end where positive[order[position]] { sum += rank }
            start = end
        }
        return (sum - Double(positives) * Double(positives + 1) / 2) / (Double(positives) * Double(negatives))
    }
}
