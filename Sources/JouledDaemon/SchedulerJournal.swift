import DecisionRecords
import Decisions
import EnergyModel
import Planner
import PowerPolicy
import Systemd
import Units

// What the journal hears of decisions, and options in words.
extension Scheduler {
    /// Journals a decision's inputs, once, and each change of plan that it made. A decision that changes nothing is not journaled.
    func record(_ decision: DecisionEngine.Decision, at now: MonotonicTime) {
        guard !decision.changes.isEmpty else { return }
        let plan = decisionCount + 1
        for change in decision.changes { record(change, of: decision, plan: plan, at: now) }
        guard let inputs = decision.inputs, decisionCount >= plan else { return }
        let record = DecisionRecord(number: plan, inputs: inputs, outcome: .init(budget: decision.budget, plan: decision.plan))
        // For replays, not for people: below what a terminal is told.
        journal.send(
            JournalRecord(
                .debug, "Inputs of decision \(plan)", messageID: MessageID.decisionInputs,
                fields: [.init(JournalFields.plan, "\(plan)"), .init(JournalFields.inputs, record.text)]))
    }

    private func record(_ change: DecisionEngine.Change, of decision: DecisionEngine.Decision, plan: Int, at now: MonotonicTime) {
        guard let stream = streams[change.stream], let placement = engine.placements[change.stream] else { return }
        decisionCount += 1
        let entry = DecisionEntry(
            number: decisionCount, plan: plan, at: now.since(startedAt), change: change, decision: decision, placement: placement,
            stream: stream, charge: lastReading?.chargeFraction)
        if history.count == Self.historyLimit { history.removeFirst() }
        history.append(entry)
        remember(entry, at: now)
        journal.send(entry.journalRecord(policy: engine.policyName))
    }

    /// Says at once, and once, that the goal cannot be met, or that it can be met again.
    func journalGoal(_ decision: DecisionEngine.Decision) {
        guard decision.budget.goal != goal else { return }
        let wasInfeasible = goal == .infeasible
        goal = decision.budget.goal
        if goal == .infeasible {
            journal.send(JournalRecord(.warning, decision.budget.reason, messageID: MessageID.goalChanged, fields: budgetFields(decision)))
        } else if wasInfeasible {
            journal.send(JournalRecord(.notice, "The goal can be met again: \(decision.budget.reason)", messageID: MessageID.goalChanged, fields: budgetFields(decision)))
        }
    }

    /// Says when the schedule's part of the day has changed.
    func journalSchedule(from before: String?) {
        let now = engine.scheduleEntry
        guard now != before else { return }
        let text = now.map { "begins its part of the day '\($0)'" } ?? "ends its part of the day '\(before ?? "")'"
        journal.send(
            JournalRecord(
                .notice, "Policy \(engine.policyName) \(text)", messageID: MessageID.policyChanged,
                fields: [.init("JOULED_POLICY", engine.policyName), .init("JOULED_SCHEDULE", now ?? "")]))
    }

    private func budgetFields(_ decision: DecisionEngine.Decision) -> [JournalRecord.Field] {
        [
            .init("JOULED_POLICY", engine.policyName),
            .init("JOULED_BUDGET_W", decision.budget.watts.map { decimal($0.value, places: 6) } ?? "unlimited"),
        ]
    }

    static func text(_ option: RunOption) -> String { option.plan.words }
}
