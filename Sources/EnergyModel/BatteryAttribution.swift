import Glibc
import Units

/// Parts the battery's power into the rest of the device and inference, where no meter does.
///
/// A bank of Kalman filters (`BaseLoadFilter`), each with its own belief of how much the base load jitters and drifts, which
/// differs between devices and tells how far a step of the draw can be trusted to be inference's. Their estimates are
/// mixed by how well each foretells the readings (multiple-model estimation, Magill 1965).
public struct BatteryAttribution: Sendable {
    private var units: [String] = []
    private var filters: [BaseLoadFilter] = []
    private var lastTime: MonotonicTime?
    /// The first readings, until there are enough to tell an odd one.
    private var first: [Look] = []
    // The filters mixed: base level, departure, and factors, with their covariance.
    private var state: [Double] = []
    private var covariance: [[Double]] = []

    /// Jitter of the base load, as a share, and its drift in an hour.
    static let beliefs: [(jitter: Double, walk: Double)] = [0.03, 0.06, 0.12].flatMap { jitter in [0.02, 0.1].map { (jitter, $0) } }
    /// Devices take between 0.85 and 3.2 times, some but half of what a profile says that was not measured on them: about the geometric mean.
    static let priorFactor = 1.4
    static let priorDeviation = 0.6
    static let factorWalkPerSecond = 0.05 * 0.05 / 3600
    static let factorRange = 0.3...4.5
    /// Base loads that drift with what runs look like inference, which the filters cannot know. Their own deviations, times
    /// this, cover the truth about as often as they say (`joulectl simulate --random` prints how often).
    static let honesty = 1.2

    /// Readings that the filters begin with: one alone may be of a moment before the device was up.
    static let beginning = 3
    /// No reading is more exact than this share of itself.
    static let leastNoise = 0.01

    private struct Look: Sendable {
        var draw: Watts
        var profiled: [(unit: String, watts: Watts)]
        var noise: Watts
        var priors: [String: Prior]
        var time: MonotonicTime
    }

    /// What is known of a unit's factor before the battery says anything.
    public struct Prior: Hashable, Sendable {
        public var factor: Double
        public var variance: Double
        public init(factor: Double, variance: Double) {
            self.factor = factor
            self.variance = variance
        }
        /// Of a profile that was made on another device.
        static let unknown = Prior(factor: priorFactor, variance: priorDeviation * priorDeviation)
    }

    public init() {}

    /// The factor of `unit` and its variance; nil before anything ran on it.
    public func factor(of unit: String) -> (factor: Double, variance: Double)? {
        guard let index = units.firstIndex(of: unit).map({ $0 + BaseLoadFilter.leading }) else { return nil }
        return (state[index], covariance[index][index])
    }
    public var knownUnits: [String] { units }
    /// What the device takes beside inference, with harvest taken off; nil before a reading.
    public var base: Watts? { state.first.map { Watts($0) } }

    /// The power of inference and one standard deviation of it, for profiled watts by unit.
    public func power(of profiled: [(unit: String, watts: Watts)]) -> (watts: Watts, deviation: Watts) {
        var mean = 0.0
        var design = [Double](repeating: 0, count: state.count)
        var unknown = 0.0
        for share in profiled {
            if let index = units.firstIndex(of: share.unit).map({ $0 + BaseLoadFilter.leading }) {
                mean += share.watts.value * state[index]
                design[index] += share.watts.value
            } else {
                mean += share.watts.value * Self.priorFactor
                unknown += share.watts.value * Self.priorDeviation
            }
        }
        var variance = unknown * unknown
        for row in state.indices where design[row] != 0 {
            for column in state.indices { variance += design[row] * covariance[row][column] * design[column] }
        }
        return (Watts(mean), Watts(max(0, variance).squareRoot() * Self.honesty))
    }

    /// Learns from one look at the battery's power.
    /// - Parameters:
    ///   - draw: out of the battery; not while charging.
    ///   - profiled: what the profiles say runs now, by unit, without any factor.
    ///   - noise: one standard deviation of the reading.
    ///   - priors: what is known of units' factors otherwise; counts when a unit is first seen.
    public mutating func observe(
        draw: Watts, profiled: [(unit: String, watts: Watts)], noise: Watts, priors: [String: Prior] = [:], at time: MonotonicTime
    ) {
        guard draw.isFinite, noise.isFinite, noise.value >= 0 else { return }
        let look = Look(draw: draw, profiled: profiled, noise: noise, priors: priors, time: time)
        guard filters.isEmpty else { return take(look) }
        first.append(look)
        guard first.count >= Self.beginning else { return }
        // The middle one, so that neither a zero nor a peak at the beginning rules for hours.
        let middle = first.sorted { $0.draw < $1.draw }[first.count / 2]
        let known = middle.profiled.reduce(0) { $0 + $1.watts.value * (priors[$1.unit] ?? .unknown).factor }
        let variance = middle.draw.value * middle.draw.value * 0.09 + middle.noise.value * middle.noise.value
        filters = Self.beliefs.map { BaseLoadFilter(jitter: $0.jitter, walk: $0.walk, level: max(0, middle.draw.value - known), variance: variance) }
        for look in first { take(look) }
        first = []
    }

    private mutating func take(_ look: Look) {
        let (draw, profiled, time) = (look.draw, look.profiled, look.time)
        let noise = max(look.noise.value, Self.leastNoise * max(draw.value.magnitude, state.first ?? 0))
        let elapsed = lastTime.map { max(0, time.since($0).value) } ?? 300
        lastTime = time
        var design = [Double](repeating: 0, count: units.count)
        for share in profiled where share.watts.value > 0 {
            let index = index(of: share.unit, look.priors[share.unit] ?? .unknown)
            if index == design.count { design.append(0) }
            design[index] += share.watts.value
        }
        for index in filters.indices {
            let level = max(filters[index].state[0].magnitude, 0.1 * draw.value.magnitude)
            filters[index].predict(elapsed: elapsed, level: level, factorWalkPerSecond: Self.factorWalkPerSecond)
            filters[index].correct(
                draw: draw.value, design: design, noise: noise, factors: Self.factorRange)
        }
        mix()
    }

    private mutating func mix() {
        let best = filters.reduce(-Double.infinity) { max($0, $1.logLikelihood) }
        let weights = filters.map { exp($0.logLikelihood - best) }
        let sum = weights.reduce(0, +)
        state = [Double](repeating: 0, count: filters[0].state.count)
        covariance = state.map { _ in state }
        for (filter, weight) in zip(filters, weights) {
            for row in state.indices { state[row] += weight / sum * filter.state[row] }
        }
        for (filter, weight) in zip(filters, weights) {
            for row in state.indices {
                for column in state.indices {
                    covariance[row][column] +=
                        weight / sum * (filter.covariance[row][column] + (filter.state[row] - state[row]) * (filter.state[column] - state[column]))
                }
            }
        }
    }

    /// The index of `unit` among the units.
    private mutating func index(of unit: String, _ prior: Prior) -> Int {
        if let index = units.firstIndex(of: unit) { return index }
        units.append(unit)
        for index in filters.indices { filters[index].addUnit(factor: prior.factor, variance: prior.variance) }
        return units.count - 1
    }
}
