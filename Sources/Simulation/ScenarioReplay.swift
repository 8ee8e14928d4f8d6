import Decisions
import EnergyModel
import Planner
import PowerPolicy
import Units

/// Replays a scenario in virtual time under the daemon's own decision engine or a baseline.
///
/// The controller sees the goal, the options as profiled, the contracts of live streams, what gauge
/// and meter show, and the time; never the trace, the truth, or streams that have not started.
public struct ScenarioReplay: Sendable {
    public enum Controller: Sendable, Equatable {
        /// The daemon's engine. A lifetime policy takes its goal from the scenario; nil: such a one with defaults.
        case jouled(PowerPolicy?)
        case baseline(Baseline)
    }

    public var scenario: Scenario
    public var controller: Controller
    /// Least time between decisions that only the passing of time asks for.
    public var tick = Seconds(60)
    /// What goes wrong; only for the daemon's engine.
    public var faults: [Fault] = []
    /// Whether the outcome is to have the decisions with their inputs.
    public var recordsDecisions = false
    /// Whether the outcome is to have what plots are drawn from.
    public var keepsTrack = false

    public init(_ scenario: Scenario, controller: Controller = .jouled(nil)) {
        self.scenario = scenario
        self.controller = controller
    }

    /// Replays it. The same scenario and controller give the same outcome, planner times aside.
    public func run() -> ScenarioOutcome {
        var run = Run(self)
        return run.finish()
    }
}

/// A scenario being replayed.
private struct Run {
    let scenario: Scenario
    let tick: Double
    let recordsDecisions: Bool
    var twin: DeviceTwin
    var mind: Mind
    var draws: Draws
    var seen: Set<Int> = []
    var lastRefresh: Double?
    var lastDecision = -Double.infinity
    var wasOnline = false
    var telemetry: FaultyTelemetry
    var outcome = ScenarioOutcome()

    enum Mind {
        case engine(DecisionEngine)
        case baseline(Baseline, BaselineView)
    }

    init(_ replay: ScenarioReplay) {
        scenario = replay.scenario
        tick = replay.tick.value
        recordsDecisions = replay.recordsDecisions
        telemetry = FaultyTelemetry(replay.faults)
        twin = DeviceTwin(scenario)
        if replay.keepsTrack { outcome.track = ScenarioTrack() }
        draws = Draws(seed: scenario.seed)
        switch replay.controller {
        case .jouled(let policy):
            let policy = Self.policy(policy ?? PowerPolicy(kind: .lifetime(.init(end: .duration(scenario.goal.until)))), for: scenario)
            mind = .engine(
                DecisionEngine(
                    policyName: "simulated", policy: policy,
                    limits: .init(
                        unitUtilization: 1, residentBytes: Int((scenario.residentMegabytes ?? 1e9) * 1_048_576),
                        minimumDwell: Seconds(600), unitUtilizations: scenario.unitUtilization)))
        case .baseline(let baseline):
            mind = .baseline(baseline, BaselineView(scenario))
        }
    }

    /// A policy with the scenario's goal, in all parts of the day.
    private static func policy(_ policy: PowerPolicy, for scenario: Scenario) -> PowerPolicy {
        var policy = policy
        if case .lifetime(var lifetime) = policy.kind {
            lifetime.end = .duration(scenario.goal.until)
            lifetime.reserve = scenario.goal.reserve
            lifetime.capacity = scenario.battery.capacity
            policy.kind = .lifetime(lifetime)
        }
        for index in policy.schedule.indices { policy.schedule[index].policy = Self.policy(policy.schedule[index].policy, for: scenario) }
        return policy
    }

    /// No gauge is looked at more often, whatever its period is: time must pass.
    static let shortestPeriod = 1e-3

    static func time(_ seconds: Double) -> MonotonicTime { MonotonicTime(nanoseconds: UInt64((1000 + seconds) * 1e9)) }

