import JouledTestKit
import Testing
import Units

@testable import StreamSessions

@Suite("Reads by the pace of a client")
struct ArrivalForecastTests {
    /// A client that sends pieces, and a schedule that reads them, in virtual time.
    private struct Run {
        var reads = 0
        var windows = 0
        /// The longest time from the arrival of what completed a window to the read that found it.
        var latest = Seconds.zero

        /// - Parameters:
        ///   - arrivals: when each piece arrives, in seconds.
        ///   - piece: samples of a piece.
        ///   - run: time that a window runs; nil: no window waits for another.
        init(arrivals: [Double], piece: Int, window: Int, hop: Int, rate: Double, tolerance: Seconds, run: Seconds? = nil) {
            var schedule = DrainSchedule()
            schedule.set(period: nil)
            var now = 0.0
            var taken = 0
            var samples = 0
            var complete = 0
            func time(_ seconds: Double) -> MonotonicTime { MonotonicTime(nanoseconds: UInt64((1 + seconds) * 1e9)) }
            while taken < arrivals.count {
                switch schedule.wait {
                case .readable: now = max(now, arrivals[taken])
                case .until(let at): now = max(now, at.since(time(0)).value)
                default: Issue.record("\(schedule.wait)"); return
                }
                reads += 1
                let before = taken
                while taken < arrivals.count, arrivals[taken] <= now {
                    taken += 1
                    samples += piece
                    while samples >= complete * hop + window {
                        complete += 1
                        latest = max(latest, Seconds(now - arrivals[taken - 1]))
                    }
                }
                guard taken > before else {
                    schedule.foundNothing(at: time(now))
                    continue
                }
                schedule.tookAll(
                    at: time(now), time: Seconds(Double((taken - before) * piece) / rate),
                    missing: Seconds(Double(complete * hop + window - samples) / rate), tolerance: tolerance,
                    further: run.map { .init(signal: Seconds(Double(hop) / rate), run: $0) } ?? .init())
            }
            windows = complete
        }
    }

    static let contracts = [(512, 512, 16000.0, 320), (512, 512, 16000, 160), (1024, 256, 16000, 100), (250, 125, 125, 10), (512, 512, 16000, 512), (400, 160, 16000, 640)]

    @Test("A steady client is read once a window, on time", arguments: contracts)
    func steady(_ contract: (window: Int, hop: Int, rate: Double, piece: Int)) {
        let period = Double(contract.piece) / contract.rate
        let tolerance = Seconds(Double(contract.hop) / contract.rate)
        let run = Run(
            arrivals: (1...4000).map { Double($0) * period }, piece: contract.piece, window: contract.window, hop: contract.hop,
            rate: contract.rate, tolerance: tolerance)
        let least = min(4000, run.windows)
        #expect(run.reads >= least)
        // Learning, and an arrival that is waited for from time to time, cost some.
        #expect(Double(run.reads) <= Double(least) * 1.08 + 60, "\(run.reads) reads for \(run.windows) windows")
        #expect(run.latest <= tolerance * 0.1)
    }

    /// How few wake-ups there can be: the greedy cover of completions by reads within the tolerance of the first in each is the least.
    @Test("A window waits for the next one where its result may be that late", arguments: contracts, [1.0, 1.5, 2.5])
    func together(_ contract: (window: Int, hop: Int, rate: Double, piece: Int), _ share: Double) {
        let period = Double(contract.piece) / contract.rate
        let tolerance = Seconds(Double(contract.hop) / contract.rate * share)
        let window = Seconds(milliseconds: 0.4)
        let arrivals = (1...4000).map { Double($0) * period }
        let run = Run(arrivals: arrivals, piece: contract.piece, window: contract.window, hop: contract.hop, rate: contract.rate, tolerance: tolerance, run: window)
        let alone = Run(arrivals: arrivals, piece: contract.piece, window: contract.window, hop: contract.hop, rate: contract.rate, tolerance: tolerance)
        #expect(run.windows == alone.windows)
        // Timer and runs have what is left.
        #expect(run.latest + window * 2 <= tolerance * 0.96, "\(run.latest)")
        #expect(run.reads <= alone.reads + 40)
        // The least there can be within what is not kept for timer and runs.
        let room = tolerance.value * (1 - ArrivalForecast.reserve - ArrivalForecast.grace)
        var least = 0
        var first: Double?
        for number in 0..<run.windows {
            let complete = (Double(number * contract.hop + contract.window) / Double(contract.piece) - 1e-9).rounded(.up) * period
            if let first, complete - first <= room + 1e-9 { continue }
            (first, least) = (complete, least + 1)
        }
        #expect(Double(run.reads) <= Double(least) * 1.1 + 80, "\(run.reads) reads, \(least) at least, \(alone.reads) one by one")
    }

