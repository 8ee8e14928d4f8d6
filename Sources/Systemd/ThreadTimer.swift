import CLinux
import Glibc
import Units

/// Calls back whenever a thread has used up so much CPU time: a clock that stands still while the thread sleeps, so that it wakes
/// nobody who has nothing to do.
public final class ThreadTimer {
    /// The signal by which the kernel tells. It must be blocked in every thread (`blockSignals` before any thread starts).
    public static let signal = SIGVTALRM

    private let watch: SignalWatch
    private var timer: timer_t?

    /// - Parameters:
    ///   - clock: of a thread of this process, see `EventLoop.cpuClock`.
    ///   - interval: CPU time between calls.
    ///   - loop: where `handler` is called; must be the calling thread's. One timer at a time.
    /// - Throws: if the kernel refuses.
    public init(clock: clockid_t, every interval: Seconds, on loop: EventLoop, _ handler: @escaping () -> Void) throws(JouledError) {
        watch = try loop.onSignal(Self.signal, handler)
        var created: timer_t?
        let status = clinux_start_timer(clock, Self.signal, UInt64(interval.value * 1e9), &created)
        guard status == 0 else {
            watch.cancel()
            throw JouledError(.eventLoop, "a timer of a thread's CPU time failed: \(errnoText(-status))")
        }
        timer = created
    }

    /// Stops the timer; the handler is not called again. Must be called on the loop's thread, before the last reference goes.
    public func cancel() {
        if let timer { timer_delete(timer) }
        timer = nil
        watch.cancel()
    }

    deinit { precondition(timer == nil, "a thread's timer is cancelled before it goes") }
}
