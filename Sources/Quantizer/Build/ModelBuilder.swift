import InferenceRuntime
import ModelStore
import OnnxGraph
import Units

/// The whole pipeline for one model: import, quantize, validate, profile, publish.
public struct ModelBuilder {
    /// What was tried and how it went.
    public struct Attempt: Sendable {
        public var id: String
        public var scheme: String
        public var bytes: Int
        public var report: ValidationReport?
        /// Why it is not in the bundle.
        public var problems: [String]
        /// CPU time per window at the model's coalescing; nil where it was left out.
        public var cpu: Seconds?
        public var latency: Seconds?
        public var hot: Seconds?
        public var isDominated = false
        /// Windows that one run takes.
        public var rows = 1
    }
    public struct Outcome: Sendable {
        public var bundle: ModelBundle
        public var attempts: [Attempt]
        public var notes: [String]
        public var searches: [MixedSearch.Result]
        public var recommendation: String
        /// Windows per wake-up at which the costs were measured.
        public var coalesce: Int
    }

    private let recipe: BuildRecipe
    private let runtime: OnnxRuntime
    public var rounds = 40

    public init(recipe: BuildRecipe, runtime: OnnxRuntime) {
        self.recipe = recipe
        self.runtime = runtime
    }

    private struct Candidate {
        var attempt: Attempt
        var bytes: [UInt8]
    }

    /// - Throws: what every step throws; `.invalidRecipe` where too few variants hold the thresholds. Nothing is published then.
    public func build(into store: ModelStore, progress: (String) -> Void) throws(JouledError) -> Outcome {
        let imported = try ModelImport.run(OnnxModel.load(recipe.source), dimensions: recipe.dimensions, constants: recipe.constants, fixAll: true, contract: recipe.contract, runtime: runtime)
        progress("imported: \(imported.model.graph.node.count) operations")
        let thresholds = recipe.contract.thresholds
        let limits = ValidationLimits(agreementMin: thresholds.agreementMin, p99ErrorMax: thresholds.p99ErrorMax, aucLossMax: thresholds.aucLossMax)
        let calibrator = try Calibrator(runtime: runtime, dataset: Dataset.load(recipe.calibration, contract: recipe.contract), allowFew: recipe.allowFew)
        let evaluation = try Dataset.load(recipe.evaluation, contract: recipe.contract)
        let validator = try Validator(reference: imported.model, dataset: evaluation, runtime: runtime)
        var others: [(String, Validator)] = []
        var unlike: [Dataset] = []
        for path in recipe.outOfDistribution {
            unlike.append(try Dataset.load(path, contract: recipe.contract))
            others.append((path, try Validator(reference: imported.model, dataset: unlike[unlike.count - 1], runtime: runtime)))
        }
        // All variants are made of what is cheapest on this device; what they are held against stays as it was imported.
        let specialised = recipe.specialise ? try Specialisation(runtime: runtime, dataset: calibrator.dataset).run(imported.model) : nil
        if let note = specialised?.note { progress(note) }
        let float = specialised?.model ?? imported.model
        var calibrated: CalibratedModel?
        var quantizer = try ModelQuantizer(float, calibrator: calibrator)
        quantizer.keepsCalibrated = true
        var notes = imported.notes + (specialised.map { [$0.note] } ?? []) + (calibrator.warning.map { [$0] } ?? [])
        var searches: [MixedSearch.Result] = []
        let period = recipe.contract.windowPeriod
        let coalesce = max(1, Int((recipe.contract.latencyTolerance / period).rounded(.down)))

        let batching = RowBatching(runtime: runtime, contract: recipe.contract, dataset: evaluation)
        var candidates = [
            Candidate(
                attempt: Attempt(id: "fp32", scheme: "fp32", bytes: 0, report: try validator.validate(float, seams: false), problems: []),
                bytes: try float.serialized())
        ]
        for variant in recipe.variants {
            progress("quantizing \(variant.id)")
            let outcome: ModelQuantizer.Outcome
            if variant.isMixed {
                let choice = try recipe.selection.map { path throws(JouledError) in try Dataset(path: path) } ?? calibrator.dataset
                var declared = limits
                declared.aucLossMax = choice.labels == nil ? nil : limits.aucLossMax
                var search = MixedSearch(source: float, dataset: choice, runtime: runtime, limits: declared)
                search.coalesce = min(8, coalesce)
                search.rounds = rounds
                search.batching = RowBatching(runtime: runtime, contract: recipe.contract, dataset: choice)
                let result = try search.run(&quantizer, variant.recipe, progress: progress)
                searches.append(result)
                outcome = result.outcome
            } else {
                outcome = try quantizer.quantize(variant.recipe)
            }
            notes += outcome.notes.filter { !notes.contains($0) }
            calibrated = calibrated ?? outcome.calibrated
            var candidate = try judge(variant, outcome, validator, others, limits)
            if let twin = candidates.first(where: { $0.bytes == candidate.bytes }) { candidate.attempt.problems = ["is the same file as '\(twin.attempt.id)'"] }
            candidates.append(candidate)
            progress("\(variant.id): \(candidates.last?.attempt.problems.isEmpty == true ? "holds the thresholds" : "left out: " + (candidates.last?.attempt.problems.joined(separator: "; ") ?? ""))")
        }
        var coverage = Coverage(calibration: calibrator.dataset)
        for other in [evaluation] + unlike { try coverage.compare(other, calibrated: calibrated, runtime: runtime) }
        for line in coverage.lines { progress(line) }
        candidates[0].attempt.bytes = candidates[0].bytes.count
        let kept = candidates.indices.filter { candidates[$0].attempt.problems.isEmpty }
        guard kept.count - 1 >= recipe.fewestVariants else {
            let reasons = candidates.filter { !$0.attempt.problems.isEmpty }.map { "\($0.attempt.id): \($0.attempt.problems.joined(separator: "; "))" }
            throw JouledError(.invalidRecipe, "\(recipe.file): \(kept.count - 1) variants hold the thresholds, \(recipe.fewestVariants) are needed (\(reasons.joined(separator: " | ")))")
        }
        var models: [(id: String, model: OnnxModel)] = []
        for index in kept { models.append((candidates[index].attempt.id, try OnnxModel.parse(candidates[index].bytes, path: candidates[index].attempt.id))) }
        let seams = try validator.seams(among: models)
        for (index, model) in zip(kept, models) {
            let (opened, reason) = try batching.open(model.model)
            guard let opened else {
                notes.append("'\(model.id)' runs one window at a time: \(reason)")
                progress("\(model.id): one window at a time, for \(reason)")
                continue
            }
            candidates[index].bytes = opened.bytes
            candidates[index].attempt.bytes = opened.bytes.count
            candidates[index].attempt.rows = opened.rows
            progress("\(model.id): up to \(opened.rows) windows in one run, with the same results in \(decimal(opened.share, places: 2)) of the CPU time")
        }
        progress("measuring \(kept.count) variants, \(min(8, coalesce)) windows a wake-up")
        try measure(&candidates, kept, period, min(8, coalesce))
        var manifest = recipe.contract
        manifest.cadences = try cadences(imported.model, evaluation)
        manifest.variants = kept.compactMap { index in entry(candidates[index], windows: evaluation.windows, calibration: coverage) }
        let recommendation = Self.recommendation(kept.map { candidates[$0].attempt })
        var files = Dictionary(uniqueKeysWithValues: kept.map { (candidates[$0].attempt.id + ".onnx", candidates[$0].bytes) })
        files["recipe.toml"] = try BinaryFile.read(recipe.file)
        let report = BuildReport(
            name: manifest.name, attempts: candidates.map(\.attempt), searches: searches, notes: notes, recommendation: recommendation,
            thresholds: limits, data: recipe.evaluationName, device: Profiler.deviceName(), runtime: "onnxruntime \(runtime.version)", coalesce: min(8, coalesce),
            coverage: coverage.lines, seams: seams)
        files["report.html"] = Array(report.html.utf8)
        files["report.json"] = report.json(coverage)
        let bundle = try store.publish(manifest, files: files)
        return Outcome(bundle: bundle, attempts: candidates.map(\.attempt), notes: notes, searches: searches, recommendation: recommendation, coalesce: min(8, coalesce))
    }

