import CLinux
import Glibc
import JouledClient
import JouledTestKit
import Testing
import Units
import Wire

/// The test's end of NOTIFY_SOCKET.
final class NotifySocket {
    let directory = TemporaryDirectory()
    var path: String { directory("n") }
    private let descriptor: Int32
    private(set) var messages: [String] = []

    init() throws {
        descriptor = Glibc.socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue) | Int32(SOCK_NONBLOCK.rawValue), 0)
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let text = Array(path.utf8)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: text) }
        let status = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size)) }
        }
        try #require(status == 0)
    }

    deinit { close(descriptor) }

    /// Takes what has arrived.
    func poll() {
        var buffer = [UInt8](repeating: 0, count: 4096)
        while true {
            let count = recv(descriptor, &buffer, buffer.count, 0)
            guard count > 0 else { return }
            messages.append(String(decoding: buffer[..<count], as: UTF8.self))
        }
    }

    func has(_ part: String, within limit: Seconds = Seconds(10)) -> Bool {
        eventually(within: limit) {
            poll()
            return messages.contains { $0.contains(part) }
        }
    }

    func count(_ part: String) -> Int { messages.count { $0.contains(part) } }
}

@Suite("Service behaviour")
struct ServiceTests {
    @Test("Socket activation: a socket passed by systemd is served and left in place")
    func activation() throws {
        let directory = TemporaryDirectory()
        let listener = clinux_listen_unix(directory("s"), 0o600, 16)
        try #require(listener >= 0)
        defer { close(listener) }
        // A client that comes before the daemon waits in the socket.
        let early = try JouledConnection(path: directory("s"))
        var settings = DaemonHarness.Settings()
        settings.listener = listener
        let daemon = try DaemonHarness(settings, in: directory)
        #expect(try early.call("org.varlink.service.GetInfo")["product"] == "jouled")
        let stream = try TestStream.speech(daemon)
        try stream.send(try Reference.speech()[..<10_240])
        try stream.finish()
        #expect(stream.windows.count == 10)
        daemon.process.signal(SIGTERM)
        #expect(daemon.process.wait(atMost: Seconds(2)) == 0)
        #expect(access(directory("s"), F_OK) == 0, "systemd's socket is not the daemon's to remove")
    }

    @Test("READY only when it serves, STATUS in one line, RELOADING around a reload, STOPPING, and signs of life")
    func notifications() throws {
        let notify = try NotifySocket()
        let daemon = try DaemonHarness { settings in
            settings.environment = ["NOTIFY_SOCKET": notify.path, "WATCHDOG_USEC": "400000"]
        }
        #expect(notify.has("READY=1"))
        let ready = try #require(notify.messages.first { $0.contains("READY=1") })
        let status = try #require(ready.split(separator: "\n").first { $0.hasPrefix("STATUS=") })
        #expect(status.contains("0 streams") && status.contains("no power limit") && status.contains("policy unlimited"), "\(status)")
        #expect(ready.split(separator: "\n").count == 2, "\(ready)")

        let stream = try TestStream.speech(daemon)
        #expect(eventually { notify.poll(); return notify.count("WATCHDOG=1") >= 6 }, "\(notify.messages)")

        daemon.process.signal(SIGHUP)
        #expect(notify.has("RELOADING=1"))
        let reloading = try #require(notify.messages.first { $0.contains("RELOADING=1") })
        #expect(reloading.contains("MONOTONIC_USEC="))
        #expect(eventually { notify.poll(); return notify.count("READY=1") == 2 })
        daemon.directory.write("policies/unlimited.toml", "kind = \"unlimitted\"\n")
        daemon.process.signal(SIGHUP)
        #expect(notify.has("policy unlimited was refused"), "\(notify.messages)")
        #expect(notify.messages.last { $0.contains("READY=1") }?.contains("unlimited.toml:1") == true, "\(notify.messages)")
        #expect(try daemon.call("io.jouled.Power.GetStatus")["status"]?["policy"] == "unlimited")

        daemon.process.signal(SIGTERM)
        #expect(notify.has("STOPPING=1"))
        #expect(daemon.process.wait(atMost: Seconds(2)) == 0)
        try stream.drain()
        #expect(stream.has("closed"))
    }

