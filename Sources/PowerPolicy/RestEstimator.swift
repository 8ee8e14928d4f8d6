import Glibc
import Units

/// What the device draws beside inference: measured draw minus our own, averaged with an
/// exponential window, with the uncertainty of that average.
public struct RestEstimator: Sendable {
    /// A look at the battery. Give what the gauge gives.
    public struct Sample: Hashable, Sendable {
        /// When the gauge took the reading (not when it was read out).
        public var time: MonotonicTime
        /// Power out of the battery, if the gauge measures it.
        public var draw: Watts?
        /// Energy in the battery, for gauges that measure no power.
        public var energy: Joules?
        /// The gauge's step or error in `energy`.
        public var energyError: Joules
        /// What inference drew, on average since the sample before.
        public var own: Watts
        public var acOnline: Bool

        public init(
            time: MonotonicTime, draw: Watts?, energy: Joules? = nil, energyError: Joules = .zero, own: Watts, acOnline: Bool
        ) {
            self.time = time
            self.draw = draw
            self.energy = energy
            self.energyError = energyError
            self.own = own
            self.acOnline = acOnline
        }
    }

    /// The exponential window.
    public let window: Seconds
    /// Readings so soon after a plug event are averages over both sides of it.
    public let settling: Seconds
    /// A forecast of hours from an average of minutes is never surer than this share of it.
    static let floorDeviation = 0.05

    private var mean = 0.0
    private var variance = 0.0
    private var weight = 0.0
    private var weightSquared = 0.0
    private var last: Sample?
    /// The last reading, held back until the next shows that no plug event happened around it.
    private var pending: (value: Double, span: Double)?
    /// The last power reading, for as long as there is no average yet: planning with a rest of zero
    /// would spend the battery in the first minutes.
    private var provisional: Double?
    private var settledAt: MonotonicTime?
    private var anchor: Anchor?

    private struct Anchor: Hashable, Sendable {
        var time: MonotonicTime
        var energy: Double
        var own: Double
    }

    public init(window: Seconds = Seconds(900), settling: Seconds = Seconds(30)) {
        self.window = window
        self.settling = settling
    }

    /// The rest's average power and one standard deviation of it as a forecast. The first power
    /// reading on battery counts as it is, with half of it as deviation; nil before that.
    public var estimate: (power: Watts, deviation: Watts)? {
        guard weight > 0 else { return provisional.map { (Watts($0), Watts($0 / 2)) } }
        let count = weight * weight / weightSquared
        let floor = mean * Self.floorDeviation
        // One reading says nothing of its own spread: take it as half of it.
        let spread = count < 2 ? max(variance, mean * mean / 4) : variance
        return (Watts(max(0, mean)), Watts((spread / count + floor * floor).squareRoot()))
    }

    /// Takes a sample into account. Samples that are no newer than the last are ignored.
    public mutating func observe(_ sample: Sample) {
        if let last, sample.time <= last.time { return }
        defer { last = sample }
        if weight == 0, !sample.acOnline, let draw = sample.draw, draw.isFinite {
            provisional = max(0, (draw - sample.own).value)
        }
        guard let last else { return restart(sample) }
        guard sample.acOnline == last.acOnline else {
            pending = nil
            settledAt = sample.time.advanced(by: settling)
            return restart(sample)
        }
        let span = sample.time.since(last.time).value
        anchor?.own += sample.own.value * span
        guard !sample.acOnline else { return }
        if let settledAt, sample.time < settledAt { return restart(sample) }
        if let held = pending { take(held.value, over: held.span) }
        pending = nil
        if let draw = sample.draw, draw.isFinite {
            pending = (draw.value - sample.own.value, span)
        } else if let energy = sample.energy, energy.isFinite, let from = anchor {
            let elapsed = sample.time.since(from.time).value
            let drop = from.energy - energy.value
            // A slope over less than a few of the gauge's steps would be the steps' noise.
            if elapsed >= 60, drop >= 3 * sample.energyError.value, drop > 0 {
                pending = ((drop - from.own) / elapsed, elapsed)
                restart(sample)
            }
        }
    }

    private mutating func restart(_ sample: Sample) {
        anchor = sample.energy.map { Anchor(time: sample.time, energy: $0.value, own: 0) }
    }

    /// Weighted exponential mean and variance (West 1979, with decay), a reading weighing as much
    /// as the time that it speaks for.
    private mutating func take(_ value: Double, over span: Double) {
        let decay = exp(-span / window.value)
        let share = 1 - decay
        weight = weight * decay + share
        weightSquared = weightSquared * decay * decay + share * share
        let difference = value - mean
        let gain = share / weight
        mean += gain * difference
        variance = (1 - gain) * (variance + gain * difference * difference)
    }
}
