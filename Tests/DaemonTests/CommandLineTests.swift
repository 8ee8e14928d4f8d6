import Glibc
import JouledClient
import JouledTestKit
import Testing
import Units
import Wire

/// What joulectl does when it is interrupted, cannot write, or is given nonsense.
@Suite("Command line")
struct CommandLineTests {
    private struct Run {
        var status: Int32?
        var out: String
        var error: String
    }

    /// Runs joulectl to its end, without a daemon unless `socket` is given.
    private func run(_ arguments: [String], in directory: TemporaryDirectory, input: String? = nil, output: String? = nil) throws -> Run {
        let (out, error) = (directory("cli.out"), directory("cli.err"))
        unlink(out)
        unlink(error)
        let process = try Subprocess(Installation.joulectl, arguments, input: input, output: output ?? out, error: error)
        let status = process.wait(atMost: Seconds(Installation.isSanitized ? 300 : 60))
        return Run(status: status, out: directory.text(of: "cli.out"), error: directory.text(of: "cli.err"))
    }

    private func windows(_ daemon: DaemonHarness, _ file: String) throws -> [Window] {
        try Reference.parse(daemon.directory.text(of: file).split(separator: "\n", omittingEmptySubsequences: true).joined(separator: "\n"))
    }

    // MARK: The manual

    /// Subcommands without subcommands of their own, each with its help.
    private func commands(_ path: [String] = [], in directory: TemporaryDirectory) throws -> [(path: [String], help: String)] {
        let help = try run(path + ["--help"], in: directory).out
        var names: [String] = []
        var lines = help.split(separator: "\n", omittingEmptySubsequences: false)[...]
        lines = lines.drop { $0 != "SUBCOMMANDS:" }.dropFirst().prefix { !$0.isEmpty }
        for line in lines where !line.hasPrefix("   ") { names += line.split(separator: " ").prefix(1).map(String.init) }
        guard !names.isEmpty else { return [(path, help)] }
        return try names.flatMap { try commands(path + [$0], in: directory) }
    }

    @Test("The manual page says of each command what its options are")
    func manual() throws {
        let directory = TemporaryDirectory()
        let file = try #require(TemporaryDirectory.contents(of: Installation.root + "/docs/man/joulectl.1"))
        let page = String(decoding: file, as: UTF8.self).replacing("\\-", with: "-").replacing("\\fI", with: "").replacing("\\fR", with: "")
        let sections = page.replacing("\n.PP\n", with: "\n.TP\n").replacing("\n.SH ", with: "\n.TP\n.SH ").split(separator: "\n.TP\n").map(String.init)
        func words(_ text: String) -> Set<String> {
            Set(text.split(whereSeparator: { !($0.isASCII && ($0.isLetter || $0.isNumber || $0 == "-")) }).map { String($0) })
        }
        let heads = sections.map { words(String($0.prefix { $0 != "\n" })) }
        // What holds for many commands is said before and behind them all.
        let general = sections.filter { $0.hasPrefix(".SH COMMANDS") || $0.hasPrefix("Model commands") }.reduce(into: Set<String>()) { $0.formUnion(words($1)) }
        let commands = try commands(in: directory)
        #expect(commands.count > 25)
        for (path, help) in commands {
            let own = sections.indices.filter { heads[$0].isSuperset(of: path) && sections[$0].drop { $0 != " " }.dropFirst().drop { $0 == "\"" }.hasPrefix(path[0]) }
            #expect(!own.isEmpty, "joulectl \(path) is not in the manual")
            let said = own.reduce(into: general) { $0.formUnion(words(sections[$1])) }
            let options = help.split(separator: "\n").drop { $0 != "OPTIONS:" }.filter { $0.hasPrefix("  -") }.flatMap { $0.prefix(26).split(separator: " ") }
            for option in options where option.hasPrefix("--") && !["--help", "--version"].contains(option) {
                #expect(said.contains(String(option)), "joulectl \(path.joined(separator: " ")) \(option) is not in the manual")
            }
        }
    }

    // MARK: Interruption

