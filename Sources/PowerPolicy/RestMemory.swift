import Units

// What was seen of the rest of the device, as text, so that a daemon that restarts knows its sun and its charger. Writing the
// file is the caller's.
extension RestForecaster {
    /// After a break of more than so many seconds what was seen of the present counts no more; what times of day are like does.
    static let brief = 900.0
    /// What was seen longer ago says nothing.
    static let oldest = 2 * 86400.0
    /// What stays of the level after a longer break, in seconds of looks: enough to tell a sun by, and soon outweighed.
    static let levelKept = 660.0
    /// Beyond this a figure is none of ours.
    private static let largest = 1e12

    private static let header = "jouled-rest 1"

    private typealias Row = (key: String, values: [Double?])

    /// All that was seen, with a checksum in the last line.
    /// - Parameters:
    ///   - wall: now, for telling how long a break was.
    ///   - secondOfDay: now, local time.
    public func persistentText(at wall: WallTime, secondOfDay: Double) -> String {
        var rows: [Row] = [
            ("at", [wall.secondsSince1970, secondOfDay]), ("elapsed", [elapsed]), ("recent", recent.row), ("long", long.row), ("charger", charger.row),
            ("parted", [parted?.since, parted.map { $0.isAbove ? 1 : 0 }]), ("low", [lowSince, harvestNow]), ("sun", [lastNegative, negativeSpan, noonSeen, dawn]),
            ("today", [today.seen, today.expected, Double(darkBins)]), ("plug", [acSeconds, Double(acWindows), acSince, acLast]),
        ]
        // Without a clock, quarters of hours were counted from 0 on.
        let correction = isTimed ? 0 : wall.secondsSince1970 - wallNow
        for index in 0..<Self.binCount where charging[index] != nil {
            rows.append(("bin", [Double(index), harvest[index], base[index], charging[index], Double(chargingDays[index]), seenAt[index].map { $0 + correction }]))
        }
        rows += loadsByAge.map { ("load", [$0]) }
        let lines = rows.map { row in ([row.key] + row.values.map { $0.map { "\($0)" } ?? "-" }).joined(separator: " ") + "\n" }
        return SealedLines.seal(Self.header + "\n" + lines.joined())
    }

    /// Reads what `persistentText` gave, and forgets what a break makes worthless.
    /// - Parameters:
    ///   - name: the file's name, for errors.
    ///   - wall: now.
    /// - Throws: `.corruptForecast` naming the line.
    public init(persistentText text: String, name: String, at wall: WallTime) throws(JouledError) {
        func corrupt(_ line: Int, _ what: String) -> JouledError { JouledError(.corruptForecast, "\(name):\(line): \(what)") }
        let lines: [(number: Int, line: String)]
        do { lines = try SealedLines.open(text, header: Self.header) } catch { throw corrupt(error.line, error.what) }
        self.init()
        var at: (wall: Double, second: Double)?
        for (number, line) in lines {
            let words = line.split(separator: " ", omittingEmptySubsequences: false)
            let values = words.dropFirst().map { $0 == "-" ? nil : Double($0) ?? .nan }
            guard let key = words.first, values.allSatisfy({ $0.map { abs($0) <= Self.largest } ?? true }) else { throw corrupt(number, "is no row of numbers") }
            if key == "at" {
                guard values.count == 2, let wall = values[0], let second = values[1], Self.isOfDay(second) else { throw corrupt(number, "is no time") }
                at = (wall, second)
            } else if !take((String(key), values)) {
                throw corrupt(number, "is nothing that is known of the rest of the device")
            }
        }
        guard let at else { throw corrupt(1, "does not say when it was written") }
        (wallNow, isTimed) = (wall.secondsSince1970, true)
        age(by: wallNow - at.wall)
        if wallNow < at.wall { ahead = WallTime(secondsSince1970: at.wall) }
    }

