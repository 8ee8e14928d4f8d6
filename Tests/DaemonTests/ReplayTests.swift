import JouledClient
import JouledTestKit
import Testing
import Units
import Wire

@testable import JouledDaemon

@Suite("The journal's decisions can be made again")
struct ReplayTests {
    /// Records of the daemon's inputs, as `journalctl -o json` would give them.
    private func journal(of daemon: DaemonHarness) -> [String] {
        daemon.journal.split(separator: "\n").compactMap { line in
            guard let begin = line.firstRange(of: "JOULED_INPUTS=") else { return nil }
            // On standard error a value with spaces is in quotes, and the fields are in braces.
            var text = line[begin.upperBound...].dropLast()
            if text.first == "\"" { text = text.dropFirst().dropLast() }
            return JSONValue.object(["MESSAGE_ID": .string(MessageID.decisionInputs), "JOULED_INPUTS": .string(String(text))]).description
        }
    }

    private func replay(_ daemon: DaemonHarness, _ lines: [String], _ arguments: [String] = []) throws -> (status: Int32?, report: JSONValue) {
        let output = "report"
        daemon.directory.write(output, "")
        daemon.directory.write("export", lines.map { $0 + "\n" }.joined())
        let process = try Subprocess(
            Installation.joulectl, ["replay", daemon.directory("export"), "--json"] + arguments, output: daemon.directory(output),
            error: daemon.directory("replay.err"))
        let status = process.wait(atMost: Seconds(60))
        return (status, try JSONValue(parsing: daemon.directory.text(of: output)))
    }

    @Test("What a daemon under changing policies, holds and power decides comes out the same, one record for each decision")
    func endToEnd() throws {
        let daemon = try DaemonHarness { settings in
            settings.arguments = ["--verbose"]
            settings.policies["life"] = "kind = \"lifetime\"\nuntil = \"next-charge\"\n[models.\"*\"]\nfloor = 0.5\n"
            settings.policies["fixed"] = "kind = \"fixed\"\nwatts = 0.002\n[[schedule]]\nfrom = \"00:00\"\nuntil = \"00:00\"\n[schedule.set]\nwatts = 0.001\n"
            settings.power = "source = \"virtual\"\npoll = \"200ms\"\ndwell = \"0s\""
            settings.more = "[virtual_device]\ncapacity_wh = 0.5\ngauge_period = \"100ms\"\n"
        }
        let streams = try (0..<3).map { number in
            try daemon.connect().openStream(["model": .string(number == 1 ? "ecg-rhythm" : "silero-vad"), "sampleRateHz": number == 1 ? 100 : 16000, "name": .string("a \"b\" \(number)")])
        }
        for policy in ["life", "fixed", "starved", "life", "unlimited"] { _ = try daemon.call("io.jouled.Policy.Set", ["name": .string(policy)]) }
        let hold = try daemon.connect()
        _ = try hold.call("io.jouled.Policy.Hold", ["reason": "", "policy": "tiny"])
        _ = try daemon.call("io.jouled.VirtualDevice.Set", ["chargerPluggedIn": true])
        _ = try daemon.call("io.jouled.VirtualDevice.Set", ["chargerPluggedIn": false, "baseWatts": 0.2])
        withExtendedLifetime((streams, hold)) {}
        let lines = journal(of: daemon)
        let decisions = try #require(try daemon.call("io.jouled.Power.ListDecisions")["decisions"]?.arrayValue)
        #expect(lines.count >= 6)
        #expect(lines.count < decisions.count, "several streams changed by one decision share its record")
        let (status, report) = try replay(daemon, lines)
        #expect(status == 0, "\(report) \(daemon.directory.text(of: "replay.err"))")
        #expect(report["same"]?.intValue == Int64(lines.count))
        #expect(report["problems"]?.arrayValue == [])
        // Another policy: nothing is ever limited.
        let other = try replay(daemon, lines, ["--policy", daemon.directory("policies/unlimited.toml")]).report
        #expect(other["policy"]?["differing"]?.arrayValue?.isEmpty == false)
        // One record altered on the way: told, and the exit status says so.
        var altered = lines
        altered[2] = altered[2].replacing("\\\"ac\\\":false", with: "\\\"ac\\\":true")
        try #require(altered[2] != lines[2])
        let (failed, told) = try replay(daemon, altered, ["--limit", "3"])
        #expect(failed == 1)
        #expect(told["differing"]?.arrayValue?.count == 1)
        #expect(told["same"]?.intValue == Int64(lines.count - 1))
    }

    @Test("What is no journal is refused with its line; one without decisions says how to get them")
    func refusals() throws {
        let directory = TemporaryDirectory()
        func error(_ text: String) throws -> String {
            directory.write("in", text)
            let process = try Subprocess(Installation.joulectl, ["replay"], input: directory("in"), error: directory("err"))
            #expect(process.wait(atMost: Seconds(20)) == 1)
            defer { directory.write("err", "") }
            return directory.text(of: "err")
        }
        #expect(try error("hello\nworld\n").contains("standard input:1:"))
        #expect(try error("MESSAGE=x\n\n").contains("no decision with its inputs; journalctl -u jouled -o export"))
        #expect(try error("{\"JOULED_INPUTS\":null}\n").contains("--all"))
        #expect(try error("{\"JOULED_INPUTS\":\"{}\"}\n").contains("standard input:1: JOULED_INPUTS: v: is missing"))
    }
}
