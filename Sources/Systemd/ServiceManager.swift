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

    /// True if the manager keeps descriptors for the next process of this service. systemd says so itself from version 254 on;
    /// for earlier ones the unit does.
    public var keepsDescriptors: Bool { isListening && (getenv("FDSTORE") != nil || getenv("JOULED_FDSTORE") != nil) }

    /// Gives the manager a descriptor to keep for the next process of this service.
    /// - Returns: false if it was not sent.
    public func keep(_ descriptor: Int32, name: String) -> Bool {
        var descriptor = descriptor
        return sd_pid_notify_with_fds(0, 0, "FDSTORE=1\nFDNAME=\(name)", &descriptor, 1) > 0
    }

    /// Takes back a descriptor that the manager keeps; this process's own copy stays open.
    public func forget(name: String) { notify("FDSTOREREMOVE=1\nFDNAME=\(name)") }

    private func notify(_ state: String) {
        if isListening { sd_notify(0, state) }
    }

    private func oneLine(_ text: String) -> String { String(text.map { $0 == "\n" ? " " : $0 }) }

    /// Descriptors passed by socket activation or kept from the process before, with their names.
    /// - Throws: if the environment speaks of descriptors that are not there.
    public static func passedDescriptors() throws(JouledError) -> [(descriptor: Int32, name: String)] {
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
