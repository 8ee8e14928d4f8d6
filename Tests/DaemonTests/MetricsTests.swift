import JouledTestKit
import Testing
import Units
import Wire

@Suite("joulectl metrics")
struct MetricsTests {
    private let daemon: DaemonHarness

    init() throws { daemon = try DaemonHarness { $0.power = "source = \"virtual\"\npoll = \"200ms\"" } }

    /// Values by name and labels, as the text has them.
    private func values(_ text: String) -> [String: Double] {
        var values: [String: Double] = [:]
        for line in text.split(separator: "\n") where !line.hasPrefix("#") {
            guard let blank = line.lastIndex(of: " ") else { continue }
            values[String(line[..<blank])] = Double(line[line.index(after: blank)...])
        }
        return values
    }

    @Test(
        "promtool accepts them, with and without streams; counters are the ledger's and never go back",
        .enabled(if: Installation.tool("promtool") != nil, "needs promtool, which set-up takes out of Debian's package prometheus"))
    func prometheus() throws {
        func check(_ when: String) throws -> [String: Double] {
            let (status, out, error) = try daemon.run(["metrics"])
            #expect(status == 0, "\(error)")
            daemon.directory.write("metrics", out)
            let promtool = try Subprocess(Installation.tool("promtool") ?? "", ["check", "metrics"], input: daemon.directory("metrics"), output: daemon.directory("lint"), error: daemon.directory("lint"))
            #expect(promtool.wait(atMost: Seconds(30)) == 0, "\(when): \(daemon.directory.text(of: "lint"))\n\(out)")
            return values(out)
        }
        let empty = try check("no streams")
        #expect(empty["jouled_streams"] == 0 && empty["jouled_battery_charge_ratio"].map { $0 > 0 && $0 <= 1 } == true)
        // A name with everything that has to be escaped.
        let stream = try TestStream.speech(daemon, ["name": #"a "b" \ c"#])
        try stream.send(try Reference.speech()[..<102_400])
        #expect(try stream.wait { stream.windows.count == 100 })
        let open = try check("a stream")
        #expect(open[#"jouled_windows_total{model="silero-vad",variant="fp32"}"#] == 100)
        #expect(open[#"jouled_stream_quality_ratio{model="silero-vad",name="a \"b\" \\ c",stream="1"}"#] == 1, "\(open)")
        #expect(open["jouled_decisions_total"] == 1 && open[#"jouled_policy_info{policy="unlimited"}"#] == 1 && open["jouled_budget_watts"] == nil)
        let joules = try #require(open[#"jouled_energy_joules_total{model="silero-vad",variant="fp32"}"#])
        let wakes = try #require(open.first { $0.key.hasPrefix("jouled_stream_wakeups_total") }?.value)
        #expect(joules > 0 && wakes >= 1 && wakes <= 100)
        try stream.finish()
        try daemon.restart()
        let later = try check("after a restart")
        #expect(later[#"jouled_windows_total{model="silero-vad",variant="fp32"}"#] == 100)
        #expect(later[#"jouled_energy_joules_total{model="silero-vad",variant="fp32"}"#].map { $0 >= joules } == true)
    }

    @Test("OpenMetrics: the reference parser reads the same values; a file is replaced whole")
    func openMetrics() throws {
        let stream = try TestStream.speech(daemon, ["name": "ear"])
        try stream.send(try Reference.speech()[..<10_240])
        #expect(try stream.wait { stream.windows.count == 10 })
        let (status, _, error) = try daemon.run(["metrics", "--format", "openmetrics", "--output", daemon.directory("om")])
        #expect(status == 0, "\(error)")
        let program = """
            import sys
            from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse
            families = list(parse(open(sys.argv[1]).read()))
            print({f.name: f.type for f in families}["jouled_windows"], [s.value for f in families for s in f.samples if s.name == "jouled_windows_total"])
            """
        let parser = try Subprocess(
            Installation.root + "/.deps/venv/bin/python", ["-c", program, daemon.directory("om")], output: daemon.directory("parsed"), error: daemon.directory("parsed"))
        #expect(parser.wait(atMost: Seconds(30)) == 0)
        #expect(daemon.directory.text(of: "parsed") == "counter [10]\n")
        #expect(TemporaryDirectory.names(in: daemon.directory.path).contains("om.new") == false)
        #expect(try daemon.run(["metrics", "-o", "-"]).out.contains("jouled_windows_total"))
    }

    @Test("The dashboard asks for metrics that there are")
    func dashboard() throws {
        let stream = try TestStream.speech(daemon)
        try stream.send(try Reference.speech()[..<10_240])
        #expect(try stream.wait { stream.windows.count == 10 })
        try daemon.setPolicy("tiny")
        let text = try daemon.run(["metrics"]).out
        let names = Set(values(text).keys.map { String($0.prefix { $0 != "{" }) } + ["jouled_rest_watts"])
        let dashboard = try JSONValue(parsing: try #require(TemporaryDirectory.contents(of: Installation.root + "/config/grafana/jouled.json")))
        var asked: Set<String> = []
        for panel in dashboard["panels"]?.arrayValue ?? [] {
            for target in panel["targets"]?.arrayValue ?? [] {
                var word = ""
                for character in (target["expr"]?.stringValue ?? "") + " " {
                    if character.isLetter || character.isNumber || character == "_" { word.append(character); continue }
                    if word.hasPrefix("jouled_") { asked.insert(word) }
                    word = ""
                }
            }
        }
        #expect(asked.count >= 12)
        #expect(asked.subtracting(names).isEmpty, "\(asked.subtracting(names))")
    }
}
