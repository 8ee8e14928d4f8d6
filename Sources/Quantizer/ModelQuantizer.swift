import Glibc
import InferenceRuntime
import OnnxGraph
import Units

/// Makes a quantized model of a float one, as a recipe says.
public struct ModelQuantizer {
    /// What became of a model.
    public struct Outcome: Sendable {
        public var model: OnnxModel
        /// Every operation with weights: its scheme, or why it stays in float.
        public var assignment: Assignment
        /// Sentences for a person: what was done otherwise than asked, and doubts about the data.
        public var notes: [String]
        /// Where static int8 was calibrated, if `keepsCalibrated`: on what, and to which ranges.
        public var calibrated: CalibratedModel?
    }

    private let calibrator: Calibrator?
    private let path: String
    private var lifted: OnnxModel
    /// Set to false by who quantizes once: the float weights are then freed as soon as they are not needed any more.
    public var keepsSource = true
    /// Statistics by tensor, kept between recipes of one model: a search quantizes it many times.
    private var cache = Cache()
    /// Watch every operation's tensors at the first calibration and keep the statistics: for those who quantize many times.
    public var keepsStatistics = false {
        // What was kept before covers one recipe's tensors only.
        didSet { if keepsStatistics != oldValue { cache = Cache() } }
    }

    /// Return what was calibrated (`Outcome.calibrated`), for a coverage report; it holds the float weights.
    public var keepsCalibrated = false

    private struct Cache {
        var plain: [String: ActivationStatistics] = [:]
        var equalized: [String: (model: OnnxModel, statistics: [String: ActivationStatistics])] = [:]
    }

    /// - Parameter calibrator: needed for `int8` only.
    /// - Throws: `.invalidGraph` and `.unsupportedGraph` for a graph that is not sound or whose operator set is too old.
    public init(_ model: OnnxModel, calibrator: Calibrator? = nil) throws(JouledError) {
        try GraphCheck.check(model)
        guard model.opset >= 13 else {
            throw JouledError(.unsupportedGraph, "\(model.path): operator set \(model.opset) is not supported; 13 or later is needed (onnx.version_converter raises it)")
        }
        guard !model.graph.node.contains(where: { ["QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"].contains($0.opType) || $0.domain == microsoftDomain }) else {
            throw JouledError(.unsupportedGraph, "\(model.path): is quantized or optimised for one runtime already; start from the float model")
        }
        path = model.path
        self.calibrator = calibrator
        var lifted = model
        lifted.proto.graph.liftConstants()
        self.lifted = lifted
    }

    /// The recipe's assignment, without doing anything.
    public func assignment(_ recipe: Recipe) throws(JouledError) -> Assignment { try Assignment(lifted, recipe) }

    /// The operations with enough weights to be worth quantizing, in order.
    public var operations: [Assignment.Entry] {
        var recipe = Recipe(.int8Weights)
        recipe.weightThreshold = 2048
        return ((try? Assignment(lifted, recipe))?.entries ?? []).filter { $0.reason == nil }
    }

