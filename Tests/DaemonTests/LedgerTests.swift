import Glibc
import JouledTestKit
import Systemd
import Testing
import Units
import Wire

@testable import JouledDaemon

@Suite("The energy ledger")
struct LedgerTests {
    /// Windows and joules by model and variant, as the daemon tells them.
    private func totals(_ daemon: DaemonHarness) throws -> [String: (windows: Int64, joules: Double)] {
        var totals: [String: (windows: Int64, joules: Double)] = [:]
        for entry in try daemon.call("io.jouled.Streams.Ledger")["entries"]?.arrayValue ?? [] {
            let key = "\(entry["model"]?.stringValue ?? "")/\(entry["variant"]?.stringValue ?? "")"
            let before = totals[key] ?? (0, 0)
            totals[key] = (before.windows + (entry["windows"]?.intValue ?? 0), before.joules + (entry["joules"]?.doubleValue ?? 0))
        }
        return totals
    }

    /// `JOULED_KILLS=200` is the long run, whose result is in docs/reliability.md.
    private static var kills: Int { getenv("JOULED_KILLS").flatMap { Int(String(cString: $0)) } ?? 10 }

    @Test("kill -9 at random moments: the state always loads, counters never go backwards, stream numbers are never given twice", arguments: seeds(1))
    func kills(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        var settings = DaemonHarness.Settings()
        settings.power = "source = \"virtual\"\npoll = \"100ms\""
        let daemon = try DaemonHarness(settings)
        let speech = try Reference.speech()
        var told: [String: (windows: Int64, joules: Double)] = [:]
        var lastStream: Int64 = 0
        var slowest = Seconds.zero
        for round in 0..<Self.kills {
            let stream = try TestStream.speech(daemon)
            try stream.send(speech[..<Int.random(in: 1024...200_000, using: &random)])
            let deadline = SystemClocks().monotonic().advanced(by: Seconds(milliseconds: Double.random(in: 1...150, using: &random)))
            repeat {
                for (key, now) in try totals(daemon) {
                    let before = told[key] ?? (0, 0)
                    #expect(now.windows >= before.windows && now.joules >= before.joules - 1e-12, "seed \(seed), round \(round), \(key): \(now) after \(before)")
                    told[key] = now
                }
            } while SystemClocks().monotonic() < deadline
            let id = try #require(try daemon.call("io.jouled.Streams.List")["streams"]?.arrayValue?.first?["stream"]?.intValue)
            #expect(id > lastStream, "seed \(seed), round \(round): stream \(id) after \(lastStream)")
            lastStream = id
            let begin = SystemClocks().monotonic()
            try daemon.crash()
            slowest = max(slowest, SystemClocks().monotonic().since(begin))
            #expect(!daemon.journal.contains("left out") && !daemon.journal.contains("begins anew"), "seed \(seed), round \(round): \(daemon.journal)")
        }
        for (key, now) in try totals(daemon) { #expect(now.windows >= told[key]?.windows ?? 0) }
        print("\(Self.kills) kills, slowest return \(slowest)")
    }

    @Test("A damaged file is told and left out; the other one counts")
    func damaged() throws {
        let daemon = try DaemonHarness()
        let stream = try TestStream.ecg(daemon)
        try stream.send(try Reference.ecg()[..<40_000])
        try stream.finish()
        let before = try totals(daemon)
        #expect(before.values.reduce(0) { $0 + $1.windows } == 91)
        try daemon.restart()
        #expect(try totals(daemon).mapValues(\.windows) == before.mapValues(\.windows))
        let whole = daemon.directory.text(of: "ledger")
        daemon.directory.write("ledger.recent", String(whole.dropLast(3)))
        try daemon.restart()
        #expect(daemon.journalHas("left out", "ledger.recent", "damaged"))
        #expect(try totals(daemon).mapValues(\.windows) == before.mapValues(\.windows))
    }

    @Test("The newer of two whole files counts, and nothing is written while nothing changes")
    func newer() {
        let directory = TemporaryDirectory()
        let journal = Silence()
        let content = { (windows: Int) in
            LedgerFile.Content(
                entries: [.init(stream: 3, name: "n", model: "m", variant: "v", windows: windows, joules: Joules(1), isOpen: false)],
                nextStream: 4, decisions: 5)
        }
        let at = { (second: Double) in MonotonicTime(nanoseconds: UInt64(second * 1e9)) }
        var file = LedgerFile(directory: directory.path, volatile: directory.path)
        #expect(file.load(journal) == LedgerFile.Content())
        file.write(content(1), at: at(1), isDurable: true, journal)
        file.write(content(2), at: at(2), journal)
        var reader = LedgerFile(directory: directory.path, volatile: directory.path)
        #expect(reader.load(journal) == content(2))
        let recent = directory.text(of: "ledger.recent")
        let durable = directory.text(of: "ledger")
        file.write(content(2), at: at(3), journal)
        #expect(directory.text(of: "ledger.recent") == recent)
        file.write(content(2), at: at(700), journal)
        #expect(directory.text(of: "ledger") != durable, "what was only recent becomes durable after ten minutes")
        let written = directory.text(of: "ledger")
        file.write(content(2), at: at(7000), journal)
        #expect(directory.text(of: "ledger") == written, "an idle device's flash is left alone")
    }
}

/// A journal that no one reads.
private struct Silence: JournalSink {
    func send(_ record: JournalRecord) {}
}