    private func judge(
        _ variant: BuildRecipe.Variant, _ outcome: ModelQuantizer.Outcome, _ validator: Validator, _ others: [(String, Validator)], _ limits: ValidationLimits
    ) throws(JouledError) -> Candidate {
        var model = outcome.model
        model.path = variant.id
        let bytes = try model.serialized()
        let schemes = Dictionary(grouping: outcome.assignment.entries.filter { $0.settings.scheme != .skip }, by: \.settings.scheme)
        let text = schemes.sorted { $0.key.rawValue < $1.key.rawValue }.map { "\($0.key.rawValue) \($0.value.map(\.node).joined(separator: " "))" }.joined(separator: ", ")
        let report = try validator.validate(model)
        var problems = limits.broken(by: report)
        if schemes.isEmpty { problems.append("nothing was quantized") }
        for (path, other) in others {
            let name = path.split(separator: "/").last.map(String.init) ?? path
            // Only what needs no labels: unlike data seldom has any.
            let relaxed = ValidationLimits(agreementMin: limits.agreementMin, p99ErrorMax: limits.p99ErrorMax)
            problems += relaxed.broken(by: try other.validate(model, seams: false)).map { "\($0) on \(name)" }
        }
        return Candidate(attempt: Attempt(id: variant.id, scheme: text, bytes: bytes.count, report: report, problems: problems), bytes: bytes)
    }

