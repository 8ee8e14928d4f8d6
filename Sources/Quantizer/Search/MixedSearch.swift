import InferenceRuntime
import OnnxGraph
import Units

/// Finds which operations to quantize: the cheapest assignment, measured on this device, that holds the limits.
///
/// 1. Sensitivity: each operation is quantized alone and the model validated on the data. No operation is presumed to be
///    delicate; the measurement tells.
/// 2. Sets: from the least sensitive operation on, each is added if the whole still holds the limits. And since integer
///    regions without holes are cheaper, all operations from some point of the graph on, and up to some point.
/// 3. Cost: the sets that hold run interleaved at a cadence, against float and the plain schemes; the least CPU time wins.
///
/// Errors only add up roughly, so nothing is inferred: every set that is chosen was itself validated.
public struct MixedSearch {
    /// One operation by itself.
    public struct Sensitivity: Sendable {
        public var operation: String
        public var type: String
        public var scheme: Scheme
        public var agreement: Double
        public var p99Error: Double
        /// Share of the limits used up; above 1 it breaks one alone.
        public var use: Double
    }

    /// A set that was measured.
    public struct Candidate: Sendable {
        public var name: String
        public var operations: [String]
        public var bytes: Int
        public var agreement: Double
        public var p99Error: Double
        public var use: Double
        /// CPU time per window at the cadence, at the search's windows per wake-up.
        public var cpu: Seconds
        /// Standard error of `cpu`.
        public var cpuError: Seconds
        /// Time per window back to back.
        public var hot: Seconds
        public var holds: Bool

        /// Whether the measurement cannot tell the two costs apart: within 2 % or two standard errors of the difference.
        func isAsCheap(as other: Candidate) -> Bool {
            let noise = 2 * (cpuError.value * cpuError.value + other.cpuError.value * other.cpuError.value).squareRoot()
            return cpu.value - other.cpu.value <= max(noise, other.cpu.value * 0.02)
        }
    }

    public struct Result: Sendable {
        public var outcome: ModelQuantizer.Outcome
        /// Least sensitive first.
        public var ranking: [Sensitivity]
        /// Cheapest first.
        public var candidates: [Candidate]
        public var chosen: String

        /// The report for a person.
        public var lines: [String] {
            func number(_ value: Double) -> String { decimal(value, places: 4) }
            var lines = ["Sensitivity, least first (alone; share of the limits used):"]
            for item in ranking {
                lines.append("  \(decimal(item.use, places: 2)) \(item.operation) (\(item.type), \(item.scheme.rawValue)): agreement \(number(item.agreement)), p99 error \(number(item.p99Error))\(item.use > 1 ? ": breaks the limits alone, stays float" : "")")
            }
            lines.append("Measured, cheapest first:")
            for item in candidates {
                lines.append("  \(item.cpu) ± \(item.cpuError), back to back \(item.hot): \(item.name) (\(item.operations.count) operations, \(item.bytes) bytes): agreement \(number(item.agreement)), p99 error \(number(item.p99Error))\(item.holds ? "" : ": breaks the limits")")
            }
            lines.append("Chosen: \(chosen)")
            return lines
        }
    }

    private let source: OnnxModel
    private let dataset: Dataset
    private let runtime: OnnxRuntime
    private let limits: ValidationLimits
    /// The part of the limits that a set may use up here: the data it was chosen on flatters it.
    public var headroom = 0.9
    /// Sets whose cost is measured.
    public var finalists = 8
    /// With it, a set that can take several windows in one run is measured so.
    var batching: RowBatching?
    public var rounds = 40
    /// Windows per wake-up: how many a stream's latency tolerance lets come together. Alone, a small model costs its
    /// cold caches and little else, and no scheme is cheaper.
    public var coalesce = 8
    public var cadence = Seconds(milliseconds: 20)

