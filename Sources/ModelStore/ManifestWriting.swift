import ConfigDocument
import Units

extension ModelManifest {
    /// The manifest as the text of a `model.toml`, which `init(reading:)` reads back as an equal value.
    public var text: String {
        var lines = ["# Written by joulectl. Digests, quality and validation come from one build: do not edit.", "format = 1"]
        func pair(_ key: String, _ value: String) { lines.append("\(key) = \(tomlString(value))") }
        func number(_ key: String, _ value: Double) { lines.append("\(key) = \(value)") }
        func integer(_ key: String, _ value: Int) { lines.append("\(key) = \(value)") }
        func table(_ header: String) { lines += ["", header] }
        func shape(_ value: [Int]) { lines.append("shape = [\(value.map(String.init).joined(separator: ", "))]") }
        pair("name", name)
        integer("version", version)
        pair("summary", summary)
        pair("licence", licence)
        pair("source", source)
        pair("task", task)
        table("[signal]")
        pair("kind", signal.kind.rawValue)
        integer("sample_rate_hz", signal.sampleRate)
        integer("channels", signal.channels)
        number("s16_scale", Double(signal.s16Scale))
        pair("unit", signal.unit)
        table("[window]")
        integer("samples", window.samples)
        integer("hop", window.hop)
        integer("context", window.context)
        pair("tail", window.tail.rawValue)
        pair("normalize", window.normalization.rawValue)
        table("[input]")
        pair("name", input.name)
        shape(input.shape)
        for state in states {
            table("[[state]]")
            pair("input", state.input)
            pair("output", state.output)
            shape(state.shape)
        }
        for output in outputs {
            table("[[output]]")
            pair("name", output.tensor.name)
            lines.append("labels = [\(output.labels.map(tomlString).joined(separator: ", "))]")
            shape(output.tensor.shape)
        }
        table("[latency]")
        number("tolerance", latencyTolerance.value)
        table("# Declared before validation; a variant that breaks one is not in this file.\n[thresholds]")
        number("agreement_min", thresholds.agreementMin)
        number("p99_error_max", thresholds.p99ErrorMax)
        if let limit = thresholds.aucLossMax { number("auc_loss_max", limit) }
        if let gate {
            table("[gate]")
            pair("model", gate.model)
            if let output = gate.output { pair("output", output) }
            number("threshold", gate.threshold)
            number("preroll", gate.preroll.value)
            number("hold", gate.hold.value)
        }
        for cadence in cadences {
            table("[[cadence]]")
            integer("multiple", cadence.multiple)
            number("quality", cadence.quality)
        }
        for variant in variants {
            table("[[variant]]")
            pair("name", variant.name)
            pair("scheme", variant.scheme)
            pair("file", variant.file)
            integer("bytes", variant.bytes)
            pair("sha256", variant.sha256)
            number("quality", variant.quality)
            if variant.windowsPerRun > 1 { integer("windows_per_run", variant.windowsPerRun) }
            lines.append("[variant.validation]")
            pair("data", variant.validation.data)
            number("agreement", variant.validation.agreement)
            number("p99_error", variant.validation.p99Error)
            if let error = variant.validation.meanError { number("mean_error", error) }
            if let loss = variant.validation.aucLoss { number("auc_loss", loss) }
        }
        return lines.joined(separator: "\n") + "\n"
    }
}

// What a tool that makes manifests needs to put together.
extension ModelManifest.Cadence {
    public init(multiple: Int, agreement: Double) { self.init(multiple: multiple, quality: agreement) }
}

extension ModelManifest.Variant {
    /// A variant whose quality is its agreement with the baseline, less what the outputs drift: agreement alone would call
    /// two variants equal that decide alike on easy data, however far their outputs are apart. Rounded down, so that only
    /// equal outputs have quality 1.
    public init(named name: String, scheme: String, content: [UInt8], windowsPerRun: Int = 1, validation: ModelManifest.Validation) {
        self.init(
            name: name, scheme: scheme, file: name + ".onnx", bytes: content.count, sha256: ModelStore.digest(content),
            quality: (validation.agreement * max(0, 1 - (validation.meanError ?? 0)) * 1e6).rounded(.down) / 1e6, windowsPerRun: windowsPerRun, validation: validation)
    }
}

extension ModelManifest.Validation {
    public init(on data: String, agreement: Double, p99Error: Double, meanError: Double?, aucLoss: Double?) {
        self.init(data: data, agreement: agreement, p99Error: p99Error, meanError: meanError, aucLoss: aucLoss)
    }
}