    mutating func finish() -> ScenarioOutcome {
        let until = scenario.goal.until.value
        var edges = Set<Double>()
        for stream in scenario.streams { edges.formUnion([stream.start.value, stream.end.value]) }
        let sorted = edges.filter { $0 > 0 && $0 < until }.sorted()
        var nextEdge = 0
        var refreshes = 1.0
        refresh()
        streamsChanged(isFirst: true)
        let period = max(Self.shortestPeriod, scenario.gauge.period.value)
        while twin.time < until {
            let refreshAt = refreshes * period
            let edgeAt = nextEdge < sorted.count ? sorted[nextEdge] : .infinity
            let next = min(until, refreshAt, edgeAt)
            let wasAlive = twin.alive
            twin.advance(to: next)
            outcome.track?.sample(twin, isChange: twin.alive != wasAlive || next == until)
            guard next < until else { break }
            // A device that came back reads its gauge at once, as after a boot.
            if next == refreshAt || (!wasAlive && twin.alive) {
                if next == refreshAt { refreshes += 1 }
                if twin.alive { refresh() }
            }
            let isReloaded = reloadIfAsked()
            if next == edgeAt {
                nextEdge += 1
                streamsChanged(isFirst: false)
            } else if isReloaded, twin.alive {
                decide(.policy)
            } else if twin.alive, twin.time - lastDecision >= tick - 1e-9 || isOnline != wasOnline {
                decide(isOnline != wasOnline ? .power : .tick)
            }
        }
        outcome.close(twin, scenario)
        return outcome
    }

    // MARK: What telemetry shows

    private var gaugeOnline = false
    private var isOnline: Bool { gaugeOnline }

    private mutating func refresh() {
        let gauge = scenario.gauge
        let step = twin.capacity * gauge.quantum
        let shown = step > 0 ? min(twin.capacity, max(0, (twin.energy / step).rounded() * step)) : twin.energy
        let draw = twin.drain * (1 + gauge.powerNoise * draws.normal())
        let meterFactor = 1 + gauge.powerNoise * draws.normal()
        let span = lastRefresh.map { twin.time - $0 } ?? 0
        lastRefresh = twin.time
        gaugeOnline = twin.currentRow.acOnline
        let spent = twin.takeSpent()
        let now = Self.time(twin.time)
        let units = Set(scenario.options.map(\.unit)).sorted()
        let running = Set(twin.choices.compactMap { $0.map { scenario.options[$0.option].unit } })
        var ratios: [(String, Double)] = []
        for unit in units where running.contains(unit) {
            ratios.append((unit, (scenario.latencyScale[unit] ?? 1) * (1 + 0.01 * draws.normal()) * telemetry.slowDown(of: unit, at: twin.time)))
        }
        switch mind {
        case .engine(var engine):
            var reading = DecisionEngine.Reading(
                battery: .init(energy: Joules(shown), full: scenario.battery.capacity, error: Joules(step / 3.4641016)),
                draw: Watts(draw), acOnline: gaugeOnline, temperature: twin.currentRow.temperature, takenAt: now)
            let shares = spent.profiled.keys.sorted().map { EnergyObservation.Share(unit: $0, energy: Joules(spent.profiled[$0] ?? 0)) }
            let metered = scenario.hasMeter ? max(0, spent.metered * meterFactor) : nil
            var usage = DecisionEngine.Usage(
                span: Seconds(span), profiled: shares, metered: metered.map { Joules($0) },
                meterError: Joules((metered ?? 0) * max(gauge.powerNoise, 0.01)), drawError: Watts(abs(draw) * gauge.powerNoise))
            telemetry.bend(&reading, &usage, at: twin.time)
            engine.observe(reading, usage: usage, wall: telemetry.wall(at: twin.time), utcOffset: .zero)
            for (unit, ratio) in ratios { engine.observeLatency(unit: unit, ratio: ratio, error: 0.01, at: now) }
            mind = .engine(engine)
        case .baseline(let baseline, var view):
            let own = span > 0 ? spent.profiled.values.reduce(0, +) / span : 0
            view.observe(charge: shown, rest: draw - own, online: gaugeOnline)
            mind = .baseline(baseline, view)
        }
    }

    // MARK: Deciding

    private mutating func reloadIfAsked() -> Bool {
        guard telemetry.reload(at: twin.time), case .engine(var engine) = mind else { return false }
        var policy = engine.policy
        if case .lifetime(var lifetime) = policy.kind {
            lifetime.margin = 0.15 - lifetime.margin
            policy.kind = .lifetime(lifetime)
        }
        engine.adopt(policy, named: engine.policyName)
        mind = .engine(engine)
        return true
    }

