import Glibc

/// A point on CLOCK_MONOTONIC (or on a virtual clock), in nanoseconds.
public struct MonotonicTime: Hashable, Comparable, Sendable {
    public var nanoseconds: UInt64
    public init(nanoseconds: UInt64) { self.nanoseconds = nanoseconds }
    public static func < (left: Self, right: Self) -> Bool { left.nanoseconds < right.nanoseconds }

    /// The signed span from `earlier` to this point.
    public func since(_ earlier: MonotonicTime) -> Seconds {
        nanoseconds >= earlier.nanoseconds
            ? Seconds(nanoseconds: nanoseconds - earlier.nanoseconds)
            : -Seconds(nanoseconds: earlier.nanoseconds - nanoseconds)
    }

    /// This point moved by `span`, held within the clock's range.
    public func advanced(by span: Seconds) -> MonotonicTime {
        let moved = Double(nanoseconds) + span.value * 1e9
        guard moved > 0 else { return MonotonicTime(nanoseconds: 0) }
        guard moved < 9.0e18 else { return MonotonicTime(nanoseconds: 9_000_000_000_000_000_000) }
        let delta = (span.value * 1e9).rounded()
        return MonotonicTime(
            nanoseconds: delta >= 0 ? nanoseconds &+ UInt64(delta) : nanoseconds &- UInt64(-delta))
    }
}

/// A point in civil time, in seconds since 1970-01-01 UTC. Steps when the clock is set.
public struct WallTime: Hashable, Comparable, Sendable {
    public var secondsSince1970: Double
    public init(secondsSince1970: Double) { self.secondsSince1970 = secondsSince1970 }
    public static func < (left: Self, right: Self) -> Bool { left.secondsSince1970 < right.secondsSince1970 }
}

/// Where decisions get the time from, so that a simulation can supply its own.
public protocol Clocks: Sendable {
    func monotonic() -> MonotonicTime
    func wall() -> WallTime
}

/// The kernel's clocks.
public struct SystemClocks: Clocks {
    public init() {}
    public func monotonic() -> MonotonicTime { MonotonicTime(nanoseconds: read(CLOCK_MONOTONIC)) }
    public func wall() -> WallTime { WallTime(secondsSince1970: Double(read(CLOCK_REALTIME)) / 1e9) }
    /// Like `monotonic`, and going on while the device is suspended.
    public func boot() -> MonotonicTime { MonotonicTime(nanoseconds: read(CLOCK_BOOTTIME)) }
    /// CPU time that the calling thread has used since it began.
    public func threadCPU() -> Seconds { Seconds(nanoseconds: read(CLOCK_THREAD_CPUTIME_ID)) }

    private func read(_ clock: clockid_t) -> UInt64 {
        var time = timespec()
        clock_gettime(clock, &time)
        return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
    }
}
