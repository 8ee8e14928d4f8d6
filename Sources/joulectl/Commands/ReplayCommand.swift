import ArgumentParser
import DecisionRecords
import Decisions
import PowerPolicy
import Units
import Wire

/// Makes recorded decisions again.
struct ReplayCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "replay",
        abstract: "Make recorded decisions again from their inputs; say what differs, or what another policy would have decided.",
        discussion: """
            Reads what journalctl -u jouled prints with -o export, or with -o json --all; also what joulectl simulate --journal \
            writes. Each decision is made again from what the journal says it was made from, and must come out the same to the \
            last bit. Exit status 1 if one does not, or if a record cannot be read, is there twice or in the wrong order. Records that \
            are missing in between are told. Needs no daemon.

            With --policy the same moments are decided again under another policy, with power as it was read then: the battery \
            is not simulated, so that each decision is compared on the same ground.
            """)

    @Argument(help: "The journal; - or nothing reads standard input.", completion: .file())
    var file = "-"
    @Option(help: "A policy file: also tell what it would have decided.", completion: .file(extensions: ["toml"]))
    var policy: String?
    @Flag(help: "Print one JSON object.")
    var json = false
    @Option(name: .shortAndLong, help: "List at most so many decisions that differ.")
    var limit = 20

    func validate() throws {
        guard (0...1_000_000).contains(limit) else { throw ValidationError("--limit must be 0 to 1000000") }
    }

    func run() throws {
        try reporting {
            let other = try policy.map { path throws(JouledError) in WhatIf(policy: try PowerPolicy.load(path), named: path) }
            let name = file == "-" ? "standard input" : file
            var journal = RecordedEvents(try InputFile.bytes(of: file), name: name)
            let (events, problems, gaps) = try journal.all()
            var report = ReplayReport(problems: problems, gaps: gaps, whatIf: other, limit: limit)
            for event in events { report.take(event) }
            guard report.decisions > 0 || !problems.isEmpty else {
                throw JouledError(
                    .nothingRecorded,
                    "\(name): no decision with its inputs; journalctl -u jouled -o export prints them (MESSAGE_ID=\(JournalFields.inputsMessage))")
            }
            if json { Console.out(report.json.description) } else { report.lines.forEach(Console.out) }
            for text in problems + gaps { Console.error("joulectl: \(text)") }
            if !report.isFaultless { throw ExitCode(1) }
        }
    }
}

/// What a replay found, for people and for programs.
private struct ReplayReport {
    let problems: [String]
    /// Records that are missing: filters and the journal's own limits leave some out, so that this is no fault.
    let gaps: [String]
    var whatIf: WhatIf?
    let limit: Int
    private(set) var decisions = 0
    private var numbers: (first: Int, last: Int)?
    private var differing: [(number: Int, clock: String, differences: [String])] = []

    var isFaultless: Bool { problems.isEmpty && differing.isEmpty }

    init(problems: [String], gaps: [String], whatIf: WhatIf?, limit: Int) {
        self.problems = problems
        self.gaps = gaps
        self.whatIf = whatIf
        self.limit = limit
    }

    mutating func take(_ event: RecordedEvent) {
        whatIf?.take(event)
        guard case .decision(let record) = event else { return }
        decisions += 1
        numbers = (numbers?.first ?? record.number, record.number)
        let differences = record.replay()
        if !differences.isEmpty { differing.append((record.number, record.clock, differences)) }
    }

    // MARK: For people

    var lines: [String] {
        let range = numbers.map { $0.first == $0.last ? " (number \($0.first))" : " (numbers \($0.first) to \($0.last))" } ?? ""
        var lines = ["\(decisions) decisions\(range): \(decisions - differing.count) come out the same to the last bit, \(differing.count) differ"]
        for entry in differing.prefix(limit) {
            lines.append("decision \(entry.number) at \(entry.clock):")
            lines += entry.differences.map { "  \($0)" }
        }
        if differing.count > limit { lines.append("and \(differing.count - limit) more (--limit)") }
        if let whatIf { lines += [""] + Self.lines(whatIf, limit) }
        return lines
    }

