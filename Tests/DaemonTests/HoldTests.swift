import Glibc
import JouledClient
import JouledTestKit
import Testing
import Units
import Wire

@testable import JouledDaemon

@Suite("Holds live as long as their holders")
struct HoldTests {
    private func daemon(_ more: String = "") throws -> DaemonHarness {
        try DaemonHarness { settings in
            settings.policy = "low"
            settings.policies["low"] = "kind = \"fixed\"\nwatts = 1\n"
            settings.more = more
        }
    }

    private func status(_ daemon: DaemonHarness) throws -> JSONValue { try daemon.call("io.jouled.Power.GetStatus")["status"] ?? .null }
    private func policy(_ daemon: DaemonHarness) throws -> String { try status(daemon)["policy"]?.stringValue ?? "" }
    /// What `List` says of the policies that it marks.
    private func marks(_ daemon: DaemonHarness) throws -> [String: String] {
        var marks: [String: String] = [:]
        for policy in try daemon.call("io.jouled.Policy.List")["policies"]?.arrayValue ?? [] {
            let set = ["active", "chosen", "held"].filter { policy[$0]?.boolValue == true }.joined(separator: " ")
            if !set.isEmpty { marks[policy["name"]?.stringValue ?? ""] = set }
        }
        return marks
    }
    private func floors(_ daemon: DaemonHarness) throws -> [Double] {
        try (daemon.call("io.jouled.Streams.List")["streams"]?.arrayValue ?? []).compactMap { $0["floor"]?.doubleValue }
    }

    @Test("A hold raises floors and changes the policy until its connection closes")
    func lifetime() throws {
        let daemon = try daemon()
        let stream = try daemon.connect().openStream(["model": "silero-vad", "sampleRateHz": 16000, "floor": 0.2])
        defer { withExtendedLifetime(stream) {} }
        #expect(try floors(daemon) == [0.2])
        var holder: JouledConnection? = try daemon.connect()
        _ = try holder?.call(
            "io.jouled.Policy.Hold",
            ["reason": "a night of \"quotes\"", "floors": [["model": "silero-vad", "floor": 0.75]], "policy": "unlimited"])
        #expect(try floors(daemon) == [0.75])
        #expect(try policy(daemon) == "unlimited")
        let shown = try #require(try status(daemon)["holds"]?.arrayValue)
        #expect(shown.count == 1)
        #expect(shown.first?["effect"]?.stringValue == "floor 0.750 for silero-vad, policy unlimited")
        #expect(shown.first?["reason"]?.stringValue == "a night of \"quotes\"")
        // Streams that come later are held to it, too, and the operator's choice waits.
        let second = try daemon.connect().openStream(["model": "silero-vad", "sampleRateHz": 16000, "floor": 0.9])
        #expect(try floors(daemon) == [0.75, 0.9])
        #expect(try daemon.call("io.jouled.Policy.Set", ["name": "starved"])["inForce"]?.stringValue == "unlimited")
        #expect(try policy(daemon) == "unlimited")
        #expect(try marks(daemon) == ["starved": "chosen", "unlimited": "active held"])
        #expect(try daemon.run(["policy", "set", "low"]).out.contains("policy low is chosen, and waits: a client holds policy unlimited"))
        #expect(try daemon.run(["policy", "set", "starved"]).status == 0)
        let listing = try daemon.run(["policy"]).out
        #expect(listing.contains("* unlimited (unlimited, held by a client)") && listing.contains("  starved (fixed, chosen: waits for the hold's end)"), "\(listing)")
        #expect(try daemon.run(["policy", "reload"]).out.contains("policy starved read again; it is chosen, and waits"))
        withExtendedLifetime(second) {}
        holder = nil
        #expect(eventually(within: Seconds(10)) { (try? policy(daemon)) == "starved" })
        #expect(try marks(daemon) == ["starved": "active chosen"])
        #expect(try daemon.call("io.jouled.Policy.Set", ["name": "starved"])["inForce"]?.stringValue == "starved")
        #expect(try daemon.run(["policy", "reload"]).out == "policy starved read again\n")
        #expect(try floors(daemon) == [0.2, 0.9])
        #expect(try status(daemon)["holds"]?.arrayValue == [])
        #expect(daemon.journalHas("Hold 1 of user", "begins", "a night of"))
        #expect(daemon.journalHas("Hold 1 of user", "ends"))
    }

