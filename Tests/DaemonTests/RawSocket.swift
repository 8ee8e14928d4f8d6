import CLinux
import Glibc
import JouledTestKit
import Testing
import Units
import Wire

/// A connection without manners: bytes as the test wants them.
final class RawSocket {
    let descriptor: Int32

    convenience init(_ daemon: DaemonHarness) throws { try self.init(path: daemon.socket) }

    init(path: String) throws {
        descriptor = clinux_connect_unix(path, 10_000)
        guard descriptor >= 0 else { throw JouledError(.subprocess, "\(path): \(String(cString: strerror(-descriptor)))") }
    }

    deinit { close(descriptor) }

    func isWritable(within limit: Seconds) -> Bool { poll(POLLOUT, limit) & POLLOUT != 0 }
    func isReadable(within limit: Seconds) -> Bool { poll(POLLIN, limit) != 0 }

    private func poll(_ events: Int32, _ limit: Seconds) -> Int32 {
        var polled = pollfd(fd: descriptor, events: Int16(events), revents: 0)
        return Glibc.poll(&polled, 1, Int32(limit.milliseconds)) > 0 ? Int32(polled.revents) : 0
    }

    /// Sends what the socket takes now.
    func send(_ bytes: [UInt8], from start: Int) -> Int {
        max(0, bytes.withUnsafeBytes {
            Glibc.send(descriptor, $0.baseAddress.map { $0 + start }, $0.count - start, Int32(MSG_NOSIGNAL) | Int32(MSG_DONTWAIT))
        })
    }

    /// Sends all, unless the daemon closes or takes nothing for 5 s.
    func sendAll(_ bytes: [UInt8]) {
        var sent = 0
        while sent < bytes.count, isWritable(within: Seconds(5)) {
            let count = send(bytes, from: sent)
            guard count > 0 else { return }
            sent += count
        }
    }

    /// Says that nothing more will be sent.
    func endOutput() { shutdown(descriptor, Int32(SHUT_WR)) }

    /// Reads once; nil at the end, empty if nothing came within `limit`.
    func read(within limit: Seconds = Seconds(10)) -> [UInt8]? {
        guard isReadable(within: limit) else { return [] }
        var buffer = [UInt8](repeating: 0, count: 1 << 16)
        let count = recv(descriptor, &buffer, buffer.count, 0)
        return count > 0 ? Array(buffer[..<count]) : nil
    }

    /// Everything until the daemon closes the connection.
    func readToEnd(within limit: Seconds = Seconds(10)) throws -> [UInt8] {
        var all: [UInt8] = []
        while let bytes = read(within: limit) {
            if bytes.isEmpty { throw JouledError(.subprocess, "the daemon did not close the connection") }
            all += bytes
        }
        return all
    }

    /// Makes one Varlink call and returns its reply.
    func call(_ json: String) throws -> JSONValue {
        sendAll(Array(json.utf8) + [0])
        var reply: [UInt8] = []
        while !reply.contains(0) {
            guard let bytes = read(), !bytes.isEmpty else { throw JouledError(.subprocess, "no reply to \(json)") }
            reply += bytes
        }
        return try JSONValue(parsing: Array(reply.prefix { $0 != 0 }))
    }
}

/// A stream of frames as the test wants them.
final class RawStream {
    let socket: RawSocket
    let contract: JSONValue

    init(_ daemon: DaemonHarness, _ parameters: JSONObject) throws {
        socket = try RawSocket(daemon)
        let call: JSONValue = ["method": "io.jouled.Streams.Open", "parameters": .object(parameters), "upgrade": true]
        contract = try socket.call(call.description)
        try #require(contract["error"] == nil, "\(contract)")
    }

    func isWritable(within limit: Seconds) -> Bool { socket.isWritable(within: limit) }
    func send(_ bytes: [UInt8], from start: Int) -> Int { socket.send(bytes, from: start) }

    /// Reads once and hands frames on.
    /// - Returns: false when the daemon has closed the stream.
    func receive(_ parser: inout FrameParser, _ handle: (FrameHeader, UnsafeRawBufferPointer) -> Void) throws -> Bool {
        guard let bytes = socket.read(within: Seconds(0.02)) else { return false }
        var failure: JouledError?
        bytes.withUnsafeBytes { pointer in
            do throws(JouledError) {
                try parser.receive(pointer) { (event) throws(JouledError) in if case .message(let header, let payload) = event { handle(header, payload) } }
            } catch { failure = error }
        }
        if let failure { throw failure }
        return true
    }

    /// Reads all until the daemon closes and returns the message of the ERROR among it.
    func error() throws -> Notice? {
        let bytes = try socket.readToEnd()
        var parser = FrameParser(role: .client)
        var found: Notice?
        try bytes.withUnsafeBytes { pointer in
            try parser.receive(pointer) { (event) throws(JouledError) in
                if case .message(let header, let payload) = event, header.type == .error { found = try Notice(decoding: payload) }
            }
        }
        return found
    }
}