    private func measure(_ candidates: inout [Candidate], _ kept: [Int], _ period: Seconds, _ coalesce: Int) throws(JouledError) {
        var settings = FileProfiler.Settings()
        settings.cadence = period
        settings.coalesce = [coalesce]
        settings.rounds = rounds
        let results = try FileProfiler(runtime: runtime, settings: settings).profile(
            kept.map { (candidates[$0].attempt.id, candidates[$0].bytes) }, rows: kept.map { candidates[$0].attempt.rows })
        for (index, result) in zip(kept, results) {
            candidates[index].attempt.cpu = result.steps[0].cpu
            candidates[index].attempt.latency = result.steps[0].p50
            candidates[index].attempt.hot = result.hot
        }
        for index in kept where index != 0 {
            let mine = candidates[index].attempt
            candidates[index].attempt.isDominated = kept.contains { other in
                let theirs = candidates[other].attempt
                guard other != index, let a = mine.report, let b = theirs.report, let x = mine.cpu, let y = theirs.cpu else { return false }
                return b.agreement >= a.agreement && b.p99Error <= a.p99Error && y.value < x.value * 0.97 && theirs.bytes <= mine.bytes
            }
        }
    }

    /// What is left of the decisions when only every n-th window runs and its result is held.
    private func cadences(_ model: OnnxModel, _ dataset: Dataset) throws(JouledError) -> [ModelManifest.Cadence] {
        let session = try InferenceSession(runtime: runtime, model: model.serialized(), path: model.path)
        let runner = try SequenceRunner(session: session, dataset: dataset)
        let all = try runner.allResults()
        let task = Validator.task(all)
        func decision(_ row: [Float]) -> Int { task == .binary ? (row[0] >= 0.5 ? 1 : 0) : row.indices.max { row[$0] < row[$1] } ?? 0 }
        var list = [ModelManifest.Cadence(multiple: 1, agreement: 1)]
        guard task != .regression else { return list }
        for multiple in [2, 4] {
            var state = runner.zeroState
            var held: [Float] = []
            var agreed = 0
            var sinceStart = 0
            for window in 0..<dataset.windows {
                if dataset.sequenceStarts.contains(window) { (state, sinceStart) = (runner.zeroState, 0) }
                if sinceStart % multiple == 0 { held = try runner.step(window, &state, outputs: runner.results.map(\.name)).flatMap(\.floats) }
                sinceStart += 1
                agreed += decision(held) == decision(all[window]) ? 1 : 0
            }
            list.append(ModelManifest.Cadence(multiple: multiple, agreement: rounded(Double(agreed) / Double(dataset.windows))))
        }
        return list
    }

    private func entry(_ candidate: Candidate, windows: Int, calibration: Coverage) -> ModelManifest.Variant? {
        guard let report = candidate.attempt.report else { return nil }
        // What was calibrated on little data must say so wherever it goes.
        let few = calibration.isFew && candidate.attempt.id != "fp32" ? "; calibrated on \(calibration.windows) windows only (few allowed)" : ""
        return ModelManifest.Variant(
            named: candidate.attempt.id, scheme: candidate.attempt.scheme, content: candidate.bytes, windowsPerRun: candidate.attempt.rows,
            validation: ModelManifest.Validation(
                on: "\(recipe.evaluationName): \(windows) windows\(few)", agreement: rounded(report.agreement), p99Error: rounded(report.p99Error),
                // The float model differs from what was imported by the order of its sums at most, which is no error; others' is never called none.
                meanError: (report.meanError * 1e6).rounded(candidate.attempt.id == "fp32" ? .toNearestOrAwayFromZero : .up) / 1e6, aucLoss: report.aucLoss.map(rounded)))
    }

    /// To the four decimals that mean something.
    private func rounded(_ value: Double) -> Double { (value * 10_000).rounded() / 10_000 }

    /// In words, following the guide: INT8 first, a palette only for size, mixed where INT8 breaks a threshold.
    static func recommendation(_ kept: [Attempt]) -> String {
        guard let float = kept.first(where: { $0.id == "fp32" }), let base = float.cpu else { return "" }
        let others = kept.filter { $0.id != "fp32" && $0.cpu != nil }
        // Proof for `!`: the filter above.
        guard let cheapest = others.min(by: { $0.cpu! < $1.cpu! }), let smallest = others.min(by: { $0.bytes < $1.bytes }) else { return "Only float holds the thresholds." }
        let share = (cheapest.cpu ?? base) / base
        var text =
            share < 0.97
            ? "Use '\(cheapest.id)': \(percent(share)) of float's CPU time and \(percent(Double(cheapest.bytes) / Double(max(1, float.bytes)))) of its size, within the thresholds."
            : "No variant is cheaper than float on this device: the model is too small, or the work lies where integers do not help. Use 'fp32'."
        if smallest.id != cheapest.id {
            text += " Where size is the constraint, '\(smallest.id)' has \(percent(Double(smallest.bytes) / Double(max(1, float.bytes)))) of float's size, but \(percent((smallest.cpu ?? base) / base)) of its CPU time."
        }
        let dominated = others.filter(\.isDominated).map { "'\($0.id)'" }
        if !dominated.isEmpty { text += " Dominated, and of no use here: \(dominated.joined(separator: ", "))." }
        return text
    }
}
