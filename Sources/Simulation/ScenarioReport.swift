import Units

/// A replay beside the clairvoyant optimum, as the scenario format asks for it.
public struct ScenarioReport: Sendable {
    public var name: String
    public var controller: String
    public var outcome: ScenarioOutcome
    /// nil: no controller could meet the goal.
    public var oracle: Double?
    public var baselines: [(name: String, outcome: ScenarioOutcome)] = []

    public init(name: String, controller: String, outcome: ScenarioOutcome, oracle: Double?) {
        self.name = name
        self.controller = controller
        self.outcome = outcome
        self.oracle = oracle
    }

    /// Utility over the optimum; nil without an optimum.
    public var ratio: Double? { oracle.flatMap { $0 > 0 ? outcome.utility / $0 : nil } }

    /// Planner times, CPU time, as upper bounds in steps (50, 200, 1000, ... us), so that the same scenario gives the same bytes
    /// on a machine that is not otherwise far slower, whatever else runs there.
    static func step(_ microseconds: Double) -> Int {
        [50, 200, 1000, 5000, 20_000, 100_000].first { microseconds <= Double($0) } ?? 1_000_000
    }

    /// One JSON object, the same bytes for the same scenario and controller.
    public var json: String {
        var fields = [
            ("name", Self.quoted(name)), ("controller", Self.quoted(controller)),
            ("utility", decimal(outcome.utility, places: 6)),
            ("oracle_utility", oracle.map { decimal($0, places: 6) } ?? "null"),
            ("ratio", ratio.map { decimal($0, places: 6) } ?? "null"),
            ("oracle_feasible", oracle != nil ? "true" : "false"),
        ]
        fields += Self.fields(outcome)
        fields += [
            ("planner_us_p50", "\(Self.step(outcome.plannerTime(0.5)))"),
            ("planner_us_p99", "\(Self.step(outcome.plannerTime(0.99)))"),
            (
                "notices",
                "[" + outcome.notices.map { "{\"time_s\":\(decimal($0.time, places: 3)),\"text\":\(Self.quoted($0.text))}" }.joined(separator: ",") + "]"
            ),
        ]
        if !baselines.isEmpty {
            let entries = baselines.map { baseline in
                Self.quoted(baseline.name) + ":{"
                    + ([("utility", decimal(baseline.outcome.utility, places: 6))] + Self.fields(baseline.outcome))
                    .map { "\"\($0.0)\":\($0.1)" }.joined(separator: ",") + "}"
            }
            fields.append(("baselines", "{" + entries.joined(separator: ",") + "}"))
        }
        return "{" + fields.map { "\"\($0.0)\":\($0.1)" }.joined(separator: ",") + "}"
    }

    private static func fields(_ outcome: ScenarioOutcome) -> [(String, String)] {
        [
            ("goal_met", outcome.goalMet ? "true" : "false"),
            ("died_at_s", outcome.diedAt.map { decimal($0, places: 3) } ?? "null"),
            ("end_percent", decimal(outcome.endPercent, places: 4)),
            ("energy_wh", decimal(outcome.energy, places: 6)),
            ("inference_wh", decimal(outcome.inference, places: 6)),
            ("switches", "\(outcome.switches)"),
            ("switches_per_stream_hour", decimal(outcome.switchesPerStreamHour, places: 3)),
            ("loads", "\(outcome.loads)"),
            ("floor_violation_s", decimal(outcome.floorViolation, places: 3)),
            ("late_s", decimal(outcome.late, places: 3)),
            ("paused_s", decimal(outcome.paused, places: 3)),
            ("critical_paused_s", decimal(outcome.criticalPaused, places: 3)),
            ("decisions", "\(outcome.decisions)"),
        ]
    }

    static func quoted(_ text: String) -> String {
        var result = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": result += "\\\""
            case "\\": result += "\\\\"
            case _ where scalar.value < 0x20:
                let hex = String(scalar.value, radix: 16)
                result += "\\u" + String(repeating: "0", count: 4 - hex.count) + hex
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result + "\""
    }

    /// Lines for people.
    public var lines: [String] {
        var lines = [
            "\(name) under \(controller)",
            "  utility    \(decimal(outcome.utility, places: 4))"
                + (oracle.map { " of \(decimal($0, places: 4)) with perfect knowledge (ratio \(decimal(ratio ?? 0, places: 4)))" }
                    ?? " (no controller could meet the goal)"),
            "  goal       " + (outcome.goalMet ? "met" : "missed") + (outcome.diedAt.map { ", empty after \(clockText($0))" } ?? "")
                + ", \(decimal(outcome.endPercent, places: 1)) % left",
            "  energy     \(decimal(outcome.energy, places: 3)) Wh, \(decimal(outcome.inference, places: 3)) Wh of it inference",
            "  switches   \(outcome.switches) (\(decimal(outcome.switchesPerStreamHour, places: 2)) per stream and hour)",
            "  paused     \(clockText(outcome.paused)), critical \(clockText(outcome.criticalPaused)), late \(clockText(outcome.late)), below floor \(clockText(outcome.floorViolation))",
        ]
        for notice in outcome.notices { lines.append("  at \(clockText(notice.time)): \(notice.text)") }
        for baseline in baselines {
            lines.append(
                "  beside \(baseline.name): utility \(decimal(baseline.outcome.utility, places: 4)), goal \(baseline.outcome.goalMet ? "met" : "missed")")
        }
        return lines
    }
}
