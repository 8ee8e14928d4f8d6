import EnergyModel
import Planner
import PowerPolicy
import Units

extension DecisionEngine {
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
        let running = running(usage)
        learn(usage, reading, running: running.profiled)
        let own = usage.span.value > 0 ? spent(usage) / usage.span : .zero
        forecast(reading, usage, running: running.watts, wall: wall, utcOffset: utcOffset)
        if let battery = reading.battery, let energy = battery.energy {
            let previous = lastDraw ?? reading.draw
            let mean = reading.draw.flatMap { now in previous.map { ($0 + now) / 2 } }
            charge.observe(energy: energy, error: battery.error, drain: mean, full: battery.full, at: reading.takenAt)
        }
        lastDraw = reading.draw
        observe(reading, own: own)
    }

    /// Learns a unit's slow-down from the latencies of its runs.
    /// - Parameter ratio: observed latency over profiled latency.
    public mutating func observeLatency(unit: String, ratio: Double, error: Double, at time: MonotonicTime) {
        latency.observe(unit: unit, ratio: ratio, error: error, at: time)
    }

    private func running(_ usage: Usage) -> (watts: Watts, profiled: [(unit: String, watts: Watts)]) {
        guard let known = usage.running, usage.span.value > 0 else { return runningPower() }
        let watts = known.reduce(Watts.zero) { $0 + $1.energy * energy.scale(of: $1.unit).factor / usage.span }
        return (watts, known.map { ($0.unit, $0.energy / usage.span) })
    }

    private func spent(_ usage: Usage) -> Joules {
        usage.profiled.reduce(.zero) { $0 + $1.energy * energy.scale(of: $1.unit).factor }
    }

    private mutating func learn(_ usage: Usage, _ reading: Reading, running: [(unit: String, watts: Watts)]) {
        if let metered = usage.metered {
            energy.observe(
                EnergyObservation(
                    profiled: usage.profiled, measured: metered, error: max(usage.meterError, Joules(1e-9)), basis: .metered,
                    time: reading.takenAt))
            return
        }
        guard reading.battery != nil else { return learnFromTime(usage, at: reading.takenAt) }
        // A sun or a charger hides what the rest of the device takes.
        guard let draw = reading.draw, !reading.acOnline else { return }
        guard !twilight.hides(&attribution, sun: forecaster.showsSun, at: reading.takenAt), !forecaster.isCharging else { return }
        attribution.observe(draw: draw, profiled: running, noise: usage.drawError, at: reading.takenAt)
        for unit in attribution.knownUnits {
            guard let known = attribution.factor(of: unit) else { continue }
            energy.adopt(unit: unit, factor: known.factor, variance: known.variance)
        }
    }

    /// Without any meter a unit's factor is what its CPU time is to the profile's.
    private mutating func learnFromTime(_ usage: Usage, at time: MonotonicTime) {
        for share in usage.timed {
            guard let profiled = usage.profiled.first(where: { $0.unit == share.unit }) else { continue }
            energy.observe(
                unit: share.unit, predicted: profiled.energy, measured: share.energy, error: share.energy * 0.2, basis: .modelled, time: time)
        }
    }

    private mutating func forecast(_ reading: Reading, _ usage: Usage, running: Watts, wall: WallTime, utcOffset: UTCOffset) {
        guard let draw = reading.draw else { return }
        let second = Self.secondOfDay(wall, utcOffset)
        forecaster.observe(net: draw - running, acOnline: reading.acOnline, span: usage.span, secondOfDay: second)
    }

    /// What inference draws now by the energy model, with one standard deviation.
    public var inferencePower: (watts: Watts, deviation: Watts) {
        let running = runningPower()
        // Without a meter, factors err together: their covariance is in the attribution.
        if running.profiled.contains(where: { energy.scale(of: $0.unit).basis == .battery }) { return attribution.power(of: running.profiled) }
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
