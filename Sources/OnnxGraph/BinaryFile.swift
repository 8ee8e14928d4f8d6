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

/// Whole files of bytes.
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

    /// Writes beside the target, syncs and renames, so that the file is there whole or not at all.
    /// - Throws: `.unwritableFile` naming the path; the old content is then still in place.
    public static func write(_ chunks: [[UInt8]], to path: String) throws(JouledError) {
        let temporary = path + ".partial"
        let descriptor = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0o644)
        guard descriptor >= 0 else {
            throw JouledError(.unwritableFile, "\(temporary): cannot be written: \(String(cString: strerror(errno)))")
        }
        func fail() -> JouledError {
            let reason = String(cString: strerror(errno))
            close(descriptor)
            unlink(temporary)
            return JouledError(.unwritableFile, "\(path): cannot be written: \(reason)")
        }
        for chunk in chunks {
            var done = 0
            while done < chunk.count {
                let count = chunk.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress! + done, chunk.count - done) }  // not empty
                if count < 0 && errno == EINTR { continue }
                guard count > 0 else { throw fail() }
                done += count
            }
        }
        guard fsync(descriptor) == 0, rename(temporary, path) == 0 else { throw fail() }
        close(descriptor)
    }
}
