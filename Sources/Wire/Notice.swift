import Units

/// The payload of NOTICE and ERROR: `{"kind": ..., "message": ..., ...fields}`.
public struct Notice: Hashable, Sendable {
    /// A stable, machine-readable kind, e.g. `variant-changed` or an error's code.
    public var kind: String
    /// One sentence for a person.
    public var message: String
    /// What else belongs to this kind. `kind` and `message` among them are ignored.
    public var fields: JSONObject

    /// - Parameters:
    ///   - kind: a stable, machine-readable kind.
    ///   - message: one sentence for a person.
    ///   - fields: what else belongs to this kind.
    public init(kind: String, message: String, fields: JSONObject = [:]) {
        self.kind = kind
        self.message = message
        self.fields = fields
    }

    /// Why a stream ends, for ERROR.
    public init(_ error: JouledError) {
        self.init(kind: error.code.description, message: error.description)
    }

    /// Decodes a payload.
    public init(decoding bytes: UnsafeRawBufferPointer) throws(JouledError) {
        let value = try JSONValue(parsing: Array(bytes))
        guard var object = value.objectValue, let kind = object["kind"]?.stringValue,
            let message = object["message"]?.stringValue
        else { throw JouledError(.malformedPayload, "NOTICE: no object with the strings 'kind' and 'message'") }
        object["kind"] = nil
        object["message"] = nil
        self.init(kind: kind, message: message, fields: object)
    }

    /// The notice as one JSON object.
    public var json: JSONObject {
        var object: JSONObject = ["kind": .string(kind), "message": .string(message)]
        for member in fields.members where object[member.key] == nil { object[member.key] = member.value }
        return object
    }

    /// The encoded payload, which always fits into a frame: of one that does not, `fields` are left out and
    /// the message is cut, since the client is better served by half a sentence than by silence.
    public func serialized() -> [UInt8] {
        let bytes = JSONValue.object(json).serialized()
        guard bytes.count > FrameHeader.maximumPayload else { return bytes }
        return JSONValue.object(["kind": .string(Self.cut(kind, 256)), "message": .string(Self.cut(message, 4096))])
            .serialized()
    }

    /// Cut by scalars: one character may have any number of combining marks.
    private static func cut(_ text: String, _ count: Int) -> String {
        String(String.UnicodeScalarView(text.unicodeScalars.prefix(count)))
    }
}
