import Units

/// What a window is expected to cost, and how sure that is.
public struct Prediction: Hashable, Sendable {
    /// Energy per window.
    public var joules: Joules
    /// One standard deviation of `joules`.
    public var standardDeviation: Joules
    /// The best evidence behind the figure.
    public var basis: Basis
}

/// One reading of an energy meter over a batch of runs, beside what the profiles say the batch costs.
public struct EnergyObservation: Hashable, Sendable {
    /// What the profiles say (without any learned scale), by unit.
    public var profiled: [Share]
    /// What the meter says the same runs took; idle power already taken off.
    public var measured: Joules
    /// One standard deviation of `measured`.
    public var error: Joules
    public var basis: Basis
    /// When the batch ended; drift since the observation before widens the uncertainty.
    public var time: MonotonicTime

    public struct Share: Hashable, Sendable {
        public var unit: String
        public var energy: Joules
        public init(unit: String, energy: Joules) {
            self.unit = unit
            self.energy = energy
        }
    }

    public init(profiled: [Share], measured: Joules, error: Joules, basis: Basis, time: MonotonicTime) {
        self.profiled = profiled
        self.measured = measured
        self.error = error
        self.basis = basis
        self.time = time
    }
}

/// Joules per window of every option: the profile's figure times a factor per unit that is learned
/// while running, because a unit's clock, voltage and temperature move all its costs together.
///
/// A Kalman filter over the units' factors x. An observation is measured = sum(profiled_u x x_u) +
/// noise, so a batch that mixed several units corrects only the combination that it identifies.
public struct EnergyModel: Sendable {
    /// A unit's learned factor.
    public struct Scale: Hashable, Sendable {
        /// True joules per profiled joule.
        public var factor: Double
        /// Variance of `factor`.
        public var variance: Double
        /// The best evidence that entered it; nil before any.
        public var basis: Basis?
        public var observations: Int

        public init(factor: Double, variance: Double, basis: Basis?, observations: Int) {
            self.factor = factor
            self.variance = variance
            self.basis = basis
            self.observations = observations
        }
    }

    /// What became of an observation.
    public enum Outcome: Hashable, Sendable {
        case accepted
        /// Too far from what was expected: a plug event, a resume, a stuck meter.
        case rejected
        /// Not finite, negative, without error, or of no profiled energy.
        case unusable
    }

    private var units: [String] = []
    private var factors: [Double] = []
    private var covariance: [[Double]] = []
    private var evidence: [Evidence] = []
    private var lastTime: MonotonicTime?
    private var rejectedInARow = 0

    /// What stands behind a factor.
    private struct Evidence {
        var basis: Basis?
        var observations = 0
        /// When evidence as good as `basis` was last seen; nil where that is not known, as after a restart.
        var seen: MonotonicTime?
    }

    /// A meter that was not heard of for so long may be gone: the next best evidence then counts.
    static let expiry = Seconds(12 * 3600)
    /// Standard deviation of a factor before any observation: profiles are up to 3.5 times off.
    static let priorDeviation = 0.8
    /// Variance that a factor gains per second from drift: a deviation of 0.1 after an hour.
    static let driftPerSecond = 0.1 * 0.1 / 3600
    /// An observation this many standard deviations off is not believed at first.
    static let gate = 4.0
    /// After so many refusals in a row it is the model that is wrong.
    static let patience = 3
    static let factorRange = 0.05...20.0

    public init() {}

    /// The factor of `unit`; 1 with the prior's variance where nothing is known.
    public func scale(of unit: String) -> Scale {
        guard let index = units.firstIndex(of: unit) else {
            return Scale(
                factor: 1, variance: Self.priorDeviation * Self.priorDeviation, basis: nil, observations: 0)
        }
        return Scale(
            factor: factors[index], variance: covariance[index][index], basis: evidence[index].basis,
            observations: evidence[index].observations)
    }

    /// The units of which something is known, in the order of first sight.
    public var knownUnits: [String] { units }

