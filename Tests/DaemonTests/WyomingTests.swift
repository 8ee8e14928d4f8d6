import CLinux
import Glibc
import JouledTestKit
import Testing
import Units
import Wire
import Wyoming

/// `joulectl wyoming` between a real jouled and clients, one of them the protocol's own.
@Suite("The Wyoming endpoint")
struct WyomingEndpointTests {
    /// An endpoint of a daemon, ended with this object.
    private final class Endpoint {
        let daemon: DaemonHarness
        let process: Subprocess
        var path: String { daemon.directory("w") }

        init(_ arguments: [String] = [], daemon: DaemonHarness? = nil) throws {
            self.daemon = try daemon ?? DaemonHarness()
            process = try self.daemon.joulectl(["wyoming", "--uri", "unix://" + self.daemon.directory("w")] + arguments, name: "wyoming")
            // The file is there before anybody listens; the line comes after.
            let directory = self.daemon.directory
            guard eventually(within: Seconds(10), { directory.text(of: "wyoming.err").contains("may connect to unix://" + directory("w")) }) else {
                throw JouledError(.subprocess, "no socket: \(self.daemon.directory.text(of: "wyoming.err"))")
            }
        }
        deinit {
            process.signal(SIGTERM)
            _ = process.wait(atMost: Seconds(5))
        }

        var log: String { daemon.directory.text(of: "wyoming.err") }
    }

    private static let python = getenv("JOULED_TEST_PYTHON").map { String(cString: $0) } ?? Installation.root + "/.deps/venv/bin/python"
    private static let hasPackage = ((try? Subprocess(python, ["-c", "import wyoming"], error: "/dev/null").wait(atMost: Seconds(30))) ?? nil) == 0

    /// The first 14 s of the speech, as a file of `directory`.
    private func recording(in directory: TemporaryDirectory) throws -> String {
        directory.write("recording", Array(try Reference.speech()[..<(440 * 1024)]))
        return directory("recording")
    }

    /// What the client of the package prints.
    private func client(_ uri: String, _ directory: TemporaryDirectory, _ arguments: [String] = []) throws -> [JSONValue] {
        let name = "client-\(TemporaryDirectory.names(in: directory.path).count)"
        let script = try Subprocess(
            Self.python, [Installation.root + "/Tests/DaemonTests/Scripts/wyoming_client.py", uri, recording(in: directory)] + arguments,
            output: directory(name), error: directory(name))
        #expect(script.wait(atMost: Seconds(120)) == 0, "\(directory.text(of: name))")
        return try directory.text(of: name).split(separator: "\n").map { try JSONValue(parsing: String($0)) }
    }

    /// Beginnings and ends of speech, in milliseconds, of what `joulectl stream` says window by window.
    private func expected(_ daemon: DaemonHarness, silence: Double = 0.5) throws -> [JSONValue] {
        let (status, out, error) = try daemon.run(["stream", "silero-vad", "-q"], input: recording(in: daemon.directory))
        #expect(status == 0, "\(error)")
        var (events, started, quietSince, last) = ([JSONValue](), false, Int64?.none, Int64(0))
        for line in out.split(separator: "\n") {
            let window = try JSONValue(parsing: String(line))
            let (end, probability) = (window["end"]?.intValue ?? 0, window["speech_probability"]?.doubleValue ?? 0)
            last = end
            if !started {
                guard probability >= 0.5 else { continue }
                (started, quietSince) = (true, nil)
                events.append(["type": "voice-started", "timestamp": .int((end - 512) / 16)])
            } else if probability >= 0.35 {
                quietSince = nil
            } else {
                quietSince = quietSince ?? end - 512
                guard let since = quietSince, Double(end - since) >= silence * 16_000 else { continue }
                started = false
                events.append(["type": "voice-stopped", "timestamp": .int(since / 16)])
            }
        }
        if started { events.append(["type": "voice-stopped", "timestamp": .int((quietSince ?? last) / 16)]) }
        return events
    }

