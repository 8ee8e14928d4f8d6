import Glibc

/// Files that are there whole or not at all.
public enum AtomicFile {
    /// - Throws: `.unwritableFile` naming the path and what failed; the old content is then still in place.
    public static func write(_ content: String, to path: String, mode: mode_t = 0o600, isDurable: Bool = true) throws(JouledError) {
        try write([Array(content.utf8)], to: path, mode: mode, isDurable: isDurable)
    }

    /// - Parameters:
    ///   - chunks: the content, one after the other.
    ///   - isDurable: whether the file has to survive a power cut, which costs a write to the disk now; without it the file
    ///     survives the end of the process only.
    /// - Throws: `.unwritableFile` naming the path and what failed; the old content is then still in place.
    public static func write(_ chunks: [[UInt8]], to path: String, mode: mode_t = 0o600, isDurable: Bool = true) throws(JouledError) {
        let temporary = path + ".new"
        let descriptor = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, mode)
        guard descriptor >= 0 else { throw failure(temporary, "cannot be written") }
        for chunk in chunks {
            var done = 0
            while done < chunk.count {
                let count = chunk.withUnsafeBytes { Glibc.write(descriptor, UnsafeRawBufferPointer(rebasing: $0[done...]).baseAddress, chunk.count - done) }
                if count < 0 && errno == EINTR { continue }
                guard count > 0 else {
                    let error = failure(temporary, "cannot be written")
                    close(descriptor)
                    unlink(temporary)
                    throw error
                }
                done += count
            }
        }
        // The data must be on disk before the name points to it, or a power cut could leave an empty file.
        guard !isDurable || fsync(descriptor) == 0, close(descriptor) == 0, rename(temporary, path) == 0 else {
            let error = failure(path, "cannot be replaced")
            unlink(temporary)
            throw error
        }
        guard isDurable else { return }
        let slash = path.lastIndex(of: "/")
        let parent = slash.map { $0 == path.startIndex ? "/" : String(path[..<$0]) } ?? "."
        let directory = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        if directory >= 0 {
            fsync(directory)
            close(directory)
        }
    }

    private static func failure(_ path: String, _ what: String) -> JouledError {
        JouledError(.unwritableFile, "\(path): \(what): \(String(cString: strerror(errno)))")
    }
}

extension JouledError.Code {
    /// A file cannot be written or replaced.
    public static let unwritableFile = Self("units.unwritable-file")
}
