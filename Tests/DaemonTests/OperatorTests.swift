import Glibc
import JouledTestKit
import Testing
import Units
import Wire

@testable import JouledDaemon

/// What an operator runs, as an operator runs it.
@Suite("Operator's day")
struct OperatorTests {
    // MARK: Report

    /// Two days of a device with three streams, minute by minute: discharged by day, charged at night.
    private func days(_ directory: TemporaryDirectory, seed: UInt64, until end: Double) -> (windows: Int, decisions: Int) {
        var random = SeededGenerator(seed: seed)
        var (lines, charge, windows, decisions) = ([String](), 0.9, 0, 0)
        let streams = [("kitchen", "silero-vad", 1875.0, 120e-6), ("heart <left>", "ecg-rhythm", 60.0, 1.0e-3), ("hall", "silero-vad", 1875.0, 120e-6)]
        var variants = ["fp32", "fp32", "fp32"]
        for minute in 0..<2880 {
            let hour = Double(minute % 1440) / 60
            let isPlugged = hour < 6
            charge = max(0.05, min(1, charge + (isPlugged ? 0.0025 : -0.0009)))
            let at = WallTime(secondsSince1970: end - Double(2880 - minute) * 60)
            var shares: [HistoryShare] = []
            for (index, (name, model, perMinute, joules)) in streams.enumerated() where index < 2 || hour > 8 {
                let wanted = charge > 0.5 ? "fp32" : charge > 0.3 ? "int8" : "mixed"
                if wanted != variants[index] {
                    decisions += 1
                    lines.append(
                        HistoryRecord.decision(
                            HistoryDecision(
                                at: at, number: decisions, name: name, model: model, from: "\(variants[index]) on cpu, 16 per wake-up", to: "\(wanted) on cpu, 16 per wake-up", trigger: "tick",
                                quality: 0.99, reason: "the budget leaves room for <this>")
                        ).line(Int64(lines.count + 1)))
                    variants[index] = wanted
                }
                let count = Int(perMinute * .random(in: 0.97...1, using: &random))
                windows += count
                let factor: Double = wanted == "fp32" ? 1 : wanted == "int8" ? 0.8 : 0.6
                shares.append(
                    HistoryShare(
                        stream: UInt64(index + 1), name: name, model: model, variant: wanted, windows: count, joules: Joules(Double(count) * joules * factor * .random(in: 0.95...1.05, using: &random)),
                        wakes: count / 16 + 1, quality: wanted == "fp32" ? 1 : wanted == "int8" ? 0.995 : 0.97))
            }
            let point = HistoryPoint(
                at: at, span: Seconds(60), charge: charge, draw: Watts(isPlugged ? -4 : 1.5), acOnline: isPlugged, budget: isPlugged ? nil : Watts(0.004 + 0.01 * charge), planned: Watts(0.008),
                rest: Watts(1.4), policy: hour < 20 ? "lifetime" : "night", goal: isPlugged ? "none" : charge < 0.12 ? "infeasible" : "feasible", shares: shares)
            lines.append(HistoryRecord.point(point).line(Int64(lines.count + 1)))
        }
        directory.write("history", lines.joined(separator: "\n") + "\n")
        return (windows, decisions)
    }

    @Test("A report of two days: every lane, the sums, decisions with hover texts; two periods beside each other")
    func report() throws {
        let directory = TemporaryDirectory()
        // `report` counts back from the present.
        let told = days(directory, seed: 7, until: SystemClocks().wall().secondsSince1970)
        let daemon = try DaemonHarness(DaemonHarness.Settings(), in: directory)
        let (status, out, error) = try daemon.run(["report", "--since", "49h", "-o", directory("days.html")])
        #expect(status == 0, "\(error)")
        #expect(out.contains("\(told.decisions) changes of plan") && out.contains("for \(told.windows) windows"), "\(out) \(told)")
        let html = directory.text(of: "days.html")
        for lane in ["Battery, %", "Inference by stream", "Energy a window", "Quality", "Wake-ups", "Changes of plan: \(told.decisions)"] {
            #expect(html.contains("<h3>\(lane)"), "no lane '\(lane)'")
        }
        #expect(html.contains("heart &lt;left&gt; (ecg-rhythm)") && !html.contains("heart <left>"))
        #expect(html.contains("<title>") && html.contains("the budget leaves room for &lt;this&gt; (tick)"))
        #expect(html.utf8.count < 1_500_000, "\(html.utf8.count) bytes")
        #expect(!html.contains("<script") && !html.contains("http://") && !html.contains("https://") && !html.contains("url("))
        let both = try daemon.run(["report", "--since", "24h", "--versus", "48h..24h", "-o", directory("both.html")])
        #expect(both.status == 0, "\(both.error)")
        let comparison = directory.text(of: "both.html")
        #expect(comparison.contains("<th>A</th><th>B</th>") && comparison.contains("<h2>A: ") && comparison.contains("<h2>B: "))
        for (arguments, words) in [(["--since", "soon"], "'soon' is no time"), (["--since", "1h", "--until", "2h"], "is empty"), (["--versus", "yesterday"], "FROM..UNTIL")] {
            let refused = try daemon.run(["report", "-o", directory("no.html")] + arguments)
            #expect(refused.status == 64 && refused.error.contains(words), "\(arguments): \(refused.error)")
        }
        #expect(access(directory("no.html"), F_OK) != 0)
        let piped = try daemon.run(["report", "--since", "49h", "-o", "-"])
        #expect(piped.status == 0 && piped.out.hasPrefix("<!") && piped.out.hasSuffix("</html>\n") && piped.error.contains("changes of plan"), "\(piped.error)")
    }

