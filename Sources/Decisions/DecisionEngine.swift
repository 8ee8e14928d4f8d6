import EnergyModel
import Planner
import PowerPolicy
import Units

/// Turns what is known about power and streams into a plan: policy gives the budget, the energy model prices the
/// options, the planner chooses.
///
/// A value without clock or I/O: time comes in with each call, so that the daemon and the simulator run the same code
/// and a decision can be derived again from its inputs.
public struct DecisionEngine: Sendable {
    /// One look at the battery, as the engine needs it.
    public struct Reading: Sendable, Equatable {
        /// nil without a battery.
        public var battery: PowerState.Battery?
        public var draw: Watts?
        public var acOnline: Bool
        public var temperature: Celsius?
        /// When the gauge took the reading.
        public var takenAt: MonotonicTime

        public init(battery: PowerState.Battery?, draw: Watts?, acOnline: Bool, temperature: Celsius?, takenAt: MonotonicTime) {
            self.battery = battery
            self.draw = draw
            self.acOnline = acOnline
            self.temperature = temperature
            self.takenAt = takenAt
        }
    }

    /// What the plan must respect beside the budget.
    public struct Limits: Sendable, Equatable {
        /// Share of each unit's time.
        public var unitUtilization: Double
        public var residentBytes: Int
        /// Units whose share differs.
        public var unitUtilizations: [String: Double]
        /// Time that a stream keeps a variant before a better one is worth changing to, and between plans that
        /// nothing but the passing of time asks for.
        public var minimumDwell: Seconds
        /// Time over which the draw of the rest of the device is averaged, while nothing is forecast.
        public var restWindow: Seconds

        public init(
            unitUtilization: Double = 0.9, residentBytes: Int = 512 << 20, minimumDwell: Seconds = Seconds(10),
            unitUtilizations: [String: Double] = [:], restWindow: Seconds = Seconds(120)
        ) {
            self.unitUtilizations = unitUtilizations
            self.restWindow = restWindow
            self.unitUtilization = unitUtilization
            self.residentBytes = residentBytes
            self.minimumDwell = minimumDwell
        }
    }

    /// What made the engine think again.
    public enum Trigger: String, Sendable, Hashable {
        case streamOpened = "stream-opened"
        case streamClosed = "stream-closed"
        case power, policy, tick
        case variantFailed = "variant-failed"
    }

    /// A stream's place in the plan.
    public struct Placement: Sendable, Equatable {
        public var request: StreamRequest
        /// nil: paused.
        public var option: RunOption?
        public var reason: String
        public var runnerUp: String
        /// When the variant was last changed.
        public var since: MonotonicTime
        public var rules: PowerPolicy.ModelRules
        /// False until the first decision placed it.
        public var isPlaced = false
    }

    /// A stream whose placement a decision changed.
    public struct Change: Sendable, Equatable {
        public var stream: UInt64
        /// nil: paused, or not placed before.
        public var from: RunOption?
        public var to: RunOption?
        public var isFirst: Bool
    }

    /// A decision with its inputs and outcome.
    public struct Decision: Sendable {
        public var trigger: Trigger
        public var budget: Budget
        public var plan: Plan
        public var changes: [Change]
        public var state: PowerState
    }

    public private(set) var policyName: String
    public private(set) var policy: PowerPolicy
    public internal(set) var energy = EnergyModel()
    public internal(set) var latency = LatencyModel()
    var attribution = BatteryAttribution()
    var forecaster = RestForecaster()
    var charge = ChargeEstimator()
    var lastDraw: Watts?
    private var plannedAt: MonotonicTime?
    private var lastPrice = 0.0
    private var openedAt: [UInt64: MonotonicTime] = [:]
    public private(set) var rest: RestEstimator
    /// By stream id.
    public private(set) var placements: [UInt64: Placement] = [:]
    public private(set) var latest: Decision?
    public let limits: Limits
    /// Quality that a change of variant must gain: below it estimates' noise would make plans flap.
    static let switchCost = 0.002
    /// Quality that a change of pace alone must gain.
    static let retimeCost = 0.0005
    /// Both, while energy is unlimited: nothing is gained by staying with less than the best.
    static let changeCostWithoutLimit = 0.0002
    /// Search effort of a plan: about 3 ms. Only dozens of streams under tight memory need more; their plan then says
    /// how far from the optimum it may be.
    static let nodeLimit = 120_000
    var memory = PolicyMemory()
    private var reading: Reading?
    private var own = Watts.zero
    private var quarantined: Set<String> = []

