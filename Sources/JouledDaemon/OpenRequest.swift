import ModelStore
import PowerPolicy
import Units
import Wire

/// The parameters of `io.jouled.Streams.Open`, checked one by one; what depends on the model is checked later.
struct OpenRequest: Sendable, Equatable {
    var model: String
    var version: Int?
    var format: SampleFormat
    var sampleRateHz: Int
    var channels: Int
    var name: String
    var latencyTolerance: Seconds?
    var floor: Double?
    var weight: Double?
    var critical: Bool?
    var variant: String?
    var gate: Gate?

    /// What the client asks of another stream that is to let this one sleep.
    struct Gate: Sendable, Equatable {
        /// Neither: the newest stream on the model that this one's manifest names.
        var stream: UInt64?
        var name: String?
        /// What is nil is as the manifest says, or the default.
        var output: String?
        var threshold: Double?
        var preroll: Seconds?
        var hold: Seconds?
    }

    /// Longest name that a client may give a stream, in characters.
    static let nameLimit = 64

    init(_ call: VarlinkCall) throws(JouledError) {
        var reader = VarlinkParameters(call)
        model = try reader.string("model")
        version = try reader.optionalInt("version", in: 1...Int64(Int32.max)).map(Int.init)
        let formatName = try reader.optionalString("format") ?? SampleFormat.s16le.name
        sampleRateHz = Int(try reader.int("sampleRateHz"))
        channels = Int(try reader.optionalInt("channels") ?? 1)
        name = try reader.optionalString("name") ?? ""
        latencyTolerance = try reader.optionalInt("latencyToleranceMs", in: 0...86_400_000).map { Seconds(milliseconds: Double($0)) }
        floor = try reader.optionalDouble("floor", in: 0...1)
        weight = try reader.optionalDouble("weight", in: PowerPolicy.ModelRules.weights)
        critical = try reader.optionalBool("critical")
        variant = try reader.optionalString("variant")
        if var fields = try reader.optionalStructure("gate") { gate = try Gate(&fields) } else { gate = nil }
        try reader.finish()
        guard name.count <= Self.nameLimit, !name.unicodeScalars.contains(where: { $0.value < 0x20 || (0x7F...0x9F).contains($0.value) }) else {
            throw reader.invalid("name", "it has control characters or more than \(Self.nameLimit) characters")
        }
        guard let format = SampleFormat(name: formatName) else {
            let wanted = SampleFormat.allCases.map(\.name).joined(separator: " or ")
            let error = VarlinkError.signalMismatch("format", wanted: wanted, got: formatName)
            throw JouledError(.invalidParameter, "format '\(formatName)' is not \(wanted)", cause: error)
        }
        self.format = format
    }
}

extension OpenRequest.Gate {
    fileprivate init(_ reader: inout VarlinkParameters) throws(JouledError) {
        stream = try reader.optionalInt("stream", in: 0...Int64.max).map { UInt64($0) }
        name = try reader.optionalString("name")
        output = try reader.optionalString("output")
        threshold = try reader.optionalDouble("threshold", in: -1e9...1e9)
        preroll = try Self.time(&reader, "prerollMs", ModelManifest.Gate.longestPreroll)
        hold = try Self.time(&reader, "holdMs", ModelManifest.Gate.longestHold)
        try reader.finish()
        guard stream == nil || name == nil else { throw reader.invalid("name", "'stream' says already which it is") }
    }

    private static func time(_ reader: inout VarlinkParameters, _ name: String, _ longest: Seconds) throws(JouledError) -> Seconds? {
        try reader.optionalInt(name, in: 0...Int64(longest.milliseconds)).map { Seconds(milliseconds: Double($0)) }
    }

    /// The parameter that makes this request.
    var json: JSONObject {
        var object = JSONObject()
        if let stream { object["stream"] = JSONValue(stream) }
        if let name { object["name"] = .string(name) }
        if let output { object["output"] = .string(output) }
        if let threshold { object["threshold"] = .double(threshold) }
        if let preroll { object["prerollMs"] = JSONValue(Int(preroll.milliseconds.rounded())) }
        if let hold { object["holdMs"] = JSONValue(Int(hold.milliseconds.rounded())) }
        return object
    }
}

extension VarlinkError {
    /// The samples are not what the model takes.
    static func signalMismatch(_ field: String, wanted: String, got: String) -> VarlinkError {
        VarlinkError(
            "io.jouled.Streams.SignalMismatch", ["field": .string(field), "wanted": .string(wanted), "got": .string(got)])
    }

    /// The stream cannot be put behind that gate.
    static func invalidGate(_ field: String, _ reason: String) -> VarlinkError {
        VarlinkError("io.jouled.Streams.InvalidGate", ["field": .string(field), "reason": .string(reason)])
    }
}
