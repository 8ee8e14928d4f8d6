import Units

/// What a client learns from what a server sent.
public enum VarlinkClientEvent: Hashable, Sendable {
    /// A reply to the oldest unanswered call; with `continues`, more replies to it follow.
    case reply(JSONObject, continues: Bool)
    /// The oldest unanswered call failed.
    case error(VarlinkError)
    /// The server confirmed the upgrade; what follows is raw (see `takeRemainder`).
    case upgraded(JSONObject)
}

/// The client's side of one Varlink connection (UAPI.20), as a state machine without I/O.
public struct VarlinkClientConnection: Sendable {
    /// The largest reply that is accepted, in bytes: the limit of systemd's implementation.
    public static let maximumReply = 16 << 20

    private enum State: Hashable {
        case open
        case upgraded
        case failed
    }

    private var state = State.open
    private var buffer = MessageBuffer()
    /// The modes of the calls without a final reply, oldest first. `oneway` calls are never in it.
    private var pending: [VarlinkCall.Mode] = []

    /// A connection on which nothing was said yet.
    public init() {}

    /// How many calls wait for their final reply.
    public var pendingCalls: Int { pending.count }
    /// Whether the connection now carries another protocol.
    public var isUpgraded: Bool { state == .upgraded }

    /// Returns the bytes that make `call`.
    ///
    /// Calls may be made before earlier ones are answered; only after one with `upgrade` nothing may be
    /// sent until its reply.
    public mutating func call(_ call: VarlinkCall) throws(JouledError) -> [UInt8] {
        guard state == .open else {
            throw JouledError(.varlinkMisuse, "Varlink: the connection no longer takes calls")
        }
        guard pending.last != .upgrade else {
            throw JouledError(.varlinkMisuse, "Varlink: nothing may be sent before the upgrade is confirmed")
        }
        if call.mode != .oneway { pending.append(call.mode) }
        var message: JSONObject = ["method": .string(call.method)]
        if !call.parameters.isEmpty { message["parameters"] = .object(call.parameters) }
        if call.mode != .single { message[call.mode.rawValue] = true }
        return VarlinkHeader.encode(message)
    }

    /// Takes bytes as they arrived, in any split.
    public mutating func receive(_ bytes: UnsafeRawBufferPointer) { buffer.append(bytes) }

    /// Takes bytes as they arrived, in any split.
    public mutating func receive(_ bytes: some Collection<UInt8>) {
        let copied = Array(bytes)
        copied.withUnsafeBytes { buffer.append($0) }
    }

    /// The next event, or nil if nothing more can be known until more arrives. Throws if the server broke the
    /// protocol, after which the connection has to be closed.
    public mutating func next() throws(JouledError) -> VarlinkClientEvent? {
        guard state == .open else { return nil }
        do throws(JouledError) {
            guard let bytes = buffer.next() else {
                buffer.releaseIfEmpty()
                guard buffer.unterminated <= Self.maximumReply else { throw Self.tooLarge() }
                return nil
            }
            guard bytes.count <= Self.maximumReply else { throw Self.tooLarge() }
            return try event(parsing: bytes)
        } catch {
            state = .failed
            throw JouledError(.varlinkProtocol, "the server's reply: \(error.message)", cause: error.cause)
        }
    }

    /// After `.upgraded`: what arrived together with the confirmation and belongs to the other protocol.
    public mutating func takeRemainder() -> [UInt8] { state == .upgraded ? buffer.takeAll() : [] }

    private static func tooLarge() -> JouledError {
        JouledError(.varlinkProtocol, "it is larger than \(maximumReply) bytes")
    }

    private mutating func event(parsing bytes: ArraySlice<UInt8>) throws(JouledError) -> VarlinkClientEvent {
        let message = try VarlinkHeader.message(parsing: bytes, limits: JSONLimits())
        try VarlinkHeader.check(message, known: ["parameters", "continues", "error"])
        let parameters = try VarlinkHeader.parameters(of: message)
        let continues = try VarlinkHeader.flag("continues", of: message)
        guard let mode = pending.first else { throw JouledError(.varlinkProtocol, "no call was made") }
        if let error = message.present("error") {
            guard let name = error.stringValue else { throw JouledError(.varlinkProtocol, "'error' is no string") }
            guard !continues else { throw JouledError(.varlinkProtocol, "'continues' in an error") }
            pending.removeFirst()
            return .error(VarlinkError(name, parameters))
        }
        guard !continues || mode == .more else {
            throw JouledError(.varlinkProtocol, "'continues' in reply to a call without 'more'")
        }
        if !continues { pending.removeFirst() }
        guard mode != .upgrade else {
            state = .upgraded
            return .upgraded(parameters)
        }
        return .reply(parameters, continues: continues)
    }
}
