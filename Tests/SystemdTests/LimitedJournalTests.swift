import JouledTestKit
import Synchronization
import Systemd
import Testing
import Units

private final class Book: JournalSink {
    private let records = Mutex<[JournalRecord]>([])
    var all: [JournalRecord] { records.withLock { $0 } }
    func send(_ record: JournalRecord) { records.withLock { $0.append(record) } }
}

/// A clock that stands still until it is moved.
private final class Hand: Clocks {
    private let nanoseconds = Atomic<UInt64>(1_000_000_000)
    func monotonic() -> MonotonicTime { MonotonicTime(nanoseconds: nanoseconds.load(ordering: .relaxed)) }
    func wall() -> WallTime { WallTime(secondsSince1970: 0) }
    func move(_ seconds: Double) { nanoseconds.add(UInt64(seconds * 1e9), ordering: .relaxed) }
}

@Suite("The journal's rate limit")
struct LimitedJournalTests {
    private let book = Book()
    private let clock = Hand()
    private func journal() -> LimitedJournal {
        LimitedJournal(book, limit: .init(burst: 5, rate: 0.5, summaryInterval: Seconds(10)), clocks: clock)
    }
    private func told(_ record: JournalRecord) -> Int { record["JOULED_SUPPRESSED"].flatMap { Int($0) } ?? 0 }

    @Test("A flood passes at its rate; every entry is written or counted")
    func flood() {
        let journal = journal()
        for number in 0..<1000 {
            journal.send(JournalRecord(.notice, "entry \(number)", messageID: "aa"))
            clock.move(0.1)
        }
        journal.flush()
        let summaries = book.all.filter { $0.messageID == LimitedJournal.suppressedID }
        let written = book.all.count - summaries.count
        // 5 at once and one each 2 s of 100 s.
        #expect((54...56).contains(written), "\(written)")
        #expect(written + summaries.reduce(0) { $0 + told($1) } == 1000)
        #expect(summaries.count <= 11)
        #expect(summaries.first?.message.contains("entry 5") == true, "\(summaries.map(\.message))")
        #expect(summaries.allSatisfy { $0["JOULED_SUPPRESSED_KIND"] == "aa" })
    }

    @Test("One kind's flood holds back no other; critical entries and quiet kinds always pass")
    func kinds() {
        let journal = journal()
        for _ in 0..<100 {
            journal.send(JournalRecord(.notice, "flood", messageID: "aa"))
            journal.send(JournalRecord(.critical, "critical", messageID: "aa"))
            journal.send(JournalRecord(.notice, "no id"))
            journal.send(JournalRecord(.notice, "no id, from elsewhere"))
        }
        journal.send(JournalRecord(.notice, "quiet", messageID: "bb"))
        let messages = book.all.map(\.message)
        func count(_ message: String) -> Int { messages.count { $0 == message } }
        #expect(count("flood") == 5 && count("critical") == 100 && count("no id") == 5 && count("no id, from elsewhere") == 5 && count("quiet") == 1)
        clock.move(3600)
        for _ in 0..<5 { journal.send(JournalRecord(.notice, "later", messageID: "aa")) }
        #expect(book.all.count { $0.message == "later" } == 5)
        #expect(book.all.first { $0.messageID == LimitedJournal.suppressedID }.map(told) == 95)
    }
}