    @Test("The protocol's own client is told of speech when joulectl stream says so, in any form of audio that is converted", .enabled(if: hasPackage, "needs PyPI's wyoming: run setup/setup.sh"))
    func package() throws {
        let endpoint = try Endpoint()
        let wanted = try expected(endpoint.daemon)
        #expect(wanted.count >= 4)
        let uri = "unix://" + endpoint.path
        for arguments in [["--describe"], ["--rate", "48000", "--channels", "2", "--chunk", "333"], ["--chunk", "100000"]] {
            let told = try client(uri, endpoint.daemon.directory, arguments)
            #expect(told.filter { $0["type"]?.stringValue?.hasPrefix("voice-") == true } == wanted, "\(arguments)")
            #expect(told.last == ["type": "pong", "text": "over"])
            guard arguments == ["--describe"] else { continue }
            // The spotter that set-up makes is announced where it has been made.
            let spotters = access(Installation.bundles + "/keyword/1/model.toml", R_OK) == 0 ? 1 : 0
            #expect(told[0]["type"] == "info" && told[0]["wake"]?.arrayValue?.count == spotters, "\(told[0])")
            #expect(told[1] == ["type": "pong", "text": "still there"])
        }
        let later = try client(uri, endpoint.daemon.directory, ["--timestamp", "60000"])
        #expect(later.first?["timestamp"]?.intValue == (wanted[0]["timestamp"]?.intValue ?? 0) + 60_000)
        // Refusals arrive although the client goes on sending.
        #expect(try client(uri, endpoint.daemon.directory, ["--detect", "hey"]).first?["text"]?.stringValue?.contains("no model listens for hey") == true)
        let streams = try endpoint.daemon.call("io.jouled.Streams.List")["streams"]?.arrayValue
        #expect(streams == [], "\(streams ?? [])")
    }

    @Test("A client that asks for a wake word is told of each time that its model hears it", .enabled(if: hasPackage, "needs PyPI's wyoming: run setup/setup.sh"))
    func wakeWord() throws {
        // Voice activity by another name: its word is said wherever speech begins.
        let copies = try BundleCopies(in: TemporaryDirectory(), ["silero-vad"])
        try copies.edit("silero-vad", "task = \"voice-activity\"", "task = \"keyword-spotting\"")
        try copies.edit("silero-vad", "labels = [\"speech_probability\"]", "labels = [\"hey_you\"]")
        let endpoint = try Endpoint(daemon: try DaemonHarness { $0.models = copies.path })
        let uri = "unix://" + endpoint.path
        let told = try client(uri, endpoint.daemon.directory, ["--describe", "--detect", "hey_you"])
        #expect(told[0]["wake"]?[0]?["models"]?[0]?["name"] == "hey_you" && told[0]["wake"]?[0]?["models"]?[0]?["phrase"] == "hey you")
        let detections = told.filter { $0["type"] == "detection" }
        #expect(detections.count >= 3 && detections.allSatisfy { $0["name"] == "hey_you" } && detections.first?["timestamp"] == 64, "\(detections)")
        #expect(!told.contains { $0["type"] == "not-detected" })
        #expect(try client(uri, endpoint.daemon.directory, ["--detect", ""]).filter { $0["type"] == "detection" } == detections)
        #expect(try client(uri, endpoint.daemon.directory, ["--detect", "computer"]).first?["text"]?.stringValue?.contains("there are hey_you") == true)
        #expect(try client(uri, endpoint.daemon.directory).first?["text"]?.stringValue?.contains("no model for voice activity") == true)
        let silence = try Client(endpoint)
        silence.send(WyomingEvent("detect"), Self.start, Self.chunk([UInt8](repeating: 0, count: 64_000)), WyomingEvent("audio-stop"))
        #expect(try silence.next() == WyomingEvent("not-detected"))
        silence.send(WyomingEvent("detect", ["names": ["\u{1B}[2J\n<7>x"]]), Self.start)
        #expect(try silence.next()?.type == "error")
        #expect(eventually { endpoint.log.contains("no model listens for ?[2J?<7>x") } && !endpoint.log.contains("\u{1B}"), "\(endpoint.log)")
    }

    // MARK: Raw bytes

