import JouledClient
import Units
import Wire

// The second stream that --gate opens.
extension StreamCommand {
    /// Opens the stream that lets this one sleep, and names it in the parameters; nil without --gate.
    func gateStream(_ connection: JouledConnection, _ parameters: inout JSONObject) throws -> StreamConnection? {
        guard let gate else { return nil }
        let models = try connection.call("io.jouled.Models.List").list("models")
        let own = models.first { $0.text("name") == model }
        let named = gate.isEmpty ? own?["gate"]?.stringValue ?? "" : gate
        guard !named.isEmpty else {
            throw JouledError(.init("joulectl.no-gate"), "the manifest of \(model) names no gate: say which model, as in --gate silero-vad")
        }
        var choice = JSONObject()
        if let gateOutput { choice["output"] = .string(gateOutput) }
        if let gateThreshold { choice["threshold"] = .double(gateThreshold) }
        choice["prerollMs"] = try milliseconds(gatePreroll, "--gate-preroll", upTo: Self.longestGatePreroll)
        choice["holdMs"] = try milliseconds(gateHold, "--gate-hold", upTo: Self.longestGateHold)
        var opening: JSONObject = ["model": .string(named), "name": .string("\(name ?? model)-gate")]
        for key in ["format", "channels", "sampleRateHz"] { opening[key] = parameters[key] }
        // Its word has to come well before this stream's results are due.
        if let tolerance = parameters["latencyToleranceMs"]?.intValue.map(Int.init) ?? own?.integer("latencyToleranceMs"),
            let usual = models.first(where: { $0.text("name") == named })?.integer("latencyToleranceMs")
        {
            opening["latencyToleranceMs"] = JSONValue(min(usual, max(50, tolerance / 4)))
        }
        let stream = try Self.open(daemon.connect(), opening)
        choice["stream"] = stream.contract["stream"]
        parameters["gate"] = .object(choice)
        return stream
    }
}

/// What the second stream tells; its results are for the daemon.
enum GateNotices {
    static func handle(_ event: StreamEvent, quiet: Bool) {
        switch event {
        case .result: break
        case .notice(let notice, _):
            if !quiet, !["end", "flushed"].contains(notice.kind) { Console.error("joulectl: gate: \(notice.line)") }
        case .error(let notice): Console.error("joulectl: gate: \(notice.message)")
        }
    }
}