    /// - Throws: the errors of `Assignment`, of calibration, and `.invalidRecipe` where static int8 has no calibration data.
    public mutating func quantize(_ recipe: Recipe) throws(JouledError) -> Outcome {
        var assignment = try Assignment(lifted, recipe)
        var notes: [String] = []
        var calibrated: CalibratedModel?
        var model = lifted
        guard !model.graph.node.isEmpty else { throw JouledError(.invalidRecipe, "\(path): its float weights were given up after the first recipe") }
        notes += Self.notesOnSubgraphs(model.graph, recipe.weightThreshold)
        // What is measured on the float model comes first: afterwards it is another one.
        let importance = try importance(model, assignment.entries)
        let halfStatistics = try fitForHalf(model, &assignment)
        if !keepsSource { lifted.proto = Onnx_ModelProto() }
        let selected = Set(assignment.entries.filter { $0.settings.scheme == .int8 }.map(\.node))
        if !selected.isEmpty {
            guard let calibrator else {
                throw JouledError(.invalidRecipe, "\(path): static int8 needs calibration data (--calibration DATA.npz)")
            }
            if let warning = calibrator.warning { notes.append(warning) }
            calibrated = try quantizeStatically(&model, selected, assignment, recipe, calibrator)
        }
        notes += try computeInHalf(&model, assignment, halfStatistics)
        let nBits = assignment.entries.filter(RuntimePass.hasBlockKernel)
        try RuntimePass.apply(&model, assignment.entries)
        let rest = assignment.entries.filter { entry in
            !nBits.contains { $0.node == entry.node } || model.graph.initializer.contains { entry.weights.contains($0.name) }
        }
        let (graph, weightNotes) = try WeightPass.apply(model.graph, rest, importance: importance)
        model.graph = graph
        notes += weightNotes
        model.graph.removeDead()
        model.proto.producerName = "jouled"
        model.proto.clearProducerVersion()
        try GraphCheck.check(model)
        for index in assignment.entries.indices where assignment.entries[index].settings.scheme == .skip && assignment.entries[index].reason == nil {
            assignment.entries[index].reason = "the recipe skips it"
        }
        return Outcome(model: model, assignment: assignment, notes: notes, calibrated: calibrated)
    }

    private mutating func quantizeStatically(
        _ model: inout OnnxModel, _ selected: Set<String>, _ assignment: Assignment, _ recipe: Recipe, _ calibrator: Calibrator
    ) throws(JouledError) -> CalibratedModel? {
        let seams = recipe.calibration.equalize ? Equalization.seams(model.graph, selected: selected) : []
        var statistics: [String: ActivationStatistics]
        // A search watches all candidates' tensors in one run; else only those that this recipe needs.
        let watched = keepsStatistics ? Set(assignment.entries.filter { ["Conv", "Gemm", "MatMul"].contains($0.type) }.map(\.node)) : selected
        let wanted = StaticPass.tensors(model.graph, selected: watched)
        if !keepsStatistics { cache = Cache() }
        let needsHistograms = keepsStatistics || recipe.calibration.method != .minMax
        if cache.plain.isEmpty {
            // Before equalization only the peaks of the seams are of use, unless a later recipe has none.
            cache.plain = try calibrator.statistics(
                of: keepsStatistics || seams.isEmpty ? wanted : seams.map(\.tensor), in: model, histograms: needsHistograms && (keepsStatistics || seams.isEmpty),
                peaksOf: Set(keepsStatistics ? wanted : seams.map(\.tensor)))
        }
        statistics = cache.plain
        if !seams.isEmpty {
            let key = seams.map { "\($0.producer)-\($0.consumer)" }.joined(separator: ",")
            if let known = cache.equalized[key] {
                (model, statistics) = known
            } else {
                try Equalization.apply(&model.proto.graph, seams, peaks: statistics.mapValues(\.channelPeaks))
                statistics = try calibrator.statistics(of: wanted, in: model, histograms: needsHistograms)
                if keepsStatistics { cache.equalized[key] = (model, statistics) }
            }
        }
        var ranges = statistics.mapValues { ActivationRange($0, recipe.calibration) }
        let calibrated = keepsCalibrated ? CalibratedModel(model: model, ranges: ranges) : nil
        var all = selected
        for entry in StaticPass.addEntries(&model.proto.graph, selected: selected, shapes: statistics.mapValues(\.shape)) {
            all.insert(entry.node)
            ranges[entry.tensor] = ranges[entry.source]
        }
        var settings = StaticPass.Settings()
        settings.unsignedActivations = recipe.calibration.activations == .unsigned
        settings.weights = Self.weightOptions
        settings.skipped = Set(recipe.names.filter { $0.value.scheme == .skip }.keys)
        settings.perTensor = Set(assignment.entries.filter { $0.settings.granularity == .tensor }.map(\.node))
        model.graph = try StaticPass.apply(model, selected: all, ranges: ranges, settings: settings)
        // Only ranges that became scales: what a fused activation bounds anyway is of no concern.
        let quantized = Set(model.graph.node.filter { $0.opType == "QuantizeLinear" }.flatMap { $0.input.prefix(1) })
        return calibrated.map { CalibratedModel(model: $0.model, ranges: $0.ranges.filter { quantized.contains($0.key) }) }
    }