    @Test("A browser shows the report without a complaint", .enabled(if: Installation.tool("chromium") != nil, "needs Debian's package chromium"))
    func browser() throws {
        let directory = TemporaryDirectory()
        _ = days(directory, seed: 7, until: SystemClocks().wall().secondsSince1970)
        let daemon = try DaemonHarness(DaemonHarness.Settings(), in: directory)
        _ = try daemon.run(["report", "--since", "24h", "--versus", "48h..24h", "-o", directory("r.html")])
        for (name, size) in [("wide", "1200,3400"), ("phone", "420,4200")] {
            let browser = try Subprocess(
                Installation.tool("chromium") ?? "",
                [
                    "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--user-data-dir=\(directory("profile-\(name)"))", "--enable-logging=stderr", "--v=0",
                    "--window-size=\(size)", "--screenshot=\(directory("\(name).png"))", "file://\(directory("r.html"))",
                ], output: directory("browser"), error: directory("browser"))
            let status = browser.wait(atMost: Seconds(120))
            #expect(status == 0)
            let complaints = directory.text(of: "browser").split(separator: "\n").filter { $0.contains("CONSOLE") }
            #expect(complaints.isEmpty, "\(complaints)")
            #expect((TemporaryDirectory.contents(of: directory("\(name).png"))?.count ?? 0) > 30_000)
        }
        if let keep = getenv("JOULED_KEEP_SCREENSHOTS") {
            for name in ["wide.png", "phone.png", "r.html"] { _ = try Subprocess("/bin/cp", [directory(name), String(cString: keep)]).wait(atMost: Seconds(5)) }
        }
    }

    // MARK: The README's picture

    @Test("The demonstration's recorder makes a picture of what a terminal shows, and the one in the README is whole", .enabled(if: Installation.tool("tmux") != nil, "needs Debian's package tmux"))
    func picture() throws {
        let directory = TemporaryDirectory()
        let program = "printf '\\033[1mbold\\033[0m \\033[33m<a & b>\\033[0m \\342\\226\\210\\342\\226\\210\\342\\226\\214\\n'; sleep 2; echo the end"
        let script = try Subprocess(
            "/usr/bin/python3", [Installation.root + "/docs/demo.py", directory("p.svg"), "--at", "0.2", "--columns", "40", "--rows", "6", "--limit", "30", "--", "/bin/sh", "-c", program],
            output: directory("out"), error: directory("out"))
        #expect(script.wait(atMost: Seconds(60)) == 0, "\(directory.text(of: "out"))")
        let svg = directory.text(of: "p.svg")
        #expect(svg.contains(">bold</tspan>") && svg.contains("fill=\"#d9a83a\"") && svg.contains("&lt;a &amp; b&gt;"), "\(svg)")
        // Two and a half cells of 8 behind 13 columns and the margin.
        #expect(svg.contains("<rect x=\"118\"") && svg.contains("width=\"16\"") && svg.contains("x=\"134\"") && svg.contains("width=\"4\""), "\(svg)")
        #expect(svg.split(separator: "the end").count == 2 && svg.split(separator: "<g class=").count == 3)
        let committed = Installation.root + "/docs/demo.svg"
        let parser = try Subprocess("/usr/bin/python3", ["-c", "import sys, xml.dom.minidom as m\nfor f in sys.argv[1:]: m.parse(f)", directory("p.svg"), committed], error: directory("parsed"))
        #expect(parser.wait(atMost: Seconds(30)) == 0, "\(directory.text(of: "parsed"))")
        #expect((TemporaryDirectory.contents(of: committed)?.count ?? .max) < 150_000)
    }

    // MARK: Top

    /// A tmux server of the test's own.
    private final class TerminalScreen {
        private let name = "jouled-test-\(getpid())-\(Int.random(in: 0..<1_000_000))"
        private let directory: TemporaryDirectory
        private var count = 0

