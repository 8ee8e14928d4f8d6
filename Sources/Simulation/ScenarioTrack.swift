import Decisions
import Planner
import PowerPolicy
import Units

/// What plots of a replay are drawn from.
public struct ScenarioTrack: Sendable, Equatable {
    /// The device at a time, until the next sample.
    public struct Sample: Sendable, Equatable {
        public var time: Double
        /// True charge, 0 to 1.
        public var charge: Double
        /// nil: no limit, or a baseline, which has none.
        public var budget: Double?
        public var base: Double
        /// True power of each stream.
        public var watts: [Double]
        /// Quality x cadence quality of what each stream answers on time and at or above its floor; nil while it is not there.
        public var quality: [Double?]
        /// What each stream runs; empty where it does not.
        public var running: [String]
    }
    /// A change of plan.
    public struct Change: Sendable, Equatable {
        public var time: Double
        /// Index of the stream.
        public var stream: Int
        public var trigger: String
        public var from: String
        public var to: String
        public var reason: String
        public var budgetReason: String
    }

    public private(set) var samples: [Sample] = []
    public private(set) var changes: [Change] = []
    private var budget: Double?

    /// More samples than a plot has columns are of no use, except where something changed.
    static let columns = 900.0

    /// Takes a sample, if it is time for one.
    mutating func sample(_ twin: DeviceTwin, isChange: Bool) {
        let last = samples.last?.time ?? -.infinity
        guard isChange || twin.time - last >= twin.scenario.goal.until.value / Self.columns else { return }
        let streams = twin.scenario.streams.indices
        let sample = Sample(
            time: twin.time, charge: twin.energy / twin.capacity, budget: twin.alive ? budget : 0, base: twin.alive ? twin.currentRow.base.value : 0,
            watts: streams.map(twin.power), quality: streams.map(twin.quality), running: streams.map(twin.running))
        // What is decided at a time holds from then on.
        if last == twin.time { samples[samples.count - 1] = sample } else { samples.append(sample) }
    }

    mutating func note(_ decision: DecisionEngine.Decision, _ engine: DecisionEngine, at time: Double) {
        budget = decision.budget.watts?.value
        for change in decision.changes {
            changes.append(
                Change(
                    time: time, stream: Int(change.stream) - 1, trigger: decision.trigger.rawValue,
                    from: change.isFirst ? "" : Self.text(change.from), to: Self.text(change.to), reason: engine.placements[change.stream]?.reason ?? "",
                    budgetReason: decision.budget.reason))
        }
    }

    private static func text(_ option: RunOption?) -> String {
        option.map { "\($0.plan.variant)/\($0.plan.unit)/\($0.plan.cadence)" } ?? "paused"
    }
}

extension DeviceTwin {
    private func choice(_ stream: Int) -> Choice? { alive && isLive(stream) ? choices[stream] : nil }

    /// True power of a stream.
    func power(_ stream: Int) -> Double { choice(stream).map { draw(of: $0, by: stream) } ?? 0 }

    /// What a stream earns; nil while it is not there.
    func quality(_ stream: Int) -> Double? {
        guard isLive(stream) else { return nil }
        let contract = scenario.streams[stream]
        guard let choice = choice(stream), onTime[stream], scenario.options[choice.option].quality >= contract.floor else { return 0 }
        return scenario.options[choice.option].quality * contract.cadenceQuality[choice.cadence]
    }

    /// What a stream runs, as variant, unit and cadence; empty where it does not.
    func running(_ stream: Int) -> String {
        guard let choice = choice(stream) else { return "" }
        let option = scenario.options[choice.option]
        return "\(option.variant)/\(option.unit)/\(scenario.streams[stream].cadences[choice.cadence])"
    }
}
