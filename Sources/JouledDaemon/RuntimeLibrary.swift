import Glibc
import Units

/// Where the ONNX Runtime library is.
public enum RuntimeLibrary {
    private static let installed = "/usr/lib/jouled/libonnxruntime.so.1"

    /// The installed library, else what `make setup` put into the clone that this program was built in; the installed one's path
    /// where there is neither.
    public static let standard: String = access(installed, R_OK) == 0 ? installed : built() ?? installed

    /// Looks into the program's own directory and those that it lies in.
    private static func built() -> String? {
        var directory = ownDirectory
        while let slash = directory.lastIndex(of: "/") {
            let libraries = directory + "/.deps/lib"
            if let name = DirectoryTree.names(in: libraries)?.first(where: { $0.hasPrefix("libonnxruntime.so") }) { return libraries + "/" + name }
            directory = String(directory[..<slash])
        }
        return nil
    }

    /// The directory of this program.
    public static var ownDirectory: String {
        var path = [CChar](repeating: 0, count: 4096)
        let count = readlink("/proc/self/exe", &path, path.count - 1)
        let own = String(decoding: path.prefix(max(0, count)).map { UInt8(bitPattern: $0) }, as: UTF8.self)
        return String(own[..<(own.lastIndex(of: "/") ?? own.startIndex)])
    }
}
