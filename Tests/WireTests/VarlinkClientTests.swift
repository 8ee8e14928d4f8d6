import JouledTestKit
import Testing
import Units

@testable import Wire

@Suite("Varlink, client's side")
struct VarlinkClientTests {
    private func after(_ mode: VarlinkCall.Mode, _ reply: String) throws -> VarlinkClientConnection {
        var client = VarlinkClientConnection()
        _ = try client.call(VarlinkCall(method: "a.B", mode: mode))
        client.receive(Array(reply.utf8) + [0])
        return client
    }

    @Test("Calls are compact and leave out what is empty")
    func encoding() throws {
        var client = VarlinkClientConnection()
        #expect(try client.call(VarlinkCall(method: "a.B")) == Array(#"{"method":"a.B"}"#.utf8) + [0])
        #expect(
            try client.call(VarlinkCall(method: "a.B", parameters: ["x": nil], mode: .oneway))
                == Array(#"{"method":"a.B","parameters":{"x":null},"oneway":true}"#.utf8) + [0])
        #expect(client.pendingCalls == 1)
    }

    @Test("Replies of every form", arguments: [
        (VarlinkCall.Mode.single, "{}", VarlinkClientEvent.reply([:], continues: false)),
        (.single, #"{"parameters":null,"continues":false}"#, .reply([:], continues: false)),
        (.more, #"{"parameters":{"x":1},"continues":true}"#, .reply(["x": 1], continues: true)),
        (.single, #"{"error":"a.Oops","parameters":{"x":1}}"#, .error(VarlinkError("a.Oops", ["x": 1]))),
        (.upgrade, #"{"parameters":{"x":1}}"#, .upgraded(["x": 1])),
        (.upgrade, #"{"error":"a.No","com.example":{}}"#, .error(VarlinkError("a.No"))),
    ])
    func replies(mode: VarlinkCall.Mode, text: String, expected: VarlinkClientEvent) throws {
        var client = try after(mode, text)
        #expect(try client.next() == expected)
        #expect(try client.next() == nil)
    }

    @Test("Broken replies are errors", arguments: [
        (VarlinkCall.Mode.single, "x"), (.single, "[]"), (.single, ""), (.single, #"{"continues":true}"#), (.upgrade, #"{"continues":true}"#),
        (.more, #"{"error":"a.B","continues":true}"#), (.single, #"{"error":1}"#), (.single, #"{"other":1}"#),
        (.single, #"{"parameters":[]}"#), (.more, #"{"continues":1}"#), (.oneway, "{}"),
    ])
    func violations(mode: VarlinkCall.Mode, text: String) throws {
        var client = try after(mode, text)
        #expect(throws: JouledError(.varlinkProtocol, "")) { try client.next() }
        #expect(throws: JouledError(.varlinkMisuse, "")) { try client.call(VarlinkCall(method: "a.B")) }
    }

    @Test("What follows the confirmation of an upgrade is left for the other protocol")
    func upgrade() throws {
        var client = VarlinkClientConnection()
        _ = try client.call(VarlinkCall(method: "a.B", mode: .upgrade))
        #expect(throws: JouledError(.varlinkMisuse, "")) { try client.call(VarlinkCall(method: "a.B")) }
        client.receive(Array("{}".utf8) + [0, 7, 0, 8])
        #expect(try client.next() == .upgraded([:]))
        #expect(client.isUpgraded)
        #expect(client.takeRemainder() == [7, 0, 8])
        #expect(client.takeRemainder() == [])
    }

    @Test("Client and server understand each other, whatever the splits", arguments: seeds(40))
    func together(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        var client = VarlinkClientConnection()
        var server = VarlinkServerConnection()
        var toServer: [UInt8] = []
        var toClient: [UInt8] = []
        var expected: [VarlinkClientEvent] = []
        for _ in 0..<10 {
            let mode = [VarlinkCall.Mode.single, .oneway, .more][Int.random(in: 0...2, using: &random)]
            toServer += try client.call(VarlinkCall(method: "a.B", parameters: ["mode": .string(mode.rawValue)], mode: mode))
        }
        for piece in random.split(toServer, most: 50) {
            server.receive(piece)
            while case .call(let call)? = server.next() {
                #expect(call.parameters["mode"]?.stringValue == call.mode.rawValue)
                for number in 0..<(call.mode == .more ? Int.random(in: 0...3, using: &random) : 0) {
                    toClient += try server.reply(["n": JSONValue(number)], continues: true)
                    expected.append(.reply(["n": JSONValue(number)], continues: true))
                }
                if Bool.random(using: &random) {
                    toClient += try server.fail(.methodNotFound("a.B"))
                    if call.mode != .oneway { expected.append(.error(.methodNotFound("a.B"))) }
                } else {
                    toClient += try server.reply()
                    if call.mode != .oneway { expected.append(.reply([:], continues: false)) }
                }
            }
        }
        var events: [VarlinkClientEvent] = []
        for piece in random.split(toClient, most: 30) {
            client.receive(piece)
            while let event = try client.next() { events.append(event) }
        }
        #expect(events == expected)
        #expect(client.pendingCalls == 0)
    }
}
