import ArgumentParser
import ConfigDocument
import Glibc
import InferenceRuntime
import OnnxGraph
import Quantizer
import Units

/// `joulectl model quantize`: one float model in, one quantized model out.
struct ModelQuantizeCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "quantize", abstract: "Quantize a float32 ONNX model.",
        discussion: "Prints what became of each operation, and why those that stay in float do. See docs/quantization.md.")

    enum SchemeOption: String, ExpressibleByArgument, CaseIterable {
        case fp16, fp16Compute = "fp16-compute", int8, int8Weights = "int8-weights", int8Dynamic = "int8-dynamic", int4, palette, mixed
    }

    @Argument(help: "The float32 model.", completion: .file(extensions: ["onnx"]))
    var model: String
    @Option(help: "fp16 (weights), fp16-compute (weights and arithmetic), int8 (static, needs --calibration), int8-weights, int8-dynamic, int4, palette or mixed (searches; needs --calibration).")
    var scheme: SchemeOption?
    @Option(help: "Bits of a palette: 1, 2, 3, 4, 6 or 8.")
    var bits: Int?
    @Option(help: "What shares a scale or palette: tensor, channel, block or group.")
    var granularity: String?
    @Option(help: "Values per block, or output channels per group.")
    var groupSize: Int?
    @Option(help: "Calibration windows: .npz, .npy, or with --manifest a .wav, a .csv, or a directory of them.", completion: .file())
    var calibration: String?
    @Option(help: "A model.toml, with or without variants, that says how recordings are cut into windows.", completion: .file(extensions: ["toml"]))
    var manifest: String?
    @Option(help: "How activations are ranged: min-max, percentile, entropy or mse.")
    var method: String?
    @Option(help: "unsigned (U8S8) or signed (S8S8) activations.")
    var activations: String?
    @Flag(help: "Use zero points for weights too.")
    var asymmetric = false
    @Flag(help: "Divide each output channel by its peak before a palette.")
    var channelScale = false
    @Flag(help: "Palettes: weigh errors by the activations that weights are multiplied with; needs --calibration.")
    var activationWeighted = false
    @Flag(help: "Do not shift scale between layers.")
    var noEqualize = false
    @Option(help: "A recipe (TOML) with settings by operation name and type; flags go into its [global].", completion: .file(extensions: ["toml"]))
    var recipe: String?
    @Option(help: "Leave an operation in float; may be repeated.")
    var skip: [String] = []
    @Option(help: "Weights with at most so many values stay as they are.")
    var weightThreshold: Int?
    @Flag(help: "Calibrate with fewer than 100 windows.")
    var allowFew = false
    @Option(help: "mixed: windows per wake-up whose cost is to be least.")
    var coalesce = 8
    @OptionGroup var limits: LimitOptions
    @OptionGroup var runtime: RuntimeOptions
    @Option(name: .shortAndLong, help: "The quantized model.", completion: .file(extensions: ["onnx"]))
    var output: String

    func validate() throws {
        guard (1...1024).contains(coalesce) else { throw ValidationError("--coalesce must be 1 to 1024") }
        guard scheme != nil || recipe != nil else { throw ValidationError("--scheme or --recipe is needed") }
    }

    func run() throws {
        try reporting {
            let settings = try makeRecipe()
            var loaded: OnnxRuntime?
            var calibrator: Calibrator?
            if let calibration {
                let library = try runtime.load()
                loaded = library
                calibrator = try Calibrator(runtime: library, dataset: Dataset.load(calibration, contract: loadContract(manifest)), allowFew: allowFew)
            }
            let outcome: ModelQuantizer.Outcome
            if scheme == .mixed {
                guard let calibrator, let library = loaded else {
                    throw JouledError(.invalidRecipe, "\(model): mixed searches by measurement and needs --calibration DATA.npz")
                }
                let source = try OnnxModel.load(model)
                var quantizer = try ModelQuantizer(source, calibrator: calibrator)
                outcome = try search(&quantizer, source, calibrator, library, settings)
            } else {
                var quantizer = try ModelQuantizer(OnnxModel.load(model), calibrator: calibrator)
                quantizer.keepsSource = false
                outcome = try quantizer.quantize(settings)
            }
            try outcome.model.save(to: output)
            report(outcome)
            if let calibrator { for line in Coverage(calibration: calibrator.dataset).lines { Console.out(line) } }
        }
    }

    private func search(
        _ quantizer: inout ModelQuantizer, _ source: OnnxModel, _ calibrator: Calibrator, _ library: OnnxRuntime, _ recipe: Recipe
    ) throws(JouledError) -> ModelQuantizer.Outcome {
        var declared = limits.limits
        if declared == ValidationLimits() { declared = ValidationLimits(agreementMin: 0.99, p99ErrorMax: 0.1) }
        var search = MixedSearch(source: source, dataset: calibrator.dataset, runtime: library, limits: declared)
        search.coalesce = coalesce
        let result = try search.run(&quantizer, recipe) { Console.error($0) }
        for line in result.lines { Console.out(line) }
        return result.outcome
    }

    private func makeRecipe() throws(JouledError) -> Recipe {
        var result = Recipe()
        if let scheme, scheme != .mixed { result.global.scheme = Scheme(rawValue: scheme.rawValue) ?? .skip }
        if scheme == .mixed { result.global.scheme = .int8 }
        if let bits { result.global.bits = bits }
        guard [1, 2, 3, 4, 6, 8].contains(result.global.bits) else { throw JouledError(.invalidRecipe, "--bits: a palette has 1, 2, 3, 4, 6 or 8 bits, not \(result.global.bits)") }
        result.global.granularity = try choice(granularity, "--granularity") ?? (scheme == .palette ? .tensor : .channel)
        if let groupSize {
            guard groupSize >= 1 else { throw JouledError(.invalidRecipe, "--group-size must be at least 1") }
            if result.global.granularity == .group { result.global.groupSize = groupSize } else { result.global.blockSize = groupSize }
            guard result.global.granularity == .group || (groupSize >= 16 && groupSize & (groupSize - 1) == 0) else {
                throw JouledError(.invalidRecipe, "--group-size of blocks must be a power of two, 16 or more, not \(groupSize)")
            }
        }
        result.global.symmetric = !asymmetric
        result.global.channelScale = channelScale
        result.global.activationWeighted = activationWeighted
        result.calibration.method = try choice(method, "--method") ?? result.calibration.method
        result.calibration.activations = try choice(activations, "--activations") ?? result.calibration.activations
        result.calibration.equalize = !noEqualize
        if let weightThreshold { result.weightThreshold = weightThreshold }
        if let recipe {
            let document = try ConfigDocument.load(recipe)
            result = try Recipe(reading: document, base: result)
        }
        for name in skip {
            var settings = OperatorRecipe()
            settings.scheme = .skip
            result.names[name] = settings
        }
        return result
    }

    private func choice<Choice: RawRepresentable & CaseIterable>(_ text: String?, _ flag: String) throws(JouledError) -> Choice? where Choice.RawValue == String {
        guard let text else { return nil }
        guard let choice = Choice(rawValue: text) else {
            throw JouledError(.invalidRecipe, "\(flag): '\(text)' is none of \(Choice.allCases.map(\.rawValue).joined(separator: ", "))")
        }
        return choice
    }

    private func report(_ outcome: ModelQuantizer.Outcome) {
        var table = TextTable([("OPERATION", .left), ("TYPE", .left), ("SCHEME", .left), ("WHY FLOAT", .left)])
        for entry in outcome.assignment.entries {
            table.add([entry.node, entry.type, entry.settings.scheme == .skip ? "float" : entry.settings.scheme.rawValue, entry.reason ?? ""])
        }
        for line in table.lines { Console.out(line) }
        for note in outcome.notes { Console.error("note: \(note)") }
        func size(_ path: String) -> Int {
            var status = stat()
            return stat(path, &status) == 0 ? Int(status.st_size) : 0
        }
        let (before, after) = (size(model), size(output))
        Console.out("\(output): \(after) bytes, \(percent(Double(after) / Double(max(1, before)), places: 1)) of \(before)")
    }
}
