/// Received bytes that wait to be cut into messages at NUL.
struct MessageBuffer: Sendable {
    private var bytes: [UInt8] = []
    /// Where the first message that has not been taken begins.
    private var start = 0
    /// Up to where `bytes` has been searched for NUL, so that a message in many pieces costs linear time.
    private var searched = 0

    /// The bytes that have not been taken.
    var count: Int { bytes.count - start }

    /// The bytes of the message being received, up to where the last search ended without a NUL.
    var unterminated: Int { searched - start }

    mutating func append(_ more: UnsafeRawBufferPointer) {
        if start > 0 {
            bytes.removeFirst(start)
            searched -= start
            start = 0
        }
        bytes.append(contentsOf: more)
    }

    /// The next whole message without its NUL, or nil if it has not arrived yet.
    mutating func next() -> ArraySlice<UInt8>? {
        guard let end = bytes[searched...].firstIndex(of: 0) else {
            searched = bytes.count
            return nil
        }
        let message = bytes[start..<end]
        start = end + 1
        searched = start
        return message
    }

    /// Takes all that is left.
    mutating func takeAll() -> [UInt8] {
        let rest = Array(bytes[start...])
        self = MessageBuffer()
        return rest
    }

    /// Gives memory back once everything was taken: an idle connection holds no buffer.
    mutating func releaseIfEmpty() {
        if start == bytes.count { self = MessageBuffer() }
    }
}
