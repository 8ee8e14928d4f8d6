import CLinux
import Glibc
import Units

/// An open Unix stream socket with a read buffer. Never raises SIGPIPE and never blocks but in `wait`.
final class Socket {
    /// What one attempt to move bytes came to.
    enum Outcome: Equatable {
        case moved(Int)
        /// Nothing can be moved now.
        case wouldBlock
        /// The peer has closed the connection.
        case closed
    }

    /// What is ready after a wait.
    struct Ready {
        var readable = false
        var writable = false
        var extraReadable = false
        /// The second socket can be read or written.
        var otherReady = false
        /// A signal arrived, so that the caller may look whether it should stop.
        var interrupted = false
    }

    private static let bufferSize = 1 << 16
    private static let sendFlags = Int32(MSG_NOSIGNAL) | Int32(MSG_DONTWAIT)
    private static let receiveFlags = Int32(MSG_DONTWAIT)

    let descriptor: Int32
    private let buffer: UnsafeMutableRawBufferPointer

    /// Takes over `descriptor`, which is closed with this object.
    init(owning descriptor: Int32) {
        self.descriptor = descriptor
        buffer = .allocate(byteCount: Self.bufferSize, alignment: 16)
    }

    deinit {
        buffer.deallocate()
        close(descriptor)
    }

    /// Connects to the socket at `path`.
    /// - Parameter patience: how long the daemon may leave its queue of connections full.
    convenience init(path: String, patience: Seconds) throws(JouledError) {
        let result = clinux_connect_unix(path, Int32(patience.milliseconds.rounded(.up)))
        guard result >= 0 else { throw JouledError(.unreachable, Self.explanation(path, -result)) }
        self.init(owning: result)
    }

    private static func explanation(_ path: String, _ error: Int32) -> String {
        var status = stat()
        // The kernel refuses a connection to any other file as if nobody listened there.
        if error == ECONNREFUSED, stat(path, &status) == 0, status.st_mode & S_IFMT != S_IFSOCK { return explanation(path, ENOTSOCK) }
        return switch error {
        case EAGAIN: "\(path): jouled does not answer: it takes no connections"
        case ENOENT: "\(path): no such socket: is jouled running?"
        case ECONNREFUSED: "\(path): nobody listens on this socket: has jouled stopped?"
        case EACCES, EPERM: "\(path): permission denied: does your user belong to the socket's group?"
        case ENAMETOOLONG: "\(path): the path is too long for a socket (107 bytes)"
        case ENOTSOCK: "\(path): it is not a socket"
        default: "\(path): \(text(error))"
        }
    }

    static func text(_ error: Int32) -> String { String(cString: strerror(error)) }

    /// Sends what fits of `bytes` from `offset` on.
    func send(_ bytes: [UInt8], from offset: Int) throws(JouledError) -> Outcome {
        while true {
            let count = bytes.withUnsafeBytes {
                Glibc.send(descriptor, $0.baseAddress.map { $0 + offset }, $0.count - offset, Self.sendFlags)
            }
            if count >= 0 { return .moved(count) }
            switch errno {
            case EINTR: continue
            case EAGAIN: return .wouldBlock
            case EPIPE, ECONNRESET: return .closed
            default: throw JouledError(.disconnected, "sending to jouled: \(Self.text(errno))")
            }
        }
    }

    /// Receives what is there. The bytes are valid until the next call.
    func receive() throws(JouledError) -> (outcome: Outcome, bytes: UnsafeRawBufferPointer) {
        let none = UnsafeRawBufferPointer(start: nil, count: 0)
        while true {
            let count = recv(descriptor, buffer.baseAddress, buffer.count, Self.receiveFlags)
            if count > 0 { return (.moved(count), UnsafeRawBufferPointer(rebasing: buffer[..<count])) }
            if count == 0 { return (.closed, none) }
            switch errno {
            case EINTR: continue
            case EAGAIN: return (.wouldBlock, none)
            // The kernel reports this where the peer left bytes of ours unread; what it sent came before.
            case ECONNRESET: return (.closed, none)
            default: throw JouledError(.disconnected, "receiving from jouled: \(Self.text(errno))")
            }
        }
    }

    /// Waits until the socket can be read (or written, or `extra` can be read), or `deadline` passes.
    /// - Parameters:
    ///   - other: a second socket that is moved on meanwhile, and whether there is something to write to it; the wait ends when
    ///     it is ready, too.
    ///   - stop: can be read once a signal has arrived, however long before; -1 if there is no such descriptor.
    func wait(
        write: Bool, extra: Int32? = nil, other: (socket: Socket, write: Bool)? = nil, stop: Int32 = -1, until deadline: MonotonicTime?
    ) throws(JouledError) -> Ready {
        func asked(_ descriptor: Int32, _ write: Bool) -> pollfd { pollfd(fd: descriptor, events: Int16(POLLIN) | (write ? Int16(POLLOUT) : 0), revents: 0) }
        // What is not asked for has no descriptor, and poll leaves it alone.
        var polled = [asked(descriptor, write), pollfd(fd: extra ?? -1, events: Int16(POLLIN), revents: 0), pollfd(fd: stop, events: Int16(POLLIN), revents: 0)]
        if let other { polled.append(asked(other.socket.descriptor, other.write)) }
        let timeout = deadline.map { Self.milliseconds(until: $0) } ?? -1
        let count = poll(&polled, nfds_t(polled.count), timeout)
        var ready = Ready()
        guard count >= 0 else {
            guard errno == EINTR else { throw JouledError(.disconnected, "poll: \(Self.text(errno))") }
            ready.interrupted = true
            return ready
        }
        // An error or hang-up is found by trying to read, which tells more than poll does.
        ready.readable = polled[0].revents & ~Int16(POLLOUT) != 0
        ready.writable = polled[0].revents & Int16(POLLOUT) != 0
        ready.extraReadable = polled[1].revents != 0
        ready.interrupted = polled[2].revents != 0
        ready.otherReady = polled.count > 3 && polled[3].revents != 0
        return ready
    }

    private static func milliseconds(until deadline: MonotonicTime) -> Int32 {
        let left = deadline.since(SystemClocks().monotonic()).milliseconds
        // Rounded up, so that a wait of less than a millisecond does not spin.
        return Int32(min(max(left.rounded(.up), 0), 86_400_000))
    }
}
