import DecisionRecords
import Decisions
import EnergyModel
import ModelStore
import Planner
import PowerPolicy
import StreamSessions
import Systemd
import Units
import Wire

/// One change of plan, as journal and clients see it.
struct DecisionEntry: Sendable {
    let number: Int
    /// Number of the first change that the same decision made: where its inputs are.
    let plan: Int
    /// Since the daemon started.
    let at: Seconds
    let trigger: String
    let stream: UInt64
    let streamName: String
    let model: String
    let from: String
    let to: String
    let budget: Watts?
    let charge: Double?
    let predicted: Watts
    let deviation: Watts
    let quality: Double
    let bindingConstraint: String
    let utilityPerWatt: Double
    let runnerUp: String
    let reason: String
    let budgetReason: String
    /// Share of time that it is reckoned to be awake, behind a gate; nil without one.
    let duty: Double?
    let gate: UInt64?
    private let streamFields: [JournalRecord.Field]

    init(
        number: Int, plan: Int, at: Seconds, change: DecisionEngine.Change, decision: DecisionEngine.Decision,
        placement: DecisionEngine.Placement, stream: OpenStream, charge: Double?
    ) {
        self.number = number
        self.plan = plan
        self.at = at
        trigger = decision.trigger.rawValue
        self.stream = change.stream
        streamName = stream.displayName
        model = stream.model.bundle.manifest.name
        from = change.isFirst ? "none" : change.from.map(Scheduler.text) ?? "paused"
        to = change.to.map(Scheduler.text) ?? "paused"
        budget = decision.budget.watts
        self.charge = charge
        predicted = change.to?.plan.power ?? .zero
        // Energy and power differ by the time per window, so their relative errors are the same.
        let relative = change.to.map { $0.energy.joules.value > 0 ? $0.energy.standardDeviation / $0.energy.joules : 0 } ?? 0
        deviation = predicted * relative
        quality = change.to?.plan.quality ?? 0
        bindingConstraint = decision.plan.bindingConstraint.description
        utilityPerWatt = decision.plan.marginalUtilityPerWatt
        runnerUp = placement.runnerUp
        reason = placement.reason
        budgetReason = decision.budget.reason
        gate = stream.gate?.contract.stream
        duty = stream.gate == nil ? nil : placement.duty
        streamFields = stream.journalFields
    }

    var json: JSONObject {
        [
            "number": JSONValue(number), "atSeconds": .double(at.value), "trigger": .string(trigger),
            "stream": JSONValue(stream), "streamName": .string(streamName), "model": .string(model),
            "from": .string(from), "to": .string(to), "budgetWatts": budget.map { .double($0.value) } ?? .null,
            "charge": charge.map { .double($0) } ?? .null, "predictedWatts": .double(predicted.value),
            "quality": .double(quality), "bindingConstraint": .string(bindingConstraint), "runnerUp": .string(runnerUp),
            "reason": .string(reason), "gate": gate.map { JSONValue($0) } ?? .null, "duty": duty.map { .double($0) } ?? .null,
        ]
    }

    func journalRecord(policy: String) -> JournalRecord {
        JournalRecord(
            .notice, "Stream \(stream) (\(streamName)): \(from) -> \(to): \(reason)", messageID: MessageID.planChanged,
            fields: streamFields + (duty.map { [.init("JOULED_DUTY", decimal($0, places: 4))] } ?? []) + [
                .init("JOULED_DECISION", "\(number)"),
                .init(JournalFields.plan, "\(plan)"),
                .init("JOULED_TRIGGER", trigger),
                .init("JOULED_FROM", from),
                .init("JOULED_TO", to),
                .init("JOULED_POLICY", policy),
                .init("JOULED_BUDGET_W", budget.map { decimal($0.value, places: 6) } ?? "unlimited"),
                .init("JOULED_BUDGET_REASON", budgetReason),
                .init("JOULED_BATTERY_PERCENT", charge.map { decimal($0 * 100, places: 1) } ?? "unknown"),
                .init("JOULED_PREDICTED_W", decimal(predicted.value, places: 6)),
                .init("JOULED_PREDICTED_DEVIATION_W", decimal(deviation.value, places: 6)),
                .init("JOULED_QUALITY", decimal(quality, places: 4)),
                .init("JOULED_BINDING_CONSTRAINT", bindingConstraint),
                .init("JOULED_UTILITY_PER_WATT", decimal(utilityPerWatt, places: 4)),
                .init("JOULED_RUNNER_UP", runnerUp),
            ])
    }
}