    @Test("Ctrl-C at any moment ends a stream in order, with the results of what was sent", arguments: [SIGINT, SIGTERM])
    func interrupted(signal: Int32) throws {
        let daemon = try DaemonHarness()
        // At the pace of the signal, with a read that blocks, and from a file.
        let kinds: [(name: String, arguments: [String], input: String?)] = [
            ("paced", ["stream", "silero-vad", "--pace", "--preroll", "1s"], Installation.speech),
            ("polled", ["stream", "silero-vad"], daemon.directory("fifo")), ("chunked", ["stream", "silero-vad", "--chunk", "640"], daemon.directory("fifo")),
        ]
        try #require(mkfifo(daemon.directory("fifo"), 0o600) == 0)
        let writer = open(daemon.directory("fifo"), O_RDWR)
        defer { close(writer) }
        for (kind, arguments, input) in kinds {
            for delay in 0..<3 {
                let name = "\(kind)\(delay)"
                if kind != "paced" {
                    let samples = try Reference.speech().prefix(20_480)
                    #expect(samples.withUnsafeBytes { write(writer, $0.baseAddress, $0.count) } == 20_480)
                }
                let process = try daemon.joulectl(arguments, name: name, input: input)
                #expect(try eventually { try daemon.call("io.jouled.Streams.List")["streams"] != [] })
                usleep(useconds_t(50_000 + delay * 37_000))
                // Once the first result is out. With --chunk, results are read when more samples come.
                if delay == 0, kind != "chunked" { #expect(eventually { !daemon.directory.text(of: "\(name).out").isEmpty }) }
                process.signal(signal)
                #expect(process.wait(atMost: Seconds(10)) == 0, "\(name): \(daemon.directory.text(of: "\(name).err"))")
                let error = daemon.directory.text(of: "\(name).err")
                #expect(!error.contains("closed"), "\(name): \(error)")
                #expect(try eventually { try daemon.call("io.jouled.Streams.List")["streams"] == [] })
            }
        }
    }

    @Test("Ctrl-C with --pace gives all windows of what was sent")
    func pacedResults() throws {
        let daemon = try DaemonHarness()
        let process = try daemon.joulectl(["stream", "silero-vad", "--tolerance", "5s", "--pace", "--preroll", "2s"], name: "paced", input: Installation.speech)
        usleep(1_000_000)
        process.signal(SIGINT)
        #expect(process.wait(atMost: Seconds(10)) == 0)
        let windows = try windows(daemon, "paced.out")
        // Two seconds of preroll alone are 62 windows of 512 samples.
        #expect(windows.count >= 62, "\(windows.count) windows: \(daemon.directory.text(of: "paced.err"))")
    }

    @Test("hold waits for a command that answers Ctrl-C by itself, passes SIGTERM on, and misses no end of a command")
    func hold() throws {
        let daemon = try DaemonHarness()
        for round in 0..<5 {
            #expect(try Subprocess(Installation.joulectl, ["hold", "--floor", "*=0.5", "--socket", daemon.socket, "--", "/bin/sh", "-c", "exit \(round)"]).wait(atMost: Seconds(10)) == Int32(round))
        }
        for (signal, expected) in [(SIGINT, Int32(7)), (SIGTERM, 128 + SIGTERM)] {
            let started = daemon.directory("started\(signal)")
            let process = try Subprocess(
                Installation.joulectl, ["hold", "--floor", "*=0.5", "--socket", daemon.socket, "--", "/bin/sh", "-c", "touch \(started); sleep 1 & wait; exit 7"])
            #expect(eventually { access(started, F_OK) == 0 })
            process.signal(signal)
            #expect(process.wait(atMost: Seconds(10)) == expected)
        }
    }

    // MARK: Output that cannot be written

    @Test("A full disk is an error")
    func full() throws {
        let daemon = try DaemonHarness()
        let socket = ["--socket", daemon.socket]
        let commands = [
            ["status"] + socket, ["models", "--json"] + socket, ["top", "--interval", "200ms"] + socket, ["metrics"] + socket, ["report", "-o", "-"] + socket,
            ["policy"] + socket, ["stream", "silero-vad"] + socket, ["simulate", Installation.root + "/config/scenarios/wearable.toml", "--json"],
        ]
        for command in commands {
            let run = try run(command, in: daemon.directory, input: Installation.speech, output: "/dev/full")
            #expect(run.status == 1 && run.error.contains("joulectl: standard output: No space left on device"), "\(command): \(run)")
        }
    }

    // MARK: Simulated days

    @Test("Journals of two simulated days, one behind the other, are in order")
    func journals() throws {
        let directory = TemporaryDirectory()
        let scenario = try #require(TemporaryDirectory.contents(of: Installation.root + "/config/scenarios/wearable.toml"))
        let trace = try #require(TemporaryDirectory.contents(of: Installation.root + "/config/scenarios/wearable.csv"))
        let text = String(decoding: scenario, as: UTF8.self).replacing("until_s = 57600", with: "until_s = 7200")
        directory.write("wearable.csv", String(decoding: trace, as: UTF8.self))
        directory.write("1.toml", text.replacing("energy_scale = {", with: "energy_scale = { cpus = 2.0,"))
        directory.write("2.toml", text.replacing("seed = 1", with: "seed = 2"))
        let first = try run(["simulate", directory("1.toml"), "--journal", "-"], in: directory)
        let second = try run(["simulate", directory("2.toml"), "--journal", "-"], in: directory)
        let note = "joulectl: note: \(directory("1.toml")):26: key 'truth.energy_scale.cpus': no [[option]] is on unit 'cpus'"
        #expect(first.status == 0 && first.error.contains(note), "\(first.error)")
        #expect(second.status == 0 && !second.error.contains("note:") && first.out.contains("_BOOT_ID=") && first.out != second.out)
        directory.write("both.export", first.out + second.out)
        let replayed = try run(["replay", directory("both.export")], in: directory)
        #expect(replayed.status == 0 && !replayed.error.contains("comes after") && !replayed.error.contains("there twice"), "\(replayed)")
    }

    // MARK: Nonsense

    @Test("Numbers out of range are refused with the range, and the usage is the command's own")
    func ranges() throws {
        let directory = TemporaryDirectory()
        let huge = "999999999999999999999999s"
        let cases: [([String], String, String)] = [
            (["stream", "m", "--tolerance", huge], "--tolerance '\(huge)' is not within 0s to ", "stream"), (["stream", "m", "--tolerance", "10d"], "not within", "stream"),
            (["stream", "m", "--tolerance", "5"], "write 100ms", "stream"), (["stream", "m", "--pace", "--preroll", "5"], "--preroll", "stream"),
            (["stream", "m", "--pace", "--preroll", huge], "--preroll", "stream"), (["stream", "m", "--gate", "--gate-hold", huge], "--gate-hold", "stream"),
            (["stream", "m", "--gate", "--gate-preroll", huge], "--gate-preroll", "stream"), (["report", "--since", "tomorrow", "-o", "-"], "'tomorrow'", "report"),
            (["report", "--since", "100000000000d", "-o", "-"], "1970", "report"), (["report", "--versus", "yesterday", "-o", "-"], "--versus", "report"),
            (["wyoming"], "--uri", "wyoming"), (["top", "--interval", "1"], "--interval", "top"),
            (["simulate", "--random", "3", "--seed", "18446744073709551615"], "--seed must be 0 to 18446744073709551613", "simulate"),
        ]
        for (arguments, words, command) in cases {
            let run = try run(arguments, in: directory)
            #expect(run.status == 64 && run.error.contains(words) && run.error.contains("Usage: joulectl \(command)"), "\(arguments): \(run)")
        }
        let run = try run(["simulate", "--random", "1", "--seed", "18446744073709551615"], in: directory)
        #expect(run.status == 0, "\(run)")
    }

    @Test("A daemon that does not answer is told within the limit, and a file is told from a socket")
    func hanging() throws {
        let daemon = try DaemonHarness()
        defer { daemon.process.signal(SIGCONT) }
        let stuck = try daemon.joulectl(["stream", "silero-vad", "--pace"], name: "stuck", input: Installation.speech)
        #expect(eventually { !daemon.directory.text(of: "stuck.out").isEmpty })
        daemon.process.signal(SIGSTOP)
        stuck.signal(SIGINT)
        let before = SystemClocks().monotonic()
        let run = try run(["status", "--socket", daemon.socket], in: daemon.directory)
        #expect(run.status == 1 && run.error.contains("jouled does not answer: io.jouled.Power.GetStatus"), "\(run)")
        #expect(SystemClocks().monotonic().since(before) < Seconds(20))
        // Results are waited for, until somebody insists.
        #expect(stuck.exitStatus == nil)
        stuck.signal(SIGINT)
        #expect(stuck.wait(atMost: Seconds(10)) == 1 && daemon.directory.text(of: "stuck.err").contains("interrupted before"))
        let file = try self.run(["status", "--socket", daemon.directory("jouled.toml")], in: daemon.directory)
        #expect(file.status == 1 && file.error.contains("it is not a socket"), "\(file)")
    }

    @Test("A WAV file on standard input is no samples, unless a format is named")
    func wave() throws {
        let daemon = try DaemonHarness()
        daemon.directory.write("a.wav", Array("RIFF".utf8) + [0, 0, 0, 0] + Array("WAVEfmt ".utf8) + [UInt8](repeating: 0, count: 8000))
        for extra in [[], ["--pace"], ["--chunk", "640"]] {
            let run = try run(["stream", "silero-vad", "--socket", daemon.socket] + extra, in: daemon.directory, input: daemon.directory("a.wav"))
            #expect(run.status == 1 && run.out.isEmpty && run.error.contains("--from"), "\(extra): \(run)")
        }
        let run = try run(["stream", "silero-vad", "--format", "s16le", "--socket", daemon.socket], in: daemon.directory, input: daemon.directory("a.wav"))
        #expect(run.status == 0 && !run.out.isEmpty, "\(run)")
        let all = try self.run(
            ["stream", "silero-vad", "--socket", daemon.socket, "--from", daemon.directory("a.wav"), "--samples", "9223372036854775807"], in: daemon.directory)
        #expect(all.status == 1, "a trap would be a signal: \(all)")
    }

    // MARK: Policies

    @Test("check-config takes no empty file for a configuration, and no policy for one")
    func checkConfig() throws {
        let directory = TemporaryDirectory()
        directory.write("policies/empty.toml", "")
        directory.write("empty.toml", " \n")
        directory.write("policies/typo.toml", "knid = \"unlimited\"\n")
        directory.write("comments.toml", "# All defaults.\n")
        for (file, words) in [("policies/empty.toml", "is empty"), ("empty.toml", "is empty"), ("policies/typo.toml", "kind")] {
            let run = try run(["check-config", directory(file)], in: directory)
            #expect(run.status == 1 && run.error.contains(file) && run.error.contains(words) && !run.error.contains("limits"), "\(file): \(run)")
        }
        #expect(try run(["check-config", directory("comments.toml")], in: directory).status == 0)
    }
}
