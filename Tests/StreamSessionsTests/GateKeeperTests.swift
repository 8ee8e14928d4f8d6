import JouledTestKit
import Testing
import Units

@testable import StreamSessions

/// A gate's answers and the windows of a stream behind it, at random; and the documented rule, by trying everything.
private struct GateCase {
    struct Answer {
        var start: Int
        var end: Int
        var isActive: Bool
    }

    let contract: GateContract
    let preroll: Int
    let hold: Int
    var gateWindow = 0
    var gateHop = 0
    /// In the gate's samples.
    var answers: [Answer] = []
    /// Samples of the gate, and of the stream.
    var gateEnd = 0
    let window: Int
    let hop: Int

    init(_ random: inout SeededGenerator) {
        let rates = [100, 250, 1000, 16000]
        let gateRate = rates.randomElement(using: &random) ?? 100
        let rate = Bool.random(using: &random) ? gateRate : rates.randomElement(using: &random) ?? 100
        let (before, after) = (Double.random(in: 0...0.5, using: &random), Double.random(in: 0...0.5, using: &random))
        contract = GateContract(
            stream: 1, output: 0, threshold: 0.5, preroll: Seconds(before), hold: Seconds(after), gateRateHz: gateRate, rateHz: rate, reserve: Seconds(1))
        preroll = Int((before * Double(rate)).rounded(.up))
        hold = Int((after * Double(rate)).rounded(.up))
        window = Int.random(in: 1...max(2, rate / 2), using: &random)
        hop = Int.random(in: max(1, window / 8)...window, using: &random)
        gateWindow = Int.random(in: 2...max(3, gateRate / 8), using: &random)
        gateHop = Int.random(in: max(1, gateWindow / 4)...gateWindow, using: &random)
        var (start, cadence, isActive) = (0, 1, false)
        for _ in 0..<Int.random(in: 1...150, using: &random) {
            if Double.random(in: 0...1, using: &random) < 0.15 { isActive.toggle() }
            answers.append(.init(start: start, end: start + gateWindow, isActive: isActive))
            if Double.random(in: 0...1, using: &random) < 0.05 { cadence = Int.random(in: 1...4, using: &random) }
            start += gateHop * cadence
        }
        gateEnd = start + gateWindow
    }

    private func scaled(_ index: Int) -> Double { Double(index) * Double(contract.rateHz) / Double(contract.gateRateHz) }
    func down(_ index: Int) -> Int { Int(scaled(index).rounded(.down)) }
    func up(_ index: Int) -> Int { Int(scaled(index).rounded(.up)) }

    /// The last sample that the gate speaks of, in the stream's samples.
    var end: Int { up(gateEnd) }

    /// Whether the rule runs a window.
    func runs(_ start: Int) -> Bool {
        answers.indices.contains { index in
            guard answers[index].isActive else { return false }
            let holds = index + 1 < answers.count ? down(answers[index + 1].start) : end
            return start < max(up(answers[index].end), holds) + hold && start + window > down(answers[index].start) - preroll
        }
    }

    func word(_ index: Int) -> GateWord {
        let answer = answers[index]
        return .answer(
            start: UInt64(answer.start), end: UInt64(answer.end), next: UInt64(answer.start + gateHop),
            verdicts: (answer.isActive ? 0b100 : 0) | 0b011)
    }
}

extension GateKeeper {
    fileprivate func verdict(_ start: Int, _ window: Int, at now: Double = 0) -> Verdict {
        verdict(from: UInt64(start), to: UInt64(start + window), at: MonotonicTime(nanoseconds: UInt64(now * 1e9)), tolerance: Seconds(1))
    }
}

