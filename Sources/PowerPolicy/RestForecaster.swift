import Glibc
import Units

/// Forecasts what the rest of the device takes and what harvest and charger bring, by what was seen.
///
/// Three levels of trust: where a time of day was seen before, it repeats; the base load of times not
/// seen is the long mean, approached from the present level; harvest and charging that were never
/// seen are not counted on, except that a sun that rose also sets: what a morning brought, the
/// afternoon brings in mirror image around noon.
public struct RestForecaster: Sendable {
    static let binLength = 900.0
    static let binCount = 96
    /// Weight of a day's harvest on the next day, and of a mirrored or assumed one on the same day.
    static let repeated = 0.85
    static let mirrored = 0.75
    /// A sun is noticed so long after it rose, in seconds.
    static let unnoticed = 2100.0
    /// What has been low for so long, in seconds, is no odd reading.
    static let certain = 900.0
    /// Where a sun that rises between four and nine is taken to be highest at twelve; at other times the clock shows no local
    /// time, and the day is taken to have eleven hours.
    static let plausibleDawn = 4 * 3600.0...9 * 3600.0
    static let ordinaryDay = 11 * 3600.0
    /// A noon that was seen counts where it is further than this from twelve: clouds shift it by less.
    static let noonTolerance = 2700.0
    /// So long the battery must fill without a charger, in seconds, before a sun is believed in, and after so long without it
    /// it no longer is.
    static let convincing = 300.0
    static let forgotten = 3 * 86400.0
    /// A load that falls within less than this is no sun: that takes half an hour.
    static let abrupt = 600.0
    /// A charging window up to this long is one of those that come again and again; longer ones belong to a time of day.
    static let shortWindow = 3600.0
    /// A plug that is out for less was loose.
    static let loose = 600.0
    /// Share of its height at noon that a sun must have for its light to be extrapolated from: below it, noise would be.
    static let leastHeight = 0.35
    /// Time constants of the present level and of the long mean, in seconds.
    static let recentWindow = 1200.0
    static let longWindow = 6 * 3600.0
    /// How fast the forecast goes from the present level to the long mean, in seconds, at least; and for what share of the time that it
    /// has lasted a departure is taken to go on: a call of an hour ends, a load that has been there for half a day stays.
    static let reversion = 3600.0
    static let lasting = 0.7
    /// One standard deviation of what is added should a load that is higher than before stay for good, as a share of the departure.
    static let stayShare = 0.5
    /// Base loads drift: a long mean of the past says this much of the future, at best.
    static let driftShare = 0.05

    /// What a busy hour gives way to, when hoping: the load that was not exceeded in so many of the quarters of hours.
    static let calmShare = 0.4
    /// Variance of the present level by jitter alone, relative to that of single readings.
    static let jitterShare = 0.4
    /// Quarters of hours that the median is of: a day of them, so that a load that changed for good rules after half of one.
    static let memory = 96
    var recent: Average
    var long: Average
    var harvestNow = 0.0
    /// Since when the present load has parted from the settled one, and to which side.
    var parted: (since: Double, isAbove: Bool)?
    var lowSince: Double?
    /// When the battery was last seen to fill without a charger, and for how long without a break; nil: never.
    var lastNegative: Double?
    var negativeSpan = 0.0
    var everNegative: Bool { lastNegative != nil }
    /// Draws of the last minutes, for telling a step from a slope; whether what is low now began with a step.
    private var before = Average(window: abrupt)
    private var fellAbruptly = false
    /// Local second at which the sun was highest, as seen over a whole day.
    var noonSeen: Double?
    /// Today's harvest and that of the same times of the day before, in joules.
    var today = (seen: 0.0, expected: 0.0)
    var darkBins = 0
    /// Local second of the day's first harvest; nil before one was seen from its beginning.
    var dawn: Double?
    var harvest = [Double?](repeating: nil, count: binCount)
    var base = [Double?](repeating: nil, count: binCount)
    /// Share of each quarter of an hour on a charger, and on how many days there was one.
    var charging = [Double?](repeating: nil, count: binCount)
    var chargingDays = [Int](repeating: 0, count: binCount)
    /// When each quarter of an hour was last seen, in seconds since 1970.
    var seenAt = [Double?](repeating: nil, count: binCount)
    /// The wall clock at the last look, in seconds since 1970 (without one, from 0 on), and the seconds seen by this process.
    var wallNow = 0.0
    var awake = 0.0
    var isTimed = false
    /// When the file was written that this was read from, if that is yet to come by the clock of then.
    public internal(set) var ahead: WallTime?
    private var bin = Bin()
    /// Base loads of the last `memory` quarters of hours: in their order, and ascending.
    var loadsByAge: [Double] = []
    var loads: [Double] = []
    var elapsed = 0.0
    var charger = Average(window: 1800)
    /// Of short windows alone.
    var acSeconds = 0.0
    var acWindows = 0
    var acSince: Double?
    var acLast: Double?

