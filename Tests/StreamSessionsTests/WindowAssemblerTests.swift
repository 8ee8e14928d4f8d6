import JouledTestKit
import Testing

@testable import StreamSessions
import Units

@Suite("Windows")
struct WindowAssemblerTests {
    /// Windows by their definition, from the whole signal at once.
    private func reference(_ signal: [Float], window: Int, hop: Int, context: Int, padsTail: Bool) -> [[Float]] {
        var windows: [[Float]] = []
        var start = 0
        var covered = 0
        while start + window <= signal.count {
            windows.append((start - context..<start + window).map { $0 < 0 ? 0 : signal[$0] })
            covered = start + window
            start += hop
        }
        if padsTail && covered < signal.count {
            windows.append((start - context..<start + window).map { $0 < 0 || $0 >= signal.count ? 0 : signal[$0] })
        }
        return windows
    }

    @Test("Any split of the samples gives the windows of the definition", arguments: 0..<200)
    func anySplit(seed: Int) {
        var random = SeededGenerator(seed: UInt64(seed))
        let window = Int.random(in: 1...40, using: &random)
        let hop = Int.random(in: 1...window, using: &random)
        let context = Int.random(in: 0...20, using: &random)
        let signal = (0..<Int.random(in: 0...400, using: &random)).map { Float($0 + 1) }
        let padsTail = Bool.random(using: &random)

        var assembler = WindowAssembler(window: window, hop: hop, context: context, slack: max(hop, Int.random(in: 1...64, using: &random)))
        assembler.restart(at: 7)
        var windows: [[Float]] = []
        var ends: [UInt64] = []
        func drain() {
            while assembler.hasWindow {
                windows.append(Array(assembler.currentWindow))
                ends.append(assembler.windowEnd)
                assembler.advance()
            }
        }
        var position = 0
        while position < signal.count {
            let count = min(signal.count - position, assembler.freeSamples, Int.random(in: 1...97, using: &random))
            assembler.append(count) { target in
                for index in 0..<count { target[index] = signal[position + index] }
            }
            position += count
            drain()
        }
        #expect(assembler.endOfSamples == UInt64(7 + signal.count), "seed \(seed)")
        if padsTail, assembler.padTail() { drain() }
        #expect(windows == reference(signal, window: window, hop: hop, context: context, padsTail: padsTail), "seed \(seed)")
        #expect(ends == windows.indices.map { UInt64(7 + $0 * hop + window) }, "seed \(seed)")
    }
}

@Suite("Pace of intake")
struct IntakePacerTests {
    @Test("Over any time no more is allowed than burst and rate give", arguments: 0..<50)
    func bounded(seed: Int) {
        var random = SeededGenerator(seed: UInt64(seed))
        let rate = Double.random(in: 10...50_000, using: &random)
        let burst = rate * Double.random(in: 0.1...3, using: &random)
        let start = MonotonicTime(nanoseconds: 1_000_000_000)
        var pacer = IntakePacer(sampleRateHz: rate, burst: burst, at: start)
        var now = start
        var taken = 0
        for _ in 0..<500 {
            now = now.advanced(by: Seconds(Double.random(in: 0...0.2, using: &random)))
            let allowed = pacer.allowance(at: now)
            let take = Int.random(in: 0...max(0, allowed), using: &random)
            pacer.take(take)
            taken += take
            #expect(Double(taken) <= burst + now.since(start).value * rate * IntakePacer.tolerance + 1, "seed \(seed)")
        }
        pacer.take(pacer.allowance(at: now))
        let when = pacer.time(for: 100)
        #expect(pacer.allowance(at: when.advanced(by: Seconds(1e-6))) >= 99, "seed \(seed)")
    }
}

@Suite("When a socket is read")
struct DrainScheduleTests {
    private let now = MonotonicTime(nanoseconds: 1_234_567_890_123)

    @Test("Streams of multiple periods wake together")
    func grid() {
        var short = DrainSchedule()
        var long = DrainSchedule()
        short.set(period: Seconds(milliseconds: 32))
        long.set(period: Seconds(milliseconds: 256))
        short.tookAll(at: now)
        long.tookAll(at: now)
        guard case .until(let nearer) = short.wait, case .until(let farther) = long.wait else {
            Issue.record("a stream in steady state waits for a time")
            return
        }
        #expect(nearer <= farther)
        #expect((farther.nanoseconds - nearer.nanoseconds) % 32_000_000 == 0)
        #expect(farther.since(now) <= Seconds(milliseconds: 256))
    }

    @Test("A silent stream costs no timer; bytes wake it again")
    func silence() {
        var schedule = DrainSchedule()
        schedule.set(period: Seconds(milliseconds: 128))
        for _ in 0..<DrainSchedule.patience { schedule.foundNothing(at: now) }
        #expect(schedule.wait == .readable)
        schedule.tookAll(at: now)
        #expect(schedule.wait != .readable)
    }

    @Test("A stream without a period is read on arrival")
    func tight() {
        var schedule = DrainSchedule()
        schedule.set(period: nil)
        schedule.tookAll(at: now)
        #expect(schedule.wait == .readable)
    }
}
