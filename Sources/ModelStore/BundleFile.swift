import Crypto
import Glibc
import Units

/// A regular file directly in a bundle's directory, opened without following a symbolic link in the
/// file's place: a bundle must not lead out of itself.
struct BundleFile: ~Copyable {
    private let descriptor: Int32
    let path: String
    /// Size in bytes when it was opened.
    let size: Int

    init(directory: String, name: String) throws(JouledError) {
        path = directory + "/" + name
        // Non-blocking, so that a FIFO in the file's place cannot hang the open.
        let opened = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)
        guard opened >= 0 else {
            let what = errno == ELOOP ? "is a symbolic link, which a bundle may not contain" : String(cString: strerror(errno))
            throw JouledError(.unreadableModel, "\(path): \(what)")
        }
        var status = stat()
        guard fstat(opened, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
            close(opened)
            throw JouledError(.unreadableModel, "\(path): not a regular file")
        }
        descriptor = opened
        size = Int(status.st_size)
    }

    deinit { close(descriptor) }

    /// Hands the file's content on piece by piece, from where it was left off.
    func forEachChunk(_ body: (UnsafeRawBufferPointer) throws(JouledError) -> Void) throws(JouledError) {
        let capacity = 1 << 17
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: capacity, alignment: 16)
        defer { buffer.deallocate() }
        while true {
            let count = read(descriptor, buffer.baseAddress, capacity)
            if count == 0 { return }
            if count < 0 {
                if errno == EINTR { continue }
                throw JouledError(.unreadableModel, "\(path): \(String(cString: strerror(errno)))")
            }
            try body(UnsafeRawBufferPointer(rebasing: buffer[..<count]))
        }
    }

    /// The whole content, if it is no larger than `limit` bytes.
    func contents(limit: Int) throws(JouledError) -> [UInt8] {
        let tooLarge = JouledError(.unreadableModel, "\(path): larger than \(limit) bytes")
        guard size <= limit else { throw tooLarge }
        var bytes: [UInt8] = []
        bytes.reserveCapacity(size)
        try forEachChunk { chunk throws(JouledError) in
            // The file may have grown since it was opened.
            guard bytes.count + chunk.count <= limit else { throw tooLarge }
            bytes.append(contentsOf: chunk)
        }
        return bytes
    }
}

/// Lower-case hexadecimal.
func hexadecimal(_ bytes: some Sequence<UInt8>) -> String {
    let digits = Array("0123456789abcdef".utf8)
    var text: [UInt8] = []
    for byte in bytes {
        text.append(digits[Int(byte >> 4)])
        text.append(digits[Int(byte & 15)])
    }
    return String(decoding: text, as: UTF8.self)
}