    /// - Throws: `.invalidRecipe` where activation-weighted palettes have no calibration data.
    private func importance(_ model: OnnxModel, _ entries: [Assignment.Entry]) throws(JouledError) -> [String: [Float]] {
        let weighted = entries.filter { $0.settings.scheme == .palette && $0.settings.activationWeighted }
        guard let first = weighted.first else { return [:] }
        guard let calibrator else {
            throw JouledError(.invalidRecipe, "\(path): an activation-weighted palette ('\(first.node)') needs calibration data (--calibration DATA.npz)")
        }
        return try Importance.measure(model, weighted, calibrator)
    }

    /// Leaves operations in float, with a reason, that would overflow in float16.
    /// - Returns: peaks of the float tensors on the calibration data, if there is any.
    private func fitForHalf(_ model: OnnxModel, _ assignment: inout Assignment) throws(JouledError) -> [String: ActivationStatistics] {
        let chosen = Set(assignment.entries.filter { $0.settings.scheme == .fp16Compute }.map(\.node))
        guard !chosen.isEmpty else { return [:] }
        // Every float tensor: what follows an operation into float16 must not overflow either.
        let facts = try ShapeInference.infer(model, usingDeclarations: true)
        let tensors = (model.graph.node.flatMap(\.output) + model.graph.input.map(\.name)).filter { facts[$0]?.elementType == ElementType.float.rawValue }
        let statistics = try calibrator?.statistics(of: tensors, in: model, histograms: false) ?? [:]
        let unfit = try HalfPass.unfit(model, chosen, statistics)
        for index in assignment.entries.indices {
            guard let reason = unfit[assignment.entries[index].node], assignment.entries[index].settings.scheme == .fp16Compute else { continue }
            (assignment.entries[index].settings.scheme, assignment.entries[index].reason) = (.skip, reason)
        }
        return statistics
    }

    private func computeInHalf(
        _ model: inout OnnxModel, _ assignment: Assignment, _ statistics: [String: ActivationStatistics]
    ) throws(JouledError) -> [String] {
        let chosen = Set(assignment.entries.filter { $0.settings.scheme == .fp16Compute }.map(\.node))
        guard !chosen.isEmpty else { return [] }
        try HalfPass.apply(&model, selected: chosen, statistics: statistics)
        var notes = ["ONNX Runtime's processor kernels for float16 are few: it casts back to float around the others; measure (model profile) before you use this"]
        if calibrator == nil { notes.append("without calibration data only weights were checked for overflow in float16") }
        return notes
    }

    /// Weights in branches and bodies stay as they are: the passes change the main graph only.
    private static func notesOnSubgraphs(_ graph: Graph, _ threshold: Int) -> [String] {
        graph.node.compactMap { node in
            var values = 0
            for inner in node.subgraphs { inner.forEachGraph { $0.initializer.forEach { values += $0.count > threshold ? $0.count : 0 } } }
            return values > 0 ? "\(values) weights inside \(node.opType) '\(node.label)' stay in float: resolve it by import first (--constant, --dim)" : nil
        }
    }

    /// Signed 8-bit weights are the fast choice. x86 processors without VNNI add pairs of such products in 16 bits, which
    /// saturate; there unsigned weights are right.
    private static let weightOptions: LinearQuantizer.Options = {
        var options = LinearQuantizer.Options()
        #if arch(x86_64)
            var bytes = [UInt8](repeating: 0, count: 1 << 14)
            if let file = fopen("/proc/cpuinfo", "r") {
                let count = fread(&bytes, 1, bytes.count, file)
                fclose(file)
                let text = String(decoding: bytes[..<count], as: UTF8.self)
                options.signed = text.split(whereSeparator: { $0 == " " || $0 == "\n" }).contains { $0.hasSuffix("vnni") }
            }
        #endif
        return options
    }()
}
