import Units

/// Parts the energy of a meter that feeds the whole processor into idle power, other programs, and inference.
///
/// A Kalman filter over x = (idle watts, joules per busy core-second of others, the same of inference):
/// energy = idle x time + others' busy x their joules + our busy x ours + noise. Loads that come and go tell the three
/// apart. Until they do, the prior ties our core-seconds to the others', which is how CPU-time models attribute
/// (Kepler, Scaphandre) and is off by a factor of up to 2 or 3, because instructions differ; the interval says so.
public struct MeterAttribution: Sendable {
    /// One look at the meter.
    public struct Observation: Hashable, Sendable {
        public var energy: Joules
        /// One standard deviation of `energy`.
        public var error: Joules
        public var span: Seconds
        /// Core-seconds of all programs in `span`, inference included.
        public var busy: Seconds
        /// Core-seconds of inference.
        public var own: Seconds
        public init(energy: Joules, error: Joules, span: Seconds, busy: Seconds, own: Seconds) {
            self.energy = energy
            self.error = error
            self.span = span
            self.busy = busy
            self.own = own
        }
    }

    private var state: [Double] = []
    private var covariance: [[Double]] = []

    /// Share of the power of an average second that idling may take before anything is known, and its deviation.
    static let priorIdleShare = 0.5
    /// Deviation of joules per core-second, as a share; of ours against the others'.
    static let priorDeviation = 0.7
    static let priorRatio = 0.5
    /// Random walk of each, as a share per square root of an hour.
    static let walk = 0.03

    public init() {}

    /// Idle power; nil before the first observation.
    public var idle: Watts? { state.first.map { Watts($0) } }

    /// Joules per core-second of inference, with one standard deviation.
    public var own: (joules: Double, deviation: Double)? {
        state.isEmpty ? nil : (state[2], max(0, covariance[2][2]).squareRoot())
    }

    /// Learns from one look. Looks that cannot be true are left out: no time, more busy cores than time allows for.
    public mutating func observe(_ look: Observation) {
        guard look.energy.isFinite, look.energy.value > 0, look.error.isFinite, look.error.value > 0, look.span.value > 0,
            look.busy.isFinite, look.own.value >= 0
        else { return }
        // Clocks tick at 10 ms: our time may exceed the rest by that.
        let others = max(0, (look.busy - look.own).value)
        let design = [look.span.value, others, look.own.value]
        if state.isEmpty { begin(look.energy.value, design) }
        for index in state.indices {
            covariance[index][index] += Self.walk * Self.walk * state[index] * state[index] * look.span.value / 3600
        }
        let spread = covariance.map { row in zip(row, design).reduce(0) { $0 + $1.0 * $1.1 } }
        let variance = zip(design, spread).reduce(look.error.value * look.error.value) { $0 + $1.0 * $1.1 }
        var surprise = look.energy.value - zip(design, state).reduce(0) { $0 + $1.0 * $1.1 }
        // One wild look, after a resume or a burst on another part of the chip, moves nothing far.
        let bound = 3 * variance.squareRoot()
        surprise = min(max(surprise, -bound), bound)
        for row in state.indices {
            let gain = spread[row] / variance
            state[row] = max(0, state[row] + gain * surprise)
            for column in state.indices { covariance[row][column] -= gain * spread[column] }
        }
    }

    private mutating func begin(_ energy: Double, _ design: [Double]) {
        let busy = max(design[1] + design[2], design[0] * 0.01)
        let idle = energy / design[0] * Self.priorIdleShare
        let core = energy * (1 - Self.priorIdleShare) / busy
        state = [idle, core, core]
        let idleDeviation = idle * Self.priorDeviation
        let shared = core * core * Self.priorDeviation * Self.priorDeviation
        covariance = [
            [idleDeviation * idleDeviation, 0, 0],
            [0, shared, shared],
            [0, shared, shared + core * core * Self.priorRatio * Self.priorRatio],
        ]
    }
}