    private struct Bin {
        var index = -1
        var harvest = 0.0
        var net = 0.0
        var seconds = 0.0
        var acSeconds = 0.0
        var at = 0.0
    }

    /// An exponential mean that is a plain mean while young.
    struct Average: Sendable {
        let window: Double
        var mean = 0.0
        var variance = 0.0
        var weight = 0.0
        init(window: Double) { self.window = window }
        mutating func add(_ value: Double, over span: Double) {
            weight = min(weight + span, window)
            let gain = weight > 0 ? min(1, span / weight) : 1
            let difference = value - mean
            mean += gain * difference
            variance = (1 - gain) * (variance + gain * difference * difference)
        }
    }

    public init() {
        recent = Average(window: Self.recentWindow)
        long = Average(window: Self.longWindow)
    }

    /// Whether a sun may shine: so little is drawn that a base load would have had to fall by half.
    public var isCharging: Bool { lowSince != nil }
    /// Whether one certainly does: it has charged the battery before, and a quarter of an hour of readings agree.
    public var showsSun: Bool { everNegative && lowSince.map { elapsed - $0 >= Self.certain } ?? false }
    /// Whether anything was seen.
    public var hasData: Bool { long.weight > 0 }
    /// The base load without harvest that is expected in the long run.
    public var baseLoad: Watts { Watts(settledLoad) }
    /// The median of the quarters of hours: a busy hour passes.
    private var settledLoad: Double {
        guard loads.count >= 4 else { return max(0, long.mean) }
        let middle = loads.count / 2
        let median = loads.count % 2 == 1 ? loads[middle] : (loads[middle - 1] + loads[middle]) / 2
        return max(0, median)
    }
    /// One standard deviation of `baseLoad` as a forecast.
    public var baseDeviation: Watts {
        // Loads stay for minutes, so a quarter of an hour counts as one look at them.
        let looks = max(1, long.weight / 900)
        var spread = looks < 2 ? max(long.variance.squareRoot(), 0.08 * long.mean) : long.variance.squareRoot()
        // A busy hour must not make all others doubtful: the calmer half tells the spread.
        if loads.count >= 8 { spread = min(spread, (loads[loads.count / 2] - loads[loads.count / 6]) / 0.97) }
        return Watts((spread * spread / looks + Self.driftShare * Self.driftShare * long.mean * long.mean).squareRoot())
    }

    /// Takes one look at the rest of the device.
    /// - Parameters:
    ///   - net: power out of the battery less inference; negative while charging.
    ///   - span: time since the look before, for which this one speaks.
    ///   - secondOfDay: local time, 0 to 86400.
    ///   - doubt: one standard deviation of inference's part, which was taken off.
    ///   - wall: the time now; nil: so much later than the look before.
    public mutating func observe(
        net: Watts, acOnline: Bool, span: Seconds, secondOfDay: Double, doubt: Watts = .zero, wall: WallTime? = nil
    ) {
        guard net.isFinite, span.isFinite, span.value >= 0, span.value < 6 * 3600 else { return }
        let seconds = max(span.value, 1)
        elapsed += seconds
        awake += seconds
        isTimed = isTimed || wall != nil
        wallNow = wall.map(\.secondsSince1970) ?? wallNow + seconds
        turn(to: Int(secondOfDay / Self.binLength) % Self.binCount)
        bin.at = wallNow
        if acOnline {
            bin.acSeconds += seconds
            // How long a load has lasted is told by what was seen of it.
            parted?.since += seconds
            acSince = acSince ?? elapsed - seconds
            acLast = elapsed
            charger.add(max(0, long.mean - net.value), over: seconds)
            return
        }
        endWindow()
        let wasDark = lowSince == nil
        separate(net.value, over: seconds, doubt: max(0, doubt.value))
        if wasDark, lowSince != nil, darkBins >= 4 || dawn == nil { dawn = (secondOfDay - Self.unnoticed + 86400).truncatingRemainder(dividingBy: 86400) }
        bin.net += net.value * seconds
        bin.harvest += harvestNow * seconds
        bin.seconds += seconds
    }

