import CLinux
import Glibc
import Units

extension JouledError.Code {
    /// An address cannot be listened on.
    public static let wyomingListening = Self("wyoming.listening")
}

/// Where Wyoming clients connect: `unix:///PATH` or `tcp://HOST:PORT`.
public enum WyomingAddress: Hashable, Sendable, CustomStringConvertible {
    case unix(path: String)
    case tcp(host: String, port: UInt16)

    /// Reads a URI; nil if it is none of both forms.
    public init?(_ uri: String) {
        if uri.hasPrefix("unix://") {
            let path = String(uri.dropFirst(7))
            guard path.hasPrefix("/"), path.utf8.count <= 107 else { return nil }
            self = .unix(path: path)
        } else if uri.hasPrefix("tcp://") {
            let rest = uri.dropFirst(6)
            guard let colon = rest.lastIndex(of: ":"), let port = UInt16(rest[rest.index(after: colon)...]), port > 0 else { return nil }
            var host = rest[..<colon]
            // An IPv6 address is in brackets, for it has colons of its own.
            if host.hasPrefix("["), host.hasSuffix("]") { host = host.dropFirst().dropLast() } else if host.contains(":") { return nil }
            guard !host.isEmpty else { return nil }
            self = .tcp(host: String(host), port: port)
        } else {
            return nil
        }
    }

    public var description: String {
        switch self {
        case .unix(let path): "unix://\(path)"
        case .tcp(let host, let port): host.contains(":") ? "tcp://[\(host)]:\(port)" : "tcp://\(host):\(port)"
        }
    }

    /// A listening, non-blocking socket.
    /// - Throws: `.wyomingListening` with the address and the reason.
    public func listen() throws(JouledError) -> Int32 {
        switch self {
        case .unix(let path): try Self.listen(path, self)
        case .tcp(let host, let port): try Self.listen(host, port, self)
        }
    }

    private static func listen(_ path: String, _ address: WyomingAddress) throws(JouledError) -> Int32 {
        var result = clinux_listen_unix(path, 0o660, 16)
        if result == -EADDRINUSE {
            // A file without a listener is what a crash leaves behind; whatever else stands there is not ours to remove.
            var status = stat()
            guard clinux_probe_unix(path) == 0, lstat(path, &status) == 0, status.st_mode & S_IFMT == S_IFSOCK else {
                throw JouledError(.wyomingListening, "\(address): another program listens there, or a file that is no socket is in the way")
            }
            unlink(path)
            result = clinux_listen_unix(path, 0o660, 16)
        }
        guard result >= 0 else { throw JouledError(.wyomingListening, "\(address): cannot listen: \(String(cString: strerror(-result)))") }
        return result
    }

    private static func listen(_ host: String, _ port: UInt16, _ address: WyomingAddress) throws(JouledError) -> Int32 {
        var hints = addrinfo()
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV
        var found: UnsafeMutablePointer<addrinfo>?
        let failed = getaddrinfo(host, "\(port)", &hints, &found)
        guard failed == 0, let first = found else { throw JouledError(.wyomingListening, "\(address): \(String(cString: gai_strerror(failed)))") }
        defer { freeaddrinfo(found) }
        let flags = Int32(SOCK_NONBLOCK.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
        let descriptor = socket(first.pointee.ai_family, first.pointee.ai_socktype | flags, 0)
        var on: Int32 = 1
        if descriptor >= 0 { setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &on, socklen_t(MemoryLayout<Int32>.size)) }
        guard descriptor >= 0, bind(descriptor, first.pointee.ai_addr, first.pointee.ai_addrlen) == 0, Glibc.listen(descriptor, 16) == 0 else {
            let error = errno
            if descriptor >= 0 { close(descriptor) }
            throw JouledError(.wyomingListening, "\(address): cannot listen: \(String(cString: strerror(error)))")
        }
        return descriptor
    }
}
