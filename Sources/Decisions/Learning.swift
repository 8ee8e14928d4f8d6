import EnergyModel
import Planner
import PowerPolicy
import Units

extension DecisionEngine {
    /// After a plug event a gauge's averages take so long to be of one side of it alone.
    static let settling = Seconds(30)
    /// What the battery taught before a restart may have changed since: never surer than 5 %.
    static let leastPriorVariance = 0.05 * 0.05
    /// What a meter says, in a profile or of the time before a restart, is right to within a quarter: it may feed more than it should.
    static let meteredPriorDeviation = 0.25

    /// What inference did between two looks at the battery, as far as the caller can tell.
    public struct Usage: Sendable, Equatable {
        /// Since the look before.
        public var span: Seconds
        /// What the profiles (without any learned factor) say was spent, by unit, loading included.
        public var profiled: [EnergyObservation.Share]
        /// What a meter says was spent on inference; nil without one.
        public var metered: Joules?
        /// One standard deviation of `metered`.
        public var meterError: Joules
        /// What ran on average while the battery's power was taken, where the caller knows better than the plan: clients
        /// may send less than they said.
        public var running: [EnergyObservation.Share]?
        /// What CPU time says was spent, by unit; the word of last resort, where there is neither meter nor battery.
        public var timed: [EnergyObservation.Share] = []
        /// One standard deviation of the battery's power reading.
        public var drawError: Watts

        public init(
            span: Seconds, profiled: [EnergyObservation.Share], metered: Joules? = nil, meterError: Joules = .zero, drawError: Watts = .zero
        ) {
            self.span = span
            self.profiled = profiled
            self.metered = metered
            self.meterError = meterError
            self.drawError = drawError
        }
    }

    /// Takes a look at the battery with what inference did since the one before, learns from both, and from then on
    /// plans ahead by what it learned.
    public mutating func observe(_ reading: Reading, usage: Usage, wall: WallTime, utcOffset: UTCOffset) {
        var reading = withEnergy(reading)
        let own = usage.span.value > 0 ? spent(usage) / usage.span : .zero
        reading = plug(reading, own: own)
        if let look = look(reading, usage) {
            learn(usage, look, online: reading.acOnline, at: reading.takenAt)
            let second = Self.secondOfDay(wall, utcOffset)
            let watts = look.running.reduce(Watts.zero) { $0 + $1.watts * energy.scale(of: $1.unit).factor }
            forecaster.observe(
                net: look.draw - watts, acOnline: reading.acOnline, span: look.span, secondOfDay: second, doubt: inferencePower.deviation,
                wall: wall)
        }
        if let metered = usage.metered {
            energy.observe(
                EnergyObservation(
                    profiled: usage.profiled, measured: metered, error: max(usage.meterError, Joules(1e-9)), basis: .metered,
                    time: reading.takenAt))
        } else if reading.draw == nil {
            learnFromTime(usage, reading)
        }
        if let battery = reading.battery, let energy = battery.energy {
            let previous = lastDraw ?? reading.draw
            let mean = reading.draw.flatMap { now in previous.map { ($0 + now) / 2 } }
            charge.observe(energy: energy, error: battery.error, drain: mean, full: battery.full, at: reading.takenAt)
        }
        lastDraw = reading.draw
        take(reading, own: own)
    }

    /// Learns a unit's slow-down from the latencies of its runs.
    /// - Parameter ratio: observed latency over profiled latency.
    public mutating func observeLatency(unit: String, ratio: Double, error: Double, at time: MonotonicTime) {
        latency.observe(unit: unit, ratio: ratio, error: error, at: time)
    }

    private func running(_ usage: Usage) -> [(unit: String, watts: Watts)] {
        guard let known = usage.running, usage.span.value > 0 else { return runningPower().profiled }
        return known.map { ($0.unit, $0.energy / usage.span) }
    }

    /// A gauge in percents tells energy, too, where the operator said what a full battery holds.
    private func withEnergy(_ reading: Reading) -> Reading {
        guard var battery = reading.battery, battery.energy == nil, let fraction = battery.fraction, case .lifetime(let lifetime) = policy.kind,
            let full = battery.full ?? lifetime.capacity
        else { return reading }
        battery.full = full
        battery.energy = full * fraction
        if battery.error <= .zero { battery.error = full * 0.01 }
        var reading = reading
        reading.battery = battery
        return reading
    }

    /// The battery's power with what ran meanwhile: as the gauge says, or by how its charge fell.
    private mutating func look(_ reading: Reading, _ usage: Usage) -> BatteryLook? {
        if let draw = reading.draw {
            fallingCharge = FallingCharge()
            return .init(draw: draw, noise: usage.drawError, running: running(usage), span: usage.span)
        }
        return fallingCharge.look(reading, running: running(usage), span: usage.span)
    }

