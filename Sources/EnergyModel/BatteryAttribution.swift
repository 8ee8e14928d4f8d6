import Units

/// Parts the battery's power into the rest of the device and inference, where no meter does.
///
/// A Kalman filter over x = (base load, factor of each unit): draw = base + sum(profiled_u x factor_u)
/// + noise. The factors are told from the base load only by changes of what runs: a step of the draw
/// that comes with a change of plan is inference's. The base load walks and jitters, so a step that
/// comes alone is its own.
public struct BatteryAttribution: Sendable {
    private var units: [String] = []
    /// Base load in watts first, then factors.
    private var state: [Double] = []
    private var covariance: [[Double]] = []
    private var lastTime: MonotonicTime?

    /// Spread of the base load around its level, as a share; it stays for minutes.
    static let baseJitter = 0.08
    static let jitterSpan = 300.0
    /// Random walk of the base level: so much of it in an hour.
    static let baseWalk = 0.10
    /// Profiles are between half and 3.5 times the truth, more often too low than too high.
    static let priorFactor = 1.25
    static let priorDeviation = 0.6
    static let factorWalkPerSecond = 0.05 * 0.05 / 3600
    static let factorRange = 0.3...4.5
    /// Base loads that drift with what runs look like inference, which the filter cannot know. Its own deviations, times
    /// this, cover the truth about as often as they say (`joulectl simulate --random` prints how often).
    static let honesty = 1.4

    public init() {}

    /// The factor of `unit` and its variance; nil before anything ran on it.
    public func factor(of unit: String) -> (factor: Double, variance: Double)? {
        guard let index = units.firstIndex(of: unit) else { return nil }
        return (state[index + 1], covariance[index + 1][index + 1])
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
            if let index = units.firstIndex(of: share.unit) {
                mean += share.watts.value * state[index + 1]
                design[index + 1] += share.watts.value
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
    public mutating func observe(draw: Watts, profiled: [(unit: String, watts: Watts)], noise: Watts, at time: MonotonicTime) {
        guard draw.isFinite, noise.isFinite, noise.value >= 0 else { return }
        if state.isEmpty {
            let known = profiled.reduce(0) { $0 + $1.watts.value * Self.priorFactor }
            state = [max(0, draw.value - known)]
            covariance = [[draw.value * draw.value * 0.09 + noise.value * noise.value]]
        }
        let elapsed = lastTime.map { max(0, time.since($0).value) } ?? Self.jitterSpan
        lastTime = time
        let level = max(state[0].magnitude, 0.1 * draw.value.magnitude)
        covariance[0][0] += Self.baseWalk * Self.baseWalk * level * level / 3600 * elapsed
        var design = [Double](repeating: 0, count: state.count)
        design[0] = 1
        for share in profiled where share.watts.value > 0 {
            let index = index(of: share.unit)
            if index == design.count { design.append(0) }
            design[index] += share.watts.value
        }
        for index in state.indices.dropFirst() { covariance[index][index] += Self.factorWalkPerSecond * elapsed }
        // Jitter that stays for minutes counts once per stay, however often it is read.
        let stay = max(1, Self.jitterSpan / max(elapsed, 1))
        let jitter = Self.baseJitter * level
        let spread = covariance.map { row in zip(row, design).reduce(0) { $0 + $1.0 * $1.1 } }
        let variance = zip(design, spread).reduce(noise.value * noise.value + jitter * jitter * stay) { $0 + $1.0 * $1.1 }
        guard variance > 0 else { return }
        var surprise = draw.value - zip(design, state).reduce(0) { $0 + $1.0 * $1.1 }
        // A single wild reading moves nothing far.
        let bound = 3 * variance.squareRoot()
        surprise = min(max(surprise, -bound), bound)
        for row in state.indices {
            let gain = spread[row] / variance
            state[row] += gain * surprise
            for column in state.indices { covariance[row][column] -= gain * spread[column] }
        }
        for index in state.indices.dropFirst() {
            state[index] = min(max(state[index], Self.factorRange.lowerBound), Self.factorRange.upperBound)
        }
    }

    /// The index of `unit` in the state.
    private mutating func index(of unit: String) -> Int {
        if let index = units.firstIndex(of: unit) { return index + 1 }
        units.append(unit)
        state.append(Self.priorFactor)
        for row in covariance.indices { covariance[row].append(0) }
        covariance.append([Double](repeating: 0, count: state.count))
        covariance[state.count - 1][state.count - 1] = Self.priorDeviation * Self.priorDeviation
        return state.count - 1
    }
}