    @Test("Of several policies the newest holds, and the one before it again when that goes")
    func several() throws {
        let daemon = try daemon()
        let first = try daemon.connect()
        var second: JouledConnection? = try daemon.connect()
        _ = try first.call("io.jouled.Policy.Hold", ["reason": "", "policy": "starved"])
        _ = try second?.call("io.jouled.Policy.Hold", ["reason": "", "policy": "unlimited"])
        #expect(try policy(daemon) == "unlimited")
        second = nil
        #expect(eventually(within: Seconds(10)) { (try? policy(daemon)) == "starved" })
        withExtendedLifetime(first) {}
    }

    @Test("A hold that cannot be is refused with the parameter or name at fault, and changes nothing")
    func refusals() throws {
        let daemon = try daemon()
        func refused(_ parameters: JSONObject) -> String {
            do {
                _ = try daemon.call("io.jouled.Policy.Hold", parameters)
                return "no error"
            } catch let error as JouledError {
                guard let refusal = error.cause as? VarlinkError else { return "\(error)" }
                return "\(refusal.name) \(refusal.parameters)"
            } catch { return "\(error)" }
        }
        #expect(refused(["floors": [["model": "silero-vad", "floor": 0.5]]]).contains("\"parameter\":\"reason\""))
        #expect(refused(["reason": "r"]).contains("\"parameter\":\"floors\""))
        #expect(refused(["reason": "r", "floors": [["model": "silero-vad", "floor": 1.5]]]).contains("\"parameter\":\"floors[0].floor\""))
        #expect(refused(["reason": "r", "floors": [["model": "silero-vad"]]]).contains("\"parameter\":\"floors[0].floor\""))
        #expect(refused(["reason": "r", "floors": [["model": "silero-vad", "floor": 0.5, "extra": 1]]]).contains("\"parameter\":\"floors[0].extra\""))
        #expect(refused(["reason": "a\nb", "policy": "unlimited"]).contains("\"parameter\":\"reason\""))
        #expect(refused(["reason": "r", "policy": "nothing"]).hasPrefix("io.jouled.Policy.UnknownPolicy"))
        #expect(refused(["reason": "r", "floors": [["model": "nothing", "floor": 0.5]]]).hasPrefix("io.jouled.Policy.UnknownModel"))
        #expect(try status(daemon)["holds"]?.arrayValue == [])
        #expect(try policy(daemon) == "low")
    }

    @Test("joulectl hold runs a command under a hold and ends with its status; a killed one lets go")
    func command() throws {
        let daemon = try daemon()
        func hold(_ arguments: [String], output: String) throws -> Subprocess {
            try Subprocess(
                Installation.joulectl, ["hold", "--socket", daemon.socket] + arguments, output: daemon.directory(output), error: daemon.directory(output + ".err"))
        }
        let inside = try hold(
            ["--reason", "test run", "--policy", "unlimited", "--", Installation.joulectl, "status", "--socket", daemon.socket], output: "inside")
        #expect(inside.wait(atMost: Seconds(30)) == 0, "\(daemon.directory.text(of: "inside.err"))")
        #expect(daemon.directory.text(of: "inside").contains("hold:       policy unlimited, by user"))
        #expect(daemon.directory.text(of: "inside").contains(": test run"))
        #expect(eventually(within: Seconds(10)) { (try? policy(daemon)) == "low" })
        #expect(try hold(["--floor", "*=0.5", "--", "/bin/sh", "-c", "exit 7"], output: "seven").wait(atMost: Seconds(30)) == 7)
        #expect(try hold(["--policy", "gone", "--", "/bin/true"], output: "gone").wait(atMost: Seconds(30)) == 125)
        #expect(daemon.directory.text(of: "gone.err").contains("no policy 'gone'"))
        for (reason, words) in [("two\nlines", "--reason holds a line break"), (String(repeating: "é", count: 129), "--reason has 258 bytes, and may have 256")] {
            #expect(try hold(["--reason", reason, "--policy", "unlimited", "--", "/bin/true"], output: "reason").wait(atMost: Seconds(30)) == 64)
            #expect(daemon.directory.text(of: "reason.err").contains(words), "\(daemon.directory.text(of: "reason.err"))")
        }
        #expect(try hold(["--reason", String(repeating: "é", count: 128), "--policy", "unlimited", "--", "/bin/true"], output: "fits").wait(atMost: Seconds(30)) == 0)
        let killed = try hold(["--policy", "unlimited", "--", "/bin/sleep", "3"], output: "killed")
        #expect(eventually(within: Seconds(10)) { (try? policy(daemon)) == "unlimited" })
        kill(killed.id, SIGKILL)
        #expect(eventually(within: Seconds(10)) { (try? policy(daemon)) == "low" })
    }

