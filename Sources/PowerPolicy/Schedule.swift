import Units

extension PowerPolicy {
    /// A part of the day in which another policy holds.
    ///
    /// Times are those of the local clock, read at each decision: where the clock is put forward or back, a part of the day
    /// begins and ends when the clock shows so, and is an hour shorter or longer.
    public struct ScheduleEntry: Hashable, Sendable {
        /// For people: the entry's name, or its hours.
        public var name: String
        /// Seconds after local midnight, 0 to 86399.
        public var from: Int
        /// Likewise; not later than `from`: on the day after. The same: a whole day.
        public var until: Int
        /// Days on which it begins, 0 (Sunday) to 6; all seven unless the operator says otherwise.
        public var days: Set<Int>
        /// What holds then; has no schedule of its own.
        public var policy: PowerPolicy

        public init(name: String, from: Int, until: Int, days: Set<Int> = Set(0..<7), policy: PowerPolicy) {
            self.name = name
            self.from = from
            self.until = until
            self.days = days
            self.policy = policy
        }

        /// Whether it holds at a time of the local clock.
        /// - Parameters:
        ///   - day: 0 (Sunday) to 6.
        ///   - second: after midnight.
        func holds(day: Int, second: Int) -> Bool {
            if from < until { return days.contains(day) && from <= second && second < until }
            // Over midnight: the first part belongs to this day, the second to the one before.
            return (second >= from && days.contains(day)) || (second < until && days.contains((day + 6) % 7))
        }
    }

    /// Day of the week, 0 (Sunday) to 6, and seconds after midnight that a local clock shows.
    static func clock(_ wall: WallTime, _ utcOffset: Seconds) -> (day: Int, second: Int)? {
        let local = (wall.secondsSince1970 + utcOffset.value).rounded(.down)
        guard local.isFinite, local.magnitude < 1e15 else { return nil }
        let days = Int((local / 86400).rounded(.down))
        // 1970-01-01 was a Thursday.
        return (((days + 4) % 7 + 7) % 7, Int(local) - days * 86400)
    }

    /// What holds at a time of the local clock: of the entries that hold the last one in the file, else the policy itself.
    /// - Returns: a policy without schedule, and the entry's name; nil: none holds.
    public func inForce(at wall: WallTime, utcOffset: UTCOffset) -> (policy: PowerPolicy, entry: String?) {
        guard !schedule.isEmpty else { return (self, nil) }
        var plain = self
        plain.schedule = []
        guard let (day, second) = Self.clock(wall, utcOffset.now), let entry = schedule.last(where: { $0.holds(day: day, second: second) }) else {
            return (plain, nil)
        }
        return (entry.policy, entry.name)
    }

    /// Time until the schedule next may change what holds; nil without a schedule.
    public func untilScheduleChanges(from wall: WallTime, utcOffset: UTCOffset) -> Seconds? {
        let next = schedule.flatMap { [$0.from, $0.until] }.map { utcOffset.untilNext(secondOfDay: $0, from: wall) }.min()
        // A clock that is put back may leave a part of the day that it was in.
        guard let next, let change = utcOffset.change, change.at > wall else { return next }
        return min(next, Seconds(change.at.secondsSince1970 - wall.secondsSince1970))
    }

    /// `HH:MM` of seconds after midnight.
    public static func timeOfDay(_ second: Int) -> String {
        func two(_ number: Int) -> String { number < 10 ? "0\(number)" : "\(number)" }
        return "\(two(second / 3600)):\(two(second % 3600 / 60))"
    }
}
