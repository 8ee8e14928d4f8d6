import JouledClient
import JouledTestKit
import Testing
import Units
import Wire

/// `org.varlink.certification`, the reference test, in both directions.
@Suite("Varlink certification")
struct CertificationTests {
    private static let python = Installation.root + "/.deps/venv/bin/python"
    private let directory = TemporaryDirectory()

    private func start(_ path: String, _ arguments: [String]) throws -> Subprocess {
        let server = try Subprocess(path, arguments, output: directory("out"), error: directory("err"))
        let isUp = eventually(within: Seconds(20)) { server.exitStatus != nil || (try? JouledConnection(path: directory("s"))) != nil }
        try #require(isUp && server.exitStatus == nil, "\(directory.text(of: "err"))")
        return server
    }

    private func startOurs() throws -> Subprocess { try start(Installation.products + "/certification", [directory("s")]) }

    @Test("The reference client against our server")
    func server() throws {
        let server = try startOurs()
        let script = "\(Installation.root)/Tests/DaemonTests/Scripts/certify.py"
        for _ in 0..<2 {
            let client = try Subprocess(Self.python, [script, directory("s")], output: directory("client"), error: directory("client"))
            #expect(client.wait(atMost: Seconds(60)) == 0, "\(directory.text(of: "client"))")
            #expect(directory.text(of: "client").hasSuffix("all_ok\n"))
        }
        #expect(server.exitStatus == nil)
    }

    @Test("Our client against the reference server, which compares whole calls")
    func client() throws {
        let server = try start(Self.python, ["-m", "varlink.tests.test_certification", "--varlink=unix:\(directory("s"))"])
        try certify()
        #expect(server.exitStatus == nil)
    }

    @Test("Our client against our server")
    func both() throws {
        let server = try startOurs()
        try certify()
        #expect(server.exitStatus == nil)
    }

    /// Hands each reply on to the next call, as the reference client does.
    private func certify() throws {
        let connection = try JouledConnection(path: directory("s"))
        connection.timeout = Seconds(20)
        func call(_ member: String, _ parameters: JSONObject = [:]) throws -> JSONValue {
            try connection.call("org.varlink.certification.\(member)", parameters)
        }
        let id = try #require(try call("Start")["client_id"])
        var last: JSONObject = [:]
        for number in 1...9 {
            last["client_id"] = id
            last = try #require(try call("Test0\(number)", last).objectValue)
        }
        last["client_id"] = id
        var replies: [JSONValue] = []
        try connection.monitor("org.varlink.certification.Test10", last) { reply in
            replies.append(reply["string"] ?? .null)
            return true
        }
        #expect(replies == (1...10).map { .string("Reply number \($0)") })
        try connection.notify("org.varlink.certification.Test11", ["client_id": id, "last_more_replies": .array(replies)])
        #expect(try call("End", ["client_id": id])["all_ok"] == true)
    }

    @Test("Our server refuses a wrong order, value, flag and client, and takes no more of that one", arguments: [
        #"{"method":"org.varlink.certification.Test02","parameters":{"client_id":ID,"bool":true}}"#,
        #"{"method":"org.varlink.certification.Test01","parameters":{"client_id":ID,"more":1}}"#,
        #"{"method":"org.varlink.certification.Test01","parameters":{"client_id":ID},"more":true}"#,
        #"{"method":"org.varlink.certification.Test01","parameters":{"client_id":"0"}}"#,
    ])
    func refusal(text: String) throws {
        let server = try startOurs()
        let socket = try RawSocket(path: directory("s"))
        let id = try #require(try socket.call(#"{"method":"org.varlink.certification.Start"}"#)["parameters"]?["client_id"])
        let isStranger = text.contains(#""0""#)
        let reply = try socket.call(text.replacing("ID", with: id.description))
        #expect(reply["error"]?.stringValue == "org.varlink.certification." + (isStranger ? "ClientIdError" : "CertificationError"), "\(reply)")
        let after = try socket.call(#"{"method":"org.varlink.certification.Test01","parameters":{"client_id":ID}}"#.replacing("ID", with: id.description))
        #expect((after["error"] == nil) == isStranger, "\(after)")
        #expect(server.exitStatus == nil)
    }
}
