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
    public private(set) var policyName: String
    /// The policy as the operator chose it, with its schedule.
    public private(set) var chosen: PowerPolicy
    /// What holds now.
    public private(set) var policy: PowerPolicy
    /// The schedule's entry that holds; nil: none.
    public private(set) var scheduleEntry: String?
    /// The operator's policy and what it remembered, while a hold's is in force.
    private var waiting: (policy: PowerPolicy, name: String, memory: PolicyMemory)?
    public private(set) var habit = ChargeHabit()
    public internal(set) var energy = EnergyModel()
    public internal(set) var latency = LatencyModel()
    var attribution = BatteryAttribution()
    var twilight = Twilight()
    var fallingCharge = FallingCharge()
    var lookAverage = LookAverage()
    var wasOnline = false
    var pluggedAt: MonotonicTime?
    var forecaster = RestForecaster()
    var charge = ChargeEstimator()
    var lastDraw: Watts?
    /// Whether a plug that is in carries the device.
    var external = ExternalPower()
    var isPlugged = false
    /// What was known of the rest of the device before a weak plug began to hide it.
    private var unplugged: RestForecaster?
    /// Whether external power is on, but gives less than the device takes, so that plans are made as on battery.
    public var isSupplyWeak: Bool { external.isWeak }
    /// Slow-downs of units that the plan was made for.
    var plannedLatency = LatencyModel()
    private var plannedAt: MonotonicTime?
    private var lastPrice = 0.0
    var openedAt: [UInt64: MonotonicTime] = [:]
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
    public internal(set) var memory = PolicyMemory()
    private var reading: Reading?
    private var own = Watts.zero
    var quarantined: Set<String> = []

    public init(policyName: String, policy: PowerPolicy, limits: Limits = Limits()) {
        self.policyName = policyName
        chosen = policy
        self.policy = policy
        self.limits = limits
        // Half a minute settles any gauge; where the window is shorter, so is the pace of readings.
        rest = RestEstimator(window: limits.restWindow, settling: min(Seconds(30), limits.restWindow * 0.2))
    }

    // MARK: What changes

    /// - Parameter earlier: how the stream ran before a restart: a change from it must be worth as much as any other.
    public mutating func open(_ request: StreamRequest, at now: MonotonicTime, earlier: EarlierChoice? = nil) {
        openedAt[request.id] = now
        let option = earlier.flatMap { earlier in
            RunOption.all(for: request, by: energy, latency: latency).first { earlier.names($0.plan) && !isQuarantined($0.plan.variant, of: request) }
        }
        placements[request.id] = Placement(
            request: request, option: option, reason: "not planned yet", runnerUp: "",
            since: option == nil ? now : now.advanced(by: -(earlier?.age ?? .zero)), rules: policy.rules(for: request))
    }

    public mutating func close(_ id: UInt64) {
        placements[id] = nil
        openedAt[id] = nil
    }

    /// Replaces the operator's policy; a new one begins with a new memory, and the same one if it is asked to. Its schedule is
    /// looked at with the next decision, and while a hold's policy is in force, it waits for that one's end.
    public mutating func adopt(_ policy: PowerPolicy, named name: String, beginsAnew: Bool = false) {
        guard let kept = waiting else { return choose(policy, named: name, memory: nil, beginsAnew: beginsAnew) }
        let goesOn = !beginsAnew && policy == kept.policy && name == kept.name
        waiting = (policy, name, goesOn ? kept.memory : PolicyMemory())
    }

    /// Puts a hold's policy in force before the operator's, or the operator's again, which then goes on where it was.
    public mutating func hold(_ policy: (name: String, policy: PowerPolicy)?) {
        guard let policy else {
            guard let own = waiting else { return }
            waiting = nil
            return choose(own.policy, named: own.name, memory: own.memory)
        }
        if waiting == nil { waiting = (chosen, policyName, memory) }
        choose(policy.policy, named: policy.name, memory: nil)
    }

    /// The operator's policy, in force or waiting for a hold's end.
    public var operatorPolicy: (name: String, policy: PowerPolicy) { waiting.map { ($0.name, $0.policy) } ?? (policyName, chosen) }

    private mutating func choose(_ policy: PowerPolicy, named name: String, memory remembered: PolicyMemory?, beginsAnew: Bool = false) {
        if beginsAnew || policy != chosen || name != policyName {
            memory = remembered ?? PolicyMemory()
            putInForce(policy)
            scheduleEntry = nil
        }
        chosen = policy
        policyName = name
    }

    private mutating func putInForce(_ policy: PowerPolicy) {
        self.policy = policy
        for (id, placement) in placements { placements[id]?.rules = policy.rules(for: placement.request) }
    }

    /// Puts in force what the schedule says for now.
    /// - Returns: whether that is another policy than before.
    private mutating func followSchedule(_ wall: WallTime, _ utcOffset: UTCOffset) -> Bool {
        let (now, entry) = chosen.inForce(at: wall, utcOffset: utcOffset)
        guard entry != scheduleEntry || now != policy else { return false }
        scheduleEntry = entry
        guard now != policy else { return false }
        memory = memory.forSuccessor
        putInForce(now)
        return true
    }

    /// Takes over the charging habit learned before a restart.
    public mutating func restore(_ habit: ChargeHabit) { self.habit = habit }

    /// The lowest quality that a stream may have from now on; nil: what the policy says.
    public mutating func setFloor(_ floor: Double?, of id: UInt64) {
        guard var placement = placements[id] else { return }
        placement.request.floor = floor
        placement.rules = policy.rules(for: placement.request)
        placements[id] = placement
    }

    /// How much of the time a stream is awake behind its gate, as the caller learned; counts from the next plan on.
    public mutating func setDuty(_ duty: Double, of id: UInt64) { placements[id]?.request.gate?.duty = duty }

    /// Takes a unit's factor that the caller told from a meter which feeds more than inference.
    public mutating func adopt(metered factor: Double, variance: Double, of unit: String) {
        energy.adopt(unit: unit, factor: factor, variance: variance, basis: .metered)
    }

    /// Takes over factors learned before a restart.
    public mutating func restore(_ energy: EnergyModel) { self.energy = energy }

    /// Takes over what the operator's policy remembered before a restart.
    public mutating func restore(_ memory: PolicyMemory) {
        if waiting == nil { self.memory = memory } else { waiting?.memory = memory }
    }

    /// What the operator's policy remembers, in force or waiting for a hold's end.
    public var operatorMemory: PolicyMemory { waiting?.memory ?? memory }

    /// The device slept: time went by that the monotonic clock did not count.
    public mutating func slept(_ span: Seconds) {
        memory.slept(span)
        waiting?.memory.slept(span)
    }

    /// Takes a battery reading and what inference drew on average since the one before.
    public mutating func observe(_ reading: Reading, own: Watts) {
        take(plug(reading, own: own), own: own)
    }

    /// Finds out whether external power carries the device.
    /// - Returns: the reading with `acOnline` where it does.
    mutating func plug(_ reading: Reading, own: Watts) -> Reading {
        if reading.acOnline != isPlugged { pluggedAt = reading.takenAt }
        isPlugged = reading.acOnline
        let wasWeak = external.isWeak
        var reading = reading
        reading.acOnline = external.carries(reading, own: own)
        // On a weak plug the battery gives what the rest takes less what the plug brings: that is learned by itself, and of no use without it.
        if external.isWeak, !wasWeak {
            unplugged = forecaster
            forecaster = RestForecaster()
        } else if wasWeak, !external.isWeak {
            forecaster = unplugged ?? RestForecaster()
            unplugged = nil
        }
        return reading
    }

    /// What is known of the rest of the device without a plug that is too weak.
    var lasting: RestForecaster { unplugged ?? forecaster }

    /// - Parameter reading: `acOnline` where external power carries the device.
    mutating func take(_ reading: Reading, own: Watts) {
        self.reading = reading
        self.own = own
        rest.observe(
            .init(
                time: reading.takenAt, draw: reading.draw, energy: reading.battery?.energy,
                energyError: reading.battery?.error ?? .zero, own: own, acOnline: reading.acOnline))
    }

    // MARK: Deciding

    /// Share by which what runs may exceed the budget before a cheaper plan is asked for: budgets move with every
    /// reading, and a plan that followed them all would do nothing but switch.
    static let tolerance = 0.07

    /// Share of a joule's price that planning counts with: a budget that leaves room must not be spent on what is not
    /// worth it, nor a stream lose its place to the price's noise.
    static let priceShare = 0.8

    /// Makes a plan for all streams from what is known now.
    public mutating func decide(because trigger: Trigger, at now: MonotonicTime, wall: WallTime, utcOffset: UTCOffset) -> Decision {
        // A part of the day that begins is as good as an operator who puts another policy in force.
        let trigger = followSchedule(wall, utcOffset) && trigger == .tick ? .policy : trigger
        if reading != nil { habit.observe(acOnline: isPlugged, at: wall, utcOffset: utcOffset) }
        // Before the options are built: most ticks find that nothing has to change.
        if trigger == .tick, let latest, let plannedAt, now.since(plannedAt) < limits.dwell(for: policy), forecaster.hasData, isInTime(latest) {
            var state = latest.state
            refresh(&state, at: now, wall: wall, utcOffset: utcOffset)
            let budget = policy.budget(for: state, memory: &memory)
            let running = runningPower().watts
            let fits = budget.watts.map { running <= $0 * (1 + Self.tolerance) } ?? true
            if fits, budget.goal == latest.budget.goal, (budget.hopeless == nil) == (latest.budget.hopeless == nil) {
                let decision = Decision(trigger: trigger, budget: budget, plan: latest.plan, limits: latest.limits, changes: [], state: state)
                self.latest = decision
                return decision
            }
        }
        retrySlowUnits(at: now)
        plannedAt = now
        plannedLatency = latency
        var inputs = inputs(trigger, at: now, wall: wall, utcOffset: utcOffset)
        let outcome = inputs.derive()
        memory = outcome.memory
        lastPrice = outcome.price
        let plan = outcome.plan
        var changes: [Change] = []
        for assignment in plan.assignments {
            guard var placement = placements[assignment.stream] else { continue }
            var chosen = assignment.option.flatMap { option in
                outcome.options[assignment.stream]?.first { $0.plan.sameChoice(as: option) }
            }
            if let planned = assignment.option {
                // Behind a gate that runs, what is planned is less than what the option takes.
                let isBehind = chosen.map { $0.plan.power != planned.power || $0.plan.utilization != planned.utilization } ?? false
                placement.duty = isBehind ? placement.request.gate?.duty ?? 1 : 1
                chosen?.plan.power = planned.power
                chosen?.plan.utilization = planned.utilization
            } else {
                placement.duty = placement.request.duty { gate in plan.assignments.contains { $0.stream == gate && $0.option != nil } }
            }
            if let change = Self.change(assignment.stream, placement, to: chosen) {
                changes.append(change)
                if change.from?.plan.variant != chosen?.plan.variant || change.from?.plan.unit != chosen?.plan.unit { placement.since = now }
            }
            placement.option = chosen
            placement.reason = assignment.reason + gateText(placement)
            placement.runnerUp = assignment.runnerUp.map { Self.text($0, outcome.limits) } ?? ""
            placement.isPlaced = true
            placements[assignment.stream] = placement
        }
        // Only what changes something is recorded.
        if !changes.isEmpty, inputs.state.outlook == nil { inputs.prospect = prospect(wall, utcOffset) }
        let decision = Decision(trigger: trigger, budget: outcome.budget, plan: plan, limits: outcome.limits, changes: changes, state: outcome.state, inputs: inputs)
        latest = decision
        return decision
    }

    /// What a decision now is made from.
    private func inputs(_ trigger: Trigger, at now: MonotonicTime, wall: WallTime, utcOffset: UTCOffset) -> DecisionInputs {
        var streams = placements.keys.sorted().compactMap { id -> DecisionInputs.Stream? in
            guard let placement = placements[id] else { return nil }
            return DecisionInputs.Stream(
                request: placement.request, current: placement.option.map { DecisionInputs.Choice($0.plan) }, isPlaced: placement.isPlaced,
                since: placement.since, openedAt: openedAt[id] ?? now)
        }
        let failed = leaveOutFailed(&streams)
        return DecisionInputs(
            trigger: trigger, policyName: policyName, policy: policy, memory: memory,
            state: powerState(at: now, wall: wall, utcOffset: utcOffset), streams: streams, energy: energy,
            latency: latency, limits: limits, quarantined: failed, lastPrice: lastPrice)
    }

    /// What a stream's gate has to do with how it runs.
    private func gateText(_ placement: Placement) -> String {
        guard let gate = placement.request.gate, placement.option != nil, let other = placements[gate.stream] else { return "" }
        let name = other.request.name.isEmpty ? "stream \(gate.stream)" : other.request.name
        return placement.duty < 1
            ? "; asleep behind \(name): awake \(percent(placement.duty)) of the time" : "; its gate \(name) does not run, so that it is always awake"
    }

    /// What another policy, one with a goal, would look ahead to: a day.
    private func prospect(_ wall: WallTime, _ utcOffset: UTCOffset) -> DecisionInputs.Prospect? {
        guard forecaster.hasData else { return nil }
        let outlook = forecaster.outlook(from: Self.secondOfDay(wall, utcOffset), for: Seconds(86400))
        return .init(outlook: outlook, rest: forecaster.baseLoad, restDeviation: forecaster.baseDeviation)
    }

    private static func text(_ runnerUp: Plan.RunnerUp, _ limits: PlanLimits) -> String {
        let option = runnerUp.option
        func signed(_ value: Double, _ text: String) -> String { (value >= 0 ? "+" : "") + text }
        let utility = signed(runnerUp.utilityDifference, decimal(runnerUp.utilityDifference, places: 4)) + (limits.energyPrice > 0 ? " once its energy is paid for" : "")
        var text = "\(option.words) (quality \(decimal(option.quality, places: 3)), power \(signed(runnerUp.powerDifference.value, "\(runnerUp.powerDifference)")), utility \(utility)"
        if let left = runnerUp.dwell {
            text += "; the stream may change again in \(left)"
        } else if runnerUp.changeCost > 0, runnerUp.utilityDifference > 0 {
            text += ", less than a change must gain"
        }
        return text + ")"
    }

    private static func change(_ id: UInt64, _ placement: Placement, to chosen: RunOption?) -> Change? {
        guard placement.isPlaced else { return Change(stream: id, from: nil, to: chosen, isFirst: true) }
        switch (placement.option, chosen) {
        case (nil, nil): return nil
        case (let old?, let new?) where old.plan.sameChoice(as: new.plan): return nil
        default: return Change(stream: id, from: placement.option, to: chosen, isFirst: false)
        }
    }

    private func powerState(at now: MonotonicTime, wall: WallTime, utcOffset: UTCOffset) -> PowerState {
        let (restPower, restDeviation) = rest.estimate ?? (.zero, .zero)
        var state = PowerState(
            battery: reading?.battery, acOnline: reading?.acOnline ?? false, draw: reading?.draw, own: own,
            rest: restPower, restDeviation: restDeviation, temperature: reading?.temperature,
            wall: wall, utcOffset: utcOffset, monotonic: now)
        refresh(&state, at: now, wall: wall, utcOffset: utcOffset)
        return state
    }

    /// Brings what moves with time and readings up to date.
    private func refresh(_ state: inout PowerState, at now: MonotonicTime, wall: WallTime, utcOffset: UTCOffset) {
        state.monotonic = now
        state.wall = wall
        state.utcOffset = utcOffset
        state.acOnline = reading?.acOnline ?? false
        state.draw = reading?.draw
        state.temperature = reading?.temperature
        state.tripMargin = reading?.tripMargin
        state.passiveMargin = reading?.passiveMargin
        state.own = own
        state.battery = reading?.battery
        if case .lifetime(let lifetime) = policy.kind, lifetime.end == .nextCharge { state.nextCharge = habit.next(at: wall, utcOffset: utcOffset) }
        guard forecaster.hasData, var battery = reading?.battery, let energy = charge.energy,
            let left = policy.secondsLeft(at: now, wall: wall, utcOffset: utcOffset, memory: memory, nextCharge: state.nextCharge), let reading
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
}
