import Glibc
import JouledTestKit
import Synchronization
import Testing

@testable import Systemd
import Units

/// Counts on its loop's thread only.
private actor Counter {
    private let loop: EventLoop
    nonisolated var unownedExecutor: UnownedSerialExecutor { loop.asUnownedSerialExecutor() }
    private(set) var count = 0
    private var timer: LoopTimer?
    private var waiter: CheckedContinuation<Int, Never>?

    init(loop: EventLoop) { self.loop = loop }

    func increment() -> Bool {
        count += 1
        return loop.isOnLoop
    }

    func fireThreeTimes() async throws -> Int {
        timer = try loop.timer { [unowned self] in self.assumeIsolated { $0.fired() } }
        rearm()
        return await withCheckedContinuation { waiter = $0 }
    }

    private func rearm() {
        timer?.arm(at: SystemClocks().monotonic().advanced(by: Seconds(milliseconds: 2)), accuracy: .zero)
    }

    private func fired() {
        count += 1
        guard count >= 3 else { return rearm() }
        waiter?.resume(returning: count)
        waiter = nil
    }
}

/// What the test's actors on a loop that hangs tell the test.
private final class Board: Sendable {
    let isHanging = Atomic(false)
    let later = Atomic(0)
}

private actor Hanger {
    private let loop: EventLoop
    nonisolated var unownedExecutor: UnownedSerialExecutor { loop.asUnownedSerialExecutor() }
    private let board: Board
    private var timer: LoopTimer?
    init(_ loop: EventLoop, _ board: Board) {
        self.loop = loop
        self.board = board
    }

    /// Hangs for good, without touching anything: in a job, in work after a callback, or in the callback itself.
    func hang(afterCallback isDeferred: Bool?) throws {
        guard let isDeferred else { return hang() }
        timer = try loop.timer { [self] in
            isDeferred ? loop.afterCallback { self.assumeIsolated { $0.hang() } } : assumeIsolated { $0.hang() }
        }
        timer?.arm(at: SystemClocks().monotonic(), accuracy: .zero)
    }

    private func hang() {
        board.isHanging.store(true, ordering: .releasing)
        while true { pause() }
    }

    func goOn() { board.later.add(1, ordering: .releasing) }
}

@Suite("Event loop")
struct EventLoopTests {
    @Test("An actor on a loop runs on the loop's thread, whoever calls")
    func actorsRunOnTheLoop() async throws {
        let loop = try EventLoop.startThread(named: "test-loop")
        let counter = Counter(loop: loop)
        await withTaskGroup(of: Bool.self) { group in
            for _ in 0..<200 { group.addTask { await counter.increment() } }
            for await onLoop in group { #expect(onLoop) }
        }
        #expect(await counter.count == 200)
        #expect(loop.progress.finished >= 200)
        loop.stop()
    }

    @Test("A one-shot timer fires once per arming")
    func timers() async throws {
        let loop = try EventLoop.startThread(named: "test-timer")
        #expect(try await Counter(loop: loop).fireThreeTimes() == 3)
        loop.stop()
    }

    @Test("An idle loop makes no voluntary switches")
    func idleLoopSleeps() async throws {
        let loop = try EventLoop.startThread(named: "test-idle-loop")
        _ = await Counter(loop: loop).increment()
        let before = voluntarySwitches(ofThread: "test-idle-loop")
        usleep(300_000)
        #expect(before != nil)
        #expect(voluntarySwitches(ofThread: "test-idle-loop") == before)
        loop.stop()
    }

    @Test("Another thread goes on with all that is left where one hangs", arguments: [nil, true])
    func takeOver(isAfterCallback: Bool?) throws {
        let loop = try EventLoop.startThread(named: "test-hang")
        let board = Board()
        let hanger = Hanger(loop, board)
        Task(executorPreference: loop) { try await hanger.hang(afterCallback: isAfterCallback) }
        // Some of these are taken on together with the one that hangs.
        for _ in 0..<100 { Task(executorPreference: loop) { await hanger.goOn() } }
        #expect(eventually { board.isHanging.load(ordering: .acquiring) })
        Task(executorPreference: loop) { await hanger.goOn() }
        let clock = try #require(loop.cpuClock)
        try loop.takeOver()
        #expect(eventually { board.later.load(ordering: .acquiring) == 101 })
        #expect(loop.cpuClock != clock)
        #expect(eventually { loop.progress.started == loop.progress.finished }, "nothing seems to hang any more")
        loop.stop()
    }

    @Test("A loop that hangs in a callback cannot be taken over, and says so")
    func callback() throws {
        let loop = try EventLoop.startThread(named: "test-callback")
        let board = Board()
        let hanger = Hanger(loop, board)
        Task(executorPreference: loop) { try await hanger.hang(afterCallback: false) }
        #expect(eventually { board.isHanging.load(ordering: .acquiring) })
        #expect(throws: JouledError(.eventLoop, "")) { try loop.takeOver() }
    }

    private func voluntarySwitches(ofThread name: String) -> Int? {
        guard let directory = opendir("/proc/self/task") else { return nil }
        defer { closedir(directory) }
        while let entry = readdir(directory) {
            let id = withUnsafePointer(to: &entry.pointee.d_name) { $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) } }
            guard let status = read("/proc/self/task/\(id)/status"), status.contains("Name:\t\(name)\n") else { continue }
            for line in status.split(separator: "\n") where line.hasPrefix("voluntary_ctxt_switches:") {
                return Int(line.split(separator: "\t")[1])
            }
        }
        return nil
    }

    private func read(_ path: String) -> String? {
        guard let file = fopen(path, "r") else { return nil }
        defer { fclose(file) }
        var bytes = [UInt8](repeating: 0, count: 8192)
        let count = fread(&bytes, 1, bytes.count, file)
        return String(decoding: bytes[..<count], as: UTF8.self)
    }
}

@Suite("Journal records")
struct JournalRecordTests {
    @Test("A record without a journal is one readable line")
    func oneLine() {
        let record = JournalRecord(.notice, "Plan changed\nbecause", fields: [.init("JOULED_BUDGET_W", "0.2"), .init("JOULED_REASON", "battery low")])
        #expect(record.line(withPriority: true) == "<5>Plan changed because {JOULED_BUDGET_W=0.2 JOULED_REASON=\"battery low\"}")
        #expect(record["JOULED_REASON"] == "battery low")
    }
}
