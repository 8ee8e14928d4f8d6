import Glibc
import Units

/// A file in /tmp for ONNX Runtime to write to.
struct TemporaryFile {
    let path: String

    /// - Throws: `.unwritableFile` where /tmp cannot be written.
    init(_ purpose: String) throws(JouledError) {
        var template = Array("/tmp/joulectl-\(purpose)-XXXXXX".utf8CString)
        let descriptor = mkstemp(&template)
        guard descriptor >= 0 else { throw JouledError(.unwritableFile, "/tmp: cannot be written: \(String(cString: strerror(errno)))") }
        close(descriptor)
        path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    func remove() { unlink(path) }
}
