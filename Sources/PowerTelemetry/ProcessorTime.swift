import Glibc
import Units

/// CPU time that all processes and the kernel have used since the device started, from `/proc/stat`.
public struct ProcessorTime: Sendable {
    /// The file, `/proc/stat` on a real device.
    public let path: String

    public init(path: String = "/proc/stat") { self.path = path }

    /// Busy core-seconds: all columns of the `cpu` line but idle, iowait, and the guests, which user time contains.
    public func busy() -> Seconds? {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        var bytes = [UInt8](repeating: 0, count: 512)
        let count = read(descriptor, &bytes, bytes.count)
        guard count > 0, let line = bytes[..<count].split(separator: UInt8(ascii: "\n")).first else { return nil }
        let fields = line.split(separator: UInt8(ascii: " "))
        guard fields.first.map({ $0.elementsEqual("cpu".utf8) }) == true, fields.count >= 5 else { return nil }
        var ticks: UInt64 = 0
        for (index, field) in fields.dropFirst().prefix(8).enumerated() {
            guard let text = String(validating: field, as: UTF8.self), let value = UInt64(text) else { return nil }
            if index != 3, index != 4 { ticks &+= value }
        }
        return Seconds(Double(ticks) / Double(sysconf(Int32(_SC_CLK_TCK))))
    }
}
