import CLinux
import Glibc
import Units
import Wire

/// Serves `org.varlink.certification` on a Unix socket until it is killed: `certification SOCKET`.
///
/// A program of the tests alone. It moves bytes between sockets and the protocol's state machine that the daemon uses too, so that the
/// reference client of other implementations judges this one.
@main
struct CertificationServer {
    private var connections: [Int32: VarlinkServerConnection] = [:]
    private var certification = Certification()

    static func main() {
        guard CommandLine.arguments.count == 2 else { fail("usage: certification SOCKET") }
        signal(SIGPIPE, SIG_IGN)
        let listener = clinux_listen_unix(CommandLine.arguments[1], 0o600, 16)
        guard listener >= 0 else { fail("\(CommandLine.arguments[1]): \(String(cString: strerror(-listener)))") }
        var server = CertificationServer()
        while true { server.turn(listener) }
    }

    private static func fail(_ message: String) -> Never {
        _ = write(STDERR_FILENO, message + "\n", message.utf8.count + 1)
        exit(1)
    }

    /// Waits for something to do and does it.
    private mutating func turn(_ listener: Int32) {
        var polled = ([listener] + connections.keys).map { pollfd(fd: $0, events: Int16(POLLIN), revents: 0) }
        guard poll(&polled, nfds_t(polled.count), -1) > 0 else { return }
        for ready in polled where ready.revents != 0 {
            if ready.fd == listener {
                let descriptor = clinux_accept(listener)
                if descriptor >= 0 { connections[descriptor] = VarlinkServerConnection() }
            } else if !serve(ready.fd) {
                connections[ready.fd] = nil
                close(ready.fd)
            }
        }
    }

    /// - Returns: false when the connection is over.
    private mutating func serve(_ descriptor: Int32) -> Bool {
        var buffer = [UInt8](repeating: 0, count: 1 << 16)
        let count = recv(descriptor, &buffer, buffer.count, 0)
        guard count > 0, var wire = connections[descriptor] else { return false }
        wire.receive(buffer[..<count])
        defer { connections[descriptor] = wire }
        while let action = wire.next() {
            guard case .call(let call) = action else { return false }
            guard let bytes = try? Self.answer(call, &certification, &wire), Self.send(bytes, descriptor) else { return false }
        }
        return true
    }

    private static func answer(_ call: VarlinkCall, _ certification: inout Certification, _ wire: inout VarlinkServerConnection) throws -> [UInt8] {
        let replies: [JSONObject]
        do throws(VarlinkError) { replies = try certification.answer(call) } catch { return try wire.fail(error) }
        var bytes: [UInt8] = []
        for (index, reply) in replies.enumerated() { bytes += try wire.reply(reply, continues: index + 1 < replies.count) }
        return bytes
    }

    /// Sends all, waiting for room: a test's peer reads.
    private static func send(_ bytes: [UInt8], _ descriptor: Int32) -> Bool {
        var sent = 0
        while sent < bytes.count {
            let count = bytes.withUnsafeBytes { Glibc.send(descriptor, $0.baseAddress.map { $0 + sent }, bytes.count - sent, Int32(MSG_NOSIGNAL)) }
            if count < 0 && errno == EAGAIN {
                var writable = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
                guard poll(&writable, 1, 10_000) > 0 else { return false }
                continue
            }
            guard count > 0 else { return false }
            sent += count
        }
        return true
    }
}