    public init(policyName: String, policy: PowerPolicy, limits: Limits = Limits()) {
        self.policyName = policyName
        self.policy = policy
        self.limits = limits
        // Half a minute settles any gauge; where the window is shorter, so is the pace of readings.
        rest = RestEstimator(window: limits.restWindow, settling: min(Seconds(30), limits.restWindow * 0.2))
    }

    // MARK: What changes

    public mutating func open(_ request: StreamRequest, at now: MonotonicTime) {
        openedAt[request.id] = now
        placements[request.id] = Placement(
            request: request, option: nil, reason: "not planned yet", runnerUp: "", since: now, rules: rules(for: request))
    }

    public mutating func close(_ id: UInt64) {
        placements[id] = nil
        openedAt[id] = nil
    }

    /// Replaces the policy; a new one begins with a new memory.
    public mutating func adopt(_ policy: PowerPolicy, named name: String) {
        if policy != self.policy || name != policyName { memory = PolicyMemory() }
        self.policy = policy
        policyName = name
        for (id, placement) in placements {
            let rules = rules(for: placement.request)
            placements[id]?.rules = rules
        }
    }

    /// Never plans `variant` of `model` again, because it failed on this device.
    public mutating func quarantine(model: String, variant: String) { quarantined.insert("\(model)/\(variant)") }

    /// Lets variants that failed be tried again, because what made them fail may have been repaired.
    public mutating func pardon() { quarantined = [] }

    /// Takes a unit's factor that the caller told from a meter which feeds more than inference.
    public mutating func adopt(metered factor: Double, variance: Double, of unit: String) {
        energy.adopt(unit: unit, factor: factor, variance: variance, basis: .metered)
    }

    /// Takes over factors learned before a restart.
    public mutating func restore(_ energy: EnergyModel) { self.energy = energy }

    /// Takes a battery reading and what inference drew on average since the one before.
    public mutating func observe(_ reading: Reading, own: Watts) {
        self.reading = reading
        self.own = own
        rest.observe(
            .init(
                time: reading.takenAt, draw: reading.draw, energy: reading.battery?.energy,
                energyError: reading.battery?.error ?? .zero, own: own, acOnline: reading.acOnline))
    }

    private func rules(for request: StreamRequest) -> PowerPolicy.ModelRules {
        var rules = policy.rules(for: request.model)
        rules.floor = max(rules.floor, request.floor ?? 0)
        rules.weight = request.weight ?? rules.weight
        rules.critical = request.critical ?? rules.critical
        return rules
    }

    // MARK: Deciding

    /// Share by which what runs may exceed the budget before a cheaper plan is asked for: budgets move with every
    /// reading, and a plan that followed them all would do nothing but switch.
    static let tolerance = 0.07

    /// Share of a joule's price that planning counts with: a budget that leaves room must not be spent on what is not
    /// worth it, nor a stream lose its place to the price's noise.
    static let priceShare = 0.8

