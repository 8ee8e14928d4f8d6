import EnergyModel
import JouledTestKit
import Testing
import Units

@Suite("A meter that feeds the whole processor")
struct MeterAttributionTests {
    /// Half an hour of looks every 30 s at a processor of known truth, other programs coming and going.
    private func halfHour(seed: UInt64, idle: Double, others: Double, own: Double, changes: Bool) -> MeterAttribution {
        var random = SeededGenerator(seed: seed)
        var attribution = MeterAttribution()
        for look in 0..<60 {
            let span = 30.0
            let theirs = span * Double.random(in: 0.05...0.8, using: &random)
            let ours = span * (changes && look % 4 == 0 ? 0.02 : 0.12)
            let energy = idle * span + others * theirs + own * ours
            attribution.observe(
                .init(
                    energy: Joules(energy * (1 + Double.random(in: -0.01...0.01, using: &random))), error: Joules(energy * 0.01),
                    span: Seconds(span), busy: Seconds(theirs + ours), own: Seconds(ours)))
        }
        return attribution
    }

    @Test("Idle power, others and inference are told apart", arguments: 0..<20)
    func separates(seed: UInt64) throws {
        var random = SeededGenerator(seed: 1000 + seed)
        let idle = Double.random(in: 0.5...8, using: &random)
        let others = Double.random(in: 1...8, using: &random)
        let own = others * Double.random(in: 0.5...2, using: &random)
        let attribution = halfHour(seed: seed, idle: idle, others: others, own: own, changes: true)
        let told = try #require(attribution.own)
        #expect(abs(told.joules - own) < max(0.15 * own, 3 * told.deviation), "seed \(seed): \(told) for \(own)")
        #expect(abs(try #require(attribution.idle).value - idle) < 0.1 * idle + 0.1, "seed \(seed)")
    }

    @Test("What never changes cannot be told from idling, and the interval says so", arguments: 0..<20)
    func unidentifiable(seed: UInt64) throws {
        let told = try #require(halfHour(seed: seed, idle: 4, others: 3, own: 4.5, changes: false).own)
        #expect(told.deviation > 0.1 * told.joules, "seed \(seed): \(told)")
        #expect(abs(told.joules - 4.5) < 2.5 * told.deviation, "seed \(seed): \(told)")
    }

    @Test("Nonsense moves nothing")
    func nonsense() throws {
        var attribution = halfHour(seed: 1, idle: 2, others: 3, own: 4, changes: true)
        let before = try #require(attribution.own)
        for energy in [Double.nan, .infinity, -1, 0] {
            attribution.observe(.init(energy: Joules(energy), error: Joules(1), span: Seconds(30), busy: Seconds(1), own: Seconds(1)))
        }
        attribution.observe(.init(energy: Joules(1), error: Joules(1), span: .zero, busy: Seconds(1), own: Seconds(1)))
        #expect(try #require(attribution.own) == before)
    }
}
