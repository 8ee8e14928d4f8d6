import ArgumentParser
import JouledClient
import Units
import Wire

/// One screen: battery, budget, streams.
struct StatusCommand: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "status", abstract: "Battery, budget and streams on one screen.")
    @OptionGroup var daemon: DaemonOptions
    @OptionGroup var table: TableOptions

    func run() throws {
        try reporting {
            let connection = try daemon.connect()
            let status = try connection.call("io.jouled.Power.GetStatus")["status"] ?? .null
            let streams = try connection.call("io.jouled.Streams.List").list("streams")
            if table.json { return Console.out(JSONValue.object(["status": status, "streams": .array(streams)]).description) }
            for line in StatusText.power(status) { Console.out(line) }
            Console.out("")
            for line in StatusText.streams(streams) { Console.out(line) }
        }
    }
}

/// Battery and budget with the arithmetic behind them.
struct PowerCommand: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "power", abstract: "The battery, the budget, and the arithmetic that leads from one to the other.")
    @OptionGroup var daemon: DaemonOptions
    @OptionGroup var table: TableOptions

    func run() throws {
        try reporting {
            let connection = try daemon.connect()
            let status = try connection.call("io.jouled.Power.GetStatus")["status"] ?? .null
            if table.json {
                let ledger = try connection.call("io.jouled.Streams.Ledger")["entries"] ?? []
                return Console.out(JSONValue.object(["status": status, "ledger": ledger]).description)
            }
            for line in StatusText.power(status) { Console.out(line) }
            Console.out("how the budget came about:")
            for term in status.list("terms").compactMap(\.stringValue) { Console.out("  \(term)") }
        }
    }
}

/// How status values read.
enum StatusText {
    static func power(_ status: JSONValue) -> [String] {
        let battery = status["battery"] ?? .null
        var lines: [String] = []
        if battery.isNull {
            lines.append("battery:    none")
        } else {
            var parts: [String] = []
            if let charge = battery.number("charge") { parts.append(percent(charge, places: charge < 0.1 ? 1 : 0)) }
            if let energy = battery.number("energyJoules"), let full = battery.number("fullJoules") {
                parts.append("\(scaled(energy / 3600, "Wh")) of \(scaled(full / 3600, "Wh"))")
            }
            if let draw = battery.number("drawWatts") { parts.append(draw < 0 ? "charging with \(Watts(-draw))" : "drawn with \(Watts(draw))") }
            if battery.flag("acOnline") { parts.append("external power") }
            parts.append("read \(Seconds(battery.number("ageSeconds") ?? 0)) ago from \(battery.text("origin"))")
            lines.append("battery:    " + parts.joined(separator: ", "))
        }
        let budget = status.number("budgetWatts").map { Watts($0).description } ?? "no limit"
        lines.append("budget:     \(budget) for inference; planned \(status.watts("plannedWatts")), drawn lately \(status.watts("inferenceWatts"))")
        if let rest = status.number("restWatts") {
            lines.append("rest:       \(Watts(rest)) +- \(Watts(status.number("restDeviationWatts") ?? 0)) by the other parts of the device")
        }
        let left = status.number("secondsLeft").map { ", \(Seconds($0)) left" } ?? ""
        let part = status["schedule"]?.stringValue.map { " (part of the day: \($0))" } ?? ""
        lines.append("policy:     \(status.text("policy"))\(part); goal \(status.text("goal"))\(left)")
        lines.append("because:    \(status.text("reason"))")
        lines.append("held back:  \(status.text("bindingConstraint"))")
        for hold in status.list("holds") {
            let reason = hold.text("reason")
            lines.append("hold:       \(hold.text("effect")), by user \(hold.integer("uid")) for \(Seconds(hold.number("sinceSeconds") ?? 0))\(reason.isEmpty ? "" : ": \(reason)")")
        }
        for problem in (battery.list("problems") + status.list("problems")).compactMap(\.stringValue) { lines.append("problem:    \(problem)") }
        return lines
    }

    static func streams(_ streams: [JSONValue]) -> [String] {
        guard !streams.isEmpty else { return ["no streams"] }
        var table = TextTable([
            ("STREAM", .right), ("NAME", .left), ("MODEL", .left), ("VARIANT", .left), ("UNIT", .left), ("EVERY", .right),
            ("PER WAKE", .right), ("QUALITY", .right), ("WINDOWS", .right), ("PER WINDOW", .right), ("POWER", .right), ("SPENT", .right),
        ])
        for stream in streams {
            let paused = stream.flag("paused")
            table.add([
                "\(stream.integer("stream"))", stream.text("name"), stream.text("model"), paused ? "paused" : stream.text("variant"),
                stream.text("unit"), paused ? "-" : "\(stream.integer("cadence"))", paused ? "-" : "\(stream.integer("coalescing"))",
                decimal(stream.number("quality") ?? 0, places: 3), "\(stream.integer("windows"))", stream.joules("joulesPerWindow"),
                stream.watts("plannedWatts"), stream.joules("joules"),
            ])
        }
        return table.lines + streams.compactMap(gating)
    }