    /// Energy per window of `option` when each wake-up runs `coalescing` windows.
    ///
    /// The deviation joins the unit factor's with the option's own profiling error. A unit of which
    /// nothing was observed has only the profile's error: the factor's wide prior says how willing
    /// the filter is to learn, not that a metered profile is worthless.
    public func predict(_ option: OptionProfile, coalescing: Int) -> Prediction {
        let scale = scale(of: option.unit)
        let profiled = option.perWindow(coalescing: coalescing).energy
        let own = option.basis.relativeError * scale.factor
        // Once the unit is observed, the shared part of the profile's error is in the factor.
        let relative =
            scale.basis == nil ? own : (scale.variance + (own / 3) * (own / 3)).squareRoot()
        return Prediction(
            joules: profiled * scale.factor, standardDeviation: profiled * relative,
            basis: max(option.basis, scale.basis ?? .modelled))
    }

    /// Learns from runs on one unit.
    /// - Parameter predicted: the profiles' energy of the runs, without any learned factor.
    @discardableResult
    public mutating func observe(
        unit: String, predicted: Joules, measured: Joules, error: Joules, basis: Basis, time: MonotonicTime
    ) -> Outcome {
        observe(
            EnergyObservation(
                profiled: [.init(unit: unit, energy: predicted)], measured: measured, error: error, basis: basis,
                time: time))
    }

    /// Learns from one meter reading over a batch of runs.
    @discardableResult
    public mutating func observe(_ observation: EnergyObservation) -> Outcome {
        let total = observation.profiled.reduce(0) { $0 + $1.energy.value }
        guard observation.measured.isFinite, observation.error.isFinite, total.isFinite, total > 0,
            observation.measured.value >= 0, observation.error.value > 0,
            observation.profiled.allSatisfy({ $0.energy.value >= 0 })
        else { return .unusable }
        drift(to: observation.time)
        var design = [Double](repeating: 0, count: units.count)
        for share in observation.profiled {
            let index = index(of: share.unit)
            if index == design.count { design.append(0) }
            design[index] += share.energy.value
        }
        // P h, the covariance of the factors with the reading.
        let spread = covariance.map { row in zip(row, design).reduce(0) { $0 + $1.0 * $1.1 } }
        let noise = observation.error.value * observation.error.value
        let variance = zip(design, spread).reduce(noise) { $0 + $1.0 * $1.1 }
        let surprise = observation.measured.value - zip(design, factors).reduce(0) { $0 + $1.0 * $1.1 }
        if surprise * surprise > Self.gate * Self.gate * variance {
            rejectedInARow += 1
            guard rejectedInARow > Self.patience else { return .rejected }
            // The world changed, and the covariance with it: start over from wide, at the old factors.
            for index in units.indices where design[index] > 0 { forget(index) }
            rejectedInARow = 0
            return observe(observation)
        }
        rejectedInARow = 0
        for row in units.indices {
            let gain = spread[row] / variance
            factors[row] = min(max(factors[row] + gain * surprise, Self.factorRange.lowerBound), Self.factorRange.upperBound)
            for column in units.indices { covariance[row][column] -= gain * spread[column] }
        }
        for index in units.indices where design[index] > 0 {
            if isOutranked(observation.basis, index, at: observation.time) { continue }
            evidence[index].basis = observation.basis
            evidence[index].seen = observation.time
        }
        for index in units.indices where design[index] > 0 { evidence[index].observations += 1 }
        return .accepted
    }

    /// For each option, the index of one that is never worse and somewhere better: no operator
    /// wants the former. Nil for those worth having.
    ///
    /// Compared are quality, energy of a first and of a further window (hence of any coalescing),
    /// latency, and memory. An option on another unit may dominate; where its unit is saturated the
    /// planner still needs the dominated one, so this marks options for people, not for removal there.
    public func dominated(_ options: [(quality: Double, profile: OptionProfile)]) -> [Int?] {
        let scores = options.map { quality, profile in
            let factor = scale(of: profile.unit).factor
            let last = profile.latency(ofWindow: 2).p99.value
            return [
                -quality, (profile.wake + profile.first).energy.value * factor, profile.next.energy.value * factor,
                profile.latency.p99.value, last, Double(profile.residentBytes),
            ]
        }
        return scores.indices.map { index in
            scores.indices.first { other in
                other != index && zip(scores[other], scores[index]).allSatisfy(<=)
                    && (scores[other] != scores[index] || other < index)
            }
        }
    }

