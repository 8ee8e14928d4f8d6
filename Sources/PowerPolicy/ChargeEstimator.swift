import Glibc
import Units

/// Stored energy from a gauge that rounds: power is counted between readings, and each reading says
/// within which step the energy must lie.
///
/// A gauge in whole percents is half a percent off at any time, but exact at the moment when it
/// changes; counting on from there keeps most of that exactness. The estimate is a normal distribution that counting moves and widens and
/// each reading cuts off at its step's bounds (assumed-density filtering): of steps of a percent it leaves 0.02 to 0.1 %. How coarse
/// the steps are is told from the readings; what a gauge is off beyond them (its calibration) cannot be counted away, and counting may not lead away from the gauge by it.
public struct ChargeEstimator: Sendable {
    /// Energy at `time`, and one standard deviation of it; nil before a reading.
    public private(set) var energy: Joules?
    public private(set) var deviation = Joules.zero
    private var last: Look?
    /// The part of `deviation`, in joules, that counting can lessen: the gauge's rounding.
    private var rounding = 0.0
    /// Joules counted since a reading last cut the estimate off.
    private var sinceCut = 0.0
    /// The smallest change of what the gauge shows, in joules; nil before any.
    private var finest: Double?
    /// The size of the latest change that counting did not explain; and of the gauge's steps where such changes have one size, in joules.
    private var jump: Double?
    private var coarse: Double?

    private struct Look {
        var time: MonotonicTime
        var shown: Joules
        var full: Joules?
    }

    /// While the gauge's steps are not known, seconds in which the estimate comes nearer to it by all but 1/e: a power register that is
    /// 8 % off then leaves the gauge by what it is off in an hour at most.
    static let pull = 3600.0
    /// Counting over so many seconds is a guess.
    static let longestGap = 6 * 3600.0
    /// One standard deviation of what is counted between two readings, as a share of it, and of what a power register is off all the time.
    static let countingError = 0.3
    static let registerError = 0.02
    /// How exactly a gauge changes where its step says, in steps.
    static let blur = 0.03
    /// Readings cut off anew when so much of a step was counted since: the same bound said twice is no further evidence.
    static let apart = 0.02
    /// Share of what was counted by which it can be wrong at worst: loads change between two readings.
    static let worstCounting = 0.5
    /// Jumps that differ by no more than this share are steps of one gauge.
    static let sameStep = 0.2
    /// A capacity that changed by a larger share is another battery's.
    static let swapped = 0.03
    /// Changes below this share are a computation's, not the gauge's.
    static let noise = 1e-6

    public init() {}

    /// Takes a reading; one that is no newer than the last says nothing new.
    /// - Parameters:
    ///   - energy: what the gauge shows.
    ///   - error: one standard deviation of the gauge: of a gauge that errs by rounding alone, the step / sqrt(12).
    ///   - drain: mean power out of the battery since the reading before, as far as known.
    ///   - full: what a full battery holds, as far as known.
    public mutating func observe(energy shown: Joules, error: Joules, drain: Watts?, full: Joules?, at now: MonotonicTime) {
        guard shown.isFinite else { return }
        if let last, now <= last.time { return }
        let look = Look(time: now, shown: shown, full: full)
        let before = last
        last = look
        if isSwapped(before, look) {
            (finest, jump, coarse) = (nil, nil, nil)
            return begin(look, error)
        }
        // Uniform over a step of sqrt(12) standard deviations: no gauge of this error rounds to coarser steps.
        let widest = max(0, error.value) * 12.0.squareRoot()
        let moved = before.map { Self.change($0, look) } ?? 0
        guard let known = energy, let before, let drain, drain.isFinite, now.since(before.time).value < Self.longestGap else {
            learnStep(moved, look)
            return begin(look, error)
        }
        let span = now.since(before.time).value
        let counted = -drain.value * span
        // The clock of counting stands still while the device sleeps, and the battery does not.
        if abs(moved - counted) > step(widest) + Self.worstCounting * abs(counted) {
            learnJump(abs(moved))
            if coarse == nil { return begin(look, error) }
        }
        learnStep(moved, look)
        let step = step(widest)
        sinceCut += abs(counted)
        // A register's error grows with what is counted, chance with its square root.
        rounding = hypot(rounding + Self.registerError * abs(counted), Self.countingError * counted)
        var estimate = known.value * Self.scale(before, look) + counted
        if finest == nil { estimate += (shown.value - estimate) * (1 - exp(-span / Self.pull)) }
        let low = shown.value - step / 2
        let high = shown.value + step / 2
        if abs(moved) > Self.noise * (full ?? shown).value || sinceCut >= step * Self.apart {
            sinceCut = 0
            (estimate, rounding) = Self.between(low, high, blur: step * Self.blur, mean: estimate, deviation: rounding)
        }
        estimate = min(max(estimate, low), min(high, full?.value ?? .infinity))
        rounding = min(rounding, step / 12.0.squareRoot())
        energy = Joules(max(0, estimate))
        let calibration = max(0, error.value * error.value - step * step / 12)
        deviation = Joules((rounding * rounding + calibration).squareRoot())
    }

