import ConfigDocument
import Units

/// Largest number of values of one tensor that a manifest may ask for: 64 MB of float32.
private let tensorLimit = 1 << 24

extension ModelManifest {
    /// Reads and checks a manifest.
    ///
    /// - Throws: the errors of `ConfigTable`, each with file, line and key: missing, mistyped and unknown
    ///   keys, values out of range, and values that contradict one another.
    public init(reading document: ConfigDocument) throws(JouledError) { try self.init(document, isContract: false) }

    /// Reads the part of a manifest that is there before any variant: everything but `[[variant]]` and `[[cadence]]`. The
    /// result has no variants and is not fit for serving.
    ///
    /// - Throws: as `init(reading:)` does.
    public init(contract document: ConfigDocument) throws(JouledError) { try self.init(document, isContract: true) }

    /// Reads a file that is either: a whole manifest, or a contract that has no variants yet.
    ///
    /// - Throws: as `init(reading:)` does; for a file that cannot be read too.
    public init(file path: String) throws(JouledError) {
        let document = try ConfigDocument.load(path)
        try self.init(document, isContract: !document.root.keys.contains("variant"))
    }

    private init(_ document: ConfigDocument, isContract: Bool) throws(JouledError) {
        let root = document.root
        let format = try root.integer("format")
        guard format == 1 else {
            throw root.error("format", "this jouled reads format 1, not \(format)")
        }
        name = try root.string("name")
        try Names.check(name, root, "name")
        version = try isContract ? 1 : root.integer("version", range: 1...1_000_000_000)
        summary = try root.string("summary")
        licence = try root.string("licence")
        source = try root.string("source")
        task = try root.string("task")
        try Names.check(task, root, "task")
        signal = try Signal(root.table("signal"))
        window = try Window(root.table("window"))

        let inputTable = try root.table("input")
        input = try Tensor(inputTable)
        let expected = window.length * signal.channels
        guard input.count == expected else {
            throw inputTable.error(
                "shape",
                "holds \(input.count) values, but a window of \(window.context) + \(window.samples) samples"
                    + " of \(signal.channels) channel\(signal.channels == 1 ? "" : "s") has \(expected)")
        }
        (states, outputs) = try Self.tensors(root, inputName: input.name)
        latencyTolerance = try root.table("latency").duration("tolerance", range: Seconds(0.001)...Seconds(86400))
        thresholds = try Thresholds(root.table("thresholds"))
        gate = nil
        cadences = try isContract ? [Cadence(multiple: 1, quality: 1)] : Self.cadences(root)
        variants = try isContract ? [] : Self.variants(root, rowsAreWindows: input.shape.first == 1 && outputs.allSatisfy { $0.tensor.shape.first == 1 })
        if let table = try root.optionalTable("gate") { gate = try Gate(table, preroll: defaultPreroll) }
        if let gate, gate.model == name { throw root.error("gate", "the model cannot be its own gate") }
        try root.finish()
    }

    private static func tensors(
        _ root: ConfigTable, inputName: String
    ) throws(JouledError) -> (states: [State], outputs: [Output]) {
        var inputs: Set<String> = [inputName]
        var results: Set<String> = []
        var states: [State] = []
        for table in try root.tables("state") {
            let state = try State(table)
            guard inputs.insert(state.input).inserted else {
                throw table.error("input", "tensor '\(state.input)' is an input already")
            }
            guard results.insert(state.output).inserted else {
                throw table.error("output", "tensor '\(state.output)' is an output already")
            }
            states.append(state)
        }
        var outputs: [Output] = []
        var labels: Set<String> = []
        for table in try root.tables("output") {
            let output = try Output(table)
            guard results.insert(output.tensor.name).inserted else {
                throw table.error("name", "tensor '\(output.tensor.name)' is an output already")
            }
            for label in output.labels where !labels.insert(label).inserted {
                throw table.error(output.labels.count == 1 ? "label" : "labels", "'\(label)' is used twice")
            }
            outputs.append(output)
        }
        guard !outputs.isEmpty else { throw root.error("output", "at least one [[output]] is needed", code: .missingKey) }
        return (states, outputs)
    }