    /// Makes a plan for all streams from what is known now.
    public mutating func decide(because trigger: Trigger, at now: MonotonicTime, wall: WallTime, utcOffset: Seconds) -> Decision {
        let ids = placements.keys.sorted()
        let running = runningPower().watts
        // Before the options are built: most ticks find that nothing has to change.
        if trigger == .tick, let latest, let plannedAt, now.since(plannedAt) < limits.minimumDwell, forecaster.hasData {
            var state = latest.state
            refresh(&state, at: now, wall: wall, utcOffset: utcOffset)
            let budget = policy.budget(for: state, memory: &memory)
            let fits = budget.watts.map { running <= $0 * (1 + Self.tolerance) } ?? true
            if fits, budget.goal == latest.budget.goal, (budget.hopeless == nil) == (latest.budget.hopeless == nil) {
                let decision = Decision(trigger: trigger, budget: budget, plan: latest.plan, changes: [], state: state)
                self.latest = decision
                return decision
            }
        }
        plannedAt = now
        var options: [UInt64: [RunOption]] = [:]
        for id in ids {
            guard let request = placements[id]?.request else { continue }
            options[id] = RunOption.all(for: request, by: energy, latency: latency)
                .filter { !quarantined.contains("\(request.model)/\($0.plan.variant)") }
        }
        let demands = ids.compactMap { id in demand(id, options[id] ?? [], at: now) }
        var state = powerState(options: options, at: now, wall: wall, utcOffset: utcOffset)
        let worth = state.outlook == nil ? nil : Worth(demands, rest: state.rest, near: lastPrice)
        if let worth, let left = policy.secondsLeft(at: now, wall: wall, utcOffset: utcOffset, memory: memory) {
            lastPrice = worth.price
            (state.rungs, state.ordinary) = worth.rungs(lasting: demands.map { expectedLife($0.id, left, at: now) / max(left, Seconds(1)) })
        }
        let budget = policy.budget(for: state, memory: &memory)
        var planLimits = planLimits(budget)
        if let watts = planLimits.budget, trigger == .tick, running > watts, running <= watts * (1 + Self.tolerance) {
            planLimits.budget = running * (1 + 1e-9)
        }
        if trigger != .tick { planLimits.minimumDwell = min(planLimits.minimumDwell, Seconds(30)) }
        if let hopeless = budget.hopeless {
            planLimits.energyPrice = Self.price(worth?.price ?? 0, hopeless, hasCritical: demands.contains(where: \.critical))
        } else if let worth, budget.worth.isFinite {
            planLimits.energyPrice = worth.price * budget.worth * Self.priceShare
        }
        let plan = Planner.plan(demands, limits: planLimits)
        var changes: [Change] = []
        for assignment in plan.assignments {
            guard var placement = placements[assignment.stream] else { continue }
            let chosen = assignment.option.flatMap { option in
                options[assignment.stream]?.first { $0.plan.sameChoice(as: option) }
            }
            if let change = Self.change(assignment.stream, placement, to: chosen) {
                changes.append(change)
                if change.from?.plan.variant != chosen?.plan.variant || change.from?.plan.unit != chosen?.plan.unit { placement.since = now }
            }
            placement.option = chosen
            placement.reason = assignment.reason
            placement.runnerUp = assignment.runnerUp.map(Self.text) ?? ""
            placement.isPlaced = true
            placements[assignment.stream] = placement
        }
        let decision = Decision(trigger: trigger, budget: budget, plan: plan, changes: changes, state: state)
        latest = decision
        return decision
    }

    private static func text(_ runnerUp: Plan.RunnerUp) -> String {
        let option = runnerUp.option
        let sign = runnerUp.powerDifference.value >= 0 ? "+" : ""
        return "\(option.variant) on \(option.unit), cadence \(option.cadence), coalescing \(option.coalescing)"
            + " (utility \(decimal(runnerUp.utilityDifference, places: 4)), power \(sign)\(runnerUp.powerDifference))"
    }

    private static func change(_ id: UInt64, _ placement: Placement, to chosen: RunOption?) -> Change? {
        guard placement.isPlaced else { return Change(stream: id, from: nil, to: chosen, isFirst: true) }
        switch (placement.option, chosen) {
        case (nil, nil): return nil
        case (let old?, let new?) where old.plan.sameChoice(as: new.plan): return nil
        default: return Change(stream: id, from: placement.option, to: chosen, isFirst: false)
        }
    }

    private func demand(_ id: UInt64, _ options: [RunOption], at now: MonotonicTime) -> StreamDemand? {
        guard let placement = placements[id] else { return nil }
        return StreamDemand(
            id: id, name: placement.request.name, model: placement.request.model, weight: placement.rules.weight,
            floor: placement.rules.floor, critical: placement.rules.critical,
            latencyTolerance: placement.request.latencyTolerance, options: options.map(\.plan),
            current: placement.option?.plan,
            secondsSinceSwitch: placement.isPlaced ? now.since(placement.since) : Seconds(.infinity))
    }

