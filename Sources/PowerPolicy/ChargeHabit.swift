import Units

/// When the device is usually charged, learned from when external power came.
///
/// A time of day is usual if on at least half of the days looked at, and on two at least, power came within an hour and a half
/// of it. The goal is the late end of such times, so that a charger that comes a little later than usual finds the battery as
/// the operator asked.
public struct ChargeHabit: Hashable, Sendable {
    /// When external power came, in local time: seconds since 1970-01-01 of the local clock. Lowest first, which after a
    /// flight west need not be the order in which they came.
    public private(set) var plugs: [Double] = []
    /// The local time at which looking began; nil before.
    public private(set) var since: Double?
    /// When external power was last there, in local time.
    private var lastOnline: Double?
    private var wasOnline: Bool?
    /// The latest look learned from, in seconds since 1970 UTC: the local clock goes back on journeys, UTC does not.
    private var latest: Double?
    private var behind: Behind?

    /// Looks with a clock that is behind `latest`: when the last of them was, in seconds since 1970 UTC, and how many seconds
    /// they cover.
    private struct Behind: Hashable {
        var last: Double
        var covered: Double
    }

    /// So many plugs are remembered.
    static let memory = 60
    /// Days looked back.
    static let days = 14.0
    /// Power that comes again so soon is the same charge: a loose plug, a short errand.
    static let sameCharge = 3600.0
    /// So near times of day are the same habit.
    static let nearness = 5400.0
    private static let day = 86400.0
    /// A clock that is disciplined is set back by seconds; one that is further behind has not been set yet.
    static let setBack = 120.0
    /// Two looks cover no more than this, however far the clock was moved between them.
    private static let lookApart = 3600.0
    /// Local clocks are ahead of UTC by this at most.
    private static let farthestEast = 14 * 3600.0

    public init() {}

    /// Takes a look at whether external power is there.
    ///
    /// A device without a battery for its clock boots in the past. Such looks teach nothing until the clock is set, which is
    /// when it has caught up; one that has stayed behind for a day was set back for good, and then what lies ahead is dropped.
    /// - Returns: true if something was learned that is worth keeping.
    @discardableResult
    public mutating func observe(acOnline: Bool, at wall: WallTime, utcOffset: UTCOffset) -> Bool {
        let local = wall.secondsSince1970 + utcOffset.now.value
        guard local.isFinite, local >= 0 else { return false }
        if let latest, wall.secondsSince1970 < latest - Self.setBack {
            guard staysBehind(wall.secondsSince1970) else { return false }
            plugs.removeAll { $0 > local + Self.day }
            if let last = lastOnline, last > local { lastOnline = nil }
            self.latest = nil
        }
        behind = nil
        latest = max(latest ?? 0, wall.secondsSince1970)
        defer {
            wasOnline = acOnline
            if acOnline { lastOnline = local }
        }
        let isNew = since == nil
        if since.map({ $0 > local }) ?? true { since = local }
        guard acOnline, wasOnline == false else { return isNew }
        if let lastOnline, local >= lastOnline, local - lastOnline < Self.sameCharge { return isNew }
        plugs.append(local)
        plugs.sort()
        if plugs.count > Self.memory { plugs.removeFirst(plugs.count - Self.memory) }
        return true
    }

    /// Counts a look with a clock that is behind.
    /// - Returns: true if such looks cover a day by now.
    private mutating func staysBehind(_ now: Double) -> Bool {
        let covered = behind.map { $0.covered + min(max(0, now - $0.last), Self.lookApart) } ?? 0
        behind = Behind(last: now, covered: covered)
        return covered >= Self.day
    }