        init(_ directory: TemporaryDirectory, width: Int, height: Int, _ command: String) throws {
            self.directory = directory
            _ = try run(["-f", "/dev/null", "new-session", "-d", "-x", "\(width)", "-y", "\(height)", command])
        }
        deinit { _ = try? run(["kill-server"]) }

        @discardableResult
        func run(_ arguments: [String]) throws -> (status: Int32?, out: String) {
            count += 1
            let tmux = try Subprocess("/usr/bin/tmux", ["-u", "-L", name] + arguments, output: directory("tmux\(count)"), error: directory("tmux\(count)"), environment: ["LC_ALL": "C.UTF-8", "TERM": "xterm-256color"])
            return (tmux.wait(atMost: Seconds(10)), directory.text(of: "tmux\(count)"))
        }
        func lines(colours: Bool = false) throws -> [String] {
            try run(["capture-pane", "-p"] + (colours ? ["-e"] : [])).out.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
        }
        func has(_ words: String..., within limit: Seconds = Seconds(10)) throws -> Bool {
            try eventually(within: limit) { let text = try lines().joined(separator: "\n"); return words.allSatisfy(text.contains) }
        }
        func press(_ keys: String...) throws { try run(["send-keys"] + keys) }
        func resize(_ width: Int, _ height: Int) throws { try run(["resize-window", "-x", "\(width)", "-y", "\(height)"]) }
        var text: String { (try? run(["capture-pane", "-p"]).out) ?? "" }
        var isAlive: Bool { (try? run(["has-session"]).status) == 0 }
    }

    @Test("top at 80x24 and at 200x60, through a change of size and its keys", .enabled(if: Installation.tool("tmux") != nil, "needs tmux"))
    func top() throws {
        let daemon = try DaemonHarness { $0.power = "source = \"virtual\"\npoll = \"200ms\"" }
        let streams = try (0..<30).map { try TestStream.speech(daemon, ["name": .string("microphone-\($0)")]) }
        for (index, stream) in streams.enumerated() { try stream.send(try Reference.speech()[..<(10_240 * (1 + index % 3))]) }
        try daemon.setPolicy("tiny")
        let screen = try TerminalScreen(daemon.directory, width: 80, height: 24, "env -u NO_COLOR \(Installation.joulectl) top --interval 300ms --socket \(daemon.socket)")
        #expect(try screen.has("policy tiny", "30 streams", "microphone-", "1 to "), "\(screen.text)")
        var lines = try screen.lines()
        #expect(lines.count >= 24 && lines.allSatisfy { $0.count <= 80 }, "\(lines)")
        #expect(lines[5].contains("NAME") && lines[5].contains("QUALITY") && lines[5].contains("POWER") && !lines[5].contains("REASON"), "\(lines)")
        #expect(try screen.lines(colours: true).contains { $0.contains("\u{1B}[") })
        let first = lines[6]
        try screen.press("j", "j", "j")
        #expect(try screen.has("4 to "))
        try screen.press("g", "s", "s", "s")
        #expect(try screen.has("order: name"))
        try screen.press("r")
        #expect(try screen.has("name, reversed"))
        lines = try screen.lines()
        #expect(lines[6] != first && lines[6].contains("microphone-9"), "\(lines)")
        try screen.press("h")
        #expect(try screen.has("Keys of joulectl top"))
        try screen.press("x")
        try screen.resize(200, 60)
        #expect(try screen.has("REASON", "PLANNED", "WAKES/S", "silero-vad"), "\(screen.text)")
        lines = try screen.lines()
        #expect(lines.allSatisfy { $0.count <= 200 } && lines.contains { $0.count > 120 })
        #expect(lines.count { $0.contains("microphone-") } == 30 && lines.contains { $0.hasPrefix("q quit") }, "\(lines)")
        try screen.press("q")
        #expect(eventually { !screen.isAlive })
    }

    @Test("top without colours where they are not wanted, and as plain text where there is no terminal", .enabled(if: Installation.tool("tmux") != nil, "needs tmux"))
    func plainTop() throws {
        let daemon = try DaemonHarness { $0.power = "source = \"virtual\"\npoll = \"200ms\"" }
        _ = try TestStream.speech(daemon, ["name": "ear"])
        let screen = try TerminalScreen(daemon.directory, width: 80, height: 24, "env NO_COLOR=1 \(Installation.joulectl) top --socket \(daemon.socket)")
        #expect(try screen.has("policy unlimited"))
        // The screen ends with what tmux itself adds, which is no colour either.
        #expect(try !screen.lines(colours: true).joined().contains("\u{1B}["))
        let (status, out, error) = try daemon.run(["top", "--interval", "200ms"])
        #expect(status == 0, "\(error)")
        #expect(out.contains("policy unlimited") && !out.contains("\u{1B}"), "\(out)")
        let tooShort = try daemon.run(["top", "--interval", "10ms"])
        #expect(tooShort.status == 64 && tooShort.error.contains("'10ms' is not within 200ms to 1h"), "\(tooShort.error)")
    }

