import Decisions
import PowerPolicy
import Simulation
import Testing
import Units

@testable import DecisionRecords

@Suite("What journalctl prints")
struct JournalExportTests {
    private func entries(_ text: String) throws -> [JournalExport.Entry] { try entries(Array(text.utf8)) }
    private func entries(_ bytes: [UInt8]) throws -> [JournalExport.Entry] {
        var journal = JournalExport(bytes, name: "j")
        var all: [JournalExport.Entry] = []
        while let entry = try journal.next() { all.append(entry) }
        return all
    }

    @Test("Text and binary fields of the export form, blank lines between entries")
    func export() throws {
        let bytes = JournalExport.text(of: [("A", "1"), ("B", "two\nlines"), ("C_1", "x=y")]) + JournalExport.text(of: [("A", "2")])
        let all = try entries(bytes)
        #expect(all.map(\.line) == [1, 7])
        #expect(all.first?.fields == ["A": "1", "B": "two\nlines", "C_1": "x=y"])
        #expect(all.last?["A"] == "2")
    }

    @Test("JSON lines, with what journalctl left out")
    func json() throws {
        let all = try entries("{\"A\":\"1\",\"L\":null,\"N\":[\"p\",\"q\"],\"B\":[1,2]}\n\n{\"A\":\"2\"}")
        #expect(all.map { $0["A"] } == ["1", "2"])
        #expect(all.first?.omitted == ["L"])
        #expect(all.first?["N"] == "p")
        #expect(all.first?["B"] == nil)
        #expect(all.last?.line == 3)
    }

    @Test(
        "What is no journal is told with its line",
        arguments: [
            ("A=1\n\nnot a journal\n", "j:3: 'not a journal' is cut off"),
            ("A=1\nB\n12345678", "j:2: 'B' is cut off, or no field"), ("A=1\nB\n12", "j:2: 'B' is cut off"),
            ("lower=1\n", "j:1: is no field of a journal entry"), ("{\"A\":\"1\"}\n{oops}\n", "j:2: JSON, byte 1"), ("{}\n[]\n", "j:2: is no journal entry"),
        ])
    func malformed(text: String, message: String) {
        #expect { try entries(text) } throws: { "\($0)".hasPrefix(message) }
    }

    @Test("Records are found among other entries; those that cannot be read are told and skipped")
    func events() throws {
        var replay = ScenarioReplay(RandomScenario.make(seed: 507))
        replay.recordsDecisions = true
        let decision = try #require(replay.run().recorded.first)
        let inputs = try #require(decision.inputs)
        let text = DecisionRecord(number: 1, inputs: inputs, outcome: .init(budget: decision.budget, plan: decision.plan)).text
        let bytes =
            JournalExport.text(of: [("_BOOT_ID", "a"), ("MESSAGE", "other")])
            + JournalExport.text(of: [("_BOOT_ID", "a"), ("JOULED_INPUTS", text)])
            + JournalExport.text(of: [("JOULED_INPUTS", String(text.dropLast(9)))])
            + JournalExport.text(of: [("JOULED_INPUTS", text.replacing("{\"v\":1", with: "{\"v\":4"))])
            + JournalExport.text(of: [("JOULED_INPUTS", text.replacing("\"hop\":", with: "\"hip\":"))])
            + JournalExport.text(of: [("_BOOT_ID", "b"), ("MESSAGE_ID", JournalFields.closedMessage), ("JOULED_STREAM", "1"), ("__MONOTONIC_TIMESTAMP", "5")])
        var events = RecordedEvents(bytes, name: "j")
        let (all, problems, _) = try events.all()
        #expect(all.count == 3)
        #expect(problems.count == 3)
        #expect(problems.first?.hasPrefix("j:7: JOULED_INPUTS: JSON, byte") == true, "\(problems)")
        #expect(problems.dropFirst().first?.contains("version 4") == true)
        #expect(problems.last?.contains("streams[0].hop: is missing") == true, "\(problems)")
        guard case .closed(1, let at) = all.last else { return #expect(Bool(false), "no end of a stream") }
        #expect(at.nanoseconds == 5000)
        var left = RecordedEvents(Array("{\"JOULED_INPUTS\":null}".utf8), name: "j")
        #expect(try left.all().problems.first?.contains("--all") == true)
    }

    // MARK: Order

    /// The records of a day as a daemon numbers them, each one entry.
    private func day(_ seed: UInt64, _ fields: [(name: String, value: String)] = []) throws -> [[UInt8]] {
        var replay = ScenarioReplay(RandomScenario.make(seed: seed))
        replay.recordsDecisions = true
        var number = 1
        return try replay.run().recorded.map { decision in
            defer { number += decision.changes.count }
            let record = DecisionRecord(number: number, inputs: try #require(decision.inputs), outcome: .init(budget: decision.budget, plan: decision.plan))
            return JournalExport.text(of: fields + [(JournalFields.inputs, record.text)])
        }
    }

    private func order(_ entries: [[UInt8]]) throws -> (problems: [String], gaps: [String]) {
        var events = RecordedEvents(entries.flatMap { $0 }, name: "j")
        let (all, problems, gaps) = try events.all()
        #expect(all.count { if case .decision = $0 { true } else { false } } == entries.count)
        return (problems, gaps)
    }

    @Test("Whole days, also one after another, mixed with others and from the middle on, are in order", arguments: [UInt64(507), 512, 520])
    func inOrder(seed: UInt64) throws {
        let first = try day(seed, [("_BOOT_ID", "a"), ("_PID", "1")])
        let (other, next) = (try day(seed + 1, [("_BOOT_ID", "a"), ("_PID", "2")]), try day(seed, [("_BOOT_ID", "b"), ("_PID", "1")]))
        let mixed = (0..<max(first.count, other.count)).flatMap { [$0 < first.count ? first[$0] : nil, $0 < other.count ? other[$0] : nil].compactMap { $0 } }
        for entries in [try day(seed), first + other + next, mixed, Array(first.dropFirst(3))] {
            let (problems, gaps) = try order(entries)
            #expect(problems == [] && gaps == [], "seed \(seed)")
        }
    }

    @Test("Records in the wrong order, twice, or missing in between are told")
    func outOfOrder() throws {
        let day = try day(512)
        try #require(day.count > 6)
        var swapped = day
        swapped.swapAt(2, 3)
        for (entries, problems, gaps) in [
            (day.reversed(), day.count - 1, 0), (swapped, 1, 1), (day + [day[day.count - 1]], 1, 0), (day + day, day.count, 0),
            (Array(day[..<2] + day[4...]), 0, 1),
        ] {
            let seen = try order(entries)
            #expect(seen.problems.count == problems && seen.gaps.count == gaps, "\(seen)")
        }
        #expect(try order(day + [day[1]]).problems.first?.contains("is there twice") == true)
        #expect(try order(swapped).problems.first?.contains("which was made later") == true)
        #expect(try order(Array(day[..<2] + day[4...])).gaps.first?.contains("not recorded") == true)
    }
}
