import ConfigDocument
import Glibc
import JouledTestKit
import Testing
import Units
import Wire

@testable import JouledDaemon

@Suite("Users cannot harm or watch each other")
struct AccessTests {
    /// A user of no group and no rights; needs a test run as root to become one.
    private static let stranger = 65534
    private static var canBecome: Bool { geteuid() == 0 }

    private func daemon(_ access: String = "") throws -> DaemonHarness {
        let daemon = try DaemonHarness { settings in
            settings.more = "[access]\nadmin_group = \"4294967294\"\n\(access)"
            settings.power = "source = \"virtual\"\npoll = \"200ms\""
        }
        // The directory is private by default; the socket is opened to all, as on a device whose group everyone is in.
        chmod(daemon.directory.path, 0o711)
        chmod(daemon.socket, 0o666)
        return daemon
    }

    /// The replies to `calls` made as a stranger.
    private func asStranger(_ daemon: DaemonHarness, connections: Int? = nil, _ calls: [JSONValue]) throws -> [JSONValue] {
        daemon.directory.write("calls", calls.map { $0.description + "\n" }.joined())
        daemon.directory.write("replies", "")
        let script = "\(Installation.root)/Tests/DaemonTests/Scripts/as_user.py"
        // Read by root, for the stranger may not enter the checkout.
        let code = String(decoding: try #require(TemporaryDirectory.contents(of: script)), as: UTF8.self)
        let process = try Subprocess(
            "/usr/bin/python3", ["-c", code, "\(Self.stranger)", daemon.socket] + (connections.map { ["\($0)"] } ?? []),
            input: daemon.directory("calls"), output: daemon.directory("replies"), error: daemon.directory("errors"))
        let status = process.wait(atMost: Seconds(30))
        #expect(status == 0, "\(daemon.directory.text(of: "errors"))")
        return try daemon.directory.text(of: "replies").split(separator: "\n").map { try JSONValue(parsing: String($0)) }
    }

    private static let open: JSONObject = ["model": "silero-vad", "sampleRateHz": 16000]

    private func open(_ more: JSONObject = [:]) -> JSONValue {
        var parameters = Self.open
        for member in more.members { parameters[member.key] = member.value }
        return ["method": "io.jouled.Streams.Open", "parameters": .object(parameters), "upgrade": true]
    }

    @Test("Nobody sleeps behind another user's stream, nor sees when somebody speaks", .enabled(if: canBecome, "needs root to become another user"))
    func gates() throws {
        let daemon = try daemon()
        let ear = try TestStream.speech(daemon, ["name": "ear"])
        let word = try TestStream.speech(daemon, ["name": "word", "gate": ["name": "ear"], "latencyToleranceMs": 5000])
        let replies = try asStranger(
            daemon,
            [
                open(["gate": ["stream": .int(ear.id)], "latencyToleranceMs": 5000]), open(["gate": ["name": "ear"], "latencyToleranceMs": 5000]),
                ["method": "io.jouled.Streams.List"],
            ])
        #expect(replies.count == 3)
        #expect(replies[0]["error"]?.stringValue == "io.jouled.Streams.InvalidGate")
        #expect(replies[0]["parameters"] == ["field": "gate.stream", "reason": "stream 1 is another user's"])
        #expect(replies[1]["parameters"]?["field"]?.stringValue == "gate.name")
        let seen = replies[2]["parameters"]?["streams"]?.arrayValue?.last
        #expect(seen?["stream"]?.intValue == word.id && seen?["gating"]?.isNull == true)
        let own = try daemon.call("io.jouled.Streams.List")["streams"]?.arrayValue?.last
        #expect(own?["gating"]?["gateName"]?.stringValue == "ear")
    }

    @Test("A stranger may stream, and may not change policies, the device, or who comes first", .enabled(if: canBecome, "needs root to become another user"))
    func rights() throws {
        let daemon = try daemon()
        let replies = try asStranger(
            daemon,
            [
                ["method": "io.jouled.Policy.Set", "parameters": ["name": "starved"]], ["method": "io.jouled.Policy.Reload"],
                ["method": "io.jouled.VirtualDevice.Set", "parameters": ["baseWatts": 9]], ["method": "io.jouled.Power.History"], open(["critical": true]), open(["weight": 1.5]),
                open(["weight": 0.5]), ["method": "io.jouled.Power.GetStatus"],
            ])
        #expect(replies.count == 8)
        for refused in replies.prefix(6) { #expect(refused["error"]?.stringValue == "org.varlink.service.PermissionDenied", "\(refused)") }
        for allowed in replies.suffix(2) { #expect(allowed["error"] == nil, "\(allowed)") }
        // Denied calls changed nothing.
        #expect(replies.last?["parameters"]?["status"]?["policy"]?.stringValue == "unlimited")
        #expect(try daemon.call("io.jouled.VirtualDevice.Set")["baseWatts"]?.doubleValue == 0.5)
        #expect(daemon.journalHas("Refused io.jouled.Policy.Set to user \(Self.stranger)"))
    }

    @Test("One user at its limits takes nothing from another", .enabled(if: canBecome, "needs root to become another user"))
    func quotas() throws {
        let daemon = try daemon("connections_per_user = 12\nstreams_per_user = 5")
        let bystander = try Bystander(daemon)
        let streams = try asStranger(daemon, (0..<8).map { _ in open() })
        #expect(streams.filter { $0["error"] == nil }.count == 5)
        #expect(streams.filter { $0["error"]?.stringValue == "io.jouled.Streams.TooManyStreams" }.count == 3)
        try bystander.goOn()
        // Those clients have ended; until the daemon has seen it of each, they count.
        #expect(try eventually { try daemon.call("io.jouled.Streams.List")["streams"]?.arrayValue?.count == 1 })
        let refused = try asStranger(daemon, connections: 20, [])
        #expect(refused.first?.arrayValue?.count == 8, "\(refused)")
        #expect(refused.first?.arrayValue?.allSatisfy { $0.stringValue?.contains("io.jouled.TooManyConnections") == true } == true, "\(refused)")
        try bystander.verify()
    }

    @Test("A stranger sees neither what another's stream says nor what it spends, but for whole joules", .enabled(if: canBecome, "needs root to become another user"))
    func privacy() throws {
        let daemon = try daemon()
        let bystander = try Bystander(daemon)
        try bystander.goOn()
        #expect(eventually { (try? seen(try daemon.call("io.jouled.Streams.List")))?.windows ?? 0 > 0 })
        let own = try seen(try daemon.call("io.jouled.Streams.List"))
        #expect(own.joules > 0 && own.values > 0)
        let replies = try asStranger(daemon, [["method": "io.jouled.Streams.List"], ["method": "io.jouled.Streams.Ledger"]])
        let other = try seen(try #require(replies.first?["parameters"]))
        #expect(other.windows % 1000 == 0 && other.joules.rounded() == other.joules && other.values == 0, "\(replies)")
        for entry in replies.last?["parameters"]?["entries"]?.arrayValue ?? [] {
            let joules = try #require(entry["joules"]?.doubleValue)
            #expect(joules.rounded() == joules && (entry["windows"]?.intValue ?? 1) % 1000 == 0, "\(entry)")
        }
        try bystander.verify()
    }

    private func seen(_ list: JSONValue) throws -> (windows: Int64, joules: Double, values: Int) {
        let stream = try #require(list["streams"]?.arrayValue?.first)
        return (stream["windows"]?.intValue ?? -1, stream["joules"]?.doubleValue ?? -1, stream["lastValues"]?.arrayValue?.count ?? -1)
    }

    @Test("Coarse figures are renewed once a minute at most")
    func coarse() {
        var ledger = Ledger()
        var figures = CoarseFigures()
        let at = { (second: Double) in MonotonicTime(nanoseconds: UInt64(second * 1e9)) }
        let entry = { (joules: Double) in
            Ledger.Entry(stream: 0, name: "", model: "m", variant: "v", windows: 2999, joules: Joules(joules), isOpen: false)
        }
        ledger = Ledger(earlier: [entry(3.7)])
        figures.refresh([:], ledger, at: at(10))
        #expect(figures.entries.first?.joules == Joules(3) && figures.entries.first?.windows == 2000)
        ledger = Ledger(earlier: [entry(8.2)])
        figures.refresh([:], ledger, at: at(69))
        #expect(figures.entries.first?.joules == Joules(3))
        figures.refresh([:], ledger, at: at(71))
        #expect(figures.entries.first?.joules == Joules(8))
    }

    @Test("An hour's energy: spent at once it is gone, and comes back at its rate", arguments: seeds(20))
    func energyQuota(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        var quota = EnergyQuota(limit: Joules(100))
        var now = 0.0
        var spent: [(at: Double, joules: Double)] = []
        for _ in 0..<200 {
            now += Double.random(in: 0...400, using: &random)
            let joules = Double.random(in: 0...12, using: &random)
            quota.spend(Joules(joules), by: 7, at: MonotonicTime(nanoseconds: UInt64(now * 1e9)))
            spent.append((now, joules))
            let lastHour = spent.filter { $0.at > now - 3600 }.reduce(0) { $0 + $1.joules }
            let isExceeded = quota.isExceeded(by: 7, at: MonotonicTime(nanoseconds: UInt64(now * 1e9)))
            // A bucket is stricter than a sliding hour by no more than what may flow in an hour, and never refuses less than it.
            if lastHour > 200 { #expect(isExceeded, "seed \(seed) at \(now): \(lastHour) J") }
            if spent.reduce(0, { $0 + $1.joules }) <= 100 { #expect(!isExceeded, "seed \(seed) at \(now)") }
        }
        #expect(!quota.isExceeded(by: 8, at: MonotonicTime(nanoseconds: 0)), "another user's")
        #expect(!quota.isExceeded(by: 7, at: MonotonicTime(nanoseconds: UInt64((now + 36000) * 1e9))))
    }
}