@Suite("Which windows run behind a gate")
struct GateKeeperTests {
    @Test("Just the windows that the rule names, whenever the gate speaks and the samples come, over restarts too", arguments: seeds(400))
    func rule(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        let gate = GateCase(&random)
        var keeper = GateKeeper(gate.contract)
        keeper.attach(to: .init(next: 0))
        keeper.arrivals.note(upTo: UInt64(gate.end + 1000), at: MonotonicTime(nanoseconds: 0), wait: .zero)
        var (told, start) = (0, 0)
        var isFinished = false
        var ran: [Int] = []
        var expected: [Int] = []
        while start + gate.window <= gate.end {
            if told < gate.answers.count, Bool.random(using: &random) {
                keeper.hear(gate.word(told), tap: 2)
                told += 1
            } else if told == gate.answers.count, !isFinished {
                keeper.hear(.finished(at: UInt64(gate.gateEnd)), tap: 2)
                isFinished = true
            }
            if !isFinished, Double.random(in: 0...1, using: &random) < 0.05 {
                let memory = keeper.memory
                keeper = GateKeeper(gate.contract)
                keeper.resume(memory)
                keeper.attach(to: .init(next: told == 0 ? 0 : UInt64(gate.answers[told - 1].start + gate.gateHop)))
                keeper.arrivals.note(upTo: UInt64(gate.end + 1000), at: MonotonicTime(nanoseconds: 0), wait: .zero)
            }
            for _ in 0..<Int.random(in: 0...4, using: &random) where start + gate.window <= gate.end {
                let verdict = keeper.verdict(start, gate.window)
                guard verdict != .wait else {
                    // It waits only while the gate may yet hear something that matters.
                    let next = told == 0 ? 0 : gate.answers[told - 1].start + gate.gateHop
                    #expect(!isFinished && start + gate.window + gate.preroll > gate.down(next), "seed \(seed): it waits for nothing at \(start)")
                    break
                }
                if verdict != .letGo { ran.append(start) }
                if gate.runs(start) { expected.append(start) }
                #expect(verdict == (gate.runs(start) ? .run(.heard) : .letGo), "seed \(seed), window at \(start)")
                _ = keeper.passed(from: UInt64(start), next: UInt64(start + gate.hop), verdict)
                start += gate.hop
            }
        }
        #expect(ran == expected, "seed \(seed): \(ran.count) windows ran of \(expected.count)")
        // Nobody watches what comes after.
        if isFinished { #expect(keeper.verdict(gate.end + gate.hold + 1, gate.window) == .run(.silent(.gone)), "seed \(seed)") }
    }

    @Test("What the gate does not watch runs, and nothing of what the rule names is lost", arguments: seeds(300))
    func unwatched(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        let gate = GateCase(&random)
        var keeper = GateKeeper(gate.contract)
        keeper.attach(to: .init(next: 0))
        keeper.arrivals.note(upTo: UInt64(gate.end + 1000), at: MonotonicTime(nanoseconds: 0), wait: .zero)
        // Silences and gaps of the gate: from an answer to a later one, in the gate's samples.
        var holes: [(from: Int, to: Int)] = []
        var (told, start) = (0, 0)
        while told < gate.answers.count {
            if Double.random(in: 0...1, using: &random) < 0.05, told > 0 {
                let from = gate.answers[told - 1].start + gate.gateHop
                let skipped = Int.random(in: 1...10, using: &random)
                guard told + skipped < gate.answers.count else { break }
                told += skipped
                holes.append((from, gate.answers[told].start))
                let isGap = Bool.random(using: &random)
                keeper.hear(isGap ? .begins(at: UInt64(gate.answers[told].start)) : .silent(Bool.random(using: &random) ? .paused : .failed), tap: 2)
            }
            // Sometimes the stream is far behind its gate.
            if Bool.random(using: &random) {
                while start + gate.window <= gate.end {
                    let verdict = keeper.verdict(start, gate.window)
                    guard verdict != .wait else { break }
                    let known = gate.answers.indices.filter { index in !holes.contains { $0.from <= gate.answers[index].start && gate.answers[index].start < $0.to } }
                    let isNamed = known.contains { index in
                        gate.answers[index].isActive && start < gate.up(gate.answers[index].end) + gate.hold && start + gate.window > gate.down(gate.answers[index].start) - gate.preroll
                    }
                    let isUnwatched = holes.contains { start < gate.down($0.to) && start + gate.window > gate.down($0.from) }
                    if isNamed || isUnwatched { #expect(verdict != .letGo, "seed \(seed), window at \(start)") }
                    if verdict == .letGo { #expect(start + gate.window + gate.preroll <= Int(keeper.settled), "seed \(seed), window at \(start)") }
                    _ = keeper.passed(from: UInt64(start), next: UInt64(start + gate.hop), verdict)
                    start += gate.hop
                }
            }
            keeper.hear(gate.word(told), tap: 2)
            told += 1
        }
        keeper.hear(.silent(.gone), tap: 2)
        #expect(keeper.verdict(max(start, gate.end) + gate.hold + 1, gate.window) == .run(.silent(.gone)), "seed \(seed)")
        #expect(keeper.counts.silence == .gone)
    }

    private static let contract = GateContract(
        stream: 1, output: 0, threshold: 0.5, preroll: Seconds(0.1), hold: Seconds(0.2), gateRateHz: 100, rateHz: 1000, reserve: Seconds(1))

    @Test("A window runs when its tolerance would be broken, and not before")
    func late() {
        var keeper = GateKeeper(Self.contract)
        keeper.attach(to: .init(next: 0))
        // Read at 10 s, up to 0.5 s after they came.
        keeper.arrivals.note(upTo: 1000, at: MonotonicTime(nanoseconds: 10_000_000_000), wait: Seconds(0.5))
        keeper.arrivals.note(upTo: 1400, at: MonotonicTime(nanoseconds: 10_400_000_000), wait: Seconds(0.5))
        for (start, due) in [(0, 10.5), (600, 10.7), (900, 11.0), (1000, 11.1), (1300, 11.4)] {
            #expect(keeper.verdict(start, 100, at: due - 0.001) == .wait, "\(start)")
            #expect(keeper.verdict(start, 100, at: due + 0.001) == .run(.late), "\(start)")
        }
        _ = keeper.passed(from: 0, next: 100, .run(.late))
        #expect(keeper.counts.late == 1 && keeper.counts.watched == (1, 1))
        // While it is behind, windows are late together rather than one by one: half a second early, for so long samples may wait for a read.
        #expect(keeper.verdict(1000, 100, at: 10.601) == .run(.late) && keeper.verdict(1000, 100, at: 10.599) == .wait)
        // The gate speaks after all.
        keeper.hear(.answer(start: 0, end: 90, next: 90, verdicts: 0), tap: 0)
        #expect(keeper.verdict(700, 100, at: 20) == .letGo)
        _ = keeper.passed(from: 700, next: 800, .letGo)
        #expect(keeper.verdict(900, 100, at: 10.9) == .wait)
    }

    @Test("A gate that flutters while nobody asks takes no memory, and costs windows rather than losing them")
    func bounded() {
        var keeper = GateKeeper(Self.contract)
        keeper.attach(to: .init(next: 0))
        for index in 0..<10_000 {
            keeper.hear(.answer(start: UInt64(index * 100), end: UInt64(index * 100 + 10), next: UInt64(index * 100 + 10), verdicts: UInt64(index % 2)), tap: 0)
        }
        #expect(keeper.spans.count == GateKeeper.spanLimit)
        for index in stride(from: 1, to: 10_000, by: 2) { #expect(keeper.verdict(index * 1000, 50) == .run(.heard)) }
        for read in 0..<10_000 { keeper.arrivals.note(upTo: UInt64(read), at: MonotonicTime(nanoseconds: UInt64(read)), wait: .zero) }
        #expect(keeper.arrivals.count == ArrivalLog.limit)
        #expect(keeper.arrivals.arrival(of: 20_000, rateHz: 1000) == nil)
        #expect(keeper.arrivals.arrival(of: 9_999, rateHz: 1000)?.time == MonotonicTime(nanoseconds: 63))
    }

    @Test("A client is told of sleep and waking, at most once a second of signal")
    func tales() {
        var keeper = GateKeeper(Self.contract)
        var told: [(at: UInt64, tale: GateKeeper.Tale)] = []
        func pass(_ start: UInt64, _ verdict: GateKeeper.Verdict) {
            if let tale = keeper.passed(from: start, next: start + 100, verdict) { told.append((start, tale)) }
        }
        pass(0, .run(.heard))
        #expect(told.isEmpty)
        for start in stride(from: UInt64(100), to: 10_000, by: 100) { pass(start, start / 100 % 2 == 0 ? .run(.heard) : .letGo) }
        #expect(told.count == 9)
        #expect(zip(told, told.dropFirst()).allSatisfy { $1.at >= $0.at + 1000 && $1.tale != $0.tale })
        pass(20_000, .run(.silent(.paused)))
        #expect(told.last?.tale == .ungated(.silent(.paused)))
        #expect(keeper.counts.heard + keeper.counts.letGo + keeper.counts.unguarded == 101)
    }

    @Test("A value that is no number counts as something to hear")
    func noNumber() {
        let tap = GateTap(stream: 1, output: 0, threshold: 0.5)
        #expect(tap.isReached(by: 0.5) && tap.isReached(by: .nan) && tap.isReached(by: .infinity) && !tap.isReached(by: 0.4999))
    }
}