    /// Tells base load from harvest: only a sun makes the rest negative, and what is far below the
    /// base load is taken as sun until it has lasted too long for one.
    private mutating func separate(_ net: Double, over seconds: Double, doubt: Double) {
        let level = long.mean
        defer { before.add(net, over: seconds) }
        if let lastNegative, elapsed - lastNegative > Self.forgotten { self.lastNegative = nil }
        // A clear night before it, or a battery that fills without a charger. What may be inference's error is no sun.
        let isLow = long.weight > 600 && level > 2 * doubt && net < 0.55 * level
        guard isLow else {
            lowSince = nil
            negativeSpan = 0
            harvestNow = 0
            recent.add(net, over: seconds)
            long.add(net, over: seconds)
            noteDeparture()
            return
        }
        negativeSpan = net < -max(0.02 * level, doubt) ? negativeSpan + seconds : 0
        if negativeSpan >= Self.convincing { lastNegative = elapsed }
        if lowSince == nil { fellAbruptly = before.mean > 0.85 * level && net > 0 }
        let since = lowSince ?? elapsed
        lowSince = since
        // Without ever charging the battery it was a change of load after all, and a step is told from a slope at once.
        if elapsed - since > (everNegative ? 15 * 3600 : fellAbruptly ? Self.certain : 2 * 3600) {
            // What was before says nothing of the hours to come.
            loads = []
            loadsByAge = []
            recent = Average(window: Self.recentWindow)
            long = Average(window: Self.longWindow)
            recent.add(net, over: seconds)
            long.add(net, over: seconds)
            parted = nil
            lowSince = nil
            harvestNow = 0
            lastNegative = nil
            negativeSpan = 0
            return
        }
        let seen = level - net
        harvestNow += min(1, seconds / 600) * (seen - harvestNow)
    }

    private mutating func turn(to index: Int) {
        guard index != bin.index else { return }
        let all = bin.seconds + bin.acSeconds
        if bin.index >= 0, all > 60 {
            if bin.seconds > 60 {
                compare(with: harvest[bin.index] ?? 0)
                harvest[bin.index] = bin.harvest / bin.seconds
                let load = (bin.net + bin.harvest) / bin.seconds
                remember(load)
                base[bin.index] = base[bin.index].map { 0.5 * ($0 + load) } ?? load
            }
            let share = bin.acSeconds / all
            charging[bin.index] = charging[bin.index].map { 0.5 * ($0 + share) } ?? share
            if share > 0.5 { chargingDays[bin.index] += 1 }
            seenAt[bin.index] = bin.at
            findNoon()
        }
        forgetOldBins()
        bin = Bin()
        bin.index = index
    }

    private mutating func remember(_ load: Double) {
        loadsByAge.append(load)
        loads.insert(load, at: loads.firstIndex { $0 >= load } ?? loads.count)
        guard loadsByAge.count > Self.memory else { return }
        let oldest = loadsByAge.removeFirst()
        if let index = loads.firstIndex(of: oldest) { loads.remove(at: index) }
    }

    /// Adds up today's sun beside the day before's; a night ends the day.
    private mutating func compare(with before: Double) {
        darkBins = before > 0 || bin.harvest > 0 ? 0 : darkBins + 1
        if darkBins >= 8 { today = (0, 0) }
        today.seen += bin.harvest
        today.expected += before * bin.seconds
    }

    /// Ends a charging window once the plug has been out for longer than a loose one.
    private mutating func endWindow() {
        guard let since = acSince, let last = acLast, elapsed - last > Self.loose else { return }
        if last - since <= Self.shortWindow {
            acWindows += 1
            acSeconds += last - since
        }
        acSince = nil
    }

    // MARK: - Forecast

    /// The outlook from `secondOfDay` on for `length`.
    /// - Parameter hopeful: counts fully on what was seen to repeat, for asking whether a goal is out of reach.
    public func outlook(from secondOfDay: Double, for length: Seconds, hopeful: Bool = false) -> Outlook {
        let slot = max(Self.binLength, length.value / 400)
        var slots: [Outlook.Slot] = []
        var ahead = 0.0
        let deviation = baseDeviation.value
        let more = max(0, departure(from: settledLoad))
        while ahead < length.value {
            // Slots end at the bins' edges, so that a night's end is where it is.
            let edge = slot - (secondOfDay + ahead).truncatingRemainder(dividingBy: slot)
            let span = min(edge, length.value - ahead)
            let middle = secondOfDay + ahead + span / 2
            let income = income(at: middle, ahead: ahead + span / 2, now: secondOfDay, hopeful: hopeful)
            let staying = Self.stayShare * more * (1 - exp(-(ahead + span / 2) / reversion))
            slots.append(
                .init(
                    length: Seconds(span), drain: Watts(load(at: middle, ahead: ahead + span / 2, hopeful: hopeful) - income),
                    deviation: Watts(hypot(deviation, staying))))
            ahead += max(span, 1e-3)
        }
        return Outlook(slots: slots)
    }

    private func load(at second: Double, ahead: Double, hopeful: Bool) -> Double {
        var long = settledLoad
        // A present load that is no higher than the long mean is no reason to hope.
        if hopeful, !loads.isEmpty { long = min(long, loads[min(loads.count - 1, Int(Self.calmShare * Double(loads.count)))]) }
        guard recent.weight > 0 else { return long }
        let settled: Double
        // Half of what this time of day was like before: days resemble, they do not repeat.
        if elapsed > 86400, let before = base[index(second)] { settled = 0.5 * (long + before) } else { settled = long }
        return settled + departure(from: long) * exp(-ahead / (hopeful ? Self.reversion / 2 : reversion))
    }

