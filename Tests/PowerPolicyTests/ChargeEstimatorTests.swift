import Glibc
import JouledTestKit
import Testing
import Units

@testable import PowerPolicy

@Suite("Stored energy from a gauge that rounds")
struct ChargeEstimatorTests {
    private func time(_ seconds: Double) -> MonotonicTime { MonotonicTime(nanoseconds: UInt64((1 + seconds) * 1e9)) }

    @Test("Counting between steps leaves two fifths of what rounding does, and says how sure it is", arguments: seeds(20))
    func counting(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        let full = Double.random(in: 2000...40_000, using: &random)
        let step = full / 100
        var estimator = ChargeEstimator()
        var energy = full * 0.9
        var errors = (counted: 0.0, shown: 0.0)
        var covered = 0
        var claimed = 0.0
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
            claimed += estimator.deviation.value * estimator.deviation.value
            if abs(told - energy) <= 2 * estimator.deviation.value { covered += 1 }
        }
        #expect(errors.counted.squareRoot() < 0.4 * errors.shown.squareRoot(), "seed \(seed): \((errors.counted / errors.shown).squareRoot()) of the gauge's error")
        #expect(covered > 290, "seed \(seed): \(covered) of 329 within two standard deviations")
        #expect(claimed.squareRoot() < 3 * errors.counted.squareRoot(), "seed \(seed): \((claimed / errors.counted).squareRoot()) times its error is claimed")
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

    /// From full to 6 % in nine and a half hours by a power register that tells `bias` of the truth.
    /// - Parameter shows: what the gauge makes of the true share.
    private func end(error: Double, bias: Double, shows: (Double) -> Double) -> (off: Double, deviation: Double) {
        let full = 36000.0
        var estimator = ChargeEstimator()
        var minute = 0.0
        while minute < 564 {
            minute += 1
            estimator.observe(
                energy: Joules(shows(1 - minute / 600) * full), error: Joules(error * full), drain: Watts(bias), full: Joules(full), at: time(minute * 60))
        }
        return ((estimator.energy?.value ?? 0) / full - 0.06, estimator.deviation.value / full)
    }

    @Test("A power register that is off does not lead away from a gauge that is finer than its error", arguments: [0.01, 0.05], [0.92, 1.08])
    func bias(error: Double, bias: Double) {
        let fine = end(error: error, bias: bias) { $0 }
        #expect(abs(fine.off) < 0.002, "\(fine)")
        // Its calibration is as uncertain as ever.
        #expect(abs(fine.deviation - error) < 0.1 * error, "\(fine)")
        let coarse = end(error: error, bias: bias) { ($0 * 100).rounded() / 100 }
        #expect(abs(coarse.off) <= 0.0101, "\(coarse)")
    }

    @Test("A gauge whose steps are not known yet is not left by more than counting is off in an hour")
    func stuck() {
        var estimator = ChargeEstimator()
        for minute in 0..<600 {
            estimator.observe(energy: Joules(18000), error: Joules(1800), drain: Watts(0.1), full: Joules(36000), at: time(Double(minute) * 60))
        }
        let told = estimator.energy?.value ?? 0
        #expect(abs(told - 18000) <= 0.11 * 3600, "\(told)")
    }

    @Test("A gauge of few levels is found out, and not believed beyond them", arguments: [0.05, 0.1, 0.25])
    func levels(step: Double) {
        let full = 36000.0
        var estimator = ChargeEstimator()
        var squares = 0.0
        var covered = 0
        var looks = 0
        for minute in 0..<600 {
            let share = 1 - Double(minute) / 620
            // Power register 5 % off; the reader says that any gauge is good to a percent.
            estimator.observe(
                energy: Joules((share / step).rounded() * step * full), error: Joules(0.01 * full), drain: Watts(full / 620 / 60 * 1.05), full: Joules(full),
                at: time(Double(minute) * 60))
            // From the third change on.
            guard share < 1 - 2.6 * step, let told = estimator.energy?.value else { continue }
            looks += 1
            squares += (told / full - share) * (told / full - share)
            if abs(told / full - share) < 2 * estimator.deviation.value / full + 0.002 { covered += 1 }
        }
        #expect((squares / Double(looks)).squareRoot() < 0.12 * step, "\((squares / Double(looks)).squareRoot() / step) steps")
        #expect(Double(covered) > 0.9 * Double(looks), "\(covered) of \(looks)")
    }

    @Test("A voltage that moves what a charge is worth is no step of the gauge")
    func voltage() {
        let draws = (0..<300).map { minute in
            let full = 36000 * (1 + 0.004 * Double(minute % 3 - 1))
            let share = ((0.8 - Double(minute) / 1000) * 100).rounded() / 100
            return (full, share)
        }
        var estimator = ChargeEstimator()
        var squares = (counted: 0.0, shown: 0.0)
        for (minute, (full, share)) in draws.enumerated() {
            estimator.observe(energy: Joules(share * full), error: Joules(0.01 / 3.4641016 * full), drain: Watts(0.6), full: Joules(full), at: time(Double(minute) * 60))
            guard minute > 30 else { continue }
            let truth = 0.8 - Double(minute) / 1000
            squares.counted += pow((estimator.energy?.value ?? 0) / full - truth, 2)
            squares.shown += pow(share - truth, 2)
        }
        #expect(squares.counted < 0.36 * squares.shown, "\((squares.counted / squares.shown).squareRoot()) of the gauge's error")
    }

    @Test("What was lost while the clock stood still, and another battery, are begun with anew")
    func jumps() {
        var estimator = ChargeEstimator()
        func look(_ minute: Int, _ shown: Double, full: Double = 2000) {
            estimator.observe(energy: Joules(shown), error: Joules(20), drain: Watts(0.5), full: Joules(full), at: time(Double(minute) * 60))
        }
        for minute in 0..<10 { look(minute, 1000 - Double(minute * 30 / 20 * 20)) }
        let counted = estimator.deviation
        // A night asleep: 400 J in what the clock counts as a minute.
        look(10, 340)
        #expect(estimator.energy == Joules(340) && estimator.deviation == Joules(20) && counted <= Joules(20))
        look(11, 320)
        look(12, 320, full: 1900)
        #expect(estimator.energy == Joules(320) && estimator.deviation == Joules(20))
        // The same reading once more says nothing.
        look(12, 300, full: 1900)
        #expect(estimator.energy == Joules(320))
    }
}