    // MARK: Verify and diagnose

    @Test("power --json has the ledger beside the status")
    func power() throws {
        let daemon = try DaemonHarness()
        let stream = try TestStream.speech(daemon, ["name": "ear"])
        try stream.send(try Reference.speech()[..<10_240])
        #expect(try stream.wait { stream.windows.count == 10 })
        let reply = try JSONValue(parsing: try daemon.run(["power", "--json"]).out)
        #expect(reply["status"]?["policy"] == "unlimited" && reply["ledger"]?[0]?["windows"] == 10, "\(reply)")
    }

    @Test("verify finds nothing wrong with a whole installation, and each thing that is broken")
    func verify() throws {
        let copies = try BundleCopies(in: TemporaryDirectory())
        let daemon = try DaemonHarness { $0.models = copies.path }
        let configuration = daemon.directory("jouled.toml")
        let whole = try daemon.run(["verify", "--config", configuration])
        #expect(whole.status == 0 && whole.out.contains("all is well"), "\(whole.out) \(whole.error)")
        for word in ["configuration", "policy: unlimited", "runtime", "bundle: silero-vad 1", "bundle: ecg-rhythm 1", "state", "daemon"] { #expect(whole.out.contains("ok     \(word)"), "no '\(word)'") }

        daemon.directory.write("policies/broken.toml", "kind = \"lifetim\"\n")
        copies.directory.write("models/silero-vad/1/fp32.onnx", "no model")
        unlink(copies.path + "/ecg-rhythm/1/profile.toml")
        let broken = try daemon.run(["verify", "--config", configuration])
        #expect(broken.status == 1 && broken.out.contains("3 faults"), "\(broken.out)")
        for words in ["broken.toml:1", "fp32.onnx", "no profile of this device"] { #expect(broken.out.contains(words), "no '\(words)' in \(broken.out)") }
        daemon.process.signal(SIGTERM)
        _ = daemon.process.wait(atMost: Seconds(5))
        #expect(try daemon.run(["verify", "--config", configuration]).out.contains("FAULT  daemon"))
        #expect(try daemon.run(["verify", "--config", "/nonexistent.toml"]).status == 1)
    }

    @Test("diagnose packs one archive without names, values, serial numbers or models")
    func diagnose() throws {
        let sysfs = TemporaryDirectory()
        for (file, text) in [("type", "Battery"), ("serial_number", "SECRET-4711"), ("capacity", "50"), ("status", "Discharging"), ("energy_now", "1000000"), ("energy_full", "2000000")] {
            sysfs.write("class/power_supply/BAT0/\(file)", text + "\n")
        }
        let daemon = try DaemonHarness { $0.power = "source = \"sysfs\"\nsysfs_root = \"\(sysfs.path)\"\npoll = \"1h\"" }
        let stream = try TestStream.speech(daemon, ["name": "grandmother's bedroom"])
        try stream.send(try Reference.speech()[..<10_240])
        #expect(try stream.wait { stream.windows.count == 10 })
        #expect(try daemon.call("io.jouled.Streams.List")["streams"]?[0]?["lastValues"]?[0] != nil)
        let archive = daemon.directory("d.tar.gz")
        let (status, out, error) = try daemon.run(["diagnose", "--config", daemon.directory("jouled.toml"), "-o", archive])
        #expect(status == 0, "\(error)")
        let unpacked = TemporaryDirectory()
        #expect(try Subprocess("/usr/bin/tar", ["-xzf", archive, "-C", unpacked.path]).wait(atMost: Seconds(20)) == 0)
        let names = TemporaryDirectory.names(in: unpacked("jouled-diagnosis"))
        for name in ["io.jouled.Power.GetStatus", "io.jouled.Streams.List", "io.jouled.Power.History", "jouled.toml", "policy-unlimited.toml", "bundle-silero-vad-1-profile.toml", "machine", "power", "journal"] {
            #expect(names.contains(name) && out.contains(name), "no \(name): \(names)")
        }
        let all = names.map { unpacked.text(of: "jouled-diagnosis/\($0)") }.joined(separator: "\n")
        #expect(all.contains("stream-1") && all.contains("class/power_supply/BAT0/capacity: 50") && all.contains("\"lastValues\":[]"))
        var host = [CChar](repeating: 0, count: 256)
        gethostname(&host, 255)
        for secret in ["grandmother", "SECRET-4711", String(decoding: host.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)] where secret.count >= 3 {
            #expect(!all.contains(secret), "'\(secret)' is in the archive")
        }
        #expect(!names.contains { $0.hasSuffix(".onnx") })
    }
}