    private func planLimits(_ budget: Budget) -> PlanLimits {
        var units: [String: Double] = [:]
        for placement in placements.values {
            for variant in placement.request.variants {
                for profile in variant.profiles { units[profile.unit] = limits.unitUtilizations[profile.unit] ?? limits.unitUtilization }
            }
        }
        return PlanLimits(
            budget: budget.watts, unitUtilization: units, residentBytes: limits.residentBytes,
            switchCost: budget.watts == nil ? Self.changeCostWithoutLimit : Self.switchCost,
            retimeCost: budget.watts == nil ? Self.changeCostWithoutLimit : Self.retimeCost,
            minimumDwell: budget.watts == nil ? .zero : limits.minimumDwell, nodeLimit: Self.nodeLimit)
    }

    private func powerState(options: [UInt64: [RunOption]], at now: MonotonicTime, wall: WallTime, utcOffset: Seconds) -> PowerState {
        let (restPower, restDeviation) = rest.estimate ?? (.zero, .zero)
        var least = Watts.zero
        for (id, placement) in placements where placement.rules.critical {
            let cheapest = (options[id] ?? []).filter { $0.plan.variantQuality >= placement.rules.floor }.map(\.plan.power).min()
            least += cheapest ?? .zero
        }
        var state = PowerState(
            battery: reading?.battery, acOnline: reading?.acOnline ?? false, draw: reading?.draw, own: own,
            rest: restPower, restDeviation: restDeviation, least: least, temperature: reading?.temperature,
            wall: wall, utcOffset: utcOffset, monotonic: now)
        refresh(&state, at: now, wall: wall, utcOffset: utcOffset)
        return state
    }

    /// Brings what moves with time and readings up to date.
    private func refresh(_ state: inout PowerState, at now: MonotonicTime, wall: WallTime, utcOffset: Seconds) {
        state.monotonic = now
        state.wall = wall
        state.utcOffset = utcOffset
        state.acOnline = reading?.acOnline ?? false
        state.draw = reading?.draw
        state.temperature = reading?.temperature
        state.own = own
        state.battery = reading?.battery
        guard forecaster.hasData, var battery = reading?.battery, let energy = charge.energy,
            let left = policy.secondsLeft(at: now, wall: wall, utcOffset: utcOffset, memory: memory), let reading
        else { return }
        battery.energy = energy
        battery.error = charge.deviation
        battery.age = max(battery.age, max(.zero, now.since(reading.takenAt)))
        state.battery = battery
        state.own = runningPower().watts
        state.rest = forecaster.baseLoad
        state.restDeviation = forecaster.baseDeviation
        let second = Self.secondOfDay(wall, utcOffset)
        state.outlook = forecaster.outlook(from: second, for: left)
        state.hopefulOutlook = forecaster.outlook(from: second, for: left, hopeful: true)
    }

    /// How much longer a stream is expected to run: to the goal's end if it was there from the beginning, else twice as
    /// long as it has been, because what came late mostly goes early.
    private func expectedLife(_ id: UInt64, _ left: Seconds, at now: MonotonicTime) -> Seconds {
        guard let opened = openedAt[id], let started = memory.started, opened.since(started) > Seconds(900) else { return left }
        return min(left, max(Seconds(3600), now.since(opened) * 2))
    }

    /// The price when the goal is lost: low at first, because something unforeseen may come and only then does the
    /// choice matter; what a joule earns on the whole when half is left. Where there are critical streams it goes on
    /// rising as the battery empties, so that the others pause in the order of what they are worth per watt and the
    /// critical ones live longest.
    private static func price(_ worth: Double, _ hopeless: Budget.Hopeless, hasCritical: Bool) -> Double {
        let scarcity = 0.5 / max(hopeless.left, 1e-3)
        let factor = scarcity * scarcity
        return worth * (hasCritical ? factor * max(1, scarcity) : min(1, factor))
    }
}