    private static func cadences(_ root: ConfigTable) throws(JouledError) -> [Cadence] {
        var cadences: [Cadence] = []
        for table in try root.tables("cadence") {
            let cadence = Cadence(
                multiple: try table.integer("multiple", range: 1...1024),
                quality: try table.number("quality", range: 0...1))
            guard !cadences.contains(where: { $0.multiple == cadence.multiple }) else {
                throw table.error("multiple", "\(cadence.multiple) is listed twice")
            }
            cadences.append(cadence)
        }
        guard cadences.contains(where: { $0.multiple == 1 }) else {
            throw root.error("cadence", "a [[cadence]] with multiple = 1 is needed", code: .missingKey)
        }
        return cadences.sorted { $0.multiple < $1.multiple }
    }

    private static func variants(_ root: ConfigTable, rowsAreWindows: Bool) throws(JouledError) -> [Variant] {
        var variants: [Variant] = []
        for table in try root.tables("variant") {
            let variant = try Variant(table)
            guard !variants.contains(where: { $0.name == variant.name }) else {
                throw table.error("name", "'\(variant.name)' is used twice")
            }
            guard variant.windowsPerRun == 1 || rowsAreWindows else {
                throw table.error("windows_per_run", "needs tensors whose first axis is 1, as [input] and [[output]] give them for one window")
            }
            variants.append(variant)
        }
        guard !variants.isEmpty else {
            throw root.error("variant", "at least one [[variant]] is needed", code: .missingKey)
        }
        return variants
    }
}

// MARK: - The parts

extension ModelManifest.Signal {
    init(_ table: ConfigTable) throws(JouledError) {
        kind = try choice(table, "kind")
        sampleRate = try table.integer("sample_rate_hz", range: 1...1_000_000)
        channels = try table.integer("channels", range: 1...64)
        let scale = Float(try table.number("s16_scale"))
        guard scale > 0, scale.isFinite else { throw table.error("s16_scale", "must be above 0") }
        s16Scale = scale
        unit = try table.string("unit")
    }
}

extension ModelManifest.Window {
    init(_ table: ConfigTable) throws(JouledError) {
        samples = try table.integer("samples", range: 1...(1 << 20))
        // A larger hop would leave samples that no window sees; cadence is there for that.
        hop = try table.integer("hop", range: 1...samples)
        context = try table.integer("context", range: 0...(1 << 20))
        tail = try choice(table, "tail")
        normalization = try choice(table, "normalize")
    }
}

extension ModelManifest.Tensor {
    init(_ table: ConfigTable) throws(JouledError) {
        name = try tensorName(table, "name")
        shape = try tensorShape(table)
    }
}

extension ModelManifest.State {
    init(_ table: ConfigTable) throws(JouledError) {
        input = try tensorName(table, "input")
        output = try tensorName(table, "output")
        shape = try tensorShape(table)
    }
}

extension ModelManifest.Output {
    init(_ table: ConfigTable) throws(JouledError) {
        tensor = try ModelManifest.Tensor(table)
        let single = try table.optionalString("label")
        let several = try table.optionalStrings("labels")
        switch (single, several) {
        case (let label?, nil): labels = [label]
        case (nil, let list?): labels = list
        case (nil, nil): throw table.error("label", "either 'label' or 'labels' is needed", code: .missingKey)
        default: throw table.error("labels", "'label' and 'labels' exclude one another")
        }
        let key = single == nil ? "labels" : "label"
        guard labels.count == tensor.count else {
            throw table.error(key, "names \(labels.count) of the tensor's \(tensor.count) values")
        }
        guard !labels.contains("") else { throw table.error(key, "a label is empty") }
    }
}

extension ModelManifest.Thresholds {
    init(_ table: ConfigTable) throws(JouledError) {
        agreementMin = try table.number("agreement_min", range: 0...1)
        p99ErrorMax = try table.number("p99_error_max", range: 0...1e9)
        aucLossMax = try table.optionalNumber("auc_loss_max", range: 0...1)
    }
}

extension ModelManifest.Gate {
    init(_ table: ConfigTable, preroll usual: Seconds) throws(JouledError) {
        model = try table.string("model")
        try Names.check(model, table, "model")
        output = try table.optionalString("output")
        threshold = try table.number("threshold", default: Self.defaultThreshold, range: -1e9...1e9)
        preroll = try table.duration("preroll", default: usual, range: .zero...Self.longestPreroll)
        hold = try table.duration("hold", default: Self.defaultHold, range: .zero...Self.longestHold)
    }
}

