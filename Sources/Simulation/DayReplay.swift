import EnergyModel
import Planner
import PowerPolicy
import Units

/// Steps policy, energy model and planner, the ones that the daemon runs, through a day.
public struct DayReplay: Sendable {
    public var day: Day
    public var policy: PowerPolicy
    /// Limits of the plans; the budget is the policy's.
    public var limits: PlanLimits
    /// Time between decisions.
    public var tick: Seconds
    /// Local time less UTC, and the civil time at which the day begins.
    public var utcOffset: Seconds
    public var startWall: WallTime

    public init(
        day: Day, policy: PowerPolicy, limits: PlanLimits = PlanLimits(budget: nil), tick: Seconds = Seconds(60),
        utcOffset: Seconds = .zero, startWall: WallTime = WallTime(secondsSince1970: 0)
    ) {
        self.day = day
        self.policy = policy
        self.limits = limits
        self.tick = tick
        self.utcOffset = utcOffset
        self.startWall = startWall
    }

    /// Replays the day. The same replay gives the same report.
    public func run() -> DayReport {
        var run = Run(self)
        let steps = Int((day.length / tick).rounded(.up))
        for _ in 0..<steps { run.step() }
        return run.report
    }
}

/// A day being replayed.
private struct Run {
    let replay: DayReplay
    let clock: VirtualClock
    let begin: MonotonicTime
    var energy: Joules
    var alive = true
    var gauge: (energy: Joules, draw: Watts, time: MonotonicTime, acOnline: Bool)?
    var memory = PolicyMemory()
    var model = EnergyModel()
    var rest = RestEstimator()
    /// What each open stream runs, by id, and since when.
    var running: [UInt64: (option: PlanOption?, since: MonotonicTime)] = [:]
    var earned = 0.0
    var asked = 0.0
    var report = DayReport(
        endCharge: 0, utility: 0, switches: 0, diedAt: nil, inferenceEnergy: .zero, baseEnergy: .zero,
        chargedEnergy: .zero, criticalPaused: .zero, steps: [])

    init(_ replay: DayReplay) {
        self.replay = replay
        clock = VirtualClock(monotonic: MonotonicTime(nanoseconds: 1_000_000_000_000), wall: replay.startWall)
        begin = clock.monotonic()
        energy = replay.day.capacity * replay.day.initialCharge
    }

    mutating func step() {
        let day = replay.day
        let now = clock.monotonic()
        let time = now.since(begin)
        let interval = day.intervals.last { $0.start <= time } ?? Day.Interval(start: .zero, base: .zero)
        let open = day.streams.filter { $0.start <= time && time < $0.end }
        let own = believedPower()
        refreshGauge(now: now, interval: interval, own: own)
        let demands = open.map { demand($0.demand, now: now) }
        let budget = replay.policy.budget(
            for: powerState(now: now, interval: interval, own: own, demands: demands), memory: &memory)
        var limits = replay.limits
        limits.budget = budget.watts
        let plan = Planner.plan(demands, limits: limits)
        let loads = apply(plan, demands: demands, now: now)
        live(interval: interval, demands: demands, loads: loads, time: time)
        report.steps.append(
            .init(
                time: time, charge: energy / day.capacity, budget: budget.watts, planned: plan.totalPower,
                utility: plan.utility))
        report.endCharge = energy / day.capacity
        report.utility = asked > 0 ? earned / asked : 0
        clock.advance(by: replay.tick)
    }

    /// What runs, in a fixed order: sums of doubles depend on the order, and a dictionary's differs
    /// from run to run.
    private var options: [PlanOption] { running.keys.sorted().compactMap { running[$0]?.option } }

    /// The power of what runs, as the energy model believes.
    private func believedPower() -> Watts {
        options.reduce(.zero) { $0 + $1.power * model.scale(of: $1.unit).factor }
    }

    private func truePower() -> Watts {
        options.reduce(.zero) { $0 + $1.power * (replay.day.energyScale[$1.unit] ?? 1) }
    }

    private mutating func refreshGauge(now: MonotonicTime, interval: Day.Interval, own: Watts) {
        let day = replay.day
        if let gauge, now.since(gauge.time) < day.gaugePeriod { return }
        let quantum = day.capacity * day.gaugeQuantum
        let shown = quantum.value > 0 ? quantum * (energy / quantum).rounded() : energy
        let draw = interval.base - interval.harvest + truePower()
        gauge = (shown, draw, now, interval.acOnline)
        rest.observe(
            .init(
                time: now, draw: interval.acOnline ? nil : draw, energy: shown, energyError: quantum / 3.46, own: own,
                acOnline: interval.acOnline))
    }

