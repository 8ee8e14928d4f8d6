import Decisions
import Planner
import PowerPolicy
import Units
import Wire

/// A decision as the journal keeps it: what it was made from, and what came of it.
///
/// The text is one JSON object (`JOULED_INPUTS`), described in docs/replay.md. Numbers are the shortest digits that read back
/// as the same double, so that a decision made again from a record is the same to the last bit.
public struct DecisionRecord: Sendable {
    /// What was decided.
    public struct Outcome: Sendable, Equatable {
        /// nil: no limit.
        public var budget: Watts?
        public var goal: Budget.Goal
        /// By stream; nil: paused.
        public var choices: [UInt64: DecisionInputs.Choice?]
        public var totalPower: Watts
        /// Sum of weight x quality.
        public var utility: Double

        public init(budget: Budget, plan: Plan) {
            self.budget = budget.watts
            goal = budget.goal
            choices = Dictionary(uniqueKeysWithValues: plan.assignments.map { ($0.stream, $0.option.map(DecisionInputs.Choice.init)) })
            totalPower = plan.totalPower
            utility = plan.utility
        }

        init(budget: Watts?, goal: Budget.Goal, choices: [UInt64: DecisionInputs.Choice?], totalPower: Watts, utility: Double) {
            self.budget = budget
            self.goal = goal
            self.choices = choices
            self.totalPower = totalPower
            self.utility = utility
        }
    }

    /// The newest version of the text that this code reads. It writes the oldest that can say what is to be said: 2 has `time.utcChange` and streams'
    /// `gate` besides, 3 `power.belowTrip`, `power.belowPassiveTrip` and what a policy makes of it.
    public static let version = 3

    /// Number of the first change of plan that the decision made; counts on over restarts.
    public var number: Int
    public var inputs: DecisionInputs
    public var outcome: Outcome
    /// False if the text is not as it was written: its checksum does not match.
    public private(set) var isIntact = true

    public init(number: Int, inputs: DecisionInputs, outcome: Outcome) {
        self.number = number
        self.inputs = inputs
        self.outcome = outcome
    }

    /// The oldest version that can say it all.
    private var leastVersion: Int {
        if inputs.state.tripMargin != nil || inputs.state.passiveMargin != nil || inputs.policy.thermal.map({ !$0.isAbsolute }) ?? false { return 3 }
        return inputs.state.utcOffset.change == nil && inputs.streams.allSatisfy { $0.request.gate == nil } ? 1 : 2
    }

    /// The record as one line of JSON.
    public var text: String {
        var object: JSONObject = ["v": JSONValue(leastVersion), "number": JSONValue(number)]
        InputsWriter(inputs).write(to: &object)
        object["plan"] = .object(outcome.json)
        object["sum"] = .string(Self.checksum(of: object))
        return object.description
    }

    /// Reads what `text` gave.
    /// - Throws: `.malformedRecord` or `.recordVersion`, naming the field.
    public init(text: String) throws(JouledError) {
        let value: JSONValue
        do throws(JouledError) {
            value = try JSONValue(parsing: text)
        } catch {
            throw JouledError(.malformedRecord, "JOULED_INPUTS: \(error)")
        }
        var object = try RecordReader(value)
        let version = try object.integer("v", in: 0 ... .max)
        guard (1...Self.version).contains(version) else {
            throw JouledError(.recordVersion, "JOULED_INPUTS is of version \(version); this joulectl reads versions 1 to \(Self.version)")
        }
        number = try object.integer("number", in: 0...1 << 53)
        inputs = try InputsReader.inputs(&object)
        var plan = try object.object("plan")
        outcome = try Outcome(&plan)
        let sum = try object.string("sum")
        try object.finish()
        var signed = object.source
        signed["sum"] = nil
        isIntact = sum == Self.checksum(of: signed)
    }

    private static func checksum(of object: JSONObject) -> String { Checksum.text(of: JSONValue.object(object).serialized()) }
}

extension DecisionRecord.Outcome {
    var json: JSONObject {
        let streams = choices.keys.sorted().map { id -> JSONValue in
            guard let choice = choices[id] ?? nil else { return [JSONValue(id), nil] }
            return [JSONValue(id), choice.json]
        }
        return [
            "budget": JSONValue(exact: budget?.value), "goal": .string("\(goal)"), "streams": .array(streams),
            "watts": JSONValue(exact: totalPower.value), "utility": JSONValue(exact: utility),
        ]
    }

    init(_ reader: inout RecordReader) throws(JouledError) {
        let goals: [Budget.Goal] = [.none, .feasible, .infeasible]
        let text = try reader.string("goal")
        guard let goal = goals.first(where: { "\($0)" == text }) else { throw reader.error("goal", "'\(text)' is no state of a goal") }
        var choices: [UInt64: DecisionInputs.Choice?] = [:]
        for (index, entry) in try reader.array("streams").enumerated() {
            guard let id = entry[0]?.intValue.flatMap({ UInt64(exactly: $0) }), let choice = entry[1] else {
                throw reader.error("streams[\(index)]", "is no stream with what it is to run")
            }
            let read: DecisionInputs.Choice?
            if choice.isNull { read = nil } else { read = try .init(choice, in: reader, "streams[\(index)]") }
            choices.updateValue(read, forKey: id)
        }
        self.init(
            budget: try reader.optionalNumber("budget", in: RecordReader.amount).map { Watts($0) }, goal: goal, choices: choices,
            totalPower: Watts(try reader.number("watts", in: RecordReader.amount)), utility: try reader.number("utility", in: RecordReader.finite))
        try reader.finish()
    }
}

extension JouledError.Code {
    /// A recorded decision is not what one can be.
    public static let malformedRecord = Self("replay.malformed-record")
    /// A recorded decision was written by another version.
    public static let recordVersion = Self("replay.version")
}
