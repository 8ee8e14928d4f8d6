import JouledClient
import JouledTestKit
import Testing
import Units
import Wire

@testable import JouledDaemon

@Suite("A stream is explained")
struct ExplainTests {
    private func explain(_ daemon: DaemonHarness) throws -> JSONValue { try daemon.call("io.jouled.Streams.Explain", ["stream": 1]) }

    @Test("The watts that are said to be missing are what it takes, and the words say what the figures say")
    func granted() throws {
        let daemon = try DaemonHarness { settings in
            settings.policy = "low"
            settings.policies["low"] = "kind = \"fixed\"\nwatts = 1e-9\n"
            settings.power = "source = \"virtual\"\npoll = \"1h\"\ndwell = \"0s\""
        }
        let stream = try daemon.connect().openStream(["model": "silero-vad", "sampleRateHz": 16000, "name": "ear", "latencyToleranceMs": 500])
        defer { withExtendedLifetime(stream) {} }
        let paused = try explain(daemon)
        #expect(paused["paused"]?.boolValue == true && paused["runs"] == .null)
        #expect(paused["policy"]?.stringValue == "low")
        let lines = (paused["lines"]?.arrayValue ?? []).compactMap(\.stringValue)
        #expect(lines.contains("For it to run, one of these would have to change:"), "\(lines)")
        #expect(lines.contains { $0.contains("the budget would have to be") }, "\(lines)")
        // The last is the best: granting what it needs must give just it.
        let best = try #require(paused["better"]?.arrayValue?.last)
        #expect(best["quality"]?.doubleValue == 1)
        let needs = try #require(best["needs"]?.arrayValue)
        #expect(needs.count == 1 && needs[0]["kind"]?.stringValue == "power" && needs[0]["unit"]?.stringValue == "W")
        let missing = try #require(needs.first?["missing"]?.doubleValue)
        daemon.directory.write("policies/low.toml", "kind = \"fixed\"\nwatts = \((1e-9 + missing) * 1.000001)\n")
        _ = try daemon.call("io.jouled.Policy.Reload")
        let running = try explain(daemon)
        #expect(running["runs"]?["variant"] == best["variant"])
        #expect(running["runs"]?["quality"]?.doubleValue == 1)
        #expect(running["better"]?.arrayValue == [])
        let energy = try #require(running["runs"]?["joulesPerWindow"]?.doubleValue)
        #expect((running["runs"]?["joulesLow"]?.doubleValue ?? 1) < energy && energy < (running["runs"]?["joulesHigh"]?.doubleValue ?? 0))
        let words = (running["lines"]?.arrayValue ?? []).compactMap(\.stringValue)
        #expect(words.contains { $0.hasPrefix("It takes \(Joules(energy)) per window, with 90 % certainty") }, "\(words)")
        #expect(words.last == "Better quality: there is none; this is the best that the model offers.", "\(words)")
        let printed = try daemon.run(["explain", "ear"])
        #expect(printed.status == 0 && printed.out.hasPrefix("Stream 1 (ear) runs fp32"), "\(printed)")
        let json = try daemon.run(["explain", "ear", "--json"])
        #expect(try JSONValue(parsing: json.out)["name"]?.stringValue == "ear")
    }

    @Test("A floor binds the variant and not the cadence, and a stream that runs at a stretched one is told so")
    func floorAndCadence() throws {
        let daemon = try DaemonHarness { settings in
            settings.policy = "floored"
            settings.policies["floored"] = "kind = \"fixed\"\nwatts = 1e-9\n[models.\"*\"]\ncritical = true\nfloor = 0.99\n"
            settings.policies["plenty"] = "kind = \"unlimited\"\n[models.\"*\"]\nfloor = 0.99\n"
        }
        let stream = try daemon.connect().openStream(["model": "silero-vad", "sampleRateHz": 16000])
        defer { withExtendedLifetime(stream) {} }
        let starved = try explain(daemon)
        let quality = try #require(starved["runs"]?["quality"]?.doubleValue)
        let cadence = try #require(starved["runs"]?["cadence"]?.intValue)
        #expect(cadence > 1 && quality < 0.99)
        let words = (starved["lines"]?.arrayValue ?? []).compactMap(\.stringValue)
        #expect(words.contains { $0.hasPrefix("Its floor of 0.990 is about the variant") && $0.hasSuffix("Answering 1 window in \(cadence), it has a quality of \(decimal(quality, places: 4)) over time.") }, "\(words)")
        try daemon.setPolicy("plenty")
        let fed = try explain(daemon)
        #expect(fed["runs"]?["cadence"]?.intValue == 1)
        #expect(fed["lines"]?.arrayValue?.contains { $0.stringValue?.contains("does not bind") == true } == false)
    }

    @Test("A deadline that is too short, and a floor that a client holds, are named")
    func others() throws {
        let daemon = try DaemonHarness()
        let stream = try daemon.connect().openStream(["model": "silero-vad", "sampleRateHz": 16000, "variant": "fp32"])
        let holder = try daemon.connect()
        _ = try holder.call("io.jouled.Policy.Hold", ["reason": "", "floors": [["model": "silero-vad", "floor": 0.4]]])
        let lines = (try explain(daemon)["lines"]?.arrayValue ?? []).compactMap(\.stringValue)
        #expect(lines.contains("Its floor of 0.400 is held by a client; joulectl status says by whom."), "\(lines)")
        #expect(lines.contains { $0.contains("asked for variant fp32 alone") }, "\(lines)")
        withExtendedLifetime((stream, holder)) {}
    }
}
