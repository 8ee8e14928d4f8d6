import Glibc
import JouledTestKit
import Testing
import Units
import Wire

@Suite("Faults of the system around the daemon")
struct FaultTests {
    @Test("Out of descriptors: new clients wait, streams go on, and all is well when there are some again")
    func descriptors() throws {
        let daemon = try DaemonHarness()
        let bystander = try Bystander(daemon)
        try bystander.goOn()
        let inUse = TemporaryDirectory.names(in: "/proc/\(daemon.process.id)/fd").count
        let limit = try Subprocess("/usr/bin/prlimit", ["--pid", "\(daemon.process.id)", "--nofile=\(inUse + 6)"])
        #expect(limit.wait(atMost: Seconds(5)) == 0)
        var waiting: [RawSocket] = []
        for _ in 0..<20 { waiting.append(try RawSocket(daemon)) }
        #expect(daemon.journalHas("No new connections for 1 s"))
        try bystander.goOn()
        // Those that were let in go; the others come in their place.
        waiting.removeAll()
        #expect(eventually(within: Seconds(10)) { (try? daemon.call("org.varlink.service.GetInfo")) != nil })
        try bystander.verify()
    }

    @Test("State that cannot be written is told once, streams go on, and it is written when it can be again")
    func unwritable() throws {
        var settings = DaemonHarness.Settings()
        settings.power = "source = \"virtual\"\npoll = \"100ms\""
        let daemon = try DaemonHarness(settings)
        // Root may write anywhere, but not into a directory as if it were a file.
        for name in ["ledger.new", "ledger.recent.new", "energy-model.new"] { mkdir(daemon.directory(name), 0o700) }
        let bystander = try Bystander(daemon)
        try bystander.goOn()
        #expect(daemon.journalHas("The energy ledger is not kept", "ledger.recent.new"))
        try bystander.goOn()
        for name in ["ledger.new", "ledger.recent.new", "energy-model.new"] { rmdir(daemon.directory(name)) }
        try bystander.verify()
        #expect(eventually(within: Seconds(10)) { daemon.directory.text(of: "ledger.recent").contains("silero-vad") })
        let told = daemon.journal.split(separator: "\n").filter { $0.contains("The energy ledger is not kept") }
        #expect(told.count == 1, "\(told)")
        try daemon.restart()
        let entries = try daemon.call("io.jouled.Streams.Ledger")["entries"]?.arrayValue ?? []
        #expect(entries.contains { ($0["windows"]?.intValue ?? 0) > 0 })
    }
}
