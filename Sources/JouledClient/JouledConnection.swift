import Units
import Wire

/// A blocking connection to jouled's socket, for command lines and tests.
///
/// Calls are made one after another. `monitor` and `openStream` take the connection for themselves: open
/// another one for further calls.
public final class JouledConnection {
    /// Where jouled listens by default.
    public static let defaultPath = "/run/jouled/jouled.sock"

    private let socket: Socket
    private var varlink = VarlinkClientConnection()

    /// How long the daemon may take for a connection, and by default for a reply.
    public static let patience = Seconds(10)
    /// How long it may take where it loads a model first.
    public static let longPatience = Seconds(120)

    /// How long a reply may take; monitors wait for ever.
    public var timeout = JouledConnection.patience
    /// How long the reply to the opening of a stream may take.
    public var openingTimeout = JouledConnection.longPatience
    /// Asked before each wait of a monitor, or for the opening of a stream; true ends it.
    public var shouldStop: () -> Bool = { false }
    /// A descriptor that can be read once `shouldStop` is to be asked again, which so ends a wait; -1 if there is none, and only a
    /// signal that arrives during the wait ends it.
    public var stopDescriptor: Int32 = -1

    /// Connects to the daemon.
    ///
    /// - Parameter path: the daemon's socket.
    public init(path: String = JouledConnection.defaultPath) throws(JouledError) {
        socket = try Socket(path: path, patience: Self.patience)
    }

    /// Takes over a connected socket, e.g. one end of a socket pair.
    public init(owning descriptor: Int32) { socket = Socket(owning: descriptor) }

    /// Calls a method and returns its output, an object.
    ///
    /// An error reply is thrown as `JouledError` with code `.refused` and the `VarlinkError` as its cause.
    public func call(_ method: String, _ parameters: JSONObject = [:]) throws(JouledError) -> JSONValue {
        try send(VarlinkCall(method: method, parameters: parameters))
        guard case .reply(let reply, _) = try event(method, within: timeout) else {
            throw JouledError(.disconnected, "\(method): an unexpected kind of reply")
        }
        return .object(reply)
    }

    /// Calls a method without wanting an answer, not even an error.
    public func notify(_ method: String, _ parameters: JSONObject = [:]) throws(JouledError) {
        try send(VarlinkCall(method: method, parameters: parameters, mode: .oneway))
    }

    /// Calls a method with `more` and hands each reply to `each` until it returns false, the last reply came,
    /// or `shouldStop` says so.
    public func monitor(
        _ method: String, _ parameters: JSONObject = [:], each: (JSONValue) throws(JouledError) -> Bool
    ) throws(JouledError) {
        try send(VarlinkCall(method: method, parameters: parameters, mode: .more))
        while let event = try event(method, within: nil, mayStop: true) {
            guard case .reply(let reply, let continues) = event else { return }
            guard try each(.object(reply)), continues else { return }
        }
    }

    /// Calls a method with `upgrade`, by default `io.jouled.Streams.Open`, and returns the stream.
    ///
    /// - Parameters:
    ///   - parameters: the method's input.
    ///   - method: the method.
    ///   - sampleSize: bytes per sample over all channels; by default told by `format` and `channels` of the
    ///     reply's contract or, where it lacks them, of the parameters.
    public func openStream(
        _ parameters: JSONObject, method: String = "io.jouled.Streams.Open", sampleSize: Int? = nil
    ) throws(JouledError) -> StreamConnection {
        try send(VarlinkCall(method: method, parameters: parameters, mode: .upgrade))
        guard let event = try event(method, within: openingTimeout, mayStop: true) else { throw JouledError(.interrupted, "interrupted while jouled opened the stream") }
        guard case .upgraded(let contract) = event else {
            throw JouledError(.disconnected, "\(method): an unexpected kind of reply")
        }
        guard let size = sampleSize ?? Self.sampleSize(contract, parameters) else {
            throw JouledError(.misuse, "\(method): neither reply nor parameters tell the sample format")
        }
        return try StreamConnection(
            socket: socket, contract: contract, sampleSize: size, received: varlink.takeRemainder())
    }

    private static func sampleSize(_ contract: JSONObject, _ parameters: JSONObject) -> Int? {
        func first<Value>(_ key: String, _ read: (JSONValue) -> Value?) -> Value? {
            contract["contract"]?.objectValue?.present(key).flatMap(read) ?? contract.present(key).flatMap(read)
                ?? parameters.present(key).flatMap(read)
        }
        guard let format = first("format", { $0.stringValue.flatMap { SampleFormat(name: $0) } }) else { return nil }
        let channels = first("channels", { $0.intValue }) ?? 1
        guard (1...1024).contains(channels) else { return nil }
        return format.bytesPerSample * Int(channels)
    }

    private func send(_ call: VarlinkCall) throws(JouledError) {
        let bytes = try varlink.call(call)
        let deadline = SystemClocks().monotonic().advanced(by: timeout)
        var sent = 0
        while sent < bytes.count {
            switch try socket.send(bytes, from: sent) {
            case .moved(let count): sent += count
            case .wouldBlock:
                let ready = try socket.wait(write: true, until: deadline)
                guard ready.writable || ready.readable || ready.interrupted else { throw late(call.method, timeout) }
                // What arrives is taken even now, or two full sockets would wait for each other.
                if ready.readable { _ = try receive() }
            case .closed: throw closed(call.method)
            }
        }
    }

    /// The next event, or nil if the caller wants to stop.
    private func event(
        _ method: String, within limit: Seconds?, mayStop: Bool = false
    ) throws(JouledError) -> VarlinkClientEvent? {
        let deadline = limit.map { SystemClocks().monotonic().advanced(by: $0) }
        while true {
            if let event = try varlink.next() {
                if case .error(let error) = event { throw JouledError(.refused, "\(method) was refused", cause: error) }
                return event
            }
            if mayStop, shouldStop() { return nil }
            let ready = try socket.wait(write: false, stop: mayStop ? stopDescriptor : -1, until: deadline)
            guard ready.readable || ready.interrupted else { throw late(method, limit) }
            if ready.readable, try !receive() { throw closed(method) }
        }
    }

    /// Takes what arrived; false when the daemon has closed the connection.
    private func receive() throws(JouledError) -> Bool {
        let (outcome, bytes) = try socket.receive()
        varlink.receive(bytes)
        return outcome != .closed
    }

    private func late(_ method: String, _ limit: Seconds?) -> JouledError {
        JouledError(.timedOut, "jouled does not answer: \(method) took longer than \(limit ?? timeout)")
    }

    private func closed(_ method: String) -> JouledError {
        JouledError(.disconnected, "\(method): jouled closed the connection")
    }
}
