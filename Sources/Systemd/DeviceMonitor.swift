import CSystemd
import Units

/// Tells when udev has news of a kernel subsystem's devices, e.g. that a charger was plugged in.
///
/// Needs a netlink socket, which a sandbox may refuse: then there is no monitor, and whoever wants news has to look.
public final class DeviceMonitor {
    private let loop: EventLoop
    private var monitor: OpaquePointer?
    private let call: () -> Void

    init(loop: EventLoop, event: OpaquePointer, subsystem: String, call: @escaping () -> Void) throws(JouledError) {
        self.loop = loop
        self.call = call
        func check(_ status: Int32, _ what: String) throws(JouledError) {
            guard status < 0 else { return }
            throw JouledError(.eventLoop, "\(what) failed: \(errnoText(-status))")
        }
        var created: OpaquePointer?
        try check(sd_device_monitor_new(&created), "sd_device_monitor_new")
        monitor = created
        do throws(JouledError) {
            try check(sd_device_monitor_filter_add_match_subsystem_devtype(created, subsystem, nil), "the filter for \(subsystem)")
            try check(sd_device_monitor_attach_event(created, event), "sd_device_monitor_attach_event")
            // The monitor dies in `cancel`, on the loop's thread and before this object does.
            try check(sd_device_monitor_start(created, { _, _, context in
                if let context { Unmanaged<DeviceMonitor>.fromOpaque(context).takeUnretainedValue().call() }
                return 0
            }, Unmanaged.passUnretained(self).toOpaque()), "sd_device_monitor_start")
        } catch {
            cancel()
            throw error
        }
    }

    /// Stops the monitor. Must be called on the loop's thread, before the last reference goes.
    public func cancel() {
        loop.preconditionOnLoop()
        sd_device_monitor_unref(monitor)
        monitor = nil
    }

    deinit { precondition(monitor == nil, "a device monitor is cancelled before it goes") }
}
