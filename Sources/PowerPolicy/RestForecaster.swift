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
    /// A sun is noticed so long after it rose, in seconds, and no sun is taken to have risen before five.
    static let unnoticed = 2100.0
    static let certain = 900.0
    static let earliestDawn = 5 * 3600.0
    /// Share of its height at noon that a sun must have for its light to be extrapolated from: below it, noise would be.
    static let leastHeight = 0.35
    /// Time constants of the present level and of the long mean, in seconds.
    static let recentWindow = 1200.0
    static let longWindow = 6 * 3600.0
    /// How fast the forecast goes from the present level to the long mean, in seconds.
    static let reversion = 3600.0
    /// Base loads drift: a long mean of the past says this much of the future, at best.
    static let driftShare = 0.03

    /// What a busy hour gives way to, when hoping: the load that was not exceeded in so many of the quarters of hours.
    static let calmShare = 0.4
    /// Variance of the present level by jitter alone, relative to that of single readings.
    static let jitterShare = 0.4
    static let memory = 192
    private var recent: Average
    private var long: Average
    private var harvestNow = 0.0
    private var lowSince: Double?
    private var everNegative = false
    /// Local second of the day's first harvest; nil before one was seen from its beginning.
    private var dawn: Double?
    private var harvest = [Double?](repeating: nil, count: binCount)
    private var base = [Double?](repeating: nil, count: binCount)
    private var charging = [Double?](repeating: nil, count: binCount)
    private var bin = Bin()
    /// Base loads of the quarters of hours so far, ascending, at most `memory` of them.
    private var loads: [Double] = []
    private var elapsed = 0.0
    private var charger = Average(window: 1800)
    private var acSeconds = 0.0
    private var acWindows = 0
    private var acSince: Double?

    private struct Bin {
        var index = -1
        var harvest = 0.0
        var net = 0.0
        var seconds = 0.0
        var acSeconds = 0.0
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
    public mutating func observe(net: Watts, acOnline: Bool, span: Seconds, secondOfDay: Double) {
        guard net.isFinite, span.isFinite, span.value >= 0, span.value < 6 * 3600 else { return }
        let seconds = max(span.value, 1)
        elapsed += seconds
        turn(to: Int(secondOfDay / Self.binLength) % Self.binCount)
        if acOnline {
            acSeconds += seconds
            bin.acSeconds += seconds
            if acSince == nil {
                acSince = elapsed
                acWindows += 1
            }
            charger.add(max(0, long.mean - net.value), over: seconds)
            return
        }
        acSince = nil
        let wasDark = lowSince == nil
        separate(net.value, over: seconds)
        if wasDark, lowSince != nil, secondOfDay < 43200 { dawn = max(0, secondOfDay - Self.unnoticed) }
        bin.net += net.value * seconds
        bin.harvest += harvestNow * seconds
        bin.seconds += seconds
    }

    /// Tells base load from harvest: only a sun makes the rest negative, and what is far below the
    /// base load is taken as sun until it has lasted too long for one.
    private mutating func separate(_ net: Double, over seconds: Double) {
        let level = long.mean
        // A clear night before it, or a battery that fills without a charger.
        let isLow = long.weight > 600 && net < 0.55 * level
        guard isLow else {
            lowSince = nil
            harvestNow = 0
            recent.add(net, over: seconds)
            long.add(net, over: seconds)
            return
        }
        if net < -0.02 * level { everNegative = true }
        let since = lowSince ?? elapsed
        lowSince = since
        // Without ever charging the battery it was a change of load after all.
        if elapsed - since > (everNegative ? 15 * 3600 : 2 * 3600) {
            recent = Average(window: Self.recentWindow)
            long = Average(window: Self.longWindow)
            recent.add(net, over: seconds)
            long.add(net, over: seconds)
            lowSince = nil
            harvestNow = 0
            everNegative = false
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
                harvest[bin.index] = bin.harvest / bin.seconds
                let load = (bin.net + bin.harvest) / bin.seconds
                loads.insert(load, at: loads.firstIndex { $0 >= load } ?? loads.count)
                // Dropping from both ends in turn keeps the middle, which is what is asked for.
                if loads.count > Self.memory { loads.remove(at: elapsed.truncatingRemainder(dividingBy: 2) < 1 ? 0 : loads.count - 1) }
                base[bin.index] = base[bin.index].map { 0.5 * ($0 + load) } ?? load
            }
            charging[bin.index] = bin.acSeconds / all
        }
        bin = Bin()
        bin.index = index
    }

    // MARK: - Forecast

    /// The outlook from `secondOfDay` on for `length`.
    /// - Parameter hopeful: counts fully on what was seen to repeat, for asking whether a goal is out of reach.
    public func outlook(from secondOfDay: Double, for length: Seconds, hopeful: Bool = false) -> Outlook {
        let slot = max(Self.binLength, length.value / 400)
        var slots: [Outlook.Slot] = []
        var ahead = 0.0
        let deviation = baseDeviation
        while ahead < length.value {
            // Slots end at the bins' edges, so that a night's end is where it is.
            let edge = slot - (secondOfDay + ahead).truncatingRemainder(dividingBy: slot)
            let span = min(edge, length.value - ahead)
            let middle = secondOfDay + ahead + span / 2
            let income = income(at: middle, ahead: ahead + span / 2, now: secondOfDay, hopeful: hopeful)
            slots.append(.init(length: Seconds(span), drain: Watts(load(at: middle, ahead: ahead + span / 2, hopeful: hopeful) - income), deviation: deviation))
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
        // Loads jitter from minute to minute; only a departure that jitter does not explain is one (James and Stein).
        let departure = max(0, recent.mean) - long
        let jitter = self.long.variance * Self.jitterShare
        let believed = departure == 0 ? 0 : departure * max(0, 1 - jitter / (departure * departure))
        return settled + believed * exp(-ahead / (hopeful ? Self.reversion / 2 : Self.reversion))
    }

    private func index(_ second: Double) -> Int {
        let inDay = second.truncatingRemainder(dividingBy: 86400)
        return Int(inDay / Self.binLength) % Self.binCount
    }

    private func income(at second: Double, ahead: Double, now: Double, hopeful: Bool) -> Double {
        let index = index(second)
        var income = 0.0
        if everNegative {
            if let seen = harvest[index], !(second < 86400 && index > self.index(now) && elapsed < 86400) {
                income = seen * (hopeful ? 1 : Self.repeated)
            } else if let mirror = harvest[Self.binCount - 1 - index], mirror > 0 {
                income = mirror * (hopeful ? 1 : Self.mirrored)
            } else if harvestNow > 0, abs(second.truncatingRemainder(dividingBy: 86400) - 43200) <= abs(now - 43200) {
                // Nearer to noon than now: it rises on as a half sine from when it was first seen.
                income = harvestNow * height(second) / max(height(now), Self.leastHeight) * (hopeful ? 1 : Self.mirrored)
            }
        }
        return income + chargerIncome(index, ahead: ahead, hopeful: hopeful)
    }

    /// The sun's height at a time of day, 1 at noon; never below that of `Self.leastHeight` for what is known to be day.
    private func height(_ second: Double) -> Double {
        let dawn = min(dawn ?? Self.earliestDawn, 42000)
        let inDay = second.truncatingRemainder(dividingBy: 86400)
        return max(0, sin(.pi * (inDay - dawn) / (86400 - 2 * dawn)))
    }

    private func chargerIncome(_ index: Int, ahead: Double, hopeful: Bool) -> Double {
        guard charger.weight > 0 else { return 0 }
        // A charger that has been on for a while stays on for about as long again; half of that is safe.
        if let acSince, ahead < 0.5 * (elapsed - acSince) { return charger.mean * 0.95 }
        if elapsed > 86400, let share = charging[index] { return charger.mean * share * (hopeful ? 1 : 0.7) }
        // Windows that keep coming are expected to, by half.
        guard acWindows >= 2 else { return 0 }
        return charger.mean * acSeconds / elapsed * (hopeful ? 1 : 0.5)
    }
}