    /// Time until the next usual charge, and how that is known.
    public func next(at wall: WallTime, utcOffset: UTCOffset) -> PowerState.NextCharge {
        let local = wall.secondsSince1970 + utcOffset.now.value
        let recent = plugs.filter { $0 <= local && local - $0 < Self.days * Self.day }
        let watched = min(Self.days, max(1, ((local - (since ?? local)) / Self.day).rounded()))
        let times = recent.map { $0.truncatingRemainder(dividingBy: Self.day) }
        var best: (left: Double, at: Double, days: Int)?
        for time in times {
            let near = zip(recent, times).filter { Self.distance($0.1, time) <= Self.nearness }
            // Days from noon to noon about this time, so that midnight parts no habit.
            let days = Set(near.map { (($0.0 - time) / Self.day).rounded() }).count
            guard days >= 2, Double(days) >= watched / 2 else { continue }
            // The late end of the times that belong together: the fourth fifth of them.
            let offsets = near.map { Self.signed($0.1 - time) }.sorted()
            let late = Self.wrapped(time + offsets[min(offsets.count - 1, offsets.count * 4 / 5)])
            let left = Self.wrapped(late - local)
            if left > 0, left < best?.left ?? .infinity { best = (left, late, days) }
        }
        if let best {
            return .init(
                left: utcOffset.passing(Seconds(best.left), from: wall),
                reason: "usually charged by \(PowerPolicy.timeOfDay(Int(best.at))) (\(best.days) of \(decimal(watched, places: 0)) days)")
        }
        let seen = recent.isEmpty ? "no charge was seen yet" : "\(recent.count == 1 ? "1 charge was" : "\(recent.count) charges were") seen, at no usual time"
        let from = lastOnline ?? plugs.last ?? since ?? local
        let left = max(Self.day - max(0, local - from), Self.day / 4)
        return .init(left: Seconds(left), reason: "\(seen): a day after external power was last there, and 6 h at least")
    }

    /// Between two times of day, the short way round.
    private static func distance(_ left: Double, _ right: Double) -> Double { abs(signed(left - right)) }
    private static func signed(_ difference: Double) -> Double { wrapped(difference + day / 2) - day / 2 }
    private static func wrapped(_ time: Double) -> Double {
        let rest = time.truncatingRemainder(dividingBy: day)
        return rest < 0 ? rest + day : rest
    }

    // MARK: Keeping it over restarts

    /// What was learned, with a checksum in the last line.
    public var persistentText: String {
        var text = "jouled-charges 1\n"
        if let since { text += "since \(since)\n" }
        if let lastOnline { text += "online \(lastOnline)\n" }
        for plug in plugs { text += "plug \(plug)\n" }
        return SealedLines.seal(text)
    }

    /// Reads what `persistentText` gave.
    /// - Parameter name: the file's name, for errors.
    /// - Throws: `.corruptHabit` naming the line.
    public init(persistentText text: String, name: String) throws(JouledError) {
        func corrupt(_ line: Int, _ what: String) -> JouledError { JouledError(.corruptHabit, "\(name):\(line): \(what)") }
        let lines: [(number: Int, line: String)]
        do { lines = try SealedLines.open(text, header: "jouled-charges 1") } catch { throw corrupt(error.line, error.what) }
        for (number, line) in lines {
            let words = line.split(separator: " ")
            guard words.count == 2, let time = Double(words[1]), time.isFinite, time >= 0, time < 1e12 else { throw corrupt(number, "is no time") }
            switch words[0] {
            case "since": since = time
            case "online": lastOnline = time
            case "plug": plugs.append(time)
            default: throw corrupt(number, "is none of since, online, plug")
            }
        }
        guard plugs.count <= Self.memory else { throw corrupt(lines.count + 2, "there are more than \(Self.memory) plugs") }
        plugs.sort()
        // Where that was is not kept: east of everything, so that no clock that shows the right time is taken to be behind.
        latest = [since, lastOnline, plugs.last].compactMap(\.self).max().map { $0 - Self.farthestEast }
    }
}

extension JouledError.Code {
    /// A file of charging habits is damaged.
    public static let corruptHabit = Self("policy.corrupt-habit")
}
