import Glibc
import Units

extension JouledError.Code {
    /// A model or data file is missing, unreadable, truncated or corrupt.
    public static let unreadableGraph = Self("graph.unreadable")
    /// The graph is not a valid one: dangling input, cycle, duplicate name.
    public static let invalidGraph = Self("graph.invalid")
    /// The graph is valid but has something that jouled does not handle.
    public static let unsupportedGraph = Self("graph.unsupported")
}

/// Reads whole files of bytes; `AtomicFile` writes them.
public enum BinaryFile {
    /// The file's content, or `length` bytes of it from `offset`.
    /// - Throws: `.unreadableGraph` naming the path.
    public static func read(_ path: String, offset: Int = 0, length: Int? = nil) throws(JouledError) -> [UInt8] {
        func failure(_ what: String) -> JouledError { JouledError(.unreadableGraph, "\(path): \(what)") }
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else { throw failure(String(cString: strerror(errno))) }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw failure(String(cString: strerror(errno))) }
        guard status.st_mode & S_IFMT == S_IFREG else { throw failure("not a regular file") }
        let size = Int(status.st_size)
        guard offset >= 0, offset <= size, (length ?? 0) >= 0, (length ?? 0) <= size - offset else {
            throw failure("has \(size) bytes; bytes \(offset) to \(offset + (length ?? 0)) were asked for")
        }
        let wanted = length ?? size - offset
        var problem: JouledError?
        let bytes = [UInt8](unsafeUninitializedCapacity: wanted) { buffer, filled in
            while filled < wanted {
                let count = pread(descriptor, buffer.baseAddress! + filled, wanted - filled, off_t(offset + filled))  // wanted > 0, so there is an address
                if count < 0 && errno == EINTR { continue }
                guard count > 0 else {
                    problem = failure(count == 0 ? "ended while it was read" : String(cString: strerror(errno)))
                    return
                }
                filled += count
            }
        }
        if let problem { throw problem }
        return bytes
    }
}
