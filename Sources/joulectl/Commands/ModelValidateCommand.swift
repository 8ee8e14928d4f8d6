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
    @Option(help: "Held-out windows: .npz, .npy, or with --manifest recordings (.wav, .csv, a directory of them); may be repeated, e.g. with out-of-distribution data.", completion: .file())
    var data: [String]
    @Option(help: "The calibration windows: tells what of the data lies outside of them, and which windows repeat them.", completion: .file())
    var calibration: String?
    @Option(help: "A model.toml, with or without variants, whose thresholds are the limits and that says how recordings are cut.", completion: .file(extensions: ["toml"]))
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
            let contract = try loadContract(manifest)
            if let thresholds = contract?.thresholds {
                declared.agreementMin = declared.agreementMin ?? thresholds.agreementMin
                declared.p99ErrorMax = declared.p99ErrorMax ?? thresholds.p99ErrorMax
                declared.aucLossMax = declared.aucLossMax ?? thresholds.aucLossMax
            }
            let library = try runtime.load()
            let (first, second) = (try OnnxModel.load(reference), try OnnxModel.load(variant))
            var coverage = try calibration.map { path throws(JouledError) in Coverage(calibration: try Dataset.load(path, contract: contract)) }
            let calibrated = CalibratedModel(variant: second)
            var results: [JSONValue] = []
            for path in data {
                let dataset = try Dataset.load(path, contract: contract)
                let report = try Validator(reference: first, dataset: dataset, runtime: library).validate(second)
                try coverage?.compare(dataset, calibrated: calibrated, runtime: library)
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
            if json {
                if let coverage {
                    Console.out(JSONValue.object(["results": .array(results), "coverage": coverage.json]).description)
                } else {
                    Console.out((results.count == 1 ? results[0] : .array(results)).description)
                }
            } else if let coverage {
                for line in coverage.lines { Console.out(line) }
            }
        }
        if isBroken { throw limitBroken }
    }
}
