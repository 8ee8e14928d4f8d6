import Units
import Wire

/// Makes events of received bytes, however they were cut. Holds one event at most, and what one read brought besides.
public struct WyomingParser: Sendable {
    /// The most that one event may take.
    public struct Limits: Hashable, Sendable {
        /// Bytes of the line, without its end.
        public var line = 16 << 10
        /// Bytes of the data.
        public var data = 64 << 10
        /// Bytes of the payload: 10 s of audio in CD quality are 1.7 MB, and clients send a tenth of a second.
        public var payload = 1 << 20
        public init() {}
    }

    private let limits: Limits
    private var bytes: [UInt8] = []
    /// Where the event being received begins.
    private var start = 0
    /// Up to where the line's end was looked for, so that a line in many pieces costs linear time.
    private var searched = 0
    private var header: Header?
    private var failure: JouledError?

    private struct Header {
        var type: String
        var data: JSONObject
        var dataLength: Int
        var payloadLength: Int
    }

    public init(limits: Limits = Limits()) { self.limits = limits }

    /// Bytes that wait to become an event.
    public var pending: Int { bytes.count - start }

    /// Takes bytes. Call `next` until it returns nil before more are taken, so that no more than one read piles up.
    public mutating func receive(_ more: UnsafeRawBufferPointer) {
        guard failure == nil else { return }
        if start > 0 {
            bytes.removeFirst(start)
            searched -= start
            start = 0
        }
        bytes.append(contentsOf: more)
    }

    /// The next whole event; nil if it has not arrived yet.
    /// - Throws: `.malformedWyoming`, naming the part at fault; nothing can be read after that.
    public mutating func next() throws(JouledError) -> WyomingEvent? {
        if let failure { throw failure }
        do throws(JouledError) {
            return try event()
        } catch {
            failure = error
            bytes = []
            (start, searched) = (0, 0)
            throw error
        }
    }

    private mutating func event() throws(JouledError) -> WyomingEvent? {
        if header == nil { header = try line() }
        guard let header, pending >= header.dataLength + header.payloadLength else { return nil }
        var data = header.data
        let payloadStart = start + header.dataLength
        if header.dataLength > 0 {
            let more = try object(bytes[start..<payloadStart], "data")
            for member in more.members { data[member.key] = member.value }
        }
        let event = WyomingEvent(header.type, data, payload: Array(bytes[payloadStart..<payloadStart + header.payloadLength]))
        start = payloadStart + header.payloadLength
        searched = start
        self.header = nil
        // An idle connection holds no buffer.
        if start == bytes.count {
            bytes = []
            (start, searched) = (0, 0)
        }
        return event
    }

    private mutating func line() throws(JouledError) -> Header? {
        guard let end = bytes[searched...].firstIndex(of: UInt8(ascii: "\n")) else {
            searched = bytes.count
            guard pending <= limits.line else { throw malformed("header: no end of line within \(limits.line) bytes") }
            return nil
        }
        guard end - start <= limits.line else { throw malformed("header: no end of line within \(limits.line) bytes") }
        let object = try object(bytes[start..<end], "header")
        guard let type = object["type"]?.stringValue, !type.isEmpty else { throw malformed("header: type: is no text") }
        guard let data = object.present("data").map({ $0.objectValue }) ?? [:] else { throw malformed("header: data: is no object") }
        let header = Header(
            type: type, data: data, dataLength: try length("data_length", object, limits.data), payloadLength: try length("payload_length", object, limits.payload))
        start = end + 1
        searched = start
        return header
    }

    private func length(_ key: String, _ header: JSONObject, _ limit: Int) throws(JouledError) -> Int {
        guard let value = header.present(key) else { return 0 }
        guard let length = value.intValue, length >= 0 else { throw malformed("header: \(key): is no number of bytes") }
        guard length <= limit else { throw malformed("header: \(key): is \(length), and \(limit) is the limit") }
        return Int(length)
    }

    private func object(_ text: ArraySlice<UInt8>, _ part: String) throws(JouledError) -> JSONObject {
        let value: JSONValue
        do throws(JouledError) {
            value = try JSONValue(parsing: text, limits: JSONLimits(depth: 16, values: 4096))
        } catch {
            throw malformed("\(part): \(error.message)")
        }
        guard let object = value.objectValue else { throw malformed("\(part): is no object") }
        return object
    }

    private func malformed(_ what: String) -> JouledError { JouledError(.malformedWyoming, what) }
}
