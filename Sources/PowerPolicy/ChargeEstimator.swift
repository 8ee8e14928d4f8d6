import Glibc
import Units

/// Stored energy from a gauge that rounds: power is counted between readings, and each reading says
/// within which step the energy must lie.
///
/// A gauge in whole percents is half a percent off at any time, but exact at the moment when it
/// changes; counting on from there keeps most of that exactness (coulomb counting with an interval
/// constraint).
public struct ChargeEstimator: Sendable {
    /// Energy at `time`, and one standard deviation of it; nil before a reading.
    public private(set) var energy: Joules?
    public private(set) var deviation = Joules.zero
    private var time: MonotonicTime?
    private var shown: Joules?

    public init() {}

    /// Takes a reading.
    /// - Parameters:
    ///   - energy: what the gauge shows.
    ///   - error: one standard deviation of rounding: the step / sqrt(12).
    ///   - drain: mean power out of the battery since the reading before, as far as known.
    public mutating func observe(energy shownNow: Joules, error: Joules, drain: Watts?, full: Joules?, at now: MonotonicTime) {
        let half = max(0, error.value) * 1.7320508
        defer {
            time = now
            shown = shownNow
        }
        guard let known = energy, let time, let drain, drain.isFinite, now > time, now.since(time).value < 6 * 3600 else {
            energy = shownNow
            deviation = error
            return
        }
        let span = now.since(time).value
        let counted = known.value - drain.value * span
        let low = shownNow.value - half
        let high = min(shownNow.value + half, full?.value ?? .infinity)
        // Counting errors are a share of what was counted; rounding bounds their sum.
        let grown = deviation.value * deviation.value + (0.1 * drain.value * span) * (0.1 * drain.value * span)
        deviation = Joules(min(grown.squareRoot(), half / 1.7320508))
        var estimate = counted
        if counted < low || counted > high {
            estimate = min(max(counted, low), high)
            // Just past a step: the energy is near it.
            deviation = Joules(min(deviation.value, half * 0.3 + 0.1 * abs(drain.value) * span))
        }
        energy = Joules(max(0, estimate))
    }

    /// Forgets everything, as after a battery was changed.
    public mutating func reset() { self = ChargeEstimator() }
}
