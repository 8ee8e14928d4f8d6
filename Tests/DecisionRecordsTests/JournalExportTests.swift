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
        let (all, problems) = try events.all()
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
}
