import ConfigDocument
import Glibc
import Units

/// A file that is read whole, or standard input.
enum InputFile {
    /// A year of decisions is some ten megabytes; what is longer is most likely not meant.
    static let limit = 512 << 20

    /// - Parameter path: `-` reads standard input.
    /// - Throws: `unreadableFile`, naming the path.
    static func bytes(of path: String) throws(JouledError) -> [UInt8] {
        let name = path == "-" ? "standard input" : path
        let descriptor = path == "-" ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw JouledError(.unreadableFile, "\(name): \(String(cString: strerror(errno)))") }
        defer { if descriptor != STDIN_FILENO { close(descriptor) } }
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 1 << 20)
        while true {
            let count = read(descriptor, &chunk, chunk.count)
            if count == 0 { return bytes }
            if count < 0 {
                if errno == EINTR { continue }
                throw JouledError(.unreadableFile, "\(name): \(String(cString: strerror(errno)))")
            }
            bytes += chunk[..<count]
            guard bytes.count <= limit else { throw JouledError(.unreadableFile, "\(name): longer than \(limit >> 20) MiB; narrow it with journalctl --since or MESSAGE_ID=") }
        }
    }
}
