import CSystemd
import Glibc
import Units

/// What a descriptor is ready for, as epoll numbers it.
public struct Readiness: OptionSet, Sendable {
    public let rawValue: UInt32
    public init(rawValue: UInt32) { self.rawValue = rawValue }
    /// EPOLLIN
    public static let readable = Readiness(rawValue: 0x001)
    /// EPOLLPRI
    public static let urgent = Readiness(rawValue: 0x002)
    /// EPOLLOUT
    public static let writable = Readiness(rawValue: 0x004)
    /// EPOLLERR and EPOLLHUP, which are always watched for.
    public static let failed = Readiness(rawValue: 0x018)
}

/// What an sd-event source calls. The source holds one reference and gives it up when it is destroyed, so the
/// handler is there for as long as a call can come, whichever thread drops the Swift side.
private final class Handler {
    let call: (UInt32) -> Void
    /// When a timer will fire next; nil when it is not armed or no timer.
    var deadline: MonotonicTime?

    init(_ call: @escaping (UInt32) -> Void) { self.call = call }

    static func from(_ context: UnsafeMutableRawPointer?) -> Handler? {
        context.map { Unmanaged<Handler>.fromOpaque($0).takeUnretainedValue() }
    }
}

/// An sd-event source with its handler: created and used on the loop's thread, dropped anywhere.
public class EventSource {
    private let loop: EventLoop
    fileprivate private(set) var source: OpaquePointer?
    fileprivate let handler: Handler

    fileprivate init(
        loop: EventLoop, what: String, handler call: @escaping (UInt32) -> Void,
        add: (UnsafeMutablePointer<OpaquePointer?>, UnsafeMutableRawPointer) -> Int32
    ) throws(JouledError) {
        self.loop = loop
        handler = Handler(call)
        let context = Unmanaged.passRetained(handler)
        var added: OpaquePointer?
        let status = add(&added, context.toOpaque())
        guard status >= 0, let added else {
            context.release()
            throw JouledError(.eventLoop, "\(what) failed: \(errnoText(-status))")
        }
        sd_event_source_set_destroy_callback(added) { context in
            guard let context else { return }
            Unmanaged<Handler>.fromOpaque(context).release()
        }
        source = added
    }

    /// Stops the source; its handler is not called again.
    public func cancel() {
        guard let source else { return }
        self.source = nil
        loop.retire(source)
    }

    deinit { cancel() }
}

/// Readiness of a file descriptor, which stays the caller's to close (after `cancel()`).
public final class DescriptorWatch: EventSource {
    init(loop: EventLoop, event: OpaquePointer, descriptor: Int32, events: Readiness, handler: @escaping (Readiness) -> Void) throws(JouledError) {
        try super.init(loop: loop, what: "watching descriptor \(descriptor)", handler: { handler(Readiness(rawValue: $0)) }) { source, context in
            sd_event_add_io(event, source, descriptor, events.rawValue, { _, _, events, context in
                Handler.from(context)?.call(events)
                return 0
            }, context)
        }
    }

    /// Changes what is watched for; the empty set watches for errors and hang-up only.
    public func setEvents(_ events: Readiness) {
        if let source { sd_event_source_set_io_events(source, events.rawValue) }
    }

    /// Takes the descriptor out of epoll altogether, or puts it back.
    public func setEnabled(_ enabled: Bool) {
        if let source { sd_event_source_set_enabled(source, Int32(enabled ? SD_EVENT_ON : SD_EVENT_OFF)) }
    }
}

/// A one-shot timer on CLOCK_MONOTONIC that can be armed again.
public final class LoopTimer: EventSource {
    init(loop: EventLoop, event: OpaquePointer, handler: @escaping () -> Void) throws(JouledError) {
        try super.init(loop: loop, what: "adding a timer", handler: { _ in handler() }) { source, context in
            sd_event_add_time(event, source, CLOCK_MONOTONIC, UInt64.max, 1, { _, _, context in
                guard let handler = Handler.from(context) else { return 0 }
                handler.deadline = nil
                handler.call(0)
                return 0
            }, context)
        }
        if let source { sd_event_source_set_enabled(source, Int32(SD_EVENT_OFF)) }
    }

    /// When the timer will fire; nil when it is not armed.
    public var deadline: MonotonicTime? { handler.deadline }

    /// Arms the timer.
    /// - Parameters:
    ///   - deadline: the earliest time to fire.
    ///   - accuracy: how much later it may fire, so that the kernel can share wake-ups between timers.
    public func arm(at deadline: MonotonicTime, accuracy: Seconds) {
        guard let source else { return }
        handler.deadline = deadline
        sd_event_source_set_time(source, deadline.nanoseconds / 1000)
        sd_event_source_set_time_accuracy(source, max(1, UInt64(max(0, accuracy.microseconds))))
        sd_event_source_set_enabled(source, Int32(SD_EVENT_ONESHOT))
    }

    /// Disarms the timer.
    public func disarm() {
        guard let source, handler.deadline != nil else { return }
        handler.deadline = nil
        sd_event_source_set_enabled(source, Int32(SD_EVENT_OFF))
    }
}

/// A Unix signal taken through the loop.
public final class SignalWatch: EventSource {
    init(loop: EventLoop, event: OpaquePointer, signal: Int32, handler: @escaping () -> Void) throws(JouledError) {
        try super.init(loop: loop, what: "watching signal \(signal)", handler: { _ in handler() }) { source, context in
            sd_event_add_signal(event, source, signal, { _, _, context in
                Handler.from(context)?.call(0)
                return 0
            }, context)
        }
    }
}