    @Test("A daemon that stands still gives no signs of life")
    func stopped() throws {
        let notify = try NotifySocket()
        let daemon = try DaemonHarness { settings in
            settings.environment = ["NOTIFY_SOCKET": notify.path, "WATCHDOG_USEC": "200000"]
        }
        #expect(notify.has("WATCHDOG=1"))
        daemon.process.signal(SIGSTOP)
        #expect(eventually { daemon.state == "T" })
        notify.poll()
        let before = notify.count("WATCHDOG=1")
        #expect(!eventually(within: Seconds(0.6)) { notify.poll(); return notify.count("WATCHDOG=1") > before })
        daemon.process.signal(SIGCONT)
        #expect(eventually { notify.poll(); return notify.count("WATCHDOG=1") > before })
    }

    @Test("SIGTERM with live streams: their clients get the results of what they sent and are told; it ends in order within 2 s", arguments: [SIGTERM, SIGINT])
    func stop(signal: Int32) throws {
        let daemon = try DaemonHarness()
        let speech = try Reference.speech()
        let streams = try (0..<8).map { _ in try TestStream.speech(daemon) }
        let idle = try TestStream.ecg(daemon)
        for stream in streams { try stream.send(speech[..<40_960]) }
        let blocked = try RawStream(daemon, ["model": "silero-vad", "sampleRateHz": 16000])
        let clocks = SystemClocks()
        let start = clocks.monotonic()
        daemon.process.signal(signal)
        #expect(daemon.process.wait(atMost: Seconds(5)) == 0)
        #expect(clocks.monotonic().since(start) < Seconds(2))
        for stream in streams + [idle] {
            try stream.drain()
            let last = try #require(stream.notices.last?.notice)
            #expect(last.kind == "closed" && last.message == "jouled is stopping")
        }
        for stream in streams { #expect(stream.windows.map(\.end) == (1...40).map { UInt64(512 * $0) }) }
        #expect(daemon.journal.contains("jouled stopped"))
        #expect(access(daemon.socket, F_OK) != 0, "its own socket is removed")
        _ = blocked
    }

    @Test("The socket of a daemon that crashed is replaced; that of a living one is not, nor is a file that is no socket")
    func staleSocket() throws {
        let daemon = try DaemonHarness()
        daemon.process.signal(SIGKILL)
        #expect(daemon.process.wait(atMost: Seconds(5)) == -SIGKILL)
        #expect(access(daemon.socket, F_OK) == 0)
        let second = try DaemonHarness(daemon.settings, in: daemon.directory)

        var settings = daemon.settings
        settings.waits = false
        let third = try DaemonHarness(settings, in: daemon.directory)
        #expect(third.process.wait(atMost: Seconds(5)) == 1)
        #expect(third.journal.contains("another daemon listens there"))
        #expect(try second.call("org.varlink.service.GetInfo")["product"] == "jouled")

        let directory = TemporaryDirectory()
        directory.write("s", "precious")
        let fourth = try DaemonHarness(settings, in: directory)
        #expect(fourth.process.wait(atMost: Seconds(5)) == 1)
        #expect(directory.text(of: "s") == "precious")
        #expect(fourth.journal.contains("no socket"), "\(fourth.journal)")
    }

    @Test("The chosen policy survives a restart, a crash, and a policy file that has gone")
    func remembered() throws {
        let daemon = try DaemonHarness { $0.policies["mine"] = "kind = \"fixed\"\nwatts = 1\n" }
        try daemon.setPolicy("mine")
        try daemon.restart()
        let policy = { try daemon.call("io.jouled.Power.GetStatus")["status"]?["policy"]?.stringValue }
        #expect(try policy() == "mine")
        unlink(daemon.directory("policies/mine.toml"))
        try daemon.restart()
        #expect(try policy() == "unlimited")
        daemon.directory.write("policies/mine.toml", "kind = \"fixed\"\nwatts = 1\n")
        try daemon.setPolicy("mine")
        // A device must start, even if what was chosen is no longer valid.
        daemon.directory.write("policies/mine.toml", "kind = \"fixed\"\nwats = 1\n")
        try daemon.restart()
        #expect(try policy() == "unlimited")
        daemon.directory.write("policy", "torn")
        try daemon.restart()
        #expect(try policy() == "unlimited")
    }

    @Test("SIGHUP reads the policy again without touching streams that need no change")
    func reload() throws {
        let daemon = try DaemonHarness()
        let bystander = try Bystander(daemon)
        for _ in 0..<5 {
            daemon.process.signal(SIGHUP)
            try bystander.goOn()
        }
        #expect(daemon.journalHas("Policy unlimited read again"))
        daemon.directory.write("policies/unlimited.toml", "kind = \"fixed\"\nwatts = 5\n")
        daemon.process.signal(SIGHUP)
        #expect(try eventually { try daemon.call("io.jouled.Power.GetStatus")["status"]?["budgetWatts"]?.doubleValue == 5 })
        daemon.directory.write("policies/unlimited.toml", "kind = \"unlimited\"\n")
        daemon.process.signal(SIGHUP)
        #expect(try eventually { try daemon.call("io.jouled.Power.GetStatus")["status"]?["budgetWatts"]?.isNull != false })
        try bystander.verify()
    }

    @Test("A decision's journal record carries old and new option, budget, battery, prediction, constraint and runner-up")
    func journal() throws {
        let daemon = try DaemonHarness()
        let stream = try TestStream.speech(daemon, ["name": "ear"])
        try daemon.setPolicy("starved")
        #expect(try stream.wait { stream.has("paused") })
        let lines = daemon.journal.split(separator: "\n").filter { $0.contains("JOULED_DECISION=") }
        #expect(lines.count == 2)
        let last = String(try #require(lines.last))
        for field in [
            "JOULED_STREAM=1 ", "JOULED_STREAM_NAME=ear ", "JOULED_MODEL=silero-vad/1 ", "JOULED_DECISION=2 ", "JOULED_TRIGGER=policy ",
            "JOULED_FROM=\"fp32 on cpu", "JOULED_TO=paused ", "JOULED_POLICY=starved ", "JOULED_BUDGET_W=0.000000 ",
            "JOULED_BATTERY_PERCENT=100.0 ", "JOULED_PREDICTED_W=0.000000 ", "JOULED_PREDICTED_DEVIATION_W=", "JOULED_QUALITY=0.0000 ",
            "JOULED_BINDING_CONSTRAINT=power ", "JOULED_UTILITY_PER_WATT=", "JOULED_RUNNER_UP=",
        ] { #expect(last.contains(field), "\(field) is missing in \(last)") }
        let first = String(try #require(lines.first))
        for field in ["JOULED_FROM=none ", "JOULED_TO=\"fp32 on cpu", "JOULED_BUDGET_W=unlimited ", "JOULED_RUNNER_UP=\"", "JOULED_TRIGGER=stream-opened "] {
            #expect(first.contains(field), "\(field) is missing in \(first)")
        }
        let explained = try daemon.run(["explain", "\(stream.id)"])
        #expect(explained.status == 0 && explained.out.contains("paused") && explained.out.contains("starved"), "\(explained)")
    }

    @Test("Charger in and out: the journal tells, and so does the status")
    func charger() throws {
        let daemon = try DaemonHarness()
        for plugged in [true, false] {
            try daemon.call("io.jouled.VirtualDevice.Set", ["chargerPluggedIn": .bool(plugged)])
            #expect(try daemon.call("io.jouled.Power.GetStatus")["status"]?["battery"]?["acOnline"] == .bool(plugged))
            #expect(daemon.journalHas("External power is \(plugged ? "on" : "off")", "JOULED_AC=\(plugged ? 1 : 0)"))
        }
    }
}

extension DaemonHarness {
    /// The process's state as the kernel abbreviates it, e.g. `T` when stopped.
    var state: String? {
        let text = String(decoding: TemporaryDirectory.contents(of: "/proc/\(process.id)/stat") ?? [], as: UTF8.self)
        return text.split(separator: ")").last?.split(separator: " ").first.map(String.init)
    }
}