    private func demand(_ demand: StreamDemand, now: MonotonicTime) -> StreamDemand {
        var demand = demand
        for index in demand.options.indices {
            let factor = model.scale(of: demand.options[index].unit).factor
            demand.options[index].power = demand.options[index].power * factor
        }
        let state = running[demand.id]
        demand.current = state?.option
        demand.secondsSinceSwitch = state.map { now.since($0.since) } ?? Seconds(.infinity)
        return demand
    }

    private func powerState(now: MonotonicTime, interval: Day.Interval, own: Watts, demands: [StreamDemand]) -> PowerState {
        let least = demands.filter(\.critical).reduce(Watts.zero) { sum, demand in
            let eligible = demand.options.filter { $0.variantQuality >= demand.floor && $0.latencyP99 <= demand.latencyTolerance }
            return sum + (eligible.map(\.power).min() ?? .zero)
        }
        return PowerState(
            battery: gauge.map {
                .init(
                    energy: $0.energy, full: replay.day.capacity, error: replay.day.capacity * (replay.day.gaugeQuantum / 3.46),
                    age: now.since($0.time))
            },
            acOnline: interval.acOnline, draw: gauge?.draw, own: own, rest: rest.estimate?.power ?? .zero,
            restDeviation: rest.estimate?.deviation ?? .zero, least: least, temperature: interval.temperature,
            wall: clock.wall(), utcOffset: replay.utcOffset, monotonic: now)
    }

    /// Puts the plan into effect; returns the true energy of loading what was not loaded.
    private mutating func apply(_ plan: Plan, demands: [StreamDemand], now: MonotonicTime) -> Joules {
        var next: [UInt64: (option: PlanOption?, since: MonotonicTime)] = [:]
        var loaded: [PlanOption] = []
        var resident: [(model: String, option: PlanOption)] = []
        for demand in demands {
            if let option = demand.current { resident.append((demand.model, option)) }
        }
        for (demand, assignment) in zip(demands, plan.assignments) {
            // The profile's own figures are kept, so that believed and true power both follow from them.
            let profiled = assignment.option.flatMap { option in
                replay.day.streams.lazy.filter { $0.demand.id == demand.id }.flatMap(\.demand.options)
                    .first { $0.sameChoice(as: option) }
            }
            if let profiled, !resident.contains(where: { $0.model == demand.model && $0.option.sameArtefact(as: profiled) }) {
                resident.append((demand.model, profiled))
                loaded.append(profiled)
            }
            let before = running[demand.id]
            let same =
                switch (before?.option, profiled) {
                case (nil, nil): true
                case (let old?, let new?): old.sameChoice(as: new)
                default: false
                }
            if let before, same {
                next[demand.id] = (profiled, before.since)
            } else {
                if before != nil { report.switches += 1 }
                next[demand.id] = (profiled, now)
            }
        }
        running = next
        return loaded.reduce(.zero) { $0 + $1.loadEnergy * (replay.day.energyScale[$1.unit] ?? 1) }
    }

    /// Lets a tick pass in truth.
    private mutating func live(interval: Day.Interval, demands: [StreamDemand], loads: Joules, time: Seconds) {
        let day = replay.day
        let span = min(replay.tick, day.length - time)
        let income = (interval.harvest + (interval.acOnline ? day.charger : .zero)) * span
        if !alive, energy > day.capacity * 0.02 { alive = true }
        let inference = alive ? truePower() * span + loads : .zero
        let base = alive ? interval.base * span : .zero
        let before = energy
        energy = min(day.capacity, max(.zero, energy + income - inference - base))
        report.chargedEnergy = report.chargedEnergy + (energy - before + inference + base)
        report.inferenceEnergy = report.inferenceEnergy + inference
        report.baseEnergy = report.baseEnergy + base
        for demand in demands {
            asked += demand.weight * span.value
            if alive, let option = running[demand.id]?.option { earned += demand.weight * option.quality * span.value }
            if alive, demand.critical, running[demand.id]?.option == nil {
                report.criticalPaused = report.criticalPaused + span
            }
        }
        if alive, energy == .zero {
            alive = false
            if report.diedAt == nil { report.diedAt = time + span }
        }
        if alive, day.hasMeter { learn(span: span) }
    }

    private mutating func learn(span: Seconds) {
        let shares = options.map { EnergyObservation.Share(unit: $0.unit, energy: $0.power * span) }
        let measured = truePower() * span
        guard measured.value > 0 else { return }
        model.observe(
            EnergyObservation(
                profiled: shares, measured: measured, error: measured * 0.03, basis: .metered,
                time: clock.monotonic().advanced(by: span)))
    }
}
