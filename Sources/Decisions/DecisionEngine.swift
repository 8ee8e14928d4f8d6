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
        /// Time that a stream keeps a variant before a better one is worth changing to.
        public var minimumDwell: Seconds
        /// Time over which the draw of the rest of the device is averaged.
        public var restWindow: Seconds
        public init(
            unitUtilization: Double = 0.9, residentBytes: Int = 512 << 20, minimumDwell: Seconds = Seconds(10),
            restWindow: Seconds = Seconds(900)
        ) {
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
    public private(set) var energy = EnergyModel()
    public private(set) var rest: RestEstimator
    /// By stream id.
    public private(set) var placements: [UInt64: Placement] = [:]
    public private(set) var latest: Decision?
    public let limits: Limits
    /// Quality that a change of variant must gain: below it estimates' noise would make plans flap.
    static let switchCost = 0.004
    /// Quality that a change of pace alone must gain.
    static let retimeCost = 0.002
    private var memory = PolicyMemory()
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
        placements[request.id] = Placement(
            request: request, option: nil, reason: "not planned yet", runnerUp: "", since: now, rules: rules(for: request))
    }

    public mutating func close(_ id: UInt64) { placements[id] = nil }

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

    /// Makes a plan for all streams from what is known now.
    public mutating func decide(because trigger: Trigger, at now: MonotonicTime, wall: WallTime, utcOffset: Seconds) -> Decision {
        let ids = placements.keys.sorted()
        var options: [UInt64: [RunOption]] = [:]
        for id in ids {
            guard let request = placements[id]?.request else { continue }
            options[id] = RunOption.all(for: request, by: energy).filter { !quarantined.contains("\(request.model)/\($0.plan.variant)") }
        }
        let state = powerState(options: options, at: now, wall: wall, utcOffset: utcOffset)
        let budget = policy.budget(for: state, memory: &memory)
        let demands = ids.compactMap { id in demand(id, options[id] ?? [], at: now) }
        let plan = Planner.plan(demands, limits: planLimits(budget))
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
                for profile in variant.profiles { units[profile.unit] = limits.unitUtilization }
            }
        }
        return PlanLimits(
            budget: budget.watts, unitUtilization: units, residentBytes: limits.residentBytes,
            // With energy to spare nothing is gained by staying with less than the best.
            switchCost: budget.watts == nil ? 0 : Self.switchCost, retimeCost: budget.watts == nil ? 0 : Self.retimeCost, minimumDwell: limits.minimumDwell)
    }

    private func powerState(options: [UInt64: [RunOption]], at now: MonotonicTime, wall: WallTime, utcOffset: Seconds) -> PowerState {
        let (restPower, restDeviation) = rest.estimate ?? (.zero, .zero)
        var least = Watts.zero
        for (id, placement) in placements where placement.rules.critical {
            let cheapest = (options[id] ?? []).filter { $0.plan.variantQuality >= placement.rules.floor }.map(\.plan.power).min()
            least += cheapest ?? .zero
        }
        return PowerState(
            battery: reading?.battery, acOnline: reading?.acOnline ?? false, draw: reading?.draw, own: own,
            rest: restPower, restDeviation: restDeviation, least: least, temperature: reading?.temperature,
            wall: wall, utcOffset: utcOffset, monotonic: now)
    }
}