    public init(source: OnnxModel, dataset: Dataset, runtime: OnnxRuntime, limits: ValidationLimits) {
        self.source = source
        self.dataset = dataset
        self.runtime = runtime
        self.limits = limits
    }

    /// - Parameters:
    ///   - recipe: calibration settings and the operations that stay float by name; schemes come from the search.
    ///   - progress: gets a line now and then.
    /// - Throws: what quantizing and running throw; `.invalidRecipe` where there is nothing to quantize.
    public func run(
        _ quantizer: inout ModelQuantizer, _ recipe: Recipe, progress: (String) -> Void = { _ in }
    ) throws(JouledError) -> Result {
        quantizer.keepsStatistics = true
        let skipped = Set(recipe.names.filter { $0.value.scheme == .skip }.keys)
        let operations = quantizer.operations.filter { !skipped.contains($0.node) && Self.scheme(for: $0.type) != nil }
        guard !operations.isEmpty else { throw JouledError(.invalidRecipe, "\(source.path): has no operation that int8 could make cheaper") }
        let validator = try Validator(reference: source, dataset: dataset, runtime: runtime)
        var trial = Trial(quantizer: quantizer, recipe: recipe, operations: operations, validator: validator, limits: limits)
        var ranking: [Sensitivity] = []
        for (number, operation) in operations.enumerated() {
            progress("sensitivity \(number + 1) of \(operations.count): \(operation.node)")
            let report = try trial.report([number])
            ranking.append(.init(
                operation: operation.node, type: operation.type, scheme: Self.scheme(for: operation.type) ?? .skip,
                agreement: report.agreement, p99Error: report.p99Error, use: limits.use(of: report)))
        }
        let order = operations.indices.sorted { (ranking[$0].use, $0) < (ranking[$1].use, $1) }
        let sets = try sets(&trial, order, ranking, progress)
        var measured = try measure(&trial, sets, operations)
        measured.sort { $0.candidate.cpu < $1.candidate.cpu }
        guard let best = measured.first(where: { $0.candidate.holds }) else {
            throw JouledError(.invalidRecipe, "\(source.path): no assignment holds the limits, not even float; check them")
        }
        // What the noise of the cadence hides shows back to back; what is alike there too is a matter of accuracy.
        let close = measured.filter { $0.candidate.holds && $0.candidate.isAsCheap(as: best.candidate) }
        let fastest = close.map(\.candidate.hot).min() ?? best.candidate.hot
        let winner = close.filter { $0.candidate.hot.value <= fastest.value * 1.02 }.min { $0.candidate.use < $1.candidate.use } ?? best
        quantizer = trial.quantizer
        return Result(
            outcome: winner.outcome, ranking: order.map { ranking[$0] }, candidates: measured.map(\.candidate), chosen: winner.candidate.name)
    }

    /// The integer form of an operation that can be faster than float.
    static func scheme(for type: String) -> Scheme? {
        switch type {
        case "Conv", "Gemm", "MatMul": .int8
        case "LSTM": .int8Dynamic
        default: nil
        }
    }

    /// Quantizes and validates sets of operations, each once.
    private struct Trial {
        var quantizer: ModelQuantizer
        let recipe: Recipe
        let operations: [Assignment.Entry]
        let validator: Validator
        let limits: ValidationLimits
        var known: [Set<Int>: ValidationReport] = [:]

        func recipe(for set: Set<Int>) -> Recipe {
            var result = recipe
            result.global.scheme = .skip
            for (number, operation) in operations.enumerated() {
                var settings = recipe.settings(name: operation.node, type: operation.type)
                settings.scheme = set.contains(number) ? MixedSearch.scheme(for: operation.type) ?? .skip : .skip
                result.names[operation.node] = settings
            }
            result.types = [:]
            return result
        }

        mutating func report(_ set: Set<Int>) throws(JouledError) -> ValidationReport {
            if let known = known[set] { return known }
            let report = try validator.validate(quantizer.quantize(recipe(for: set)).model, seams: false)
            known[set] = report
            return report
        }

