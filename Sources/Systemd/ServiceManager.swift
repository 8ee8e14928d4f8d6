import CSystemd
import Glibc
import Units

/// What the service manager gives a service and hears from it. Without systemd all calls do nothing.
public struct ServiceManager: Sendable {
    /// True if the manager asked to be notified.
    public let isListening: Bool
    /// How often the manager expects a sign of life; nil without a watchdog.
    public let watchdogInterval: Seconds?

    /// Reads NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID.
    public init() {
        isListening = getenv("NOTIFY_SOCKET") != nil
        var microseconds: UInt64 = 0
        watchdogInterval =
            sd_watchdog_enabled(0, &microseconds) > 0 ? Seconds(microseconds: Double(microseconds)) : nil
    }

    /// Able to serve from now on.
    public func ready(status: String) { notify("READY=1\nSTATUS=\(oneLine(status))") }
    public func status(_ text: String) { notify("STATUS=\(oneLine(text))") }
    public func stopping(status: String) { notify("STOPPING=1\nSTATUS=\(oneLine(status))") }
    /// The start of a reload; `ready` ends it. The time stamp is what `Type=notify-reload` asks for and `notify` ignores.
    public func reloading(at now: MonotonicTime) { notify("RELOADING=1\nMONOTONIC_USEC=\(now.nanoseconds / 1000)") }
    /// A sign of life for the watchdog.
    public func alive() { notify("WATCHDOG=1") }

    private func notify(_ state: String) {
        if isListening { sd_notify(0, state) }
    }

    private func oneLine(_ text: String) -> String { String(text.map { $0 == "\n" ? " " : $0 }) }

    /// Listening sockets passed by socket activation, with their names (`FileDescriptorName=`).
    /// - Throws: if the environment speaks of descriptors that are not there.
    public static func listeningSockets() throws(JouledError) -> [(descriptor: Int32, name: String)] {
        var names: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>?
        let count = sd_listen_fds_with_names(1, &names)
        guard count >= 0 else {
            throw JouledError(.eventLoop, "socket activation failed: \(errnoText(-count))")
        }
        defer {
            if let names {
                for index in 0..<Int(count) { free(names[index]) }
                free(names)
            }
        }
        return (0..<Int(count)).map { index in
            (SD_LISTEN_FDS_START + Int32(index), names?[index].map { String(cString: $0) } ?? "unknown")
        }
    }
}
