import Testing
import Units

@testable import StreamSessions

@Suite("Clients that push")
struct PushTests {
    private func at(_ milliseconds: Double) -> MonotonicTime { MonotonicTime(nanoseconds: UInt64(milliseconds * 1e6)) }

    @Test("A stream in steady state is read on the grid; a silent one costs no timer")
    func grid() {
        var schedule = DrainSchedule()
        schedule.set(period: Seconds(0.1))
        #expect(schedule.wait == .readable)
        schedule.tookAll(at: at(1030))
        #expect(schedule.wait == .until(at(1100)))
        for _ in 0..<(DrainSchedule.patience - 1) {
            schedule.foundNothing(at: at(1100))
            #expect(schedule.wait == .until(at(1200)))
        }
        schedule.foundNothing(at: at(1200))
        #expect(schedule.wait == .readable)
        schedule.tookAll(at: at(1210), within: Seconds(0.02))
        #expect(schedule.wait == .until(at(1230)))
        schedule.set(period: nil)
        schedule.tookAll(at: at(1300))
        #expect(schedule.wait == .readable)
    }

    @Test("A client that pushes is read again at once, and not sent back to the grid because it was not scheduled")
    func push() {
        var schedule = DrainSchedule()
        schedule.set(period: Seconds(4))
        schedule.wasFull(at: at(1000))
        #expect(schedule.wait == .until(at(1001)))
        for _ in 0..<10 {
            schedule.foundNothing(at: at(1001))
            #expect(schedule.wait == .readable)
        }
        schedule.tookAll(at: at(1003), time: Seconds(0.01))
        #expect(schedule.wait == .until(at(1004)))
        // At its own pace again: 10 ms of signal in 100 ms.
        schedule.tookAll(at: at(1103), time: Seconds(0.09))
        #expect(schedule.wait == .until(at(4000)))
        schedule.foundNothing(at: at(4000))
        #expect(schedule.wait == .until(at(8000)))
    }

    @Test("The pacer lets a burst through and then the contract's rate")
    func pacer() {
        var pacer = IntakePacer(sampleRateHz: 1000, burst: 500, at: at(0))
        #expect(pacer.allowance(at: at(0)) == 500)
        pacer.take(500)
        #expect(pacer.allowance(at: at(0)) == 0)
        #expect(abs(pacer.time(for: 105).since(at(100)).value) < 1e-6)
        #expect(pacer.allowance(at: at(100.001)) == 105)
        #expect(pacer.allowance(at: at(1e6)) == 500)
    }
}