    /// A client that says what it likes.
    private final class Client {
        private let socket: RawSocket
        private var parser = WyomingParser()
        private(set) var hasEnded = false
        init(_ path: String) throws { socket = try RawSocket(path: path) }
        convenience init(_ endpoint: Endpoint) throws { try self.init(endpoint.path) }
        func send(_ bytes: [UInt8]) { socket.sendAll(bytes) }
        func send(_ events: WyomingEvent...) { socket.sendAll(events.flatMap(\.bytes)) }
        /// The next event; nil at the end of the connection, or when none comes.
        func next(within limit: Seconds = Seconds(20)) throws -> WyomingEvent? {
            let deadline = SystemClocks().monotonic().advanced(by: limit)
            while SystemClocks().monotonic() < deadline {
                if let event = try parser.next() { return event }
                guard let bytes = socket.read(within: Seconds(1)) else {
                    hasEnded = true
                    return nil
                }
                bytes.withUnsafeBytes { parser.receive($0) }
            }
            return nil
        }
    }

    private static let start = WyomingEvent("audio-start", ["rate": 16000, "width": 2, "channels": 1])
    private static func chunk(_ bytes: [UInt8]) -> WyomingEvent { WyomingEvent("audio-chunk", ["rate": 16000, "width": 2, "channels": 1], payload: bytes) }

    @Test("What is no Wyoming is answered with what is wrong, and ends that connection alone")
    func malformed() throws {
        let endpoint = try Endpoint()
        let bystander = try Client(endpoint)
        bystander.send(Self.start)
        let cases: [(String, String)] = [
            ("GET / HTTP/1.1\r\n\r\n", "header: JSON, byte 0"), ("{\"type\":\"x\",\"payload_length\":99999999}\n", "header: payload_length"),
            ("{\"type\":\"audio-start\"}\n", "audio-start: rate"), (String(repeating: "x", count: 200_000), "header: no end of line"),
        ]
        for (text, words) in cases {
            let client = try Client(endpoint)
            client.send(Array(text.utf8))
            let event = try client.next()
            #expect(event?.type == "error" && event?.data["text"]?.stringValue?.contains(words) == true, "\(text.prefix(40)): \(String(describing: event))")
            #expect(try client.next() == nil && client.hasEnded)
            #expect(endpoint.log.contains(words))
        }
        let speech = try #require(TemporaryDirectory.contents(of: Installation.speech)).prefix(160_000)
        bystander.send(Self.chunk(Array(speech)), WyomingEvent("audio-stop"))
        #expect(try bystander.next()?.type == "voice-started")
    }

    @Test("Connections are bounded; a client that only sends, or never reads, holds up nobody")
    func bounds() throws {
        let endpoint = try Endpoint(["--connections", "3"])
        let (mute, deaf, third) = (try Client(endpoint), try Client(endpoint), try Client(endpoint))
        third.send(WyomingEvent("ping"))
        #expect(try third.next()?.type == "pong")
        let fourth = try Client(endpoint)
        #expect(try fourth.next()?.data["text"]?.stringValue?.contains("3 connections are open") == true)
        mute.send(Array("{\"type\":".utf8))
        // Its answers, some 4 MB, go nowhere: it is read no further.
        let ping = WyomingEvent("ping", ["text": .string(String(repeating: "p", count: 4000))]).bytes
        deaf.send((0..<1000).flatMap { _ in ping })
        third.send(WyomingEvent("ping", ["text": "you"]))
        #expect(try third.next() == WyomingEvent("pong", ["text": "you"]))
        #expect(endpoint.process.exitStatus == nil)
        withExtendedLifetime(mute) {}
    }

