import Glibc

/// Local time minus UTC at one instant, and what it becomes when the local clock is next put forward or back.
///
/// A value, so that decisions about times of day can be made again from a record, whatever zone the machine that does it is in.
public struct UTCOffset: Hashable, Sendable {
    /// The local clock is put forward or back.
    public struct Change: Hashable, Sendable {
        /// The first instant of the new offset.
        public var at: WallTime
        /// Local time minus UTC from then on.
        public var offset: Seconds
        public init(at: WallTime, offset: Seconds) {
            self.at = at
            self.offset = offset
        }
    }

    /// Local time minus UTC.
    public var now: Seconds
    /// The next change, if one lies within `horizon`.
    public var change: Change?

    /// How far ahead a change is looked for: times of day are at most a day away, and an hour more where the clock is put back.
    public static let horizon = Seconds(90_000)
    public static let zero = UTCOffset(.zero)

    public init(_ now: Seconds, change: Change? = nil) {
        self.now = now
        self.change = change
    }

    /// The offset at an instant, by the machine's time zone (TZ, /etc/localtime).
    public static func local(at wall: WallTime = SystemClocks().wall()) -> UTCOffset {
        // Beyond this the C library's calendar ends.
        guard wall.secondsSince1970.magnitude < 1e12 else { return .zero }
        var (before, after) = (time_t(wall.secondsSince1970.rounded(.down)), time_t((wall.secondsSince1970 + horizon.value).rounded(.down)))
        let (old, new) = (seconds(at: before), seconds(at: after))
        guard old != new else { return UTCOffset(Seconds(Double(old))) }
        while after - before > 1 {
            let middle = before + (after - before) / 2
            if seconds(at: middle) == old { before = middle } else { after = middle }
        }
        return UTCOffset(Seconds(Double(old)), change: Change(at: WallTime(secondsSince1970: Double(after)), offset: Seconds(Double(seconds(at: after)))))
    }

    private static func seconds(at instant: time_t) -> Int {
        var (instant, local) = (instant, tm())
        return localtime_r(&instant, &local) == nil ? 0 : local.tm_gmtoff
    }

    /// Time until the local clock next shows `secondOfDay` (after midnight): more than 0, at most a day, and as much more or less as the
    /// clock is put back or forward meanwhile. A time that is skipped is the moment of the change; one that comes twice comes twice.
    public func untilNext(secondOfDay: Int, from wall: WallTime) -> Seconds {
        let day = 86400.0
        let local = (wall.secondsSince1970 + now.value).truncatingRemainder(dividingBy: day)
        let today = local < 0 ? local + day : local
        let left = Double(secondOfDay) - today
        return passing(Seconds(left > 0 ? left : left + day), from: wall)
    }

    /// The time that passes until the local clock shows what it would show after `span`, if it were not put forward or back: a day at most.
    public func passing(_ span: Seconds, from wall: WallTime) -> Seconds {
        guard let change else { return span }
        let untilChange = Seconds(change.at.secondsSince1970 - wall.secondsSince1970)
        guard untilChange > .zero, span >= untilChange else { return span }
        let (moved, day) = (span - (change.offset - now), Seconds(86400))
        // Put back, the clock shows again what it showed just before.
        return moved - day >= untilChange ? moved - day : max(moved, untilChange)
    }
}

/// Local time minus UTC at this moment, by the machine's time zone.
public func localTimeOffset() -> Seconds { UTCOffset.local().now }