    private func spent(_ usage: Usage) -> Joules {
        usage.profiled.reduce(.zero) { $0 + $1.energy * energy.scale(of: $1.unit).factor }
    }

    private mutating func learn(_ usage: Usage, _ look: BatteryLook, online: Bool, at time: MonotonicTime) {
        if online != wasOnline { pluggedAt = time }
        wasOnline = online
        // Readings so soon after a plug are averages over both sides of it; a sun or a charger hides what the rest takes.
        guard usage.metered == nil, !online, pluggedAt.map({ time.since($0) >= Self.settling }) ?? true else {
            lookAverage = LookAverage()
            return
        }
        if twilight.hides(&attribution, sun: forecaster.showsSun, mayShine: forecaster.isCharging, at: time) {
            lookAverage = LookAverage()
        } else {
            guard let look = lookAverage.add(look) else { return }
            attribution.observe(draw: look.draw, profiled: look.running, noise: look.noise, priors: priors(look.running), at: time)
        }
        for unit in attribution.knownUnits {
            guard let known = attribution.factor(of: unit) else { continue }
            energy.adopt(unit: unit, factor: known.factor, variance: known.variance, at: time)
        }
    }

    /// What is known of units' factors before the battery says anything: what was learned before a restart, or by whom they were profiled.
    private func priors(_ running: [(unit: String, watts: Watts)]) -> [String: BatteryAttribution.Prior] {
        var priors: [String: BatteryAttribution.Prior] = [:]
        for share in running where attribution.factor(of: share.unit) == nil {
            let scale = energy.scale(of: share.unit)
            // What CPU time says is no better than not to know.
            if let basis = scale.basis, basis > .modelled {
                let least = basis == .metered ? Self.meteredVariance(scale.factor) : Self.leastPriorVariance
                priors[share.unit] = .init(factor: scale.factor, variance: max(scale.variance, least))
            } else if placements.values.allSatisfy({ $0.option.map { $0.plan.unit != share.unit || $0.profile.basis == .metered } ?? true }) {
                priors[share.unit] = .init(factor: 1, variance: Self.meteredVariance(1))
            }
        }
        return priors
    }

    private static func meteredVariance(_ factor: Double) -> Double { meteredPriorDeviation * meteredPriorDeviation * factor * factor }

    /// Without any meter a unit's factor is what its CPU time is to the profile's.
    private mutating func learnFromTime(_ usage: Usage, _ reading: Reading) {
        for share in usage.timed {
            // A battery that says anything of the unit says it better.
            guard reading.battery == nil || energy.scale(of: share.unit).basis ?? .modelled == .modelled else { continue }
            guard let profiled = usage.profiled.first(where: { $0.unit == share.unit }) else { continue }
            energy.observe(
                unit: share.unit, predicted: profiled.energy, measured: share.energy, error: share.energy * 0.2, basis: .modelled, time: reading.takenAt)
        }
    }

    /// What inference draws now by the energy model, with one standard deviation.
    public var inferencePower: (watts: Watts, deviation: Watts) {
        let running = runningPower()
        // Without a meter, factors err together: their covariance is in the attribution.
        // Before it has seen all units, as after a restart, it knows less than the model.
        let isTold = running.profiled.allSatisfy { attribution.factor(of: $0.unit) != nil }
        if isTold, running.profiled.contains(where: { energy.scale(of: $0.unit).basis == .battery }) { return attribution.power(of: running.profiled) }
        var variance = 0.0
        for share in running.profiled {
            let own = share.watts.value * share.watts.value
            variance += own * energy.scale(of: share.unit).variance
        }
        return (running.watts, Watts(variance.squareRoot()))
    }

    /// What runs now: by the energy model, and by the profiles for each unit.
    func runningPower() -> (watts: Watts, profiled: [(unit: String, watts: Watts)]) {
        var profiled: [(unit: String, watts: Watts)] = []
        var watts = Watts.zero
        for id in placements.keys.sorted() {
            guard let placement = placements[id], let option = placement.option else { continue }
            let period = placement.request.hopTime * Double(option.plan.cadence)
            let power = option.profile.perWindow(coalescing: option.plan.coalescing).energy / period * placement.duty
            watts = watts + power * energy.scale(of: option.plan.unit).factor
            if let index = profiled.firstIndex(where: { $0.unit == option.plan.unit }) {
                profiled[index].watts = profiled[index].watts + power
            } else {
                profiled.append((option.plan.unit, power))
            }
        }
        return (watts, profiled)
    }

    static func secondOfDay(_ wall: WallTime, _ utcOffset: UTCOffset) -> Double {
        let local = (wall.secondsSince1970 + utcOffset.now.value).truncatingRemainder(dividingBy: 86400)
        return local < 0 ? local + 86400 : local
    }
}