    @Test("Without jouled a client is told so; with it again, the same connection serves; a jouled that goes ends the audio and not the endpoint")
    func daemonGone() throws {
        let endpoint = try Endpoint()
        let client = try Client(endpoint)
        client.send(Self.start, Self.chunk([UInt8](repeating: 0, count: 32_000)))
        #expect(eventually(within: Seconds(20)) { ((try? endpoint.daemon.call("io.jouled.Streams.List"))?["streams"]?.arrayValue?.count ?? 0) == 1 })
        endpoint.daemon.process.signal(SIGKILL)
        _ = endpoint.daemon.process.wait(atMost: Seconds(5))
        let told = try client.next()
        #expect(told?.type == "error" && told?.data["code"] == "jouled", "\(String(describing: told))")
        client.send(Self.chunk([0, 0]), WyomingEvent("audio-stop"), WyomingEvent("describe"))
        #expect(try client.next()?.data["text"]?.stringValue?.contains("nobody listens") == true)
        try endpoint.daemon.crash()
        client.send(WyomingEvent("describe"))
        #expect(try client.next()?.data["vad"]?[0]?["name"] == "silero-vad")
        client.send(Self.start, Self.chunk(Array(try #require(TemporaryDirectory.contents(of: Installation.speech)).prefix(160_000))), WyomingEvent("audio-stop"))
        #expect(try client.next()?.type == "voice-started")
    }

    @Test("A paused stream is told: nobody listens")
    func paused() throws {
        let daemon = try DaemonHarness { $0.policy = "starved" }
        let endpoint = try Endpoint(daemon: daemon)
        let client = try Client(endpoint)
        client.send(Self.start)
        let told = try client.next()
        #expect(told?.data["code"] == "paused" && told?.data["text"]?.stringValue?.hasPrefix("not listening: paused") == true, "\(String(describing: told))")
    }

    @Test("TCP, a socket of the service manager's, and a socket file that a crash left behind")
    func listening() throws {
        let daemon = try DaemonHarness()
        // A free port of this machine's own; another program may take it in between, which is tried again.
        var served = false
        for port in [UInt16.random(in: 20_000..<30_000), UInt16.random(in: 20_000..<30_000)] where !served {
            let server = try daemon.joulectl(["wyoming", "--uri", "tcp://127.0.0.1:\(port)"], name: "tcp")
            defer {
                server.signal(SIGTERM)
                #expect(server.wait(atMost: Seconds(5)) == 0)
            }
            served = eventually(within: Seconds(10)) { daemon.directory.text(of: "tcp.err").contains("may connect to tcp://127.0.0.1:\(port)") }
            guard served, Self.hasPackage else { continue }
            #expect(try client("tcp://127.0.0.1:\(port)", daemon.directory).first?["type"] == "voice-started")
        }
        #expect(served, "\(daemon.directory.text(of: "tcp.err"))")
        let listener = clinux_listen_unix(daemon.directory("passed"), 0o600, 4)
        try #require(listener >= 0)
        let activated = try Subprocess(
            "/bin/sh", ["-c", "LISTEN_PID=$$; export LISTEN_PID; exec \"$0\" \"$@\"", Installation.joulectl, "wyoming", "--socket", daemon.socket],
            environment: ["LISTEN_FDS": "1"], descriptor: listener)
        close(listener)
        let passed = try Client(daemon.directory("passed"))
        passed.send(WyomingEvent("ping"))
        #expect(try passed.next()?.type == "pong")
        activated.signal(SIGTERM)
        #expect(activated.wait(atMost: Seconds(5)) == 0)
        #expect(try daemon.run(["wyoming"]).error.contains("give --uri"))
        // Killed, the file stays; the next one takes its place, and a file that is none is left alone.
        var endpoint: Endpoint? = try Endpoint(daemon: daemon)
        endpoint?.process.signal(SIGKILL)
        _ = endpoint?.process.wait(atMost: Seconds(5))
        #expect(access(daemon.directory("w"), F_OK) == 0)
        endpoint = nil
        let next = try Endpoint(daemon: daemon)
        #expect(eventually(within: Seconds(10)) { (try? Client(next)) != nil })
        let second = try daemon.run(["wyoming", "--uri", "unix://" + daemon.directory("w")])
        #expect(second.status == 1 && second.error.contains("another program listens there"), "\(second.error)")
        daemon.directory.write("file", "mine")
        #expect(try daemon.run(["wyoming", "--uri", "unix://" + daemon.directory("file")]).status == 1)
        #expect(daemon.directory.text(of: "file") == "mine")
        for uri in ["tcp://127.0.0.1", "http://x:1", "unix://relative", "tcp://:1", "tcp://::1:1"] {
            #expect(try daemon.run(["wyoming", "--uri", uri]).status == 64, "\(uri)")
        }
    }
}