    /// - Returns: false for a row that cannot be.
    private mutating func take(_ row: Row) -> Bool {
        let values = row.values
        switch (row.key, values.count) {
        case ("elapsed", 1): return set(&elapsed, values[0])
        case ("recent", 3): return recent.take(values)
        case ("long", 3): return long.take(values)
        case ("charger", 3): return charger.take(values)
        case ("parted", 2):
            parted = nil
            guard let since = values[0] else { return values[1] == nil }
            guard let isAbove = Self.count(values[1]), isAbove <= 1 else { return false }
            parted = (since, isAbove == 1)
            return true
        case ("low", 2):
            lowSince = values[0]
            return values[1].map { harvestNow = $0 } != nil
        case ("sun", 4):
            guard values[2].map(Self.isOfDay) ?? true, values[3].map(Self.isOfDay) ?? true else { return false }
            (lastNegative, noonSeen, dawn) = (values[0], values[2], values[3])
            return set(&negativeSpan, values[1])
        case ("today", 3):
            guard let bins = Self.count(values[2]) else { return false }
            darkBins = bins
            return set(&today.seen, values[0]) && set(&today.expected, values[1])
        case ("plug", 4):
            guard let windows = Self.count(values[1]) else { return false }
            (acWindows, acSince, acLast) = (windows, values[2], values[3])
            return set(&acSeconds, values[0])
        case ("bin", 6):
            guard let index = Self.count(values[0]), index < Self.binCount, let share = values[3], (0...1).contains(share), let days = Self.count(values[4]),
                let seen = values[5]
            else { return false }
            (harvest[index], base[index], charging[index], chargingDays[index]) = (values[1], values[2], share, days)
            seenAt[index] = seen
            return true
        case ("load", 1):
            guard let load = values[0], loadsByAge.count < Self.memory else { return false }
            loadsByAge.append(load)
            loads.insert(load, at: loads.firstIndex { $0 >= load } ?? loads.count)
            return true
        default: return false
        }
    }

    private func set(_ figure: inout Double, _ value: Double?) -> Bool {
        guard let value, value >= 0 else { return false }
        figure = value
        return true
    }

    private static func isOfDay(_ second: Double) -> Bool { second >= 0 && second < 86400 }
    private static func count(_ value: Double?) -> Int? { value.flatMap { Int(exactly: $0) }.flatMap { $0 >= 0 && $0 < 1_000_000 ? $0 : nil } }

    /// Forgets what a break of so many seconds makes worthless.
    /// - Parameter gap: negative where the clock is behind the file: how long the break was is not known then, as on a device whose
    ///   clock is yet to be set. What the present was like counts no more, and times of day are kept until the clock tells their age.
    private mutating func age(by gap: Double) {
        guard abs(gap) > Self.brief else { return forgetOldBins() }
        guard gap <= Self.oldest else { return self = RestForecaster() }
        // The base load may be another one by now. Where a sun may shine, some of the level must stay: without it, what is left of
        // the load by day would be taken for the load.
        (recent, parted) = (Average(window: Self.recentWindow), nil)
        if everNegative { long.weight = min(long.weight, Self.levelKept) } else { long = Average(window: Self.longWindow) }
        (loads, loadsByAge) = ([], [])
        (lowSince, harvestNow, negativeSpan) = (nil, 0, 0)
        (today, darkBins) = ((0, 0), 0)
        (acSince, acLast) = (nil, nil)
        lastNegative = lastNegative.map { $0 - max(0, gap) }
        forgetOldBins()
    }
}

extension RestForecaster.Average {
    fileprivate var row: [Double?] { [mean, variance, weight] }

    fileprivate mutating func take(_ values: [Double?]) -> Bool {
        guard let mean = values[0], let variance = values[1], variance >= 0, let weight = values[2], (0...window).contains(weight) else { return false }
        (self.mean, self.variance, self.weight) = (mean, variance, weight)
        return true
    }
}

extension JouledError.Code {
    /// A file of what was seen of the rest of the device is damaged.
    public static let corruptForecast = Self("policy.corrupt-forecast")
}
