import Glibc
import JouledTestKit
import Synchronization
import Systemd
import Testing
import Units

@testable import JouledDaemon

private final class MemoryJournal: JournalSink {
    private let records = Mutex<[String]>([])
    var messages: [String] { records.withLock { $0 } }
    func send(_ record: JournalRecord) { records.withLock { $0.append(record.message) } }
}

/// An actor that blocks its loop as a model that hangs would.
private actor Hanging {
    private nonisolated let loop: EventLoop
    nonisolated var unownedExecutor: UnownedSerialExecutor { loop.asUnownedSerialExecutor() }
    init(_ loop: EventLoop) { self.loop = loop }
    func hang(until released: borrowing Atomic<Bool>) { while !released.load(ordering: .acquiring) { usleep(2_000) } }
}

private actor Keeper {
    private nonisolated let loop: EventLoop
    nonisolated var unownedExecutor: UnownedSerialExecutor { loop.asUnownedSerialExecutor() }
    private var watchdog: Watchdog?
    init(_ loop: EventLoop) { self.loop = loop }
    func watch(_ watched: EventLoop, _ journal: MemoryJournal) throws {
        watchdog = try Watchdog(interval: Seconds(0.05), loop: loop, watched: watched, manager: ServiceManager(), journal: journal)
    }
    func stop() { watchdog?.cancel() }
}

private final class Release: Sendable { let flag = Atomic<Bool>(false) }

@Suite("The watchdog")
struct WatchdogTests {
    @Test("An inference thread that hangs is told once, as critical, and again when it goes on")
    func hang() async throws {
        let control = try EventLoop.startThread(named: "control")
        let inference = try EventLoop.startThread(named: "inference")
        defer {
            control.stop()
            inference.stop()
        }
        let (journal, keeper, hanging, release) = (MemoryJournal(), Keeper(control), Hanging(inference), Release())
        try await keeper.watch(inference, journal)
        let work = Task(executorPreference: inference) { await hanging.hang(until: release.flag) }
        #expect(eventually { !journal.messages.isEmpty })
        #expect(!eventually(within: Seconds(0.3)) { journal.messages.count > 1 })
        #expect(journal.messages == ["Inference makes no progress: the watchdog is not fed"])
        release.flag.store(true, ordering: .releasing)
        await work.value
        #expect(eventually { journal.messages.count == 2 })
        #expect(journal.messages.last == "Inference makes progress again")
        await keeper.stop()
    }
}