        mutating func use(_ set: Set<Int>) throws(JouledError) -> Double { limits.use(of: try report(set)) }
    }

    private func sets(
        _ trial: inout Trial, _ order: [Int], _ ranking: [Sensitivity], _ progress: (String) -> Void
    ) throws(JouledError) -> [(name: String, set: Set<Int>)] {
        var found: [(name: String, set: Set<Int>)] = []
        func add(_ name: String, _ set: Set<Int>) {
            if !set.isEmpty, !found.contains(where: { $0.set == set }) { found.append((name, set)) }
        }
        var greedy: Set<Int> = []
        for number in order where ranking[number].use <= headroom {
            progress("adding \(ranking[number].operation)")
            if try trial.use(greedy.union([number])) <= headroom { greedy.insert(number) }
        }
        add("greedy", greedy)
        // Regions without holes, of what does not break the limits by itself.
        let harmless = Set(order.filter { ranking[$0].use <= headroom })
        for start in order.indices {
            for (name, set) in [("from \(ranking[start].operation)", Set(start..<order.count)), ("up to \(ranking[start].operation)", Set(0...start))] {
                let region = set.intersection(harmless)
                guard !region.isEmpty, !found.contains(where: { $0.set == region }) else { continue }
                progress("region \(name)")
                if try trial.use(region) <= headroom { add(name, region) }
            }
        }
        // The largest few, and by type: an LSTM alone can be the best there is.
        for type in Set(trial.operations.map(\.type)).sorted() {
            let same = harmless.filter { trial.operations[$0].type == type }
            if !same.isEmpty, try trial.use(same) <= headroom { add("all \(type)", same) }
        }
        return found.sorted { $0.set.count > $1.set.count }.prefix(finalists).map { $0 }
    }

    private func measure(
        _ trial: inout Trial, _ sets: [(name: String, set: Set<Int>)], _ operations: [Assignment.Entry]
    ) throws(JouledError) -> [(candidate: Candidate, outcome: ModelQuantizer.Outcome)] {
        var pool: [(name: String, set: Set<Int>, outcome: ModelQuantizer.Outcome, report: ValidationReport)] = []
        for (name, set) in sets + [("all int8", Set(operations.indices))] {
            pool.append((name, set, try trial.quantizer.quantize(trial.recipe(for: set)), try trial.report(set)))
        }
        for (name, scheme) in [("float", Scheme.skip), ("all fp16", .fp16)] {
            var recipe = Recipe(scheme)
            recipe.weightThreshold = trial.recipe.weightThreshold
            let outcome = try trial.quantizer.quantize(recipe)
            pool.append((name, [], outcome, try trial.validator.validate(outcome.model, seams: false)))
        }
        var settings = FileProfiler.Settings()
        settings.rounds = rounds
        settings.cadence = cadence
        settings.coalesce = [coalesce]
        settings.hotRuns = 200
        var files: [(path: String, bytes: [UInt8])] = []
        var rows: [Int] = []
        for item in pool {
            let opened = try batching?.open(item.outcome.model).opened
            if let opened { files.append((item.name, opened.bytes)) } else { files.append((item.name, try item.outcome.model.serialized())) }
            rows.append(opened?.rows ?? 1)
        }
        let costs = try FileProfiler(runtime: runtime, settings: settings).profile(files, rows: rows)
        return zip(pool, costs).map { item, cost in
            let use = limits.use(of: item.report)
            return (
                Candidate(
                    name: item.name, operations: item.set.sorted().map { operations[$0].node }, bytes: cost.bytes,
                    agreement: item.report.agreement, p99Error: item.report.p99Error, use: use, cpu: cost.steps[0].cpu, cpuError: cost.steps[0].cpuError, hot: cost.hot,
                    holds: use <= headroom),
                item.outcome
            )
        }
    }
}
