import Glibc
import Systemd
import Units

/// Small files that survive a restart: written whole or not at all, with a checksum against torn or edited content.
///
/// The first line is `jouled-state 1 CHECKSUM`, the rest is the content. The checksum guards against accidents,
/// not against people who can write the state directory.
package enum StateFile {
    private static let magic = "jouled-state 1 "
    /// A state file that has grown beyond this is not one of ours.
    package static let sizeLimit = 4 << 20

    /// - Throws: `.unwritableFile` naming the path and what failed; the old content is then still in place.
    static func write(_ content: String, to path: String, isDurable: Bool = true) throws(JouledError) {
        try AtomicFile.write(magic + Checksum.text(of: content.utf8) + "\n" + content, to: path, isDurable: isDurable)
    }

    /// - Throws: `.stateFile` if the file is missing, unreadable, not ours, or damaged.
    /// - Parameter limit: bytes beyond which it is not one of ours.
    package static func read(_ path: String, limit: Int = sizeLimit) throws(JouledError) -> String {
        try content(of: bytes(path, limit: limit), path)
    }

    /// The file as it is, for content that brings its own checksum.
    static func bytes(_ path: String, limit: Int = sizeLimit) throws(JouledError) -> [UInt8] {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)
        guard descriptor >= 0 else { throw failure(path, "cannot be read") }
        defer { close(descriptor) }
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 65536)
        while bytes.count <= limit {
            let count = Glibc.read(descriptor, &buffer, buffer.count)
            if count < 0 && errno == EINTR { continue }
            guard count >= 0 else { throw failure(path, "cannot be read") }
            if count == 0 { break }
            bytes += buffer[..<count]
        }
        return bytes
    }

    /// What the bytes of a state file hold.
    package static func content(of bytes: [UInt8], _ path: String) throws(JouledError) -> String {
        guard let newline = bytes.firstIndex(of: UInt8(ascii: "\n")),
            let header = String(validating: bytes[..<newline], as: UTF8.self), header.hasPrefix(magic),
            let content = String(validating: bytes[(newline + 1)...], as: UTF8.self)
        else { throw JouledError(.stateFile, "\(path): is not a state file of jouled") }
        guard header.dropFirst(magic.count) == Checksum.text(of: content.utf8) else {
            throw JouledError(.stateFile, "\(path): is damaged (its checksum is wrong)")
        }
        return content
    }

    private static func failure(_ path: String, _ what: String) -> JouledError {
        JouledError(.stateFile, "\(path): \(what): \(errnoText(errno))")
    }
}

extension JouledError.Code {
    /// A state file is missing, damaged, or cannot be written.
    static let stateFile = Self("daemon.state-file")
}
