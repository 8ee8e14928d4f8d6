import Glibc
import Units

/// Stored energy from a gauge that rounds: power is counted between readings, and each reading says
/// within which step the energy must lie.
///
/// A gauge in whole percents is half a percent off at any time, but exact at the moment when it
/// changes; counting on from there keeps most of that exactness (coulomb counting with an interval
/// constraint). How coarse the steps are is told from the readings; what a gauge is off beyond its
/// steps (its calibration) cannot be counted away, and counting may not lead away from the gauge by it.
public struct ChargeEstimator: Sendable {
    /// Energy at `time`, and one standard deviation of it; nil before a reading.
    public private(set) var energy: Joules?
    public private(set) var deviation = Joules.zero
    private var last: Look?
    /// The part of `deviation`, in joules, that counting can lessen: the gauge's rounding.
    private var rounding = 0.0
    /// The smallest change of what the gauge shows, in joules; nil before any.
    private var finest: Double?

    private struct Look {
        var time: MonotonicTime
        var shown: Joules
        var full: Joules?
    }

    /// Seconds in which the estimate comes nearer to the gauge by all but 1/e. A power register that is 8 % off then leaves
    /// the gauge by what it is off in an hour at most, while the sawtooth of a gauge's rounding is averaged out.
    static let pull = 3600.0
    /// Counting over so many seconds is a guess.
    static let longestGap = 6 * 3600.0
    /// One standard deviation of counting, as a share of what was counted.
    static let countingError = 0.1
    /// Share of what was counted by which it can be wrong at worst: loads change between two readings.
    static let worstCounting = 0.5
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
            finest = nil
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
        guard abs(moved - counted) <= min(widest, finest ?? widest) + Self.worstCounting * abs(counted) else { return begin(look, error) }
        learnStep(moved, look)
        let step = min(widest, finest ?? widest)
        let low = shown.value - step / 2
        let high = min(shown.value + step / 2, full?.value ?? .infinity)
        // Counting errors are a share of what was counted; rounding bounds their sum.
        let grown = rounding * rounding + (Self.countingError * counted) * (Self.countingError * counted)
        rounding = min(grown.squareRoot(), step / 12.0.squareRoot())
        var estimate = known.value * Self.scale(before, look) + counted
        estimate += (shown.value - estimate) * (1 - exp(-span / Self.pull))
        if estimate < low || estimate > high {
            estimate = min(max(estimate, low), high)
            // Just past a step: the energy is near it.
            rounding = min(rounding, step * 0.15 + Self.countingError * abs(counted))
        }
        energy = Joules(max(0, estimate))
        let calibration = max(0, error.value * error.value - step * step / 12)
        deviation = Joules((rounding * rounding + calibration).squareRoot())
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
    }

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
