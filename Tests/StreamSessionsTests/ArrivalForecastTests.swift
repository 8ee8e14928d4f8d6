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
        init(arrivals: [Double], piece: Int, window: Int, hop: Int, rate: Double, tolerance: Seconds) {
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
                    missing: Seconds(Double(complete * hop + window - samples) / rate), tolerance: tolerance)
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

    @Test("A client in real time is answered within its tolerance; one that runs ahead, once, a window later", arguments: seeds(60))
    func unsteady(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        let contract = Self.contracts[Int(seed % UInt64(Self.contracts.count))]
        let period = Double(contract.3) / contract.2
        let isWild = seed / 6 % 2 == 0
        let jitter = isWild ? 1.5 : [0.0, 0.05, 0.3][Int(seed / 12 % 3)]
        let paces = isWild ? [0.2, 0.9, 1.0, 1.0, 1.1, 3.0] : [0.97, 1.0, 1.0, 1.03]
        var at = 0.0
        var drift = 1.0
        let arrivals = (0..<3000).map { _ -> Double in
            // Steady for a while, then another pace, a pause, or pieces that come all at once.
            if Double.random(in: 0..<1, using: &random) < 0.003 { drift = paces.randomElement(using: &random) ?? 1 }
            if Double.random(in: 0..<1, using: &random) < 0.002 { at += 20 * period }
            at += period * drift * max(0, 1 + jitter * random.normal())
            return at
        }
        let tolerance = Seconds(Double(contract.1) / contract.2)
        let run = Run(arrivals: arrivals, piece: contract.3, window: contract.0, hop: contract.1, rate: contract.2, tolerance: tolerance)
        let limit = isWild ? tolerance + Seconds(Double(contract.1 + contract.3) / contract.2) : tolerance
        #expect(run.latest <= limit, "seed \(seed): \(run.latest) of \(limit)")
        // No more reads than pieces, but for those that came too early.
        #expect(run.reads <= 3000 * 5 / 4, "seed \(seed): \(run.reads) reads")
    }
}
