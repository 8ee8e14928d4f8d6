import EnergyModel
import Planner
import PowerPolicy
import Units

// What the engine takes, keeps of each stream, and answers.
extension DecisionEngine {
    /// One look at the battery, as the engine needs it.
    public struct Reading: Sendable, Equatable {
        /// nil without a battery.
        public var battery: PowerState.Battery?
        public var draw: Watts?
        public var acOnline: Bool
        public var temperature: Celsius?
        /// How far the device is below the nearest hot or critical trip point, negative past it; and below the nearest passive one.
        public var tripMargin: Celsius?
        public var passiveMargin: Celsius?
        /// When the gauge took the reading.
        public var takenAt: MonotonicTime

        public init(
            battery: PowerState.Battery?, draw: Watts?, acOnline: Bool, temperature: Celsius?, tripMargin: Celsius? = nil,
            passiveMargin: Celsius? = nil, takenAt: MonotonicTime
        ) {
            self.battery = battery
            self.draw = draw
            self.acOnline = acOnline
            self.temperature = temperature
            self.tripMargin = tripMargin
            self.passiveMargin = passiveMargin
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
        /// Share of time that it is reckoned to be awake; the option's power and time are of it. 1 but behind a gate that runs.
        public var duty = 1.0
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
        /// What the plan had to respect.
        public var limits: PlanLimits
        public var changes: [Change]
        public var state: PowerState
        /// What it was made from; nil where nothing had to be planned again.
        public var inputs: DecisionInputs?
    }
}
