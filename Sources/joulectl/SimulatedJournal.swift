import DecisionRecords
import Decisions
import PowerPolicy
import Simulation
import Units

/// The journal that the daemon would have written on a simulated day, as far as a replay reads it.
enum SimulatedJournal {
    /// 128 bits in hexadecimal digits, the same for the same name and seed.
    private static func boot(_ scenario: Scenario) -> String {
        ["high", "low"].map { Checksum.text(of: "\($0) \(scenario.seed) \(scenario.name)".utf8) }.joined()
    }

    /// In the form of `journalctl -o export`, in the order of time.
    /// The scenario's name and seed stand for the boot, so that journals of several days in one are told apart.
    static func bytes(of outcome: ScenarioOutcome, _ scenario: Scenario) -> [UInt8] {
        let boot = boot(scenario)
        var entries: [(at: MonotonicTime, rank: Int, fields: [(name: String, value: String)])] = []
        var number = 1
        for decision in outcome.recorded {
            guard let inputs = decision.inputs else { continue }
            let record = DecisionRecord(number: number, inputs: inputs, outcome: .init(budget: decision.budget, plan: decision.plan))
            let wall = inputs.state.wall.secondsSince1970
            entries.append(
                (
                    inputs.state.monotonic, 1,
                    [
                        ("__REALTIME_TIMESTAMP", "\(UInt64(max(0, wall * 1e6)))"), ("MESSAGE_ID", JournalFields.inputsMessage),
                        ("MESSAGE", "Inputs of decision \(number)"), (JournalFields.plan, "\(number)"), (JournalFields.inputs, record.text),
                    ]
                ))
            number += decision.changes.count
        }
        for end in outcome.ended {
            entries.append((end.at, 0, [("MESSAGE_ID", JournalFields.closedMessage), (JournalFields.stream, "\(end.stream)")]))
        }
        // A stream's end comes before the decision that it leads to.
        entries.sort { ($0.at, $0.rank) < ($1.at, $1.rank) }
        return entries.flatMap { JournalExport.text(of: [("__MONOTONIC_TIMESTAMP", "\($0.at.nanoseconds / 1000)"), ("_BOOT_ID", boot)] + $0.fields) }
    }
}