    private mutating func streamsChanged(isFirst: Bool) {
        twin.dropEnded()
        var opened = false
        if case .engine(var engine) = mind {
            for index in scenario.streams.indices {
                let id = UInt64(index + 1)
                if twin.isLive(index), engine.placements[id] == nil {
                    engine.open(scenario.request(index), at: Self.time(twin.time))
                    opened = true
                } else if !twin.isLive(index), engine.placements[id] != nil {
                    engine.close(id)
                    if recordsDecisions { outcome.ended.append((id, Self.time(twin.time))) }
                }
            }
            mind = .engine(engine)
        }
        guard twin.alive else { return }
        decide(opened ? .streamOpened : .streamClosed)
    }

    private mutating func decide(_ trigger: DecisionEngine.Trigger) {
        lastDecision = twin.time
        wasOnline = gaugeOnline
        let live = scenario.streams.indices.filter { twin.isLive($0) }
        let first = Set(live).subtracting(seen)
        seen.formUnion(live)
        var next = [Choice?](repeating: nil, count: scenario.streams.count)
        switch mind {
        case .engine(var engine):
            let believed = engine.inferencePower
            // Time of this thread alone: others on the machine do not make a planner slower.
            let clocks = SystemClocks()
            let begun = clocks.threadCPU()
            let decision = engine.decide(
                because: trigger, at: Self.time(twin.time), wall: telemetry.wall(at: twin.time), utcOffset: .zero)
            outcome.plannerTimes.append((clocks.threadCPU() - begun).microseconds)
            if !telemetry.faults.isEmpty {
                outcome.broken += Invariants.broken(decision, engine, live: live.map { UInt64($0 + 1) }).map { "at \(clockText(twin.time)): \($0)" }
            }
            for index in live {
                guard let option = engine.placements[UInt64(index + 1)]?.option else { continue }
                next[index] = scenario.choice(index, option.plan)
            }
            outcome.track?.note(decision, engine, at: twin.time)
            if recordsDecisions, !decision.changes.isEmpty { outcome.recorded.append(decision) }
            outcome.note(decision, twin, changed: next != twin.choices, believed: believed, truth: twin.inferencePower)
            mind = .engine(engine)
        case .baseline(let baseline, let view):
            next = baseline.choose(view, live: live, at: twin.time)
        }
        let isChange = next != twin.choices || outcome.track?.samples.isEmpty == true
        twin.apply(next, first: first)
        outcome.track?.sample(twin, isChange: isChange)
        outcome.decisions += 1
    }
}

extension Scenario {
    /// The contract of a stream, with its model's options as profiled.
    func request(_ index: Int) -> StreamRequest {
        let stream = streams[index]
        var variants: [StreamRequest.Variant] = []
        for option in options where option.model == stream.model {
            let cost = StepCost(cpu: option.p50, energy: option.joules)
            // A scenario's profile is of another device: its truth is 0.85 to 3.2 times it.
            let profile = OptionProfile(
                variant: option.variant, unit: option.unit, wake: .zero, first: cost, next: cost,
                latency: LatencyProfile(p50: option.p50, p99: option.p99), loadEnergy: option.loadJoules,
                residentBytes: Int(option.residentMegabytes * 1_048_576), basis: .modelled)
            if let known = variants.firstIndex(where: { $0.name == option.variant && $0.quality == option.quality }) {
                variants[known].profiles.append(profile)
            } else {
                variants.append(.init(name: option.variant, quality: option.quality, profiles: [profile]))
            }
        }
        return StreamRequest(
            id: UInt64(index + 1), name: stream.name, model: stream.model, hopTime: stream.hop, latencyTolerance: stream.deadline,
            floor: stream.floor, weight: stream.statesWeight ? stream.weight : nil, critical: stream.statesCritical ? stream.critical : nil, variants: variants,
            cadences: zip(stream.cadences, stream.cadenceQuality).map { .init(multiple: $0, quality: $1) }, pacing: .perWindow)
    }

    /// The scenario's name for a plan's option.
    func choice(_ index: Int, _ plan: PlanOption) -> Choice? {
        guard
            let option = options.firstIndex(where: {
                $0.model == streams[index].model && $0.variant == plan.variant && $0.unit == plan.unit && $0.quality == plan.variantQuality
            }),
            let cadence = streams[index].cadences.firstIndex(of: plan.cadence)
        else { return nil }
        return Choice(option: option, cadence: cadence)
    }
}
