import Units
import Wire

extension JouledError.Code {
    /// What a client sent is no Wyoming, or goes beyond a limit.
    public static let malformedWyoming = Self("wyoming.malformed")
    /// Audio in a form that is not converted.
    public static let wyomingFormat = Self("wyoming.format")
    /// What was asked for is not served.
    public static let wyomingUnavailable = Self("wyoming.unavailable")
}

/// One event of the Wyoming protocol, as Home Assistant's voice services speak it: a line of JSON, then data in JSON and a payload of bytes, each
/// as long as the line says.
public struct WyomingEvent: Hashable, Sendable {
    /// What happened or is wanted, e.g. `audio-chunk`.
    public var type: String
    /// What belongs to it.
    public var data: JSONObject
    /// Raw bytes, e.g. samples.
    public var payload: [UInt8]

    public init(_ type: String, _ data: JSONObject = [:], payload: [UInt8] = []) {
        self.type = type
        self.data = data
        self.payload = payload
    }

    /// An `error` event.
    /// - Parameters:
    ///   - code: for programs.
    ///   - text: for people.
    public static func error(_ code: String, _ text: String) -> WyomingEvent { WyomingEvent("error", ["text": .string(text), "code": .string(code)]) }

    /// The event as it is sent.
    public var bytes: [UInt8] {
        var header: JSONObject = ["type": .string(type)]
        let content = data.isEmpty ? [] : JSONValue.object(data).serialized()
        if !content.isEmpty { header["data_length"] = JSONValue(content.count) }
        if !payload.isEmpty { header["payload_length"] = JSONValue(payload.count) }
        return JSONValue.object(header).serialized() + [UInt8(ascii: "\n")] + content + payload
    }
}
