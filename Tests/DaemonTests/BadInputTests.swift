import Glibc
import JouledClient
import JouledTestKit
import Testing
import Units
import Wire

/// A stream that goes on while something bad happens beside it; its results are verified to the end.
final class Bystander {
    private let stream: TestStream
    private let speech: [UInt8]
    private var fed = 0

    init(_ daemon: DaemonHarness) throws {
        stream = try TestStream.speech(daemon, ["name": "bystander"])
        speech = try Reference.speech()
        try goOn()
    }

    /// Feeds some more and takes the results.
    func goOn(_ windows: Int = 10) throws {
        let end = min(speech.count, fed + windows * 1024)
        try stream.send(speech[fed..<end])
        fed = end
        #expect(try stream.wait { stream.windows.count == fed / 1024 }, "the bystander is held up")
    }

    func verify() throws {
        try stream.send(speech[fed...])
        try stream.finish()
        expectEqual(stream.windows, try Reference.load("silero-vad-fp32"), "bystander")
        #expect(stream.notices.map(\.notice.kind) == ["end"])
    }
}

@Suite("Bad input is answered with an error that names the fault, while other streams go on")
struct BadInputTests {
    @Test("Calls to Open")
    func open() throws {
        let daemon = try DaemonHarness()
        let bystander = try Bystander(daemon)
        let cases: [(JSONObject, String, [String])] = [
            (["model": "nonesuch", "sampleRateHz": 16000], "io.jouled.Streams.UnknownModel", ["nonesuch", "silero-vad", "ecg-rhythm"]),
            (["model": "silero-vad", "sampleRateHz": 8000], "io.jouled.Streams.SignalMismatch", ["sampleRateHz", "16000", "8000"]),
            (["model": "silero-vad", "sampleRateHz": 16000, "format": "u8"], "io.jouled.Streams.SignalMismatch", ["format", "u8", "s16le"]),
            (["model": "silero-vad", "sampleRateHz": 16000, "channels": 2], "io.jouled.Streams.SignalMismatch", ["channels", "2", "1"]),
            (["model": "silero-vad", "sampleRateHz": 16000, "variant": "fp8"], "io.jouled.Streams.UnknownVariant", ["fp8", "int8-lstm"]),
            (["model": "silero-vad", "sampleRateHz": 16000, "version": 9], "io.jouled.Streams.ModelUnavailable", ["9"]),
            (["model": "../silero-vad", "sampleRateHz": 16000], "io.jouled.Streams.UnknownModel", ["../silero-vad"]),
            (["model": "silero-vad"], "org.varlink.service.InvalidParameter", ["sampleRateHz"]),
            (["model": "silero-vad", "sampleRateHz": "fast"], "org.varlink.service.InvalidParameter", ["sampleRateHz"]),
            (["model": "silero-vad", "sampleRateHz": 16000, "colour": 1], "org.varlink.service.InvalidParameter", ["colour"]),
            (["model": "silero-vad", "sampleRateHz": 16000, "floor": 2], "org.varlink.service.InvalidParameter", ["floor"]),
            (["model": "silero-vad", "sampleRateHz": 16000, "name": "a\u{1}b"], "org.varlink.service.InvalidParameter", ["name"]),
        ]
        for (parameters, name, words) in cases {
            let socket = try RawSocket(daemon)
            let call: JSONValue = ["method": "io.jouled.Streams.Open", "parameters": .object(parameters), "upgrade": true]
            let reply = try socket.call(call.description)
            #expect(reply["error"]?.stringValue == name, "\(parameters): \(reply)")
            for word in words { #expect(reply.description.contains(word), "\(reply) does not say \(word)") }
            // The connection stays with Varlink.
            #expect(try socket.call("{\"method\":\"org.varlink.service.GetInfo\"}")["parameters"] != nil)
            try bystander.goOn(3)
        }
        try bystander.verify()
        #expect(try daemon.call("io.jouled.Streams.List")["streams"]?.arrayValue?.isEmpty == true)
    }

    @Test("Calls that Varlink answers with an error")
    func calls() throws {
        let daemon = try DaemonHarness()
        let bystander = try Bystander(daemon)
        let socket = try RawSocket(daemon)
        let cases = [
            ("{\"method\":\"io.jouled.Streams.Open\",\"parameters\":{\"model\":\"silero-vad\",\"sampleRateHz\":16000}}", "org.varlink.service.ExpectedUpgrade", ""),
            ("{\"method\":\"io.jouled.Streams.Close\"}", "org.varlink.service.MethodNotFound", "io.jouled.Streams.Close"),
            ("{\"method\":\"io.nobody.Knows\"}", "org.varlink.service.InterfaceNotFound", "io.nobody"),
            ("{\"method\":\"io.jouled.Power.GetStatus\",\"parameters\":{\"x\":1}}", "org.varlink.service.InvalidParameter", "x"),
            ("{\"method\":\"io.jouled.Streams.Explain\",\"parameters\":{\"stream\":4711}}", "io.jouled.Streams.UnknownStream", "4711"),
            ("{\"method\":\"io.jouled.Streams.Explain\",\"parameters\":{\"stream\":-1}}", "org.varlink.service.InvalidParameter", "stream"),
            ("{\"method\":\"io.jouled.Policy.Set\",\"parameters\":{\"name\":\"nonesuch\"}}", "io.jouled.Policy.UnknownPolicy", "unlimited"),
            ("{\"method\":\"io.jouled.Policy.Set\",\"parameters\":{\"name\":\"../../etc/passwd\"}}", "io.jouled.Policy.UnknownPolicy", "passwd"),
            ("{\"method\":\"org.varlink.service.GetInterfaceDescription\",\"parameters\":{\"interface\":\"x.y\"}}", "org.varlink.service.InterfaceNotFound", "x.y"),
            ("{\"method\":\"io.jouled.Power.GetStatus\",\"upgrade\":true}", "org.varlink.service.InvalidParameter", "upgrade"),
        ]
        for (call, name, word) in cases {
            let reply = try socket.call(call)
            #expect(reply["error"]?.stringValue == name, "\(call): \(reply)")
            #expect(word.isEmpty || reply.description.contains(word), "\(reply) does not say \(word)")
            try bystander.goOn(3)
        }
        try bystander.verify()
    }

    @Test("Messages that break Varlink are answered with the reason, which ends the connection", arguments: [
        "{\"method\":", "[]", "not json", "{\"method\":1}", "{\"methods\":\"a.B\"}", "{\"method\":\"a.B\",\"more\":true,\"oneway\":true}", "{\"method\":\"a.B\",\"more\":1}",
        "\u{FF}{}", "{\"method\":\"a.B\"} {}",
    ])
    func malformed(text: String) throws {
        let daemon = try DaemonHarness()
        let socket = try RawSocket(daemon)
        socket.sendAll(Array(text.utf8) + [0])
        try expectViolation(socket, text, mustAnswer: true)
        #expect(daemon.journalHas("Connection closed: ", "JOULED_PEER_PID=\(getpid())"))
        #expect(try daemon.call("org.varlink.service.GetInfo")["product"] != nil)
    }

    /// One error that says what broke the protocol, and then the end.
    private func expectViolation(_ socket: RawSocket, _ context: String, mustAnswer: Bool = false) throws {
        var bytes = try socket.readToEnd()
        // A flood that the daemon left unread resets the connection, and may take the answer with it.
        guard !bytes.isEmpty || mustAnswer else { return }
        #expect(bytes.popLast() == 0, "\(context)")
        let reply = try JSONValue(parsing: bytes)
        #expect(reply["error"] == "io.jouled.ProtocolViolation", "\(context): \(reply)")
        #expect(reply["parameters"]?["message"]?.stringValue?.isEmpty == false, "\(context): \(reply)")
    }

    @Test("A client that closes its side still gets its replies, pipelined ones too")
    func halfClose() throws {
        let daemon = try DaemonHarness()
        let socket = try RawSocket(daemon)
        let call = Array("{\"method\":\"io.jouled.Models.List\"}".utf8) + [0]
        socket.sendAll(call + call + call)
        socket.endOutput()
        let replies = try socket.readToEnd().split(separator: 0)
        #expect(replies.count == 3)
        for reply in replies { #expect(try JSONValue(parsing: Array(reply))["parameters"]?["models"] != nil) }
    }

    @Test("A flood of frames without samples leaves other streams their turns")
    func flood() throws {
        let daemon = try DaemonHarness()
        let bystander = try Bystander(daemon)
        let stream = try RawStream(daemon, ["model": "silero-vad", "sampleRateHz": 16000])
        var writer = FrameWriter()
        for _ in 0..<20_000 { writer.flush(sampleIndex: 0, time: MonotonicTime(nanoseconds: 0)) }
        let flood = writer.take()
        var sent = 0
        // The replies are not read, so that only what the sockets hold is taken.
        for _ in 0..<50 where stream.isWritable(within: Seconds(0.05)) { sent += max(0, stream.send(flood, from: sent % flood.count)) }
        #expect(sent > 0)
        try bystander.goOn(50)
        try bystander.verify()
    }

    @Test("Frames: the ERROR names the frame and the field", arguments: BadFrame.all)
    func frames(bad: BadFrame) throws {
        let daemon = try DaemonHarness()
        let bystander = try Bystander(daemon)
        let stream = try RawStream(daemon, ["model": "silero-vad", "sampleRateHz": 16000, "format": .string(bad.format)])
        stream.socket.sendAll(bad.bytes)
        if bad.endsOutput { stream.socket.endOutput() }
        let error = try #require(try stream.error(), "no ERROR for \(bad)")
        for word in bad.words { #expect(error.message.contains(word), "'\(error.message)' does not say '\(word)'") }
        #expect(daemon.journalHas("ended after", error.message))
        try bystander.verify()
        #expect(try eventually { try daemon.call("io.jouled.Streams.List")["streams"]?.arrayValue?.isEmpty == true })
    }

    @Test("1 MiB of noise, as frames and as Varlink", arguments: seeds(3))
    func noise(seed: UInt64) throws {
        let daemon = try DaemonHarness()
        let bystander = try Bystander(daemon)
        var random = SeededGenerator(seed: seed)
        let noise = random.bytes(1 << 20)
        let stream = try RawStream(daemon, ["model": "silero-vad", "sampleRateHz": 16000])
        stream.socket.sendAll(noise)
        let error = try #require(try stream.error(), "seed \(seed)")
        #expect(error.message.contains("frame 1"), "seed \(seed): \(error)")
        try bystander.goOn(50)

        let socket = try RawSocket(daemon)
        socket.sendAll(noise)
        try expectViolation(socket, "seed \(seed)")
        // Noise without a NUL must not be collected for ever either.
        let endless = try RawSocket(daemon)
        endless.sendAll(noise.map { $0 == 0 ? 1 : $0 } + [UInt8](repeating: 0x20, count: 1 << 20))
        try expectViolation(endless, "seed \(seed)")
        #expect(daemon.journalHas("larger than"))
        try bystander.verify()
    }

    @Test("Clients that vanish: in mid-call, while a stream opens, in mid-frame")
    func vanish() throws {
        let daemon = try DaemonHarness()
        let bystander = try Bystander(daemon)
        let open = "{\"method\":\"io.jouled.Streams.Open\",\"upgrade\":true,\"parameters\":{\"model\":\"silero-vad\",\"sampleRateHz\":16000}}"
        for _ in 0..<20 {
            try RawSocket(daemon).sendAll(Array(open.utf8.prefix(30)))
            try RawSocket(daemon).sendAll(Array(open.utf8) + [0])
            let stream = try RawStream(daemon, ["model": "ecg-rhythm", "sampleRateHz": 100])
            stream.socket.sendAll([0, 1, 0, 0, 1, 0, 0])
            try bystander.goOn(2)
        }
        let left = { try daemon.call("io.jouled.Streams.List")["streams"]?.arrayValue?.count }
        #expect(try eventually { try left() == 1 }, "streams are left")
        try bystander.verify()
    }
}

/// Bytes that are no lawful stream of frames.
struct BadFrame: Sendable, CustomTestStringConvertible {
    var name: String
    var bytes: [UInt8]
    var words: [String]
    var format = "s16le"
    var endsOutput = false
    var testDescription: String { name }

    private static func header(_ length: UInt32, _ type: UInt16, flags: UInt16 = 0, index: UInt64 = 0) -> [UInt8] {
        func little(_ value: some FixedWidthInteger) -> [UInt8] { withUnsafeBytes(of: value.littleEndian) { Array($0) } }
        return little(length) + little(type) + little(flags) + little(index) + little(UInt64(0))
    }

    private static func data(_ samples: Int, at index: UInt64) -> [UInt8] {
        header(UInt32(2 * samples), 1, index: index) + [UInt8](repeating: 0, count: 2 * samples)
    }

    static let all = [
        BadFrame(name: "impossible length", bytes: header(0xFFFF_FFFF, 1), words: ["frame 1", "length 4294967295", "1048576"]),
        BadFrame(name: "half a sample", bytes: data(600, at: 0) + header(3, 1, index: 600), words: ["frame 2", "length 3", "sample size"]),
        BadFrame(name: "unknown type", bytes: header(0, 99), words: ["frame 1", "type 99"]),
        BadFrame(name: "a result from the client", bytes: header(0, 16), words: ["frame 1", "RESULT"]),
        BadFrame(name: "reserved flags", bytes: header(0, 3, flags: 5), words: ["frame 1", "flags 0x5"]),
        BadFrame(name: "backwards", bytes: data(600, at: 1000) + data(10, at: 1500), words: ["frame 2", "1500", "1600"]),
        BadFrame(name: "gap backwards", bytes: data(600, at: 1000) + header(8, 2, index: 1599) + [1, 0, 0, 0, 0, 0, 0, 0], words: ["frame 2", "GAP", "1599"]),
        BadFrame(name: "gap beyond all numbers", bytes: data(600, at: 1000) + header(8, 2, index: 1600) + [UInt8](repeating: 255, count: 8), words: ["frame 2", "GAP", "overflow"]),
        BadFrame(name: "gap of odd length", bytes: header(7, 2), words: ["frame 1", "GAP", "8"]),
        BadFrame(name: "END in mid-frame", bytes: header(2000, 1) + [UInt8](repeating: 0, count: 500), words: ["frame 1", "DATA", "1500 bytes"], endsOutput: true),
        BadFrame(name: "END in a header", bytes: data(600, at: 0) + [1, 2, 3], words: ["frame 2", "21 bytes", "header"], endsOutput: true),
        BadFrame(name: "more after END", bytes: header(0, 4) + data(10, at: 0), words: ["frame 2", "END"]),
        BadFrame(name: "NaN", bytes: header(8, 1) + [0, 0, 0, 0, 0, 0, 0xC0, 0x7F], words: ["frame 1", "finite"], format: "f32le"),
        BadFrame(name: "infinity", bytes: header(4, 1) + [0, 0, 0x80, 0xFF], words: ["frame 1", "finite"], format: "f32le"),
        BadFrame(name: "beyond the last index", bytes: data(600, at: .max - 100), words: ["frame 1", "index"]),
    ]
}
