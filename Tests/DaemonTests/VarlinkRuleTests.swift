import Glibc
import JouledClient
import JouledTestKit
import Testing
import Units
import Wire

/// What UAPI.20 says a server MUST do, in raw bytes against the real daemon; docs/protocol.md has the table.
@Suite("UAPI.20, rule by rule")
struct VarlinkRuleTests {
    private let daemon: DaemonHarness
    private static let getInfo = #"{"method":"org.varlink.service.GetInfo"}"#
    private static let open = #"{"method":"io.jouled.Streams.Open","upgrade":true,"parameters":{"model":"silero-vad","sampleRateHz":16000}}"#

    init() throws { daemon = try DaemonHarness() }

    private func bytes(_ messages: String...) -> [UInt8] { messages.flatMap { Array($0.utf8) + [0] } }

    /// The replies to what `send` sends, the client's side closed after it.
    private func replies(to sent: [UInt8]) throws -> [JSONValue] {
        let socket = try RawSocket(daemon)
        socket.sendAll(sent)
        socket.endOutput()
        return try messages(socket.readToEnd())
    }

    private func messages(_ bytes: [UInt8]) throws -> [JSONValue] {
        try bytes.split(separator: 0).map { try JSONValue(parsing: Array($0)) }
    }

    @Test("Malformed messages close the connection, and what follows them is not served")
    func malformed() throws {
        let broken: [[UInt8]] = [
            // Two flags at once, or one that is no boolean.
            #"{"method":"io.jouled.Power.GetStatus","more":true,"oneway":true}"#, #"{"method":"io.jouled.Power.GetStatus","more":true,"upgrade":true}"#,
            #"{"method":"io.jouled.Power.GetStatus","oneway":true,"upgrade":true}"#, #"{"method":"io.jouled.Power.GetStatus","more":1}"#,
            #"{"method":"io.jouled.Power.GetStatus","oneway":"true"}"#, #"{"method":"io.jouled.Power.GetStatus","upgrade":[]}"#,
            // Unknown members without a vendor's prefix.
            #"{"method":"org.varlink.service.GetInfo","urgent":true}"#, #"{"method":"org.varlink.service.GetInfo","X-urgent":{}}"#,
            // No JSON, no object, no method.
            "", "{", "[]", "7", "\"GetInfo\"", "null", "{}", #"{"parameters":{}}"#, #"{"method":7}"#, #"{"method":"org.varlink.service.GetInfo"}}"#,
            #"{"method":"org.varlink.service.GetInfo","parameters":[]}"#,
        ].map { Array($0.utf8) } + [
            // No UTF-8: a lone continuation, an overlong slash, a surrogate, a byte that is never in UTF-8.
            [0x80], [0xC0, 0xAF], [0xED, 0xA0, 0x80], [0xFF],
        ].map { Array(#"{"method":"org.varlink.service."#.utf8) + $0 + Array(#""}"#.utf8) }
        for message in broken {
            let socket = try RawSocket(daemon)
            socket.sendAll(message + [0] + bytes(Self.getInfo))
            let text = String(decoding: message, as: UTF8.self)
            let answered = try messages(socket.readToEnd())
            #expect(answered.count == 1 && answered[0]["error"] == "io.jouled.ProtocolViolation", "\(text): \(answered)")
        }
    }

    @Test("Absent, null and {} parameters are one and the same; so are an absent and a null field")
    func absence() throws {
        let infos = try replies(to: bytes(
            Self.getInfo, #"{"method":"org.varlink.service.GetInfo","parameters":null}"#, #"{"method":"org.varlink.service.GetInfo","parameters":{}}"#,
            #"{"method":"org.varlink.service.GetInfo","more":null,"oneway":false}"#))
        #expect(infos.count == 4 && Set(infos).count == 1, "\(infos)")
        _ = try TestStream.speech(daemon)
        let decisions = try replies(to: bytes(
            #"{"method":"io.jouled.Power.ListDecisions"}"#, #"{"method":"io.jouled.Power.ListDecisions","parameters":{"limit":null}}"#))
        #expect(decisions.count == 2 && Set(decisions).count == 1 && decisions[0]["parameters"]?["decisions"]?.arrayValue?.isEmpty == false, "\(decisions)")
    }

    @Test("Required fields must be there and not null; unknown ones are refused by name")
    func fields() throws {
        for (parameters, name) in [("{}", "interface"), (#"{"interface":null}"#, "interface"), (#"{"interface":1}"#, "interface"), (#"{"interface":"a.b","x":1}"#, "x")] {
            let reply = try replies(to: bytes(#"{"method":"org.varlink.service.GetInterfaceDescription","parameters":\#(parameters)}"#))
            #expect(reply == [["error": "org.varlink.service.InvalidParameter", "parameters": ["parameter": .string(name)]]], "\(parameters): \(reply)")
        }
    }

    @Test("Nothing answers oneway, not even an error, and the next reply is the next call's")
    func oneway() throws {
        let answered = try replies(to: bytes(
            #"{"method":"org.varlink.service.GetInfo","oneway":true}"#, #"{"method":"io.jouled.Power.Nonesuch","oneway":true}"#,
            #"{"method":"no.such.Interface","oneway":true}"#, #"{"method":"io.jouled.Policy.Set","parameters":{"name":"nonesuch"},"oneway":true}"#,
            #"{"method":"io.jouled.Models.List","parameters":{"x":1},"oneway":true}"#, #"{"method":"io.jouled.Streams.Open","oneway":true}"#,
            #"{"method":"io.jouled.Power.GetStatus","oneway":true}"#, #"{"method":"io.jouled.Streams.List"}"#))
        #expect(answered.count == 1 && answered[0]["parameters"]?["streams"] != nil, "\(answered)")
        // The call is carried out all the same.
        _ = try replies(to: bytes(#"{"method":"io.jouled.Policy.Set","parameters":{"name":"tiny"},"oneway":true}"#))
        #expect(try daemon.call("io.jouled.Power.GetStatus")["status"]?["policy"] == "tiny")
    }

    @Test("While a call continues, no further one is served")
    func busy() throws {
        let socket = try RawSocket(daemon)
        socket.sendAll(bytes(#"{"method":"io.jouled.Power.GetStatus","more":true}"#, Self.getInfo, #"{"method":"io.jouled.Policy.Set","parameters":{"name":"starved"}}"#))
        var received: [UInt8] = []
        for round in 1...3 {
            _ = eventually { received += socket.read(within: Seconds(0.05)) ?? []; return received.count { $0 == 0 } >= round }
            try daemon.setPolicy(round % 2 == 0 ? "unlimited" : "tiny")
        }
        let answered = try messages(Array(received[...(received.lastIndex(of: 0) ?? 0)]))
        #expect(answered.count >= 3)
        for reply in answered { #expect(reply["continues"] == true && reply["parameters"]?["status"] != nil, "\(reply)") }
        #expect(try daemon.call("io.jouled.Power.GetStatus")["status"]?["policy"] == "tiny")
    }

    @Test("'continues' is for those who asked for more, and never in an error")
    func continues() throws {
        let answered = try replies(to: bytes(
            #"{"method":"io.jouled.Power.GetStatus"}"#, #"{"method":"io.jouled.Streams.List"}"#, #"{"method":"io.jouled.Power.ListDecisions","more":false}"#,
            #"{"method":"io.jouled.Models.List","more":true}"#, #"{"method":"io.jouled.Power.Nonesuch","more":true}"#,
            #"{"method":"io.jouled.Power.ListDecisions","parameters":{"limit":-1},"more":true}"#))
        #expect(answered.count == 6)
        for reply in answered { #expect(reply["continues"] == nil, "\(reply)") }
        #expect(answered.suffix(2).allSatisfy { $0["error"] != nil })
    }

    @Test("Nothing beyond the NUL of an upgrade is consumed: frames sent with the call are the stream's")
    func upgrade() throws {
        let speech = try Reference.speech()
        var writer = FrameWriter()
        Array(speech[..<10_240]).withUnsafeBytes { writer.data($0, sampleSize: 2, sampleIndex: 0, time: MonotonicTime(nanoseconds: 0)) }
        writer.end(sampleIndex: 5120, time: MonotonicTime(nanoseconds: 0))
        let socket = try RawSocket(daemon)
        socket.sendAll(bytes(Self.getInfo, Self.open) + writer.take())
        let received = try socket.readToEnd()
        let ends = received.indices.filter { received[$0] == 0 }.prefix(2)
        let replies = try messages(Array(received[...(ends.last ?? 0)]))
        #expect(replies.count == 2 && replies.last?["parameters"]?["contract"] != nil, "\(replies)")
        var parser = FrameParser(role: .client)
        var kinds: [FrameType] = []
        try Array(received[((ends.last ?? 0) + 1)...]).withUnsafeBytes { pointer in
            try parser.receive(pointer) { (event) throws(JouledError) in if case .message(let header, _) = event { kinds.append(header.type) } }
        }
        #expect(kinds == [FrameType](repeating: .result, count: 10) + [.notice], "\(kinds)")
    }

    @Test("A refused upgrade leaves Varlink in place, and what needs one says so")
    func refusedUpgrade() throws {
        let answered = try replies(to: bytes(
            Self.open.replacing("silero-vad", with: "nonesuch"), Self.open.replacing(#""upgrade":true,"#, with: ""),
            #"{"method":"io.jouled.Models.List","upgrade":true}"#, Self.getInfo))
        #expect(answered.map { $0["error"]?.stringValue } == [
            "io.jouled.Streams.UnknownModel", "org.varlink.service.ExpectedUpgrade", "org.varlink.service.InvalidParameter", nil,
        ], "\(answered)")
    }

    @Test("Vendors' members of the header are ignored, white space is accepted and not emitted")
    func header() throws {
        let sent = " \t\r\n{ \"method\" :\n\"org.varlink.service.GetInfo\" , \"org.example\" : { \"trace\" : [ 1 , { } ] } }\n "
        let socket = try RawSocket(daemon)
        socket.sendAll(bytes(sent, Self.getInfo))
        socket.endOutput()
        let received = try socket.readToEnd()
        let halves = received.split(separator: 0)
        #expect(halves.count == 2 && halves[0] == halves[1])
        #expect(!received.contains { [0x20, 0x09, 0x0a, 0x0d].contains($0) })
    }

    @Test("Messages may come in any pieces, several at once too; replies are in the order of calls")
    func pieces() throws {
        let socket = try RawSocket(daemon)
        for byte in bytes(Self.getInfo, #"{"method":"io.jouled.Models.List"}"#) { socket.sendAll([byte]) }
        socket.sendAll(bytes(#"{"method":"io.jouled.Streams.List"}"#, #"{"method":"io.jouled.Policy.List"}"#, #"{"method":"io.jouled.Power.GetStatus"}"#))
        socket.endOutput()
        let answered = try messages(socket.readToEnd()).map { $0["parameters"]?.objectValue?.members.first?.key }
        #expect(answered == ["vendor", "models", "streams", "policies", "status"])
    }

    @Test("File descriptors are not accepted: none of the daemon's stays open")
    func descriptors() throws {
        // What the script passes is /dev/null, which the daemon has as its own standard input and output too.
        func open() -> Int {
            let folder = "/proc/\(daemon.process.id)/fd"
            return TemporaryDirectory.names(in: folder).count { name in
                var target = [CChar](repeating: 0, count: 256)
                return readlink("\(folder)/\(name)", &target, 255) > 0 && target.starts(with: "/dev/null\0".utf8CString.dropLast())
            }
        }
        let before = open()
        let script = "\(Installation.root)/Tests/DaemonTests/Scripts/send_fds.py"
        // A pipe of its own as standard input keeps the script, and so its connection, until the test has counted.
        let client = try Subprocess("/bin/sh", ["-c", "sleep 20 | exec python3 \(script) \(daemon.socket)"], output: daemon.directory("fds"), error: daemon.directory("fds"))
        #expect(eventually { daemon.directory.text(of: "fds").contains("\n") })
        #expect(daemon.directory.text(of: "fds").contains(#""product":"jouled""#))
        #expect(before > 0 && open() == before)
        _ = client
    }

    @Test("A client that goes away takes its pending replies with it, and others notice nothing")
    func gone() throws {
        func open() -> Int { TemporaryDirectory.names(in: "/proc/\(daemon.process.id)/fd").count }
        let before = open()
        for _ in 0..<20 {
            let monitor = try RawSocket(daemon)
            monitor.sendAll(bytes(#"{"method":"io.jouled.Power.GetStatus","more":true}"#, Self.getInfo))
            try RawSocket(daemon).sendAll(bytes(#"{"method":"io.jouled.Models.List"}"#))
        }
        try daemon.setPolicy("tiny")
        #expect(eventually { open() <= before })
        #expect(try replies(to: bytes(Self.getInfo)).count == 1)
    }

    @Test("Passed sockets that are another process's are left alone; the unit names its socket 'varlink'")
    func activation() throws {
        let other = try DaemonHarness { $0.environment = ["LISTEN_FDS": "1", "LISTEN_PID": "1", "LISTEN_FDNAMES": "varlink"] }
        #expect(try other.call("org.varlink.service.GetInfo")["product"] == "jouled")
        let unit = String(decoding: try #require(TemporaryDirectory.contents(of: Installation.root + "/systemd/jouled.socket")), as: UTF8.self)
        #expect(unit.split(separator: "\n").contains("FileDescriptorName=varlink"))
    }
}
