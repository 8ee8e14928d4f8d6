import Testing
import Units

@testable import JouledDaemon

@Suite("A load is given up only once its own time is over")
struct LoadGuardTests {
    private func at(_ seconds: UInt64) -> MonotonicTime { MonotonicTime(nanoseconds: seconds * 1_000_000_000) }
    private let limit = Seconds(30)

    @Test func waitsForItsTimeAndForThoseBefore() {
        let watch = LoadGuard()
        let number = watch.enter("a.onnx", at: at(100))
        guard case .wait(let end) = watch.look(at: "a.onnx", limit: limit, now: at(129)) else { Issue.record("given up too early"); return }
        #expect(end == at(130))
        // It has not begun: its time does not run.
        guard case .wait(let other) = watch.look(at: "b.onnx", limit: limit, now: at(200)) else { Issue.record("gave up a load that waits"); return }
        #expect(other == at(230))
        // One that comes back in time is nobody's to give up.
        watch.leave(number)
        guard case .wait = watch.look(at: "a.onnx", limit: limit, now: at(500)) else { Issue.record("gave up a load that has ended"); return }
    }

    @Test func afterTheLastThreadOnlyARestartHelpsAndNobodyIsLeftWaiting() {
        let watch = LoadGuard()
        for hanging in 1...LoadGuard.limit {
            _ = watch.enter("a.onnx", at: at(0))
            guard case .givenUp(let threads) = watch.look(at: "a.onnx", limit: limit, now: at(30)) else { Issue.record("not given up"); return }
            #expect(threads == hanging)
        }
        _ = watch.enter("a.onnx", at: at(0))
        guard case .lost = watch.look(at: "a.onnx", limit: limit, now: at(30)) else { Issue.record("more threads than allowed"); return }
        #expect(!watch.isLost)
        #expect(watch.lose())
        #expect(!watch.lose(), "told twice")
        #expect(watch.isLost)
        guard case .lost = watch.look(at: "b.onnx", limit: limit, now: at(1)) else { Issue.record("waits for a thread that is lost"); return }
    }
}