    /// What a stream's gate lets it do.
    private static func gating(_ stream: JSONValue) -> String? {
        guard let gating = stream["gating"], !gating.isNull else { return nil }
        let name = stream.text("name").isEmpty ? stream.text("model") : stream.text("name")
        let gate = gating.text("gateName").isEmpty ? "stream \(gating.integer("gate"))" : gating.text("gateName")
        let now: String =
            if let silence = gating["silence"]?.stringValue { "always awake, for its gate \(gate) is \(silence)" } else {
                "\(gating.flag("awake") ? "awake" : "asleep") behind \(gate): awake \(percent(gating.number("duty") ?? 1)) of the time"
            }
        return "\(name) is \(now); \(gating.integer("letGo")) windows let go, \(gating.integer("late") + gating.integer("unguarded")) run without the gate's word"
    }
}

/// The models that the daemon can serve.
struct ModelsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "models", abstract: "Models that can be streamed to, and what their variants cost on this device.")
    @OptionGroup var daemon: DaemonOptions
    @OptionGroup var table: TableOptions

    func run() throws {
        try reporting {
            let reply = try daemon.connect().call("io.jouled.Models.List")
            if table.json { return Console.out(reply.description) }
            var table = TextTable([
                ("MODEL", .left), ("VERSION", .right), ("VARIANT", .left), ("SIZE", .right), ("QUALITY", .right), ("PER WINDOW", .right),
                ("P99", .right), ("BASIS", .left),
            ])
            for model in reply.list("models") {
                for variant in model.list("variants") {
                    table.add([
                        model.text("name"), "\(model.integer("version"))", variant.text("name"), scaled(Double(variant.integer("bytes")), "B"),
                        variant.flag("usable") ? decimal(variant.number("quality") ?? 0, places: 4) : "unusable", variant.joules("joulesPerWindow"),
                        variant.number("p99Ms").map { Seconds(milliseconds: $0).description } ?? "-", variant.text("basis"),
                    ])
                }
            }
            for line in table.lines { Console.out(line) }
            for problem in reply.list("problems").compactMap(\.stringValue) { Console.error("problem: \(problem)") }
        }
    }
}

/// Why a stream runs as it does.
struct ExplainCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "explain", abstract: "Why a stream runs as it does, how sure that is, and what would have to change for better quality.",
        discussion: """
            Needs are what is missing while all other streams keep what they have: watts, time on a unit, memory, lateness that the \
            client tolerates, a floor, a weight. Energy is given with the interval that it is in with 90 % certainty, and with how it is known.
            """)
    @OptionGroup var daemon: DaemonOptions
    @OptionGroup var table: TableOptions
    @Argument(help: "Number or name of a stream; all streams if left out.")
    var stream: String?

    func run() throws {
        try reporting {
            let connection = try daemon.connect()
            let streams = try connection.call("io.jouled.Streams.List").list("streams")
            let chosen = streams.filter { stream == nil || "\($0.integer("stream"))" == stream || $0.text("name") == stream || $0.text("model") == stream }
            guard !chosen.isEmpty || stream == nil else {
                throw JouledError(.init("joulectl.unknown-stream"), "no stream '\(stream ?? "")'; see joulectl status")
            }
            // One object a line as JSON: none where there is no stream.
            if chosen.isEmpty, !table.json { Console.out("no streams") }
            for (index, stream) in chosen.enumerated() {
                let reply = try connection.call("io.jouled.Streams.Explain", ["stream": JSONValue(stream.integer("stream"))])
                if table.json {
                    Console.out(reply.description)
                } else {
                    if index > 0 { Console.out("") }
                    for line in reply.list("lines").compactMap(\.stringValue) { Console.out(line) }
                }
            }
        }
    }
}

/// The decisions so far.
struct DecisionsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "decisions", abstract: "The latest changes of plan with their reasons; --follow waits for more.")
    @OptionGroup var daemon: DaemonOptions
    @OptionGroup var table: TableOptions
    @Option(name: .shortAndLong, help: "At most so many.")
    var limit = 20
    @Flag(name: .shortAndLong, help: "Print new decisions as they are made.")
    var follow = false

    func validate() throws {
        guard (0...100_000).contains(limit) else { throw ValidationError("--limit must be 0 to 100000") }
    }

    func run() throws {
        try reporting {
            let connection = try daemon.connect()
            let parameters: JSONObject = ["limit": JSONValue(limit)]
            guard follow else { return show(try connection.call("io.jouled.Power.ListDecisions", parameters)) }
            Interruption.install()
            connection.shouldStop = { Interruption.happened }
            connection.stopDescriptor = Interruption.descriptor
            try connection.monitor("io.jouled.Power.ListDecisions", parameters) { reply in
                show(reply)
                return true
            }
        }
    }

    private func show(_ reply: JSONValue) {
        for decision in reply.list("decisions") {
            if table.json { Console.out(decision.description); continue }
            let budget = decision.number("budgetWatts").map { Watts($0).description } ?? "no limit"
            let charge = decision.number("charge").map { percent($0) } ?? "-"
            Console.out(
                "#\(decision.integer("number")) at \(Seconds(decision.number("atSeconds") ?? 0)) [\(decision.text("trigger"))] \(decision.text("streamName")): \(decision.text("from")) -> \(decision.text("to"))")
            Console.out("    \(decision.text("reason")) (battery \(charge), budget \(budget), predicted \(decision.watts("predictedWatts")))")
        }
    }
}
