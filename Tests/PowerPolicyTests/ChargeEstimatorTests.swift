import JouledTestKit
import Testing
import Units

@testable import PowerPolicy

@Suite("Stored energy from a gauge that rounds")
struct ChargeEstimatorTests {
    private func time(_ seconds: Double) -> MonotonicTime { MonotonicTime(nanoseconds: UInt64((1 + seconds) * 1e9)) }

    @Test("Counting between steps halves what rounding leaves, and says how sure it is", arguments: seeds(20))
    func counting(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        let full = Double.random(in: 2000...40_000, using: &random)
        let step = full / 100
        var estimator = ChargeEstimator()
        var energy = full * 0.9
        var errors = (counted: 0.0, shown: 0.0)
        var covered = 0
        // Down to a third in six hours, by the minute, with power read 10 % off.
        let drain = full * 0.6 / (6 * 3600)
        for minute in 0..<360 {
            if minute > 0 { energy -= drain * 60 * (1 + 0.3 * random.normal()) }
            let shown = (energy / step).rounded() * step
            estimator.observe(
                energy: Joules(shown), error: Joules(step / 3.4641016), drain: Watts(drain * (1 + 0.1 * random.normal())), full: Joules(full),
                at: time(Double(minute) * 60))
            guard minute > 30, let told = estimator.energy?.value else { continue }
            #expect(abs(told - shown) <= step / 2 + 1e-6, "seed \(seed): outside of what the gauge shows")
            errors.counted += (told - energy) * (told - energy)
            errors.shown += (shown - energy) * (shown - energy)
            if abs(told - energy) <= 2 * estimator.deviation.value { covered += 1 }
        }
        #expect(errors.counted.squareRoot() < 0.6 * errors.shown.squareRoot(), "seed \(seed): \((errors.counted / errors.shown).squareRoot()) of the gauge's error")
        #expect(covered > 290, "seed \(seed): \(covered) of 329 within two standard deviations")
    }

    @Test("After a long gap, or without power, it is what the gauge shows")
    func gaps() {
        var estimator = ChargeEstimator()
        estimator.observe(energy: Joules(1000), error: Joules(3), drain: Watts(1), full: Joules(2000), at: time(0))
        estimator.observe(energy: Joules(400), error: Joules(3), drain: Watts(1), full: Joules(2000), at: time(7 * 3600))
        #expect(estimator.energy == Joules(400) && estimator.deviation == Joules(3))
        estimator.observe(energy: Joules(390), error: Joules(3), drain: nil, full: Joules(2000), at: time(7 * 3600 + 60))
        #expect(estimator.energy == Joules(390))
        estimator.observe(energy: Joules(380), error: Joules(3), drain: Watts(.nan), full: Joules(2000), at: time(7 * 3600 + 120))
        #expect(estimator.energy == Joules(380))
        estimator.reset()
        #expect(estimator.energy == nil)
    }
}
