import Glibc
import Units

/// A directory of its own below /tmp, removed with all that is in it when this object goes.
///
/// The path is short, because a Unix socket's path holds 107 bytes at most.
public final class TemporaryDirectory: Sendable {
    public let path: String

    public init() {
        var template = Array("/tmp/jd-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { fatalError("mkdtemp: \(String(cString: strerror(errno)))") }
        path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    deinit { DirectoryTree.remove(path) }

    /// The path of `file` below this directory.
    public func callAsFunction(_ file: String) -> String { "\(path)/\(file)" }

    /// Writes a file, creating the directories that lead to it.
    public func write(_ file: String, _ bytes: [UInt8]) {
        makeDirectory(file.split(separator: "/").dropLast().joined(separator: "/"))
        let whole = self(file)
        unlink(whole)
        let descriptor = open(whole, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { fatalError("\(whole): \(String(cString: strerror(errno)))") }
        defer { close(descriptor) }
        var written = 0
        while written < bytes.count {
            let count = bytes.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress.map { $0 + written }, $0.count - written) }
            guard count > 0 else { fatalError("\(whole): \(String(cString: strerror(errno)))") }
            written += count
        }
    }

    public func write(_ file: String, _ text: String) { write(file, Array(text.utf8)) }

    public func makeDirectory(_ directory: String) {
        var whole = path
        for component in directory.split(separator: "/") {
            whole += "/\(component)"
            mkdir(whole, 0o700)
        }
    }

    /// The content of a file; nil if it cannot be read.
    public static func contents(of file: String) -> [UInt8]? {
        let descriptor = open(file, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 1 << 16)
        while true {
            let count = read(descriptor, &buffer, buffer.count)
            guard count > 0 else { return count == 0 ? bytes : nil }
            bytes += buffer[..<count]
        }
    }

    public func text(of file: String) -> String { String(decoding: Self.contents(of: self(file)) ?? [], as: UTF8.self) }

    /// Names in a directory, without `.` and `..`, sorted.
    public static func names(in directory: String) -> [String] {
        DirectoryTree.names(in: directory) ?? []
    }
}
