import Glibc
import JouledClient
import JouledTestKit
import Testing
import Units
import Wire

/// Replies to one call with `more`, as they come.
private final class Monitor {
    private let socket: RawSocket
    private var buffer: [UInt8] = []

    init(_ daemon: DaemonHarness, _ method: String) throws {
        socket = try RawSocket(daemon)
        socket.sendAll(Array("{\"method\":\"\(method)\",\"more\":true}".utf8) + [0])
    }

    /// The next reply's parameters; nil if none comes within `limit`.
    func next(within limit: Seconds = Seconds(10)) throws -> JSONValue? {
        while true {
            if let end = buffer.firstIndex(of: 0) {
                let reply = try JSONValue(parsing: Array(buffer[..<end]))
                buffer.removeFirst(end + 1)
                #expect(reply["continues"] == true, "\(reply)")
                return reply["parameters"]
            }
            guard let bytes = socket.read(within: limit), !bytes.isEmpty else { return nil }
            buffer += bytes
        }
    }
}

@Suite("Monitors: the present state first, then each change")
struct MonitorTests {
    @Test("ListDecisions: every decision once, whenever the monitor comes")
    func decisions() throws {
        let daemon = try DaemonHarness()
        let first = try Monitor(daemon, "io.jouled.Power.ListDecisions")
        #expect(try first.next()?["decisions"]?.arrayValue?.isEmpty == true)
        let streams = try (0..<3).map { _ in try TestStream.speech(daemon) }
        func numbers(_ monitor: Monitor, count: Int) throws -> [Int64] {
            var numbers: [Int64] = []
            while numbers.count < count, let reply = try monitor.next() {
                numbers += (reply["decisions"]?.arrayValue ?? []).compactMap { $0["number"]?.intValue }
            }
            return numbers
        }
        #expect(try numbers(first, count: 3) == [1, 2, 3])
        let second = try Monitor(daemon, "io.jouled.Power.ListDecisions")
        #expect(try second.next()?["decisions"]?.arrayValue?.count == 3)
        try daemon.setPolicy("starved")
        #expect(try numbers(first, count: 3) == [4, 5, 6])
        #expect(try numbers(second, count: 3) == [4, 5, 6], "a second monitor is not told again what its first reply had")
        _ = streams
    }

    @Test("Streams.List: streams come and go")
    func streams() throws {
        let daemon = try DaemonHarness()
        let monitor = try Monitor(daemon, "io.jouled.Streams.List")
        func waitFor(_ count: Int) throws -> JSONValue? {
            while let reply = try monitor.next() { if reply["streams"]?.arrayValue?.count == count { return reply } }
            return nil
        }
        #expect(try waitFor(0) != nil)
        let stream = try TestStream.speech(daemon, ["name": "ear"])
        #expect(try waitFor(1)?["streams"]?[0]?["name"] == "ear")
        try stream.finish()
        #expect(try waitFor(0) != nil)
    }

    @Test("GetStatus: after each change of policy and power")
    func status() throws {
        let daemon = try DaemonHarness()
        let monitor = try Monitor(daemon, "io.jouled.Power.GetStatus")
        #expect(try monitor.next()?["status"]?["policy"] == "unlimited")
        try daemon.setPolicy("tiny")
        #expect(try monitor.next()?["status"]?["policy"] == "tiny")
        try daemon.call("io.jouled.VirtualDevice.Set", ["chargerPluggedIn": true])
        #expect(try monitor.next()?["status"]?["battery"]?["acOnline"] == true)
    }

    @Test("A monitor that read nothing for long gets the newest state when it reads again")
    func newest() throws {
        let daemon = try DaemonHarness()
        let monitor = try Monitor(daemon, "io.jouled.Power.GetStatus")
        // Far more than its socket holds.
        let changer = try daemon.connect()
        for round in 0..<600 { _ = try changer.call("io.jouled.Policy.Set", ["name": round % 2 == 0 ? "tiny" : "unlimited"]) }
        _ = try changer.call("io.jouled.Policy.Set", ["name": "starved"])
        var last: JSONValue?
        while let reply = try monitor.next(within: Seconds(0.5)) { last = reply }
        #expect(last?["status"]?["policy"] == "starved")
    }
}

@Suite("An idle daemon sleeps")
struct IdleTests {
    @Test("Three threads, and next to no wake-ups, before and after streams", .enabled(if: !Installation.isSanitized, "a sanitizer has a thread that wakes up"))
    func idle() throws {
        let daemon = try DaemonHarness()
        func expectSleep(_ when: String) throws {
            let threads = TemporaryDirectory.names(in: "/proc/\(daemon.process.id)/task")
            #expect(threads.count == 3, "\(when): \(threads.count) threads")
            func switches() -> Int { threads.compactMap { daemon.status("voluntary_ctxt_switches", of: $0) }.reduce(0, +) }
            // What the last call set going comes to rest first.
            var before = switches()
            _ = eventually(within: Seconds(3)) {
                usleep(200_000)
                defer { before = switches() }
                return switches() == before
            }
            before = switches()
            sleep(5)
            let woken = switches() - before
            #expect(woken <= 5, "\(when): \(woken) voluntary switches in 5 s")
        }
        try expectSleep("fresh")
        let stream = try TestStream.speech(daemon)
        try stream.send(try Reference.speech()[..<102_400])
        try stream.finish()
        try expectSleep("after a stream")
        // A silent client costs no wake-ups either.
        let silent = try TestStream.speech(daemon)
        try silent.send(try Reference.speech()[..<10_240])
        #expect(try silent.wait { silent.windows.count == 10 })
        try expectSleep("with a silent stream")
    }
}
