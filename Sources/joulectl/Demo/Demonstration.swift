import Glibc
import JouledClient
import JouledDaemon
import Units
import Wire

/// Runs the demonstration: a daemon, two streams, three events, one summary.
final class Demonstration {
    private let command: DemoCommand
    private let directory: String
    private let clocks = SystemClocks()
    private var daemon: ChildProcess?
    private var streams: [ChildProcess] = []
    private var view = LiveView()
    private var lastDecision = 0
    private var firstCharge: Double?

    /// What the device draws beside inference: at first, and with its radio on.
    private var quiet: Watts { Watts(0.020) * command.drain }
    private var radio: Watts { Watts(0.0238) * command.drain }
    private var span: Seconds { Seconds(Double(command.seconds)) }

    init(_ command: DemoCommand) throws(JouledError) {
        self.command = command
        var template = Array("/tmp/jouled-demo-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw JouledError(.demo, "cannot make a temporary directory: \(String(cString: strerror(errno)))") }
        directory = template.withUnsafeBufferPointer { $0.baseAddress.map { String(cString: $0) } ?? "" }
    }

    private var socket: String { directory + "/jouled.sock" }
    private var journal: String { directory + "/journal" }

    func run() throws {
        try writeConfiguration()
        let start = try startDaemon()
        try startStreams()
        Console.out("A virtual battery of \(scaled(capacity.wattHours, "Wh")) has to last \(Seconds(Double(command.seconds))) with 10 % in reserve; the rest of the device draws \(quiet).")
        try watch(from: start)
        try summarize()
    }

    func cleanUp() {
        for process in streams { process.terminate() }
        daemon?.terminate()
        _ = daemon?.wait(atMost: Seconds(2))
        streams = []
        daemon = nil
        DirectoryTree.remove(directory)
    }

    // MARK: Set-up

    /// A battery with which every stream at its best would last, if only the radio stayed off.
    private var capacity: Joules { (Watts(0.0265) * span) / 0.9 }

    private func writeConfiguration() throws(JouledError) {
        guard mkdir(directory + "/policies", 0o700) == 0 else { throw JouledError(.demo, "\(directory)/policies: \(String(cString: strerror(errno)))") }
        try AtomicFile.write(
            """
            [socket]
            path = "\(socket)"
            [models]
            directory = "\(command.models)"
            [runtime]
            library = "\(command.runtimeLibrary)"
            [state]
            directory = "\(directory)"
            [policy]
            directory = "\(directory)/policies"
            active = "lifetime"
            [power]
            source = "virtual"
            poll = "1s"
            dwell = "5s"
            [virtual_device]
            capacity_wh = \(capacity.wattHours)
            initial_percent = 100
            charger_w = 0.2
            base_w = \(quiet.value)
            gauge_period = "1s"
            gauge_quantum_percent = 0.5
            gauge_power_noise = 0.03

            """, to: directory + "/jouled.toml")
        try AtomicFile.write(
            """
            kind = "lifetime"
            description = "The demonstration: last \(command.seconds) s with 10 % in reserve"
            duration = "\(command.seconds)s"
            reserve_percent = 10
            margin = 0.02
            [models."*"]
            floor = 0.9
            [models.ecg-rhythm]
            critical = true

            """, to: directory + "/policies/lifetime.toml")
    }

    private func startDaemon() throws -> MonotonicTime {
        let path = command.daemon ?? sibling("jouled")
        daemon = try ChildProcess(path, ["--config", directory + "/jouled.toml", "--stderr"], output: directory + "/daemon.out", error: journal)
        let start = clocks.monotonic()
        while access(socket, F_OK) != 0 {
            guard daemon?.exitStatus == nil, clocks.monotonic().since(start) < Seconds(10) else { throw failure("jouled did not start") }
            usleep(10_000)
        }
        return clocks.monotonic()
    }

    private func startStreams() throws {
        // The recording of speech is a minute long; the demonstration may be longer.
        let repeats = command.seconds / 60 + 1
        let bytes = try readFile(command.speech)
        try writeFile(directory + "/speech.s16le", bytes, times: repeats)
        let joulectl = sibling("joulectl")
        streams = [
            try ChildProcess(
                joulectl, ["stream", "silero-vad", "--name", "microphone", "--tolerance", "1s", "--pace", "--socket", socket],
                input: directory + "/speech.s16le", output: directory + "/speech.jsonl", error: directory + "/streams.log"),
            try ChildProcess(
                joulectl, ["stream", "ecg-rhythm", "--name", "heart", "--format", "f32le", "--pace", "--preroll", "9s", "--socket", socket],
                input: command.ecg, output: directory + "/ecg.jsonl", error: directory + "/streams.log"),
        ]
    }

    // MARK: The minute

    private func watch(from start: MonotonicTime) throws {
        let connection = try JouledConnection(path: socket)
        var events: [(at: Seconds, text: String, parameters: JSONObject)] = [
            (span / 3, "the radio goes on: the rest of the device now draws \(radio)", ["baseWatts": .double(radio.value)]),
            (span * (2.0 / 3), "the charger is plugged in", ["chargerPluggedIn": true]),
        ]
        while !Interruption.happened {
            let elapsed = clocks.monotonic().since(start)
            var news: [String] = []
            if let event = events.first, elapsed >= event.at {
                events.removeFirst()
                news.append("\(stamp(elapsed)) ** \(event.text)")
                _ = try connection.call("io.jouled.VirtualDevice.Set", event.parameters)
            }
            news += try decisions(connection)
            let status = try connection.call("io.jouled.Power.GetStatus")["status"] ?? .null
            if firstCharge == nil { firstCharge = status["battery"]?.number("charge") }
            let list = try connection.call("io.jouled.Streams.List").list("streams")
            view.draw(elapsed: elapsed, status: status, streams: list, news: news)
            for process in streams { if let code = process.exitStatus { throw failure("a stream ended early with status \(code)") } }
            // One second past the goal, so that its end has been decided on.
            if elapsed > span + Seconds(1) { return }
            usleep(useconds_t(1e6 * (1 - elapsed.value.truncatingRemainder(dividingBy: 1))))
        }
        throw JouledError(.demo, "interrupted")
    }

    private func decisions(_ connection: JouledConnection) throws -> [String] {
        let all = try connection.call("io.jouled.Power.ListDecisions").list("decisions").filter { $0.integer("number") > lastDecision }
        lastDecision = all.last?.integer("number") ?? lastDecision
        return all.map { "\(stamp(Seconds($0.number("atSeconds") ?? 0))) \($0.text("streamName")): \($0.text("from")) -> \($0.text("to"))\n          \($0.text("reason"))" }
    }

    private func stamp(_ time: Seconds) -> String { String(repeating: " ", count: max(0, 6 - "\(Int(time.value))".count)) + "\(Int(time.value)) s" }

    // MARK: The summary

    private func summarize() throws {
        let connection = try JouledConnection(path: socket)
        let status = try connection.call("io.jouled.Power.GetStatus")["status"] ?? .null
        let truth = try connection.call("io.jouled.VirtualDevice.Set")
        let charge = (truth.number("energyJoules") ?? 0) / capacity.value
        let ledger = try connection.call("io.jouled.Streams.Ledger").list("entries")
        let all = try connection.call("io.jouled.Power.ListDecisions").list("decisions")
        Console.out("\nWindows and energy (\(status.text("policy")) policy; joules are modelled from CPU time):")
        var table = TextTable([("STREAM", .left), ("MODEL", .left), ("VARIANT", .left), ("WINDOWS", .right), ("ENERGY", .right), ("PER WINDOW", .right)])
        for entry in ledger {
            let windows = entry.integer("windows")
            table.add([
                entry.text("name"), entry.text("model"), entry.text("variant"), "\(windows)", entry.joules("joules"),
                Joules((entry.number("joules") ?? 0) / Double(max(1, windows))).description,
            ])
        }
        let total = ledger.reduce(0.0) { $0 + ($1.number("joules") ?? 0) }
        table.add(["all", "", "", "\(ledger.reduce(0) { $0 + $1.integer("windows") })", Joules(total).description, ""])
        for line in table.lines { Console.out("  " + line) }
        Console.out("\nDecisions:")
        for decision in all {
            Console.out("  \(stamp(Seconds(decision.number("atSeconds") ?? 0))) [\(decision.text("trigger"))] \(decision.text("streamName")): \(decision.text("from")) -> \(decision.text("to"))")
            Console.out("           \(decision.text("reason"))")
        }
        let down = all.filter { direction($0) < 0 }.count
        let up = all.filter { direction($0) > 0 }.count
        Console.out("\n  \(down) to save energy, \(up) for better quality, \(all.count - down - up) first placements or changes of pace alone")
        let met = charge >= 0.1
        Console.out("  battery \(percent(firstCharge ?? 1)) -> \(percent(charge, places: 1)) (true state); goal of 10 % after \(Seconds(Double(command.seconds))): \(met ? "met" : "NOT met")")
        try endStreams()
    }

    /// The quality that a decision gave up (negative) or gained; 0 for first placements.
    private var qualities: [String: Double] = [:]
    private func direction(_ decision: JSONValue) -> Int {
        let stream = decision.text("streamName")
        let quality = decision.number("quality") ?? 0
        defer { qualities[stream] = quality }
        guard let before = qualities[stream], decision.text("from") != "none" else { return 0 }
        return quality < before - 1e-9 ? -1 : (quality > before + 1e-9 ? 1 : 0)
    }

    /// Ends the clients first, then the daemon, and looks at how they end.
    private func endStreams() throws {
        for process in streams { process.terminate() }
        for process in streams {
            guard process.wait(atMost: Seconds(5)), process.exitStatus == 0 else { throw failure("a stream did not end in order") }
        }
        daemon?.terminate()
        guard let daemon, daemon.wait(atMost: Seconds(2)), daemon.exitStatus == 0 else { throw failure("jouled did not end in order") }
    }

    // MARK: Helpers

    private func failure(_ what: String) -> JouledError {
        for file in [journal, directory + "/streams.log"] {
            if let bytes = try? readFile(file) { Console.error(String(decoding: bytes.suffix(2000), as: UTF8.self)) }
        }
        return JouledError(.demo, what)
    }

    /// A program beside this one.
    private func sibling(_ name: String) -> String { RuntimeLibrary.ownDirectory + "/" + name }

    private func readFile(_ path: String) throws(JouledError) -> [UInt8] {
        guard let file = fopen(path, "r") else { throw JouledError(.demo, "\(path): \(String(cString: strerror(errno)))") }
        defer { fclose(file) }
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 1 << 16)
        while true {
            let count = fread(&buffer, 1, buffer.count, file)
            guard count > 0 else { return bytes }
            bytes += buffer[..<count]
        }
    }

    private func writeFile(_ path: String, _ bytes: [UInt8], times: Int) throws(JouledError) {
        guard let file = fopen(path, "w") else { throw JouledError(.demo, "\(path): \(String(cString: strerror(errno)))") }
        var written = 0
        for _ in 0..<times { written += fwrite(bytes, 1, bytes.count, file) }
        guard fclose(file) == 0, written == bytes.count * times else { throw JouledError(.demo, "\(path): cannot be written") }
    }
}
