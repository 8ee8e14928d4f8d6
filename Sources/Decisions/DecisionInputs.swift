import EnergyModel
import Planner
import PowerPolicy
import Units

/// Everything that a decision is made from; whoever has it can make the decision again.
///
/// `derive` is what the engine itself calls, so a decision derived from recorded inputs is the decision that was made, to the
/// last bit.
public struct DecisionInputs: Sendable {
    /// A stream, and what it ran before the decision.
    public struct Stream: Sendable, Equatable {
        public var request: StreamRequest
        /// nil: paused, or not placed yet.
        public var current: Choice?
        /// False until the first decision placed it.
        public var isPlaced: Bool
        /// When the variant or unit was last changed.
        public var since: MonotonicTime
        public var openedAt: MonotonicTime

        public init(request: StreamRequest, current: Choice?, isPlaced: Bool, since: MonotonicTime, openedAt: MonotonicTime) {
            self.request = request
            self.current = current
            self.isPlaced = isPlaced
            self.since = since
            self.openedAt = openedAt
        }
    }

    /// What tells one option of a stream from another, without its figures.
    public struct Choice: Sendable, Hashable {
        public var variant: String
        public var unit: String
        /// Every how many hops a window is run.
        public var cadence: Int
        /// Windows per wake-up.
        public var coalescing: Int

        public init(variant: String, unit: String, cadence: Int, coalescing: Int) {
            self.variant = variant
            self.unit = unit
            self.cadence = cadence
            self.coalescing = coalescing
        }

        public init(_ option: PlanOption) {
            self.init(variant: option.variant, unit: option.unit, cadence: option.cadence, coalescing: option.coalescing)
        }
    }

    /// What lies ahead, by the forecast, where the policy in force does not ask; for asking what another would have decided.
    public struct Prospect: Sendable, Equatable {
        public var outlook: Outlook
        public var rest: Watts
        public var restDeviation: Watts
        public init(outlook: Outlook, rest: Watts, restDeviation: Watts) {
            self.outlook = outlook
            self.rest = rest
            self.restDeviation = restDeviation
        }
    }

    public var trigger: DecisionEngine.Trigger
    public var policyName: String
    public var policy: PowerPolicy
    /// What the policy remembered of the decisions before.
    public var memory: PolicyMemory
    /// Power as it was known. `least`, `rungs` and `ordinary` follow from the streams and are not read.
    public var state: PowerState
    /// By id.
    public var streams: [Stream]
    public var energy: EnergyModel
    public var latency: LatencyModel
    public var limits: DecisionEngine.Limits
    /// Variants that failed, as `model/variant`.
    public var quarantined: Set<String>
    /// Where the search for a joule's price begins: the price of the decision before, utility per joule.
    public var lastPrice: Double
    public var prospect: Prospect?

    public init(
        trigger: DecisionEngine.Trigger, policyName: String, policy: PowerPolicy, memory: PolicyMemory, state: PowerState,
        streams: [Stream], energy: EnergyModel, latency: LatencyModel, limits: DecisionEngine.Limits, quarantined: Set<String>,
        lastPrice: Double, prospect: Prospect? = nil
    ) {
        self.trigger = trigger
        self.policyName = policyName
        self.policy = policy
        self.memory = memory
        self.state = state
        self.streams = streams
        self.energy = energy
        self.latency = latency
        self.limits = limits
        self.quarantined = quarantined
        self.lastPrice = lastPrice
        self.prospect = prospect
    }
}

extension PowerPolicy {
    /// The policy's rules for the request's model, with what the request itself asks for: a floor can only be raised.
    func rules(for request: StreamRequest) -> ModelRules {
        var rules = rules(for: request.model)
        rules.floor = max(rules.floor, request.floor ?? 0)
        rules.weight = request.weight ?? rules.weight
        rules.critical = request.critical ?? rules.critical
        return rules
    }
}
