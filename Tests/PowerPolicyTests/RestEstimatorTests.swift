import JouledTestKit
import Testing
import Units

@testable import PowerPolicy

@Suite("Rest of the device")
struct RestEstimatorTests {
    private func time(_ seconds: Double) -> MonotonicTime { MonotonicTime(nanoseconds: UInt64(seconds * 1e9)) }

    @Test("From power readings: draw minus own, with an interval that covers the truth", arguments: 1...60)
    func fromPower(seed: Int) {
        var random = SeededGenerator(seed: UInt64(seed))
        let rest = Double.random(in: 0.05...2, using: &random)
        var estimator = RestEstimator()
        for step in 0..<200 {
            let own = Double.random(in: 0...1, using: &random)
            let draw = (rest + own) * (1 + 0.05 * random.normal())
            estimator.observe(.init(time: time(Double(step) * 10), draw: Watts(draw), own: Watts(own), acOnline: false))
        }
        guard let estimate = estimator.estimate else { return #expect(Bool(false), "seed \(seed): no estimate") }
        #expect(abs(estimate.power.value - rest) < 4 * estimate.deviation.value, "seed \(seed): \(estimate) for \(rest)")
        #expect(estimate.deviation.value < 0.2 * rest + 0.02, "seed \(seed)")
    }

    @Test("From charge alone, in whole percents", arguments: 1...40)
    func fromCharge(seed: Int) {
        var random = SeededGenerator(seed: UInt64(seed))
        let rest = Double.random(in: 0.2...1, using: &random)
        let full = 20_000.0
        var energy = full
        var estimator = RestEstimator(window: Seconds(3600))
        for step in 0..<240 {
            let own = step % 40 < 20 ? 0.1 : 0.4
            energy -= 60 * (rest + own)
            let shown = (energy / full * 100).rounded() / 100 * full
            estimator.observe(
                .init(
                    time: time(Double(step) * 60), draw: nil, energy: Joules(shown), energyError: Joules(full / 100 / 3.46),
                    own: Watts(own), acOnline: false))
        }
        guard let estimate = estimator.estimate else { return #expect(Bool(false), "seed \(seed): no estimate") }
        #expect(abs(estimate.power.value - rest) < 0.25 * rest, "seed \(seed): \(estimate) for \(rest)")
    }

    @Test("Readings around plug events and on external power are ignored")
    func plugEvents() throws {
        func run(wild: Double) throws -> Double {
            var estimator = RestEstimator()
            for step in 0..<100 {
                let ac = (40..<60).contains(step)
                // Cached registers: the readings beside an event mix both sides of it.
                let near = abs(step - 40) <= 1 || (60...62).contains(step)
                let draw = ac || near ? wild : 0.5
                estimator.observe(.init(time: time(Double(step) * 10), draw: Watts(draw), own: Watts(0.2), acOnline: ac))
            }
            return try #require(estimator.estimate).power.value
        }
        #expect(abs(try run(wild: 30) - 0.3) < 1e-9)
        #expect(abs(try run(wild: -30) - 0.3) < 1e-9)
    }

    @Test("Nothing known, nothing claimed; one reading is half believed; a repeated one counts once; never negative")
    func edges() {
        var estimator = RestEstimator()
        #expect(estimator.estimate == nil)
        estimator.observe(.init(time: time(0), draw: Watts(9), own: .zero, acOnline: true))
        #expect(estimator.estimate == nil)
        estimator = RestEstimator()
        for _ in 0..<5 { estimator.observe(.init(time: time(1), draw: Watts(1), own: Watts(0.2), acOnline: false)) }
        #expect(estimator.estimate?.power == Watts(0.8))
        #expect(estimator.estimate?.deviation == Watts(0.4))
        for second in 2..<20 {
            estimator.observe(.init(time: time(Double(second)), draw: Watts(0.1), own: Watts(0.5), acOnline: false))
        }
        #expect(estimator.estimate?.power == .zero)
    }
}
