import ArgumentParser
import ConfigDocument
import InferenceRuntime
import JouledDaemon
import ModelStore
import Quantizer
import Units

/// The library that the model commands load.
struct RuntimeOptions: ParsableArguments {
    @Option(help: "The ONNX Runtime library.", completion: .file())
    var runtimeLibrary: String?

    func load() throws(JouledError) -> OnnxRuntime {
        OnnxRuntime.disableTelemetry()
        return try OnnxRuntime(libraryPath: runtimeLibrary ?? RuntimeLibrary.path())
    }
}

/// Limits that a variant must hold.
struct LimitOptions: ParsableArguments {
    @Option(help: "Least share of windows with the reference's decision.")
    var minAgreement: Double?
    @Option(name: .customLong("max-p99"), help: "Largest 99th percentile of the error.")
    var maxP99: Double?
    @Option(help: "Largest loss of area under the ROC curve; needs labels.")
    var maxAucLoss: Double?

    var limits: ValidationLimits { ValidationLimits(agreementMin: minAgreement, p99ErrorMax: maxP99, aucLossMax: maxAucLoss) }
}

/// The manifest or contract that a flag names: a file, or a bundle's directory.
func loadContract(_ path: String?) throws(JouledError) -> ModelManifest? {
    guard let path else { return nil }
    return try ModelManifest(file: path.hasSuffix(".toml") ? path : "\(path)/\(ModelBundle.manifestName)")
}

/// Exit status of a command whose variant breaks a declared limit.
let limitBroken = ExitCode(3)

extension ValidationReport {
    /// For a person.
    var lines: [String] {
        func number(_ value: Double) -> String { decimal(value, places: 4) }
        var lines = ["\(windows) windows, \(task.rawValue)"]
        if task != .regression { lines.append("agreement    \(number(agreement))") }
        if let top1 { lines.append("top-1        \(number(top1.variant)) (reference \(number(top1.reference)))") }
        if let top5 { lines.append("top-5        \(number(top5.variant)) (reference \(number(top5.reference)))") }
        if let auc { lines.append("AUC          \(number(auc.variant)) (reference \(number(auc.reference)), loss \(number(auc.reference - auc.variant)))") }
        lines.append("error        mean \(number(meanError)), p50 \(number(p50Error)), p95 \(number(p95Error)), p99 \(number(p99Error)), max \(number(maximumError))")
        for output in outputs { lines.append("SNR          \(output.name): \(output.signalToNoise.isFinite ? decimal(output.signalToNoise, places: 1) + " dB" : "exact")") }
        if task != .regression {
            lines.append("per class    " + classes.map { "\($0.index): \($0.agreed)/\($0.reference)" }.joined(separator: ", "))
        }
        lines.append("worst        " + worst.prefix(5).map { "window \($0.window): \(number($0.error))" }.joined(separator: ", "))
        lines.append("along stream " + growth.map(number).joined(separator: " "))
        for seam in seams { lines.append("seam         \(seam.direction), \(seam.switches) switches: max " + seam.maximumByWindow.map(number).joined(separator: " ")) }
        return lines
    }
}