extension ModelManifest.Variant {
    init(_ table: ConfigTable) throws(JouledError) {
        name = try table.string("name")
        try Names.check(name, table, "name")
        scheme = try table.string("scheme")
        file = try table.string("file")
        guard Names.isPlainFile(file) else {
            throw table.error("file", "'\(file)' must be a plain file name in the bundle's directory, without '/' or '..'")
        }
        bytes = try table.integer("bytes", range: 1...(1 << 40))
        sha256 = try table.string("sha256")
        guard Names.isSHA256(sha256) else {
            throw table.error("sha256", "must be 64 lower-case hexadecimal digits")
        }
        quality = try table.number("quality", range: 0...1)
        windowsPerRun = try table.optionalInteger("windows_per_run", range: 1...64) ?? 1
        validation = try ModelManifest.Validation(table.table("validation"))
    }
}

extension ModelManifest.Validation {
    init(_ table: ConfigTable) throws(JouledError) {
        data = try table.string("data")
        agreement = try table.number("agreement", range: 0...1)
        p99Error = try table.number("p99_error", range: 0...1e9)
        meanError = try table.optionalNumber("mean_error", range: 0 ... .infinity)
        aucLoss = try table.optionalNumber("auc_loss", range: -1...1)
    }
}

// MARK: - Helpers

private func choice<Choice: RawRepresentable & CaseIterable>(
    _ table: ConfigTable, _ key: String
) throws(JouledError) -> Choice where Choice.RawValue == String {
    let text = try table.string(key)
    guard let value = Choice(rawValue: text) else {
        let known = Choice.allCases.map { "'\($0.rawValue)'" }.joined(separator: ", ")
        throw table.error(key, "'\(text)' is none of \(known)")
    }
    return value
}

private func tensorName(_ table: ConfigTable, _ key: String) throws(JouledError) -> String {
    let name = try table.string(key)
    // The name goes to a C interface, which would cut it at a NUL.
    guard !name.isEmpty, !name.utf8.contains(0) else { throw table.error(key, "is not a tensor name") }
    return name
}

private func tensorShape(_ table: ConfigTable) throws(JouledError) -> [Int] {
    let shape = try table.integers("shape", range: 1...tensorLimit)
    guard shape.count <= 8 else { throw table.error("shape", "has \(shape.count) dimensions, at most 8 are possible") }
    var count = 1
    for dimension in shape {
        count *= dimension  // Both factors are at most 2^24 here.
        guard count <= tensorLimit else { throw table.error("shape", "has more than \(tensorLimit) values") }
    }
    return shape
}

/// What names may look like. Names become paths, log fields and protocol members.
enum Names {
    /// Lower-case letters, digits, `-`, `_` and `.`, beginning with a letter or digit; at most 64.
    static func isName(_ text: String) -> Bool {
        guard let first = text.utf8.first, text.utf8.count <= 64 else { return false }
        func isAlphanumeric(_ byte: UInt8) -> Bool {
            (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte) || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
        }
        return isAlphanumeric(first)
            && text.utf8.allSatisfy { isAlphanumeric($0) || "-_.".utf8.contains($0) }
    }

    static func check(_ text: String, _ table: ConfigTable, _ key: String) throws(JouledError) {
        guard isName(text) else {
            throw table.error(
                key, "'\(text)' is not a name: up to 64 of a-z, 0-9, '-', '_' and '.', beginning with a letter or digit")
        }
    }

    /// A file directly in the bundle, and not a hidden one.
    static func isPlainFile(_ text: String) -> Bool {
        guard let first = text.utf8.first, text.utf8.count <= 255 else { return false }
        var previous: UInt8 = 0
        for byte in text.utf8 {
            if byte == UInt8(ascii: "/") || byte < 0x20 || byte == 0x7F { return false }
            if byte == UInt8(ascii: "."), previous == byte { return false }
            previous = byte
        }
        return first != UInt8(ascii: ".")
    }

    static func isSHA256(_ text: String) -> Bool {
        text.utf8.count == 64
            && text.utf8.allSatisfy {
                (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) || (UInt8(ascii: "a")...UInt8(ascii: "f")).contains($0)
            }
    }

    /// A version directory's number: digits without a leading zero.
    static func version(_ text: String) -> Int? {
        guard let number = Int(text), number > 0, String(number) == text else { return nil }
        return number
    }
}
