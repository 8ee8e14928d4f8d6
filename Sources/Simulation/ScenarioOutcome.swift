import Decisions
import PowerPolicy
import Units

/// How a replay went, in the figures of the scenario format.
public struct ScenarioOutcome: Sendable {
    /// A moment of the replay, for plots.
    public struct Moment: Sendable, Equatable {
        public var time: Double
        /// True charge, 0 to 1.
        public var charge: Double
        /// nil: no limit.
        public var budget: Double?
        public var inference: Double
        /// What the controller believed that inference drew before it decided, and one standard deviation; truth beside it.
        public var believed: Double
        public var believedDeviation: Double
        public var believedTruth: Double
        public var base: Double
        /// What each stream runs; empty where it does not.
        public var running: [String]
    }
    /// What the daemon would have told the operator.
    public struct Notice: Sendable, Equatable {
        public var time: Double
        public var text: String
    }

    /// Utility, 0 to 1.
    public internal(set) var utility = 0.0
    public internal(set) var goalMet = false
    public internal(set) var diedAt: Double?
    public internal(set) var endPercent = 0.0
    /// All energy that was drawn, in Wh, and inference's part of it.
    public internal(set) var energy = 0.0
    public internal(set) var inference = 0.0
    public internal(set) var switches = 0
    public internal(set) var switchesPerStreamHour = 0.0
    public internal(set) var floorViolation = 0.0
    public internal(set) var paused = 0.0
    public internal(set) var criticalPaused = 0.0
    public internal(set) var late = 0.0
    public internal(set) var loads = 0
    public internal(set) var decisions = 0
    public internal(set) var moments: [Moment] = []
    public internal(set) var notices: [Notice] = []
    /// What must always hold and did not; looked at only on days with faults.
    public internal(set) var broken: [String] = []
    /// Energy that the accounts of income, base load and inference do not explain, as a share of the battery.
    public internal(set) var imbalance = 0.0
    /// Decisions that changed something, where they are asked for.
    public internal(set) var recorded: [DecisionEngine.Decision] = []
    /// When streams ended, where decisions are recorded.
    public internal(set) var ended: [(stream: UInt64, at: MonotonicTime)] = []
    /// What plots are drawn from, where it is asked for.
    public internal(set) var track: ScenarioTrack?
    /// Microseconds of CPU time of each decision.
    public internal(set) var plannerTimes: [Double] = []
    private var goal = Budget.Goal.none

    /// The `share` quantile (0 to 1) of the decisions' times, in microseconds.
    public func plannerTime(_ share: Double) -> Double {
        let sorted = plannerTimes.sorted()
        guard !sorted.isEmpty else { return 0 }
        return sorted[min(sorted.count - 1, Int(share * Double(sorted.count)))]
    }

    mutating func note(
        _ decision: DecisionEngine.Decision, _ twin: DeviceTwin, changed: Bool, believed: (watts: Watts, deviation: Watts), truth: Double
    ) {
        if decision.budget.goal != goal {
            if decision.budget.goal == .infeasible || goal == .infeasible {
                notices.append(.init(time: twin.time, text: decision.budget.reason))
            }
            goal = decision.budget.goal
        }
        guard changed || twin.time - (moments.last?.time ?? -.infinity) >= 300 else { return }
        moments.append(
            Moment(
                time: twin.time, charge: twin.energy / twin.capacity, budget: decision.budget.watts?.value,
                inference: twin.inferencePower, believed: believed.watts.value, believedDeviation: believed.deviation.value,
                believedTruth: truth, base: twin.currentRow.base.value, running: twin.scenario.streams.indices.map(twin.running)))
    }

    mutating func close(_ twin: DeviceTwin, _ scenario: Scenario) {
        let score = twin.score
        utility = score.asked > 0 ? score.earned / score.asked : 0
        diedAt = score.diedAt
        endPercent = twin.energy / twin.capacity * 100
        goalMet = diedAt == nil && twin.energy >= twin.capacity * scenario.goal.reserve * (1 - 1e-12)
        energy = (score.inference + score.base) / 3600
        inference = score.inference / 3600
        switches = score.switches
        switchesPerStreamHour = score.streamSeconds > 0 ? Double(score.switches) / (score.streamSeconds / 3600) : 0
        floorViolation = score.floorViolation
        let initial = twin.capacity * scenario.battery.initialCharge
        imbalance = (initial + score.stored - score.base - score.inference + score.overdrawn - twin.energy) / twin.capacity
        paused = score.paused
        criticalPaused = score.criticalPaused
        late = score.late
        loads = score.loads
    }
}
