import Glibc
import Units

/// Tells when programs wait for memory, as the kernel's pressure stall information (PSI) sees it.
///
/// Speaks the service manager's protocol (systemd.io/MEMORY_PRESSURE): where it names a file in `MEMORY_PRESSURE_WATCH`, which it
/// does from version 254 on, that one is watched, else the file of the whole device. A FIFO may stand in for either: each byte in it
/// is an alarm. Nothing is polled; the kernel speaks at most once in its window.
public final class MemoryPressure {
    /// Alarm when some program waited for memory for 200 ms within 2 s: the least window that is open to unprivileged users.
    public static let trigger = "some 200000 2000000"
    /// The pressure of the whole device.
    public static let devicePath = "/proc/pressure/memory"

    /// What is watched.
    public let path: String
    private let descriptor: Int32
    private var watch: DescriptorWatch?

    /// - Parameters:
    ///   - path: the file to watch if the service manager names none.
    ///   - environment: where the service manager's words are.
    ///   - handler: called on the loop.
    /// - Returns: nil if the service manager does not want that memory is watched, or `path` is empty.
    /// - Throws: naming the file and what failed, e.g. that the kernel has no PSI.
    public static func watch(
        _ path: String, on loop: EventLoop, environment: (String) -> String? = { name in getenv(name).map { String(cString: $0) } },
        _ handler: @escaping () -> Void
    ) throws(JouledError) -> MemoryPressure? {
        guard let named = environment("MEMORY_PRESSURE_WATCH") else {
            return path.isEmpty ? nil : try MemoryPressure(path, Array((trigger + "\0").utf8), loop, handler)
        }
        guard named != "/dev/null" else { return nil }
        let words = environment("MEMORY_PRESSURE_WRITE") ?? ""
        guard let bytes = decodeBase64(words) else {
            throw JouledError(.eventLoop, "MEMORY_PRESSURE_WRITE: '\(words)' is not base64")
        }
        return try MemoryPressure(named, bytes, loop, handler)
    }

    private init(_ path: String, _ trigger: [UInt8], _ loop: EventLoop, _ handler: @escaping () -> Void) throws(JouledError) {
        func failure(_ what: String) -> JouledError { JouledError(.eventLoop, "\(path): \(what): \(errnoText(errno))") }
        self.path = path
        // For writing too: a trigger is written, and a FIFO whose last writer goes away would be readable for ever.
        let descriptor = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC | O_NOCTTY)
        guard descriptor >= 0 else { throw failure("memory pressure cannot be watched") }
        self.descriptor = descriptor
        var status = stat()
        let isFifo = fstat(descriptor, &status) == 0 && status.st_mode & S_IFMT == S_IFIFO
        // A trigger must not be written into somebody's file.
        guard isFifo || ["/proc", "/sys/fs/cgroup"].contains(where: { Self.device(of: $0) == status.st_dev }) else {
            close(descriptor)
            throw JouledError(.eventLoop, "\(path): memory pressure cannot be watched: neither a file of the kernel nor a FIFO")
        }
        guard isFifo || trigger.isEmpty || write(descriptor, trigger, trigger.count) == trigger.count else {
            let error = failure("the kernel refuses to watch memory pressure")
            close(descriptor)
            throw error
        }
        do throws(JouledError) {
            watch = try loop.watch(descriptor, for: isFifo ? .readable : .urgent) { [weak self] events in self?.happened(events, isFifo, handler) }
        } catch {
            close(descriptor)
            throw JouledError(.eventLoop, "\(path): memory pressure cannot be watched", cause: error)
        }
    }

    private static func device(of path: String) -> dev_t? {
        var status = stat()
        return stat(path, &status) == 0 ? status.st_dev : nil
    }

    private func happened(_ events: Readiness, _ isFifo: Bool, _ handler: () -> Void) {
        if isFifo {
            // All that has gathered is one alarm.
            var buffer = [UInt8](repeating: 0, count: 512)
            while read(descriptor, &buffer, buffer.count) > 0 {}
        } else if events.intersection(.failed) != [] {
            // The control group is gone: the kernel would report that again and again.
            watch?.setEnabled(false)
            return
        }
        handler()
    }

    /// Stops watching.
    public func cancel() {
        watch?.cancel()
        watch = nil
    }

    deinit {
        watch?.cancel()
        close(descriptor)
    }

    /// RFC 4648, section 4; nil if it is not that.
    static func decodeBase64(_ text: String) -> [UInt8]? {
        let digits = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)
        let characters = Array(text.utf8)
        guard characters.count.isMultiple(of: 4) else { return nil }
        let padding = characters.reversed().prefix { $0 == UInt8(ascii: "=") }.count
        guard padding <= 2 else { return nil }
        var (bits, count, bytes): (UInt32, Int, [UInt8]) = (0, 0, [])
        for character in characters.dropLast(padding) {
            guard let digit = digits.firstIndex(of: character) else { return nil }
            bits = bits << 6 | UInt32(digit)
            count += 6
            guard count >= 8 else { continue }
            count -= 8
            bytes.append(UInt8(truncatingIfNeeded: bits >> UInt32(count)))
        }
        return bytes
    }
}
