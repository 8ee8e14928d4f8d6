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

    /// How long a reply may take; monitors wait for ever. systemd's default.
    public var timeout = Seconds(45)
    /// Asked when a signal arrives while a monitor waits; true ends the monitor.
    public var shouldStop: () -> Bool = { false }

    /// Connects to the daemon.
    ///
    /// - Parameter path: the daemon's socket.
    public init(path: String = JouledConnection.defaultPath) throws(JouledError) { socket = try Socket(path: path) }

    /// Takes over a connected socket, e.g. one end of a socket pair.
    public init(owning descriptor: Int32) { socket = Socket(owning: descriptor) }

    /// Calls a method and returns its output, an object.
    ///
    /// An error reply is thrown as `JouledError` with code `.refused` and the `VarlinkError` as its cause.
    public func call(_ method: String, _ parameters: JSONObject = [:]) throws(JouledError) -> JSONValue {
        try send(VarlinkCall(method: method, parameters: parameters))
        guard case .reply(let reply, _) = try event(method, until: deadline) else {
            throw JouledError(.disconnected, "\(method): an unexpected kind of reply")
        }
        return .object(reply)
    }

    /// Calls a method without wanting an answer, not even an error.
    public func notify(_ method: String, _ parameters: JSONObject = [:]) throws(JouledError) {
        try send(VarlinkCall(method: method, parameters: parameters, mode: .oneway))
    }

    /// Calls a method with `more` and hands each reply to `each` until it returns false, the last reply came,
    /// or a signal arrived and `shouldStop` agrees.
    public func monitor(
        _ method: String, _ parameters: JSONObject = [:], each: (JSONValue) throws(JouledError) -> Bool
    ) throws(JouledError) {
        try send(VarlinkCall(method: method, parameters: parameters, mode: .more))
        while let event = try event(method, until: nil, mayStop: true) {
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
        guard case .upgraded(let contract) = try event(method, until: deadline) else {
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

    private var deadline: MonotonicTime { SystemClocks().monotonic().advanced(by: timeout) }

    private func send(_ call: VarlinkCall) throws(JouledError) {
        let bytes = try varlink.call(call)
        let deadline = deadline
        var sent = 0
        while sent < bytes.count {
            switch try socket.send(bytes, from: sent) {
            case .moved(let count): sent += count
            case .wouldBlock:
                let ready = try socket.wait(write: true, until: deadline)
                guard ready.writable || ready.readable || ready.interrupted else { throw late(call.method) }
                // What arrives is taken even now, or two full sockets would wait for each other.
                if ready.readable { _ = try receive() }
            case .closed: throw closed(call.method)
            }
        }
    }

    /// The next event, or nil if the caller wants to stop.
    private func event(
        _ method: String, until deadline: MonotonicTime?, mayStop: Bool = false
    ) throws(JouledError) -> VarlinkClientEvent? {
        while true {
            if let event = try varlink.next() {
                if case .error(let error) = event { throw JouledError(.refused, "\(method) was refused", cause: error) }
                return event
            }
            let ready = try socket.wait(write: false, until: deadline)
            if ready.interrupted, mayStop, shouldStop() { return nil }
            guard ready.readable || ready.interrupted else { throw late(method) }
            if ready.readable, try !receive() { throw closed(method) }
        }
    }

    /// Takes what arrived; false when the daemon has closed the connection.
    private func receive() throws(JouledError) -> Bool {
        let (outcome, bytes) = try socket.receive()
        varlink.receive(bytes)
        return outcome != .closed
    }

    private func late(_ method: String) -> JouledError {
        JouledError(.timedOut, "\(method): no answer within \(timeout)")
    }

    private func closed(_ method: String) -> JouledError {
        JouledError(.disconnected, "\(method): jouled closed the connection")
    }
}
