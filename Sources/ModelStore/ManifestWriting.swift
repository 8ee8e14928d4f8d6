import Units

extension ModelManifest {
    /// The manifest as the text of a `model.toml`, which `init(reading:)` reads back as an equal value.
    public var text: String {
        var lines = ["# Written by joulectl. Digests, quality and validation come from one build: do not edit.", "format = 1"]
        func pair(_ key: String, _ value: String) { lines.append("\(key) = \(Self.quoted(value))") }
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
            lines.append("labels = [\(output.labels.map(Self.quoted).joined(separator: ", "))]")
            shape(output.tensor.shape)
        }
        table("[latency]")
        number("tolerance", latencyTolerance.value)
        table("# Declared before validation; a variant that breaks one is not in this file.\n[thresholds]")
        number("agreement_min", thresholds.agreementMin)
        number("p99_error_max", thresholds.p99ErrorMax)
        if let limit = thresholds.aucLossMax { number("auc_loss_max", limit) }
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
            lines.append("[variant.validation]")
            pair("data", variant.validation.data)
            number("agreement", variant.validation.agreement)
            number("p99_error", variant.validation.p99Error)
            if let mean = variant.validation.meanError { number("mean_error", mean) }
            if let loss = variant.validation.aucLoss { number("auc_loss", loss) }
        }
        return lines.joined(separator: "\n") + "\n"
    }

    /// A basic string of TOML.
    private static func quoted(_ text: String) -> String {
        var result = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": result += "\\\""
            case "\\": result += "\\\\"
            case "\n": result += "\\n"
            case "\t": result += "\\t"
            case let other where other.value < 0x20 || other.value == 0x7F:
                let digits = String(other.value, radix: 16, uppercase: true)
                result += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result + "\""
    }
}

// What a tool that makes manifests needs to put together.
extension ModelManifest.Cadence {
    public init(multiple: Int, agreement: Double) { self.init(multiple: multiple, quality: agreement) }
}

extension ModelManifest.Variant {
    /// A variant whose quality is its validated agreement with the baseline.
    public init(named name: String, scheme: String, content: [UInt8], validation: ModelManifest.Validation) {
        self.init(
            name: name, scheme: scheme, file: name + ".onnx", bytes: content.count, sha256: ModelStore.digest(content),
            quality: validation.agreement, validation: validation)
    }
}

extension ModelManifest.Validation {
    public init(on data: String, agreement: Double, p99Error: Double, aucLoss: Double?) {
        self.init(data: data, agreement: agreement, p99Error: p99Error, aucLoss: aucLoss)
    }
}