    private static func lines(_ whatIf: WhatIf, _ limit: Int) -> [String] {
        var lines = ["The other policy would have decided otherwise at \(whatIf.differences.count) of \(whatIf.decisions) moments."]
        for difference in whatIf.differences.prefix(limit) {
            lines.append("decision \(difference.number) at \(difference.clock): budget \(text(difference.recordedBudget, difference.recordedIsInfeasible)) -> \(text(difference.otherBudget, difference.otherIsInfeasible))")
            for stream in difference.streams {
                lines.append("  \(stream.name): \(DecisionRecord.text(stream.recorded)) -> \(DecisionRecord.text(stream.other))")
            }
        }
        if whatIf.differences.count > limit { lines.append("and \(whatIf.differences.count - limit) more (--limit)") }
        lines += ["", "As planned, from the first to the last decision, as recorded and under the other policy:"]
        var table = TextTable([
            ("STREAM", .right), ("NAME", .left), ("MODEL", .left), ("WINDOWS", .right), ("OTHER", .right), ("ENERGY", .right), ("OTHER", .right),
            ("QUALITY", .right), ("OTHER", .right), ("PAUSED", .right), ("OTHER", .right),
        ])
        for account in whatIf.accounts {
            let (old, new) = (account.recorded, account.other)
            table.add([
                "\(account.stream)", account.name, account.model, decimal(old.windows, places: 0), decimal(new.windows, places: 0),
                "\(old.energy)", "\(new.energy)", decimal(old.quality, places: 3), decimal(new.quality, places: 3),
                clockText(old.paused.value), clockText(new.paused.value),
            ])
        }
        let (old, new) = whatIf.accounts.reduce((Joules.zero, Joules.zero)) { ($0.0 + $1.recorded.energy, $0.1 + $1.other.energy) }
        table.add(["all", "", "", "", "", "\(old)", "\(new)", "", "", "", ""])
        lines += table.lines
        lines.append("The battery's readings are those of the recorded day; what the other policy would have saved or spent is not in them.")
        if whatIf.extended > 0 { lines.append("\(whatIf.extended) decisions look further ahead than was forecast; the forecast was drawn out by its days before, or its mean.") }
        if whatIf.withoutForecast > 0 { lines.append("\(whatIf.withoutForecast) decisions had no forecast; they go by the average draw of the rest of the device.") }
        return lines
    }

    private static func text(_ budget: Watts?, _ isInfeasible: Bool) -> String {
        budget.map(\.description) ?? (isInfeasible ? "by worth per joule, the goal being out of reach" : "no limit")
    }

    // MARK: For programs

    var json: JSONValue {
        var object: JSONObject = [
            "decisions": JSONValue(decisions), "same": JSONValue(decisions - differing.count),
            "differing": .array(
                differing.map { ["number": JSONValue($0.number), "clock": .string($0.clock), "differences": JSONValue($0.differences)] }),
            "problems": JSONValue(problems), "gaps": JSONValue(gaps),
        ]
        if let whatIf { object["policy"] = .object(Self.json(whatIf)) }
        return .object(object)
    }

    private static func json(_ whatIf: WhatIf) -> JSONObject {
        func json(_ tally: WhatIf.Tally) -> JSONValue {
            [
                "windows": .double(tally.windows), "joules": .double(tally.energy.value), "quality": .double(tally.quality),
                "runningSeconds": .double(tally.running.value), "pausedSeconds": .double(tally.paused.value),
            ]
        }
        return [
            "decisions": JSONValue(whatIf.decisions), "forecastExtended": JSONValue(whatIf.extended), "withoutForecast": JSONValue(whatIf.withoutForecast),
            "differing": .array(
                whatIf.differences.map { difference in
                    [
                        "number": JSONValue(difference.number), "clock": .string(difference.clock),
                        "recordedBudgetWatts": difference.recordedBudget.map { .double($0.value) } ?? .null,
                        "otherBudgetWatts": difference.otherBudget.map { .double($0.value) } ?? .null,
                        "recordedGoalInfeasible": .bool(difference.recordedIsInfeasible), "otherGoalInfeasible": .bool(difference.otherIsInfeasible),
                        "streams": .array(
                            difference.streams.map {
                                [
                                    "name": .string($0.name), "recorded": .string(DecisionRecord.text($0.recorded)),
                                    "other": .string(DecisionRecord.text($0.other)),
                                ]
                            }),
                    ]
                }),
            "streams": .array(
                whatIf.accounts.map {
                    ["stream": JSONValue($0.stream), "name": .string($0.name), "model": .string($0.model), "recorded": json($0.recorded), "other": json($0.other)]
                }),
        ]
    }
}

extension JouledError.Code {
    fileprivate static let nothingRecorded = Self("joulectl.nothing-recorded")
}
