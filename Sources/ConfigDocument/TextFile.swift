import Glibc
import Units

/// Text files that people write.
public enum TextFile {
    /// The whole text of a regular file.
    /// - Parameter limit: the largest size in bytes: a wrong path (a model, a device) must not fill memory.
    /// - Throws: `unreadableFile` naming the path, and the line that is no UTF-8.
    public static func read(_ path: String, limit: Int) throws(JouledError) -> String {
        let bytes = try contents(of: path, limit: limit)
        guard let text = String(validating: bytes, as: UTF8.self) else {
            // No multi-byte sequence contains a newline, so lines can be checked one by one.
            let lines = bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
            let line = lines.firstIndex { String(validating: $0, as: UTF8.self) == nil } ?? 0
            throw JouledError(.unreadableFile, "\(path):\(line + 1): not valid UTF-8")
        }
        return text
    }

    private static func contents(of path: String, limit: Int) throws(JouledError) -> [UInt8] {
        func failure(_ what: String) -> JouledError { JouledError(.unreadableFile, "\(path): \(what)") }
        // Non-blocking, so that a FIFO in the file's place cannot hang the daemon at open.
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else { throw failure(String(cString: strerror(errno))) }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw failure(String(cString: strerror(errno))) }
        guard status.st_mode & S_IFMT == S_IFREG else { throw failure("not a regular file") }
        let tooLarge = failure("larger than \(limit) bytes")
        guard status.st_size <= limit else { throw tooLarge }
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 65536)
        while true {
            let count = Glibc.read(descriptor, &chunk, chunk.count)
            if count == 0 { return bytes }
            if count < 0 {
                if errno == EINTR { continue }
                throw failure(String(cString: strerror(errno)))
            }
            bytes.append(contentsOf: chunk[..<count])
            // The file may have grown since fstat.
            guard bytes.count <= limit else { throw tooLarge }
        }
    }
}