    /// Mean and standard deviation of a normal variable, once it is known to lie between two blurred bounds: the moments of its product
    /// with a difference of two probits (Rasmussen and Williams 2006, Gaussian Processes for Machine Learning, section 3.9).
    private static func between(_ low: Double, _ high: Double, blur: Double, mean: Double, deviation: Double) -> (Double, Double) {
        let variance = deviation * deviation
        let spread = (variance + blur * blur).squareRoot()
        guard variance > 0, spread > 0 else { return (mean, deviation) }
        let (a, b) = ((mean - low) / spread, (mean - high) / spread)
        func density(_ x: Double) -> Double { exp(-x * x / 2) / (2 * Double.pi).squareRoot() }
        let mass = 0.5 * (erfc(-a / 2.0.squareRoot()) - erfc(-b / 2.0.squareRoot()))
        // So far outside that counting was wrong: it is at the nearer bound.
        guard mass > 1e-6 else { return (mean < low ? low : high, (high - low) * 0.15) }
        let slope = (density(a) - density(b)) / (spread * mass)
        let bend = -(a * density(a) - b * density(b)) / (spread * spread * mass) - slope * slope
        return (mean + variance * slope, max(0, variance + variance * variance * bend).squareRoot())
    }

    /// Forgets everything, as after a battery was changed.
    public mutating func reset() { self = ChargeEstimator() }

    /// Starts from what the gauge shows.
    private mutating func begin(_ look: Look, _ error: Joules) {
        energy = look.shown
        deviation = error
        rounding = min(max(0, error.value), (finest ?? .infinity) / 12.0.squareRoot())
    }

    private mutating func learnStep(_ moved: Double, _ look: Look) {
        let change = abs(moved)
        guard change > Self.noise * (look.full ?? look.shown).value else { return }
        finest = min(finest ?? change, change)
        if let steps = coarse ?? jump, change < steps * (1 - Self.sameStep) { (jump, coarse) = (nil, nil) }
    }

    /// A gauge of levels jumps, always as far; a battery that was used while the device slept jumps once.
    private mutating func learnJump(_ change: Double) {
        if let jump, coarse == nil, abs(change - jump) <= jump * Self.sameStep {
            coarse = jump
            rounding = jump / 12.0.squareRoot()
        }
        jump = change
    }

    private func step(_ widest: Double) -> Double { coarse ?? min(widest, finest ?? widest) }

    /// By how many joules what is shown changed. Where a capacity is shown, by the charge's share of it: where joules are
    /// made from a percentage and a voltage, the voltage's small changes are no steps of the gauge.
    private static func change(_ before: Look, _ now: Look) -> Double {
        now.shown.value - before.shown.value * scale(before, now)
    }

    /// What a joule of the look before is now, where what a full battery is said to hold changed.
    private static func scale(_ before: Look, _ now: Look) -> Double {
        guard let full = now.full?.value, let fullBefore = before.full?.value, full > 0, fullBefore > 0 else { return 1 }
        return full / fullBefore
    }

    private func isSwapped(_ before: Look?, _ now: Look) -> Bool {
        guard let fullBefore = before?.full?.value, let full = now.full?.value else { return false }
        return abs(full - fullBefore) > Self.swapped * fullBefore
    }
}