    /// Seconds in which the present departure from the settled load is taken to fade.
    private var reversion: Double { max(Self.reversion, Self.lasting * (parted.map { elapsed - $0.since } ?? 0)) }

    /// How far the present level is from the settled one. Loads jitter from minute to minute; only what jitter does not explain is a
    /// departure (James and Stein).
    private func departure(from settled: Double) -> Double {
        let departure = max(0, recent.mean) - settled
        let jitter = long.variance * Self.jitterShare
        return departure == 0 ? 0 : departure * max(0, 1 - jitter / (departure * departure))
    }

    private mutating func noteDeparture() {
        let departure = departure(from: settledLoad)
        guard departure != 0 else { return parted = nil }
        if parted?.isAbove != (departure > 0) { parted = (elapsed, departure > 0) }
    }

    private func index(_ second: Double) -> Int {
        let inDay = second.truncatingRemainder(dividingBy: 86400)
        return Int(inDay / Self.binLength) % Self.binCount
    }

    /// Local second at which the sun is taken to be highest, and how long before it the day begins.
    private var day: (noon: Double, half: Double) {
        if let noonSeen, abs(Self.apart(noonSeen, 43200)) > Self.noonTolerance {
            return (noonSeen, dawn.map { min(max(Self.apart(noonSeen, $0), 3 * 3600), 9 * 3600) } ?? Self.ordinaryDay / 2)
        }
        guard let dawn else { return (43200, Self.ordinaryDay / 2) }
        if noonSeen != nil || Self.plausibleDawn.contains(dawn) { return (43200, min(max(43200 - dawn, 3 * 3600), 9 * 3600)) }
        return ((dawn + Self.ordinaryDay / 2).truncatingRemainder(dividingBy: 86400), Self.ordinaryDay / 2)
    }

    /// How much later `second` is than `other` on a clock of a day, -43200 to 43200.
    private static func apart(_ second: Double, _ other: Double) -> Double {
        let difference = (second - other).truncatingRemainder(dividingBy: 86400)
        return difference > 43200 ? difference - 86400 : difference < -43200 ? difference + 86400 : difference
    }

    private func income(at second: Double, ahead: Double, now: Double, hopeful: Bool) -> Double {
        let index = index(second)
        var income = 0.0
        if everNegative {
            let (noon, half) = day
            let fromNoon = Self.apart(second, noon)
            let nowFromNoon = Self.apart(now, noon)
            let mirror = self.index(noon - fromNoon + 2 * 86400)
            if let seen = harvest[index], !(second < 86400 && index > self.index(now) && elapsed < 86400) {
                income = seen * (hopeful ? 1 : Self.repeated * (ahead < 43200 ? brightness : 1))
            } else if let seen = harvest[mirror], seen > 0 {
                income = seen * (hopeful ? 1 : Self.mirrored)
            } else if harvestNow > 0, abs(fromNoon) <= abs(nowFromNoon) {
                // Nearer to noon than now: it rises on as a half sine from when it was first seen.
                income = harvestNow * height(fromNoon, half) / max(height(nowFromNoon, half), Self.leastHeight) * (hopeful ? 1 : Self.mirrored)
            }
        }
        return income + chargerIncome(index, ahead: ahead, hopeful: hopeful)
    }

    /// The sun's height so many seconds from noon, 1 at noon.
    private func height(_ fromNoon: Double, _ half: Double) -> Double { cos(.pi / 2 * min(1, abs(fromNoon) / half)) }

    /// What today's sun is to the day before's so far: a device may have been carried into a cellar. The more of the day is
    /// gone, the more it counts; never above 1.
    private var brightness: Double {
        let day = harvest.reduce(0) { $0 + ($1 ?? 0) * Self.binLength }
        guard day > 0, today.expected > 0 else { return 1 }
        let weight = min(1, today.expected / (0.25 * day))
        return min(1, 1 + weight * (today.seen / today.expected - 1))
    }

    private func chargerIncome(_ index: Int, ahead: Double, hopeful: Bool) -> Double {
        guard charger.weight > 0 else { return 0 }
        // A charger that has been on for a while stays on for about as long again; half of that is safe.
        if let acSince, acLast == elapsed, ahead < 0.5 * (elapsed - acSince) { return charger.mean * 0.95 }
        if elapsed > 86400, chargingDays[index] >= 2, let share = charging[index] { return charger.mean * share * (hopeful ? 1 : 0.7) }
        // Windows that keep coming are expected to, by half.
        guard acWindows >= 2 else { return 0 }
        return charger.mean * acSeconds / elapsed * (hopeful ? 1 : 0.5)
    }
}
