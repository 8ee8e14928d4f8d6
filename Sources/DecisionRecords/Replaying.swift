import Decisions
import Glibc
import Planner
import PowerPolicy
import Units

extension DecisionRecord {
    /// Makes the decision again from its inputs.
    /// - Returns: what comes out differently from what was recorded, one sentence each; empty if it is the same to the last bit.
    public func replay() -> [String] { differences(from: Outcome(inputs.derive())) }

    func differences(from derived: Outcome) -> [String] {
        var differences: [String] = []
        if !isIntact { differences.append("the record was altered after it was written: its checksum does not match") }
        if !Self.same(derived.budget?.value, outcome.budget?.value) {
            differences.append("budget: recorded \(Self.text(outcome.budget)), derived \(Self.text(derived.budget))")
        }
        if derived.goal != outcome.goal { differences.append("goal: recorded \(outcome.goal), derived \(derived.goal)") }
        for id in Set(outcome.choices.keys).union(derived.choices.keys).sorted() {
            guard let recorded = outcome.choices[id] else {
                differences.append("\(name(of: id)): not in the recorded plan")
                continue
            }
            guard let new = derived.choices[id] else {
                differences.append("\(name(of: id)): in the recorded plan, but not among the inputs")
                continue
            }
            if new != recorded { differences.append("\(name(of: id)): recorded \(Self.text(recorded)), derived \(Self.text(new))") }
        }
        if !Self.same(derived.totalPower.value, outcome.totalPower.value) {
            differences.append("power of the plan: recorded \(Self.text(outcome.totalPower)), derived \(Self.text(derived.totalPower))")
        }
        if !Self.same(derived.utility, outcome.utility) { differences.append("utility: recorded \(outcome.utility), derived \(derived.utility)") }
        return differences
    }

    /// How a stream is called.
    public func name(of id: UInt64) -> String {
        let name = inputs.streams.first { $0.request.id == id }.map { $0.request.name.isEmpty ? $0.request.model : $0.request.name }
        return "stream \(id)" + (name.map { " (\($0))" } ?? "")
    }

    /// Local date and time of the decision, `YYYY-MM-DD HH:MM:SS`.
    public var clock: String {
        let local = (inputs.state.wall.secondsSince1970 + inputs.state.utcOffset.now.value).rounded(.down)
        guard local.isFinite, local.magnitude < 1e15 else { return "unknown time" }
        var seconds = time_t(local)
        var parts = tm()
        guard gmtime_r(&seconds, &parts) != nil else { return "unknown time" }
        func two(_ number: Int32) -> String { number < 10 ? "0\(number)" : "\(number)" }
        return "\(1900 + Int(parts.tm_year))-\(two(parts.tm_mon + 1))-\(two(parts.tm_mday)) \(two(parts.tm_hour)):\(two(parts.tm_min)):\(two(parts.tm_sec))"
    }

    private static func same(_ left: Double?, _ right: Double?) -> Bool { left?.bitPattern == right?.bitPattern }

    /// For people, and with all digits where those are what differs.
    private static func text(_ watts: Watts?) -> String { watts.map { "\($0) (\($0.value) W)" } ?? "no limit" }

    public static func text(_ choice: DecisionInputs.Choice?) -> String {
        guard let choice else { return "paused" }
        let pace = choice.cadence == 1 ? "" : ", 1 window in \(choice.cadence)"
        return "\(choice.variant) on \(choice.unit)\(pace), \(choice.coalescing) per wake-up"
    }
}

extension DecisionRecord.Outcome {
    init(_ outcome: DecisionInputs.Outcome) { self.init(budget: outcome.budget, plan: outcome.plan) }
}
