import JouledTestKit
import Testing
import Units

@testable import Wire

@Suite("Varlink, server's side")
struct VarlinkServerTests {
    /// A connection that was told `text`, NUL added.
    private func connection(_ text: String) -> VarlinkServerConnection {
        var connection = VarlinkServerConnection()
        connection.receive(text.utf8)
        connection.receive([0])
        return connection
    }

    private func text(_ bytes: [UInt8]) -> String {
        #expect(bytes.last == 0 && bytes.filter { $0 == 0 }.count == 1, "one NUL, at the end")
        return String(decoding: bytes.dropLast(), as: UTF8.self)
    }

    @Test("Calls in every form", arguments: [
        (#"{"method":"a.b.C"}"#, VarlinkCall(method: "a.b.C")),
        (#" { "method" : "a.b.C" , "parameters" : null } "#, VarlinkCall(method: "a.b.C")),
        (#"{"parameters":{},"method":"a.b.C"}"#, VarlinkCall(method: "a.b.C")),
        (#"{"method":"a.b.C","parameters":{"x":1}}"#, VarlinkCall(method: "a.b.C", parameters: ["x": 1])),
        (#"{"method":"a.b.C","more":true}"#, VarlinkCall(method: "a.b.C", mode: .more)),
        (#"{"method":"a.b.C","oneway":true,"more":false}"#, VarlinkCall(method: "a.b.C", mode: .oneway)),
        (#"{"method":"a.b.C","upgrade":true,"more":null}"#, VarlinkCall(method: "a.b.C", mode: .upgrade)),
        (#"{"method":"a.b.C","com.example":{"x":[]}}"#, VarlinkCall(method: "a.b.C")),
    ])
    func calls(text: String, expected: VarlinkCall) {
        var connection = connection(text)
        #expect(connection.next() == .call(expected))
        #expect(connection.next() == nil)
        #expect(connection.isServing)
    }

    @Test("Broken messages close the connection", arguments: [
        ("", "JSON"), ("{", "JSON"), ("[]", "no JSON object"), ("1", "no JSON object"), ("{}{}", "JSON"), ("{}", "no 'method'"),
        (#"{"method":1}"#, "'method'"), (#"{"method":null}"#, "'method'"), (#"{"method":"a.B","parameters":[]}"#, "'parameters'"),
        (#"{"method":"a.B","parameters":1}"#, "'parameters'"), (#"{"method":"a.B","more":1}"#, "'more'"),
        (#"{"method":"a.B","oneway":"true"}"#, "'oneway'"), (#"{"method":"a.B","upgrade":{}}"#, "'upgrade'"),
        (#"{"method":"a.B","more":true,"oneway":true}"#, "both"), (#"{"method":"a.B","more":true,"upgrade":true}"#, "both"),
        (#"{"method":"a.B","oneway":true,"upgrade":true}"#, "both"), (#"{"method":"a.B","continues":true}"#, "'continues'"),
        (#"{"method":"a.B","x":1}"#, "'x'"), (#"{"method":"a.B","X-foo":{}}"#, "'X-foo'"), (#"{"method":"a.B","":{}}"#, "''"),
        (#"{"method":"a.B","com.example":1}"#, "vendor"), (#"{"method":"a.B","method":"a.B"}"#, "duplicate"), ("{\"method\":\"\u{1}\"}", "JSON"),
    ])
    func violations(text: String, reason: String) {
        var connection = connection(text)
        guard case .close(let given) = connection.next() else {
            Issue.record("accepted: \(text)")
            return
        }
        #expect(given.contains(reason))
        #expect(connection.isClosed)
        connection.receive(Array(#"{"method":"a.B"}"#.utf8) + [0])
        #expect(connection.next() == nil)
    }

    @Test("Any split of the bytes gives the same calls", arguments: seeds(60))
    func splits(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        var bytes: [UInt8] = []
        var expected: [VarlinkServerAction] = []
        for number in 0..<12 {
            let mode = [VarlinkCall.Mode.single, .oneway, .more][Int.random(in: 0...2, using: &random)]
            let call = VarlinkCall(
                method: "a.b.M\(number)", parameters: ["v": JSONTests.value(depth: 3, &random)], mode: mode)
            var client = VarlinkClientConnection()
            bytes += try client.call(call)
            expected.append(.call(call))
        }
        if Bool.random(using: &random) {
            bytes += Array("nonsense".utf8) + [0]
            expected.append(.close(reason: ""))
        }
        var server = VarlinkServerConnection()
        var actions: [VarlinkServerAction] = []
        for piece in random.split(bytes, most: [1, 7, 200, 100_000][Int.random(in: 0...3, using: &random)]) {
            server.receive(piece)
            while let action = server.next() {
                if case .close = action { actions.append(.close(reason: "")) } else {
                    actions.append(action)
                    _ = try server.reply()
                }
            }
        }
        #expect(actions == expected)
    }

    @Test("Noise closes the connection or waits, never traps", arguments: seeds(100))
    func noise(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        var server = VarlinkServerConnection()
        for piece in random.split(random.bytes(4000), most: 500) {
            server.receive(piece)
            while let action = server.next() {
                guard case .close = action else { _ = Issue.record("noise was taken for \(action)"); return }
            }
        }
    }

    @Test("No call is handed out before the last is answered; a monitor holds up the rest")
    func order() throws {
        var server = connection(#"{"method":"a.B","more":true}"#)
        server.receive(Array(#"{"method":"a.C"}"#.utf8) + [0])
        #expect(server.next() == .call(VarlinkCall(method: "a.B", mode: .more)))
        #expect(text(try server.reply(["n": 1], continues: true)) == #"{"parameters":{"n":1},"continues":true}"#)
        #expect(server.next() == nil)
        #expect(text(try server.reply(["n": 2])) == #"{"parameters":{"n":2}}"#)
        #expect(server.next() == .call(VarlinkCall(method: "a.C")))
        #expect(text(try server.reply()) == "{}")
        #expect(server.next() == nil)
    }

    @Test("A oneway call is answered with silence, errors included")
    func oneway() throws {
        var server = connection(#"{"method":"a.B","oneway":true}"#)
        _ = server.next()
        #expect(try server.reply(["x": 1]) == [])
        server.receive(Array(#"{"method":"a.B","oneway":true}"#.utf8) + [0])
        _ = server.next()
        #expect(try server.fail(.methodNotFound("a.B")) == [])
        #expect(!server.isServing)
    }

    @Test("Answers that the protocol forbids are refused and change nothing")
    func misuse() throws {
        var server = VarlinkServerConnection()
        #expect(throws: JouledError(.varlinkMisuse, "")) { try server.reply() }
        server = connection(#"{"method":"a.B"}"#)
        _ = server.next()
        #expect(throws: JouledError(.varlinkMisuse, "")) { try server.reply(continues: true) }
        #expect(throws: JouledError(.varlinkMisuse, "")) { try server.replyUpgrade() }
        #expect(text(try server.fail(.invalidParameter("x"))) == #"{"error":"org.varlink.service.InvalidParameter","parameters":{"parameter":"x"}}"#)
        #expect(throws: JouledError(.varlinkMisuse, "")) { try server.reply() }
        server = connection(#"{"method":"a.B","upgrade":true}"#)
        _ = server.next()
        #expect(throws: JouledError(.varlinkMisuse, "")) { try server.reply() }
    }

    @Test("After an upgrade the rest is raw; an error leaves Varlink in place")
    func upgrade() throws {
        var server = connection(#"{"method":"a.B","upgrade":true}"#)
        _ = server.next()
        #expect(text(try server.fail(.permissionDenied)) == #"{"error":"org.varlink.service.PermissionDenied"}"#)
        server.receive(Array(#"{"method":"a.B","upgrade":true}"#.utf8) + [0])
        _ = server.next()
        #expect(text(try server.replyUpgrade(["x": 1])) == #"{"parameters":{"x":1}}"#)
        #expect(server.isUpgraded)
        server.receive([0, 1, 0])
        #expect(server.next() == .raw([0, 1, 0]))
        #expect(server.next() == nil)
    }

    @Test("Bytes sent before the upgrade was confirmed are an error")
    func earlyBytes() {
        var server = connection(#"{"method":"a.B","upgrade":true}"#)
        _ = server.next()
        server.receive([1])
        #expect(throws: JouledError(.varlinkProtocol, "")) { try server.replyUpgrade() }
        #expect(server.isClosed)
    }

    @Test("Size limits: a call, an endless call, and a backlog")
    func limits() throws {
        let frame = #"{"method":"a.B","parameters":{"x":""}}"#
        func call(size: Int) -> [UInt8] {
            Array(frame.utf8.dropLast(3)) + [UInt8](repeating: 0x61, count: size - frame.utf8.count) + Array(frame.utf8.suffix(3))
        }
        var server = VarlinkServerConnection()
        server.receive(call(size: 1 << 20) + [0])
        guard case .call? = server.next() else { _ = Issue.record("1 MiB is allowed"); return }
        for more in [[0], []] as [[UInt8]] {
            server = VarlinkServerConnection()
            server.receive(call(size: 1 << 20 + 1) + more)
            guard case .close? = server.next() else { _ = Issue.record("more than 1 MiB is not"); return }
        }
        server = connection(#"{"method":"a.B","more":true}"#)
        _ = server.next()
        #expect(server.wantsInput)
        server.receive([UInt8](repeating: 0x20, count: 1 << 16))
        #expect(!server.wantsInput)
        #expect(server.next() == nil)
        server.receive([UInt8](repeating: 0x20, count: 1 << 20))
        guard case .close? = server.next() else { _ = Issue.record("a backlog has a limit"); return }
    }
}