    /// Takes a factor that was told from a meter or the battery's power of more than inference, unless better evidence is
    /// there that is not older than `expiry`.
    /// - Parameter time: when it was told; without it better evidence does not expire.
    public mutating func adopt(unit: String, factor: Double, variance: Double, basis: Basis = .battery, at time: MonotonicTime? = nil) {
        guard factor.isFinite, variance.isFinite, variance >= 0 else { return }
        let index = index(of: unit)
        if isOutranked(basis, index, at: time) { return }
        factors[index] = min(max(factor, Self.factorRange.lowerBound), Self.factorRange.upperBound)
        for other in units.indices {
            covariance[index][other] = 0
            covariance[other][index] = 0
        }
        covariance[index][index] = variance
        evidence[index].basis = basis
        evidence[index].seen = time
        evidence[index].observations += 1
    }

    /// Whether better evidence than `basis` is there for a unit and has not expired. What is not known to have been seen at
    /// any time counts as seen now.
    private mutating func isOutranked(_ basis: Basis, _ index: Int, at time: MonotonicTime?) -> Bool {
        guard evidence[index].basis ?? .modelled > basis else { return false }
        guard let time else { return true }
        let seen = evidence[index].seen ?? time
        evidence[index].seen = seen
        return time.since(seen) < Self.expiry
    }

    // MARK: - State

    /// A model that predicts by known factors, as one did that learned them; what it learns from then on may differ, for how
    /// errors of units go together is not in it.
    public init(scales: [(unit: String, scale: Scale)]) {
        var covariance = scales.map { _ in [Double](repeating: 0, count: scales.count) }
        for (index, known) in scales.enumerated() { covariance[index][index] = known.scale.variance }
        restore(scales.map { ($0.unit, $0.scale.factor, $0.scale.basis, $0.scale.observations) }, covariance)
    }

    var covarianceRows: [[Double]] { covariance }

    /// Takes over what was learned before; time begins anew, so the next observation adds no drift.
    mutating func restore(_ known: [(name: String, factor: Double, basis: Basis?, observations: Int)], _ covariance: [[Double]]) {
        units = known.map(\.name)
        factors = known.map(\.factor)
        evidence = known.map { Evidence(basis: $0.basis, observations: $0.observations) }
        self.covariance = covariance
        lastTime = nil
        rejectedInARow = 0
    }

    private mutating func index(of unit: String) -> Int {
        if let index = units.firstIndex(of: unit) { return index }
        units.append(unit)
        factors.append(1)
        evidence.append(Evidence())
        for row in covariance.indices { covariance[row].append(0) }
        covariance.append([Double](repeating: 0, count: units.count))
        covariance[units.count - 1][units.count - 1] = Self.priorDeviation * Self.priorDeviation
        return units.count - 1
    }

    private mutating func forget(_ index: Int) {
        for other in units.indices {
            covariance[index][other] = 0
            covariance[other][index] = 0
        }
        let deviation = 3 * Self.priorDeviation * max(1, factors[index])
        covariance[index][index] = deviation * deviation
    }

    private mutating func drift(to time: MonotonicTime) {
        let elapsed = lastTime.map { max(0, time.since($0).value) } ?? 0
        lastTime = max(time, lastTime ?? time)
        let limit = Self.priorDeviation * Self.priorDeviation
        for index in units.indices where covariance[index][index] < limit {
            covariance[index][index] = min(limit, covariance[index][index] + Self.driftPerSecond * elapsed)
        }
    }
}
