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
        weight = try reader.optionalDouble("weight", in: 0.001...1000)
        critical = try reader.optionalBool("critical")
        variant = try reader.optionalString("variant")
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

extension VarlinkError {
    /// The samples are not what the model takes.
    static func signalMismatch(_ field: String, wanted: String, got: String) -> VarlinkError {
        VarlinkError(
            "io.jouled.Streams.SignalMismatch", ["field": .string(field), "wanted": .string(wanted), "got": .string(got)])
    }
}
