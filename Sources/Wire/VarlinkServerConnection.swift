import Units

/// What a server has to do because of what a client sent.
public enum VarlinkServerAction: Hashable, Sendable {
    /// Serve this call, then answer with `reply`, `fail` or `replyUpgrade` (`oneway` calls too: the
    /// connection keeps the answer to itself).
    case call(VarlinkCall)
    /// Bytes of the protocol that the connection was upgraded to.
    case raw([UInt8])
    /// Close the connection: the client broke the protocol in a way that has no reply.
    case close(reason: String)
}

/// The server's side of one Varlink connection (UAPI.20), as a state machine without I/O.
///
/// Feed what arrives to `receive`, then take actions from `next` until it returns nil, and again after
/// each answer, because further calls may already wait. While a call is unanswered no further call is
/// handed out, so that replies are in the order of calls.
public struct VarlinkServerConnection: Sendable {
    /// The largest call that is accepted, in bytes.
    public static let maximumCall = 1 << 20
    /// How many bytes of further calls may wait while one is served.
    public static let maximumBacklog = 1 << 20
    /// The most values in one call, which bounds the memory that parsing takes.
    static let limits = JSONLimits(depth: 64, values: 1 << 16)

    private enum State: Hashable {
        case idle
        case serving(VarlinkCall.Mode)
        case upgraded
        case closed
    }

    private var state = State.idle
    private var buffer = MessageBuffer()

    /// A connection on which nothing was said yet.
    public init() {}

    /// Whether a call was handed out and waits for its answer.
    public var isServing: Bool {
        if case .serving = state { true } else { false }
    }
    /// Whether the connection now carries another protocol.
    public var isUpgraded: Bool { state == .upgraded }
    /// Whether the connection was condemned by `next` returning `.close`.
    public var isClosed: Bool { state == .closed }
    /// Whether reading more is useful now. While a call is served its caller may pipeline a little, then
    /// should be left to wait in the socket.
    public var wantsInput: Bool { state != .closed && !(isServing && buffer.count >= 1 << 16) }

    /// Takes bytes as they arrived, in any split.
    public mutating func receive(_ bytes: UnsafeRawBufferPointer) {
        guard state != .closed else { return }
        buffer.append(bytes)
    }

    /// Takes bytes as they arrived, in any split.
    public mutating func receive(_ bytes: some Collection<UInt8>) {
        let copied = Array(bytes)
        copied.withUnsafeBytes { receive($0) }
    }

    /// The next thing to do, or nil if there is nothing until more arrives or the present call is answered.
    public mutating func next() -> VarlinkServerAction? {
        switch state {
        case .closed: return nil
        case .upgraded:
            guard buffer.count > 0 else { return nil }
            return .raw(buffer.takeAll())
        case .serving:
            guard buffer.count > Self.maximumBacklog else { return nil }
            return close("more than \(Self.maximumBacklog) bytes were sent before the present call was answered")
        case .idle: break
        }
        guard let message = buffer.next() else {
            buffer.releaseIfEmpty()
            guard buffer.unterminated <= Self.maximumCall else { return tooLarge() }
            return nil
        }
        guard message.count <= Self.maximumCall else { return tooLarge() }
        do {
            let call = try Self.call(parsing: message)
            state = .serving(call.mode)
            return .call(call)
        } catch {
            return close(error.message)
        }
    }

    private mutating func tooLarge() -> VarlinkServerAction { close("a call is larger than \(Self.maximumCall) bytes") }

    private mutating func close(_ reason: String) -> VarlinkServerAction {
        state = .closed
        buffer = MessageBuffer()
        return .close(reason: reason)
    }

    private static func call(parsing bytes: ArraySlice<UInt8>) throws(JouledError) -> VarlinkCall {
        let message = try VarlinkHeader.message(parsing: bytes, limits: limits)
        try VarlinkHeader.check(message, known: ["method", "parameters", "oneway", "more", "upgrade"])
        guard let method = message["method"] else { throw JouledError(.varlinkProtocol, "the call has no 'method'") }
        guard let name = method.stringValue else { throw JouledError(.varlinkProtocol, "'method' is no string") }
        var mode = VarlinkCall.Mode.single
        for flag in [VarlinkCall.Mode.oneway, .more, .upgrade] where try VarlinkHeader.flag(flag.rawValue, of: message) {
            guard mode == .single else {
                throw JouledError(.varlinkProtocol, "both '\(mode.rawValue)' and '\(flag.rawValue)' are set")
            }
            mode = flag
        }
        return VarlinkCall(method: name, parameters: try VarlinkHeader.parameters(of: message), mode: mode)
    }

    // MARK: Answers

    /// Answers the present call and returns the bytes to send: none for a `oneway` call.
    ///
    /// - Parameters:
    ///   - parameters: the method's output.
    ///   - continues: whether more replies follow; only for calls made with `more`.
    public mutating func reply(_ parameters: JSONObject = [:], continues: Bool = false) throws(JouledError) -> [UInt8] {
        let mode = try presentMode()
        guard mode != .upgrade else { throw misuse("a call with 'upgrade' is confirmed with replyUpgrade or refused") }
        guard !continues || mode == .more else { throw misuse("'continues' in reply to a call without 'more'") }
        if !continues { state = .idle }
        guard mode != .oneway else { return [] }
        var message = JSONObject()
        if !parameters.isEmpty { message["parameters"] = .object(parameters) }
        if continues { message["continues"] = true }
        return VarlinkHeader.encode(message)
    }

    /// Answers the present call with an error, which ends it, and returns the bytes to send: none for a
    /// `oneway` call. An error in answer to `upgrade` leaves the connection with Varlink.
    public mutating func fail(_ error: VarlinkError) throws(JouledError) -> [UInt8] {
        let mode = try presentMode()
        state = .idle
        guard mode != .oneway else { return [] }
        var message: JSONObject = ["error": .string(error.name)]
        if !error.parameters.isEmpty { message["parameters"] = .object(error.parameters) }
        return VarlinkHeader.encode(message)
    }

    /// Confirms the present call's `upgrade` and returns the bytes to send; all that arrives from now on is
    /// another protocol's.
    ///
    /// Throws, and condemns the connection, if the client sent something before the confirmation: whether
    /// those bytes were meant as a call or as raw data cannot be known.
    public mutating func replyUpgrade(_ parameters: JSONObject = [:]) throws(JouledError) -> [UInt8] {
        guard try presentMode() == .upgrade else { throw misuse("the call did not ask for 'upgrade'") }
        guard buffer.count == 0 else {
            let early = buffer.count
            state = .closed
            buffer = MessageBuffer()
            throw JouledError(.varlinkProtocol, "\(early) bytes were sent before the upgrade was confirmed")
        }
        buffer = MessageBuffer()
        state = .upgraded
        return VarlinkHeader.encode(parameters.isEmpty ? [:] : ["parameters": .object(parameters)])
    }

    private func presentMode() throws(JouledError) -> VarlinkCall.Mode {
        guard case .serving(let mode) = state else { throw misuse("there is no call to answer") }
        return mode
    }

    private func misuse(_ what: String) -> JouledError { JouledError(.varlinkMisuse, "Varlink: \(what)") }
}
