import Glibc
import JouledDaemon

/// Where the ONNX Runtime library is, for commands that load it themselves.
enum RuntimeLibrary {
    /// JOULED_ONNXRUNTIME, else the installed library, else what `make setup` put into the clone that this program was built in.
    static func path() -> String {
        if let path = environment("JOULED_ONNXRUNTIME") { return path }
        let installed = DaemonConfiguration().runtimeLibrary
        guard access(installed, R_OK) != 0 else { return installed }
        return built() ?? installed
    }

    private static func built() -> String? {
        var directory = Self.ownDirectory
        while let slash = directory.lastIndex(of: "/") {
            let libraries = directory + "/.deps/lib"
            if let stream = opendir(libraries) {
                defer { closedir(stream) }
                while let entry = readdir(stream) {
                    let name = withUnsafeBytes(of: &entry.pointee.d_name) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
                    if name.hasPrefix("libonnxruntime.so") { return libraries + "/" + name }
                }
            }
            directory = String(directory[..<slash])
        }
        return nil
    }

    /// The directory of this program.
    static var ownDirectory: String {
        var path = [CChar](repeating: 0, count: 4096)
        let count = readlink("/proc/self/exe", &path, path.count - 1)
        let own = String(decoding: path.prefix(max(0, count)).map { UInt8(bitPattern: $0) }, as: UTF8.self)
        return String(own[..<(own.lastIndex(of: "/") ?? own.startIndex)])
    }
}
