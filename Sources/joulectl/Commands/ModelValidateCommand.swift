import ArgumentParser
import InferenceRuntime
import ModelStore
import OnnxGraph
import Quantizer
import Units
import Wire

/// `joulectl model validate`: a variant against the float model, on held-out sequences.
struct ModelValidateCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "validate", abstract: "Compare a variant's answers with its reference's, tail included.",
        discussion: "Exit status 3 if a declared limit is broken.")
    @Argument(help: "The float32 model.", completion: .file(extensions: ["onnx"]))
    var reference: String
    @Argument(help: "The variant.", completion: .file(extensions: ["onnx"]))
    var variant: String
    @Option(help: "Held-out windows: .npz or .npy; may be repeated, e.g. with out-of-distribution data.", completion: .file(extensions: ["npz", "npy"]))
    var data: [String]
    @Option(help: "A bundle's model.toml whose thresholds are the limits.", completion: .file(extensions: ["toml"]))
    var manifest: String?
    @OptionGroup var limits: LimitOptions
    @OptionGroup var runtime: RuntimeOptions
    @Flag(help: "Print JSON.")
    var json = false

    func validate() throws {
        guard !data.isEmpty else { throw ValidationError("--data EVAL.npz is needed") }
    }

    func run() throws {
        var isBroken = false
        try reporting {
            var declared = limits.limits
            if let manifest {
                let directory = manifest.hasSuffix("/" + ModelBundle.manifestName) ? String(manifest.dropLast(ModelBundle.manifestName.count + 1)) : manifest
                let thresholds = try ModelBundle(directory: directory).manifest.thresholds
                declared.agreementMin = declared.agreementMin ?? thresholds.agreementMin
                declared.p99ErrorMax = declared.p99ErrorMax ?? thresholds.p99ErrorMax
                declared.aucLossMax = declared.aucLossMax ?? thresholds.aucLossMax
            }
            let library = try runtime.load()
            let (first, second) = (try OnnxModel.load(reference), try OnnxModel.load(variant))
            var results: [JSONValue] = []
            for path in data {
                let report = try Validator(reference: first, dataset: Dataset(path: path), runtime: library).validate(second)
                let broken = declared.broken(by: report)
                isBroken = isBroken || !broken.isEmpty
                if json {
                    guard case .object(var object) = report.json else { continue }
                    object["data"] = .string(path)
                    object["broken"] = .array(broken.map { .string($0) })
                    object["passed"] = .bool(broken.isEmpty)
                    results.append(.object(object))
                } else {
                    if data.count > 1 { Console.out("\(path):") }
                    for line in report.lines { Console.out(line) }
                    for phrase in broken { Console.error("broken: \(phrase)") }
                }
            }
            if json { Console.out((results.count == 1 ? results[0] : .array(results)).description) }
        }
        if isBroken { throw limitBroken }
    }
}