    @Test("Speech in pieces of 20 ms: three wake-ups for five windows within 32 ms")
    func speech() {
        let run = Run(
            arrivals: (1...8000).map { Double($0) * 0.02 }, piece: 320, window: 576, hop: 512, rate: 16000, tolerance: Seconds(0.032), run: Seconds(milliseconds: 0.4))
        #expect(Double(run.reads) < 0.63 * Double(run.windows), "\(run.reads) reads for \(run.windows) windows")
    }

    /// Pieces as a client sends them: steady for a while, then another pace, a pause, or pieces that come all at once.
    /// - Parameter isClocked: each piece is late for itself, as it is behind a sensor's clock; otherwise for all after it.
    private static func arrivals(_ period: Double, jitter: Double, paces: [Double], isClocked: Bool = false, _ random: inout SeededGenerator) -> [Double] {
        var at = 0.0
        var drift = 1.0
        var last = 0.0
        return (0..<3000).map { _ -> Double in
            if Double.random(in: 0..<1, using: &random) < 0.003 { drift = paces.randomElement(using: &random) ?? 1 }
            if Double.random(in: 0..<1, using: &random) < 0.002 { at += 20 * period }
            let off = jitter * random.normal()
            at += period * drift * (isClocked ? 1 : max(0, 1 + off))
            last = max(last, isClocked ? at + period * abs(off) : at)
            return last
        }
    }

    @Test("A client in real time is answered within its tolerance; one that runs ahead, once, a window later", arguments: seeds(60))
    func unsteady(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        let contract = Self.contracts[Int(seed % UInt64(Self.contracts.count))]
        let isWild = seed / 6 % 2 == 0
        let jitter = isWild ? 1.5 : [0.0, 0.05, 0.3][Int(seed / 12 % 3)]
        let paces = isWild ? [0.2, 0.9, 1.0, 1.0, 1.1, 3.0] : [0.97, 1.0, 1.0, 1.03]
        let arrivals = Self.arrivals(Double(contract.3) / contract.2, jitter: jitter, paces: paces, &random)
        let tolerance = Seconds(Double(contract.1) / contract.2)
        let run = Run(arrivals: arrivals, piece: contract.3, window: contract.0, hop: contract.1, rate: contract.2, tolerance: tolerance)
        let limit = isWild ? tolerance + Seconds(Double(contract.1 + contract.3) / contract.2) : tolerance
        #expect(run.latest <= limit, "seed \(seed): \(run.latest) of \(limit)")
        // No more reads than pieces, but for those that came too early.
        #expect(run.reads <= 3000 * 5 / 4, "seed \(seed): \(run.reads) reads")
    }

    /// Clocks of sensors are off by 0.1 % at most; what is beyond that is late by no more than what came early.
    @Test("Windows wait for one another only as long as the pace is what it was", arguments: seeds(120), [0, 1, 2])
    func unsteadyTogether(seed: UInt64, kind: Int) {
        var random = SeededGenerator(seed: seed)
        let contract = Self.contracts[Int(seed % UInt64(Self.contracts.count))]
        let (window, piece) = (Seconds(Double(contract.1) / contract.2), Seconds(Double(contract.3) / contract.2))
        let (jitter, paces) = [(Double(seed / 6 % 3) * 0.02, [0.999, 1, 1.001]), (0.3, [0.97, 1.0, 1.03]), (1.5, [0.2, 0.9, 1.0, 1.0, 1.1, 3.0])][kind]
        let arrivals = Self.arrivals(piece.value, jitter: jitter, paces: paces, isClocked: kind == 0, &random)
        let tolerance = window * Double.random(in: 1...2.5, using: &random)
        let run = Run(
            arrivals: arrivals, piece: contract.3, window: contract.0, hop: contract.1, rate: contract.2, tolerance: tolerance, run: Seconds(milliseconds: 0.4))
        let limit = [tolerance, tolerance + piece, tolerance + window + piece][kind]
        #expect(run.latest <= limit, "seed \(seed): \(run.latest) of \(limit)")
        #expect(run.reads <= 3000 * 5 / 4, "seed \(seed): \(run.reads) reads")
    }
}
