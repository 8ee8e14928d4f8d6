import Units

/// How much slower each unit is than its profile says, learned from the latencies of runs.
///
/// A scalar Kalman filter per unit: contention and throttling move all latencies of a unit together.
public struct LatencyModel: Sendable {
    /// A unit's learned slow-down.
    public struct Scale: Hashable, Sendable {
        /// Observed latency per profiled latency.
        public var factor: Double
        public var variance: Double

        public init(factor: Double, variance: Double) {
            self.factor = factor
            self.variance = variance
        }
    }

    private var scales: [String: Scale] = [:]
    private var times: [String: MonotonicTime] = [:]
    /// Units whose latest ratio was beyond `plausible`.
    private var odd: Set<String> = []
    /// How often a slow unit was tried again in vain.
    private var retries: [String: Int] = [:]

    /// Variance gained per second: a slow-down may change by 5 % in ten minutes.
    static let driftPerSecond = 0.05 * 0.05 / 600
    static let priorVariance = 0.25
    /// A unit that is slower or faster than this is as slow or as fast as the bound; one run alone that says so is taken for
    /// an accident, such as a clock that jumped.
    static let plausible = 0.01...100.0
    /// A unit found slower than this may be tried again when it was not seen for so long; twice as long each time that it was as slow.
    static let retried = (factor: 2.0, after: Seconds(1800))

    public init() {}

    /// A model that knows `scales`, by unit.
    public init(scales: [String: Scale]) { self.scales = scales }

    /// The units that were observed.
    public var knownScales: [String: Scale] { scales }

    /// The slow-down of `unit`; 1 where nothing was observed.
    public func scale(of unit: String) -> Scale { scales[unit] ?? Scale(factor: 1, variance: Self.priorVariance) }

    /// The factor that deadlines are checked with: what was observed and two standard deviations more, or the profile's
    /// word where nothing was.
    public func cautiousFactor(of unit: String) -> Double {
        guard let scale = scales[unit] else { return 1 }
        return scale.factor + min(0.1, 2 * scale.variance.squareRoot()) * scale.factor
    }

    /// Units that were slow when they last ran, half an hour ago or more.
    public func slowUnits(at now: MonotonicTime) -> [String] {
        scales.keys.sorted().filter { unit in
            guard let scale = scales[unit], scale.factor >= Self.retried.factor, let seen = times[unit] else { return false }
            return now.since(seen) >= Self.retried.after * Double(1 << min(retries[unit] ?? 0, 5))
        }
    }

    /// Forgets how slow `unit` was, so that something runs on it again and tells.
    public mutating func retry(_ unit: String) {
        retries[unit, default: 0] += 1
        scales[unit] = nil
        times[unit] = nil
    }

    /// Learns from runs that took `ratio` times their profiled latency on average.
    /// - Parameter error: one standard deviation of `ratio`.
    public mutating func observe(unit: String, ratio: Double, error: Double, at time: MonotonicTime) {
        guard ratio.isFinite, ratio > 0, error.isFinite, error > 0 else { return }
        if Self.plausible.contains(ratio) {
            odd.remove(unit)
        } else if odd.insert(unit).inserted {
            return
        }
        let ratio = min(max(ratio, Self.plausible.lowerBound), Self.plausible.upperBound)
        var scale = scale(of: unit)
        let elapsed = times[unit].map { max(0, time.since($0).value) } ?? 0
        times[unit] = time
        scale.variance = min(Self.priorVariance, scale.variance + Self.driftPerSecond * elapsed)
        let surprise = ratio - scale.factor
        // Far off what was known: the clock was throttled or freed, and the past says nothing.
        if surprise * surprise > 25 * (scale.variance + error * error) { scale.variance = Self.priorVariance }
        let gain = scale.variance / (scale.variance + error * error)
        scale.factor += gain * surprise
        scale.variance *= 1 - gain
        scales[unit] = scale
        if scale.factor < Self.retried.factor { retries[unit] = nil }
    }
}