    @Test("Users who are no admins hold floors for their own streams, so many and no more", .enabled(if: geteuid() == 0, "needs root to become another user"))
    func strangers() throws {
        let daemon = try daemon("[access]\nadmin_group = \"4294967294\"\nholds_per_user = 1\n")
        chmod(daemon.directory.path, 0o711)
        chmod(daemon.socket, 0o666)
        let stream = try daemon.connect().openStream(["model": "silero-vad", "sampleRateHz": 16000])
        // All on one connection, which stays open until its script ends.
        let calls: [JSONValue] = [
            ["method": "io.jouled.Policy.Hold", "parameters": ["reason": "", "policy": "unlimited"]],
            ["method": "io.jouled.Policy.Hold", "parameters": ["reason": "mine", "floors": [["model": "*", "floor": 0.6]]]],
            ["method": "io.jouled.Policy.Hold", "parameters": ["reason": "", "floors": [["model": "*", "floor": 0.7]]]],
            ["method": "io.jouled.Streams.List"], ["method": "io.jouled.Power.GetStatus"],
        ]
        let code = """
            import os, socket, sys
            os.setgroups([]); os.setgid(65534); os.setuid(65534)
            connection = socket.socket(socket.AF_UNIX); connection.settimeout(20); connection.connect(sys.argv[1])
            for line in sys.stdin:
                connection.sendall(line.strip().encode() + b"\\0")
                received = b""
                while not received.endswith(b"\\0"):
                    received += connection.recv(65536)
                print(received[:-1].decode(), flush=True)
            """
        daemon.directory.write("calls", calls.map { $0.description + "\n" }.joined())
        let script = try Subprocess(
            "/usr/bin/python3", ["-c", code, daemon.socket], input: daemon.directory("calls"), output: daemon.directory("replies"),
            error: daemon.directory("errors"))
        #expect(script.wait(atMost: Seconds(30)) == 0, "\(daemon.directory.text(of: "errors"))")
        let replies = try daemon.directory.text(of: "replies").split(separator: "\n").map { try JSONValue(parsing: String($0)) }
        try #require(replies.count == 5)
        #expect(replies[0]["error"]?.stringValue == "org.varlink.service.PermissionDenied")
        #expect(replies[1]["parameters"]?["hold"] != nil)
        #expect(replies[2]["error"]?.stringValue == "io.jouled.Policy.TooManyHolds")
        // Another's stream keeps its floor, and everybody sees that something is held.
        #expect(replies[3]["parameters"]?["streams"]?[0]?["floor"]?.doubleValue == 0)
        #expect(replies[4]["parameters"]?["status"]?["holds"]?[0]?["effect"]?.stringValue == "floor 0.600 for all models (own streams)")
        #expect(eventually(within: Seconds(10)) { (try? status(daemon)["holds"]?.arrayValue) == [] })
        withExtendedLifetime(stream) {}
    }
}
