import JouledTestKit
import Testing
import Units

@testable import EnergyModel

@Suite("Learning without a meter, latency, and what is kept")
struct LearningTests {
    private func time(_ seconds: Double) -> MonotonicTime { MonotonicTime(nanoseconds: UInt64((1 + seconds) * 1e9)) }
    private func normal(_ random: inout SeededGenerator) -> Double {
        (0..<12).reduce(-6.0) { sum, _ in sum + Double.random(in: 0..<1, using: &random) }
    }

    /// Four hours of a gauge that is read every minute, with a plan that changes every 20 minutes.
    @Test("Inference is told from the rest by the battery's power where plans change")
    func attribution() {
        var within = 0
        var covered = 0
        let all = seeds(60)
        for seed in all {
            var random = SeededGenerator(seed: seed)
            let factor = Double.random(in: 0.6...3.2, using: &random)
            let base = Double.random(in: 0.05...0.3, using: &random)
            let levels = [0.2, 1, 0.5, 1.4, 0.35, 0.9].map { $0 * base / factor * Double.random(in: 0.5...1, using: &random) }
            var attribution = BatteryAttribution()
            var jitter = 0.0
            var truth = 0.0
            var running: [(unit: String, watts: Watts)] = []
            for minute in 0..<240 {
                if minute % 5 == 0 { jitter = 0.08 * normal(&random) }
                running = [("cpu", Watts(levels[minute / 20 % levels.count]))]
                truth = running[0].watts.value * factor
                let draw = (base * (1 + jitter) + truth) * (1 + 0.05 * normal(&random))
                attribution.observe(draw: Watts(draw), profiled: running, noise: Watts(0.05 * draw), at: time(Double(minute) * 60))
            }
            let estimate = attribution.power(of: running)
            if abs(estimate.watts.value / truth - 1) < 0.1 { within += 1 }
            if abs(estimate.watts.value - truth) <= 1.645 * estimate.deviation.value { covered += 1 }
        }
        #expect(Double(within) >= 0.85 * Double(all.count), "within 10 %: \(within) of \(all.count)")
        #expect(Double(covered) >= 0.8 * Double(all.count), "covered by 90 % intervals: \(covered) of \(all.count)")
    }

    /// Four hours of readings by the minute of a device whose base load jitters by `jitter` from one five minutes to the next.
    private func told(seed: UInt64, jitter spread: Double) -> (share: Double, deviation: Double) {
        var random = SeededGenerator(seed: seed)
        var attribution = BatteryAttribution()
        var jitter = 0.0
        let levels = [0.02, 0.06, 0.03, 0.08]
        for minute in 0..<240 {
            if minute % 5 == 0 { jitter = spread * normal(&random) }
            let level = levels[minute / 30 % levels.count]
            let draw = (0.1 * (1 + jitter) + level * 2) * (1 + 0.02 * normal(&random))
            attribution.observe(draw: Watts(draw), profiled: [("cpu", Watts(level))], noise: Watts(0.02 * draw), at: time(Double(minute) * 60))
        }
        let power = attribution.power(of: [("cpu", Watts(0.05))])
        return (power.watts.value / 0.1, power.deviation.value / 0.1)
    }

    @Test("How restless the base load is, is learned: a calm one leaves less doubt, and the doubt is honest for both")
    func restlessness() {
        let all = seeds(40)
        for (jitter, most) in [(0.02, 0.03), (0.12, 0.06)] {
            let results = all.map { told(seed: $0, jitter: jitter) }
            let deviation = results.map(\.deviation).reduce(0, +) / Double(all.count)
            let covered = results.count { abs($0.share - 1) <= 1.645 * $0.deviation }
            #expect(deviation < most, "jitter \(jitter): one standard deviation is \(deviation) of the truth")
            #expect(Double(covered) >= 0.8 * Double(all.count), "jitter \(jitter): covered \(covered) of \(all.count), seeds \(all)")
        }
        let calm = all.map { told(seed: $0, jitter: 0.02).deviation }.reduce(0, +)
        let restless = all.map { told(seed: $0, jitter: 0.12).deviation }.reduce(0, +)
        #expect(restless > 1.6 * calm, "\(restless / Double(all.count)) and \(calm / Double(all.count))")
    }

    @Test("One odd reading, the first or a later one, rules for no more than minutes", arguments: [0.0, 5.0], [0, 30])
    func oddReading(draw odd: Double, minute oddMinute: Int) throws {
        var attribution = BatteryAttribution()
        for minute in 0..<60 {
            let own = minute / 10 % 2 == 0 ? 0.2 : 0.5
            let draw = minute == oddMinute ? odd : 1 + own
            attribution.observe(draw: Watts(draw), profiled: [("cpu", Watts(own))], noise: Watts(0.02 * draw), at: time(Double(minute) * 60))
        }
        let factor = try #require(attribution.factor(of: "cpu"))
        #expect(abs(factor.factor - 1) < 0.35, "\(factor)")
        #expect(abs(factor.factor - 1) < 3 * factor.variance.squareRoot(), "\(factor)")
    }

    @Test("What was known before the first reading is where learning begins")
    func prior() throws {
        var attribution = BatteryAttribution()
        for minute in 0..<5 {
            attribution.observe(
                draw: Watts(1.2), profiled: [("cpu", Watts(0.2))], noise: Watts(0.02), priors: ["cpu": .init(factor: 0.9, variance: 0.0025)],
                at: time(Double(minute) * 60))
        }
        let factor = try #require(attribution.factor(of: "cpu"))
        #expect(abs(factor.factor - 0.9) < 0.05 && factor.variance < 0.004, "\(factor)")
    }

    @Test("Loads of the device that come and go within a minute leave the factor alone, or say that it is not known")
    func restlessDevice() throws {
        var attribution = BatteryAttribution()
        for second in 0..<60 {
            let base = second < 20 ? 0.008 : second < 40 ? 0.024 : 0.01
            let own = second % 15 < 8 ? 0.004 : 0.002
            attribution.observe(draw: Watts(base + own), profiled: [("cpu", Watts(own))], noise: Watts(0.0004), at: time(Double(second)))
        }
        let factor = try #require(attribution.factor(of: "cpu"))
        #expect(abs(factor.factor - 1) < 2 * factor.variance.squareRoot(), "\(factor)")
    }

    /// Without jitter and drift, what is learned reading by reading is what regularized least squares make of all readings at once.
    @Test("A filter agrees with the normal equations", arguments: seeds(20))
    func normalEquations(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        let prior = (level: 0.3, levelVariance: 0.04, factor: 1.5, factorVariance: 0.36)
        var filter = BaseLoadFilter(jitter: 0, walk: 0, level: prior.level, variance: prior.levelVariance)
        filter.addUnit(factor: prior.factor, variance: prior.factorVariance)
        // Precision matrix and right-hand side over (level, factor).
        var a = 1 / prior.levelVariance
        var b = 0.0
        var d = 1 / prior.factorVariance
        var right = (prior.level / prior.levelVariance, prior.factor / prior.factorVariance)
        for _ in 0..<50 {
            let watts = Double.random(in: 0...0.2, using: &random)
            let noise = Double.random(in: 0.02...0.1, using: &random)
            let draw = 0.25 + 1.8 * watts + noise * normal(&random) * 0.5
            filter.predict(elapsed: 60, level: 0.25, factorWalkPerSecond: 0)
            filter.correct(draw: draw, design: [watts], noise: noise, factors: -100...100)
            let precision = 1 / (noise * noise)
            a += precision
            b += watts * precision
            d += watts * watts * precision
            right.0 += draw * precision
            right.1 += watts * draw * precision
        }
        let determinant = a * d - b * b
        #expect(abs(filter.state[0] - (d * right.0 - b * right.1) / determinant) < 1e-9)
        #expect(abs(filter.state[2] - (a * right.1 - b * right.0) / determinant) < 1e-9)
        #expect(abs(filter.covariance[2][2] - a / determinant) < 1e-9)
        #expect(filter.state[1] == 0)
    }

    @Test("A slow-down is learned at once and followed", arguments: [0.8, 1.0, 1.6, 3.0])
    func latency(truth: Double) {
        var model = LatencyModel()
        #expect(model.cautiousFactor(of: "cpu") == 1)
        for step in 0..<10 { model.observe(unit: "cpu", ratio: truth * (step % 2 == 0 ? 1.01 : 0.99), error: 0.01, at: time(Double(step) * 60)) }
        #expect(abs(model.scale(of: "cpu").factor / truth - 1) < 0.02)
        #expect(model.cautiousFactor(of: "cpu") > truth * 0.995)
        for step in 10..<14 { model.observe(unit: "cpu", ratio: 5, error: 0.05, at: time(Double(step) * 60)) }
        #expect(abs(model.scale(of: "cpu").factor / 5 - 1) < 0.05)
        model.observe(unit: "cpu", ratio: .nan, error: 0.01, at: time(900))
        #expect(model.scale(of: "cpu").factor.isFinite)
        // What has been that slow is tried again when nothing ran on it for long; what runs is known.
        model.observe(unit: "npu", ratio: 1.5, error: 0.05, at: time(840))
        #expect(model.slowUnits(at: time(1800)).isEmpty)
        #expect(model.slowUnits(at: time(2700)) == ["cpu"])
        model.retry("cpu")
        #expect(model.cautiousFactor(of: "cpu") == 1)
        // In vain: the next time it takes twice as long.
        model.observe(unit: "cpu", ratio: 5, error: 0.05, at: time(2760))
        #expect(model.slowUnits(at: time(2760 + 3500)).isEmpty && model.slowUnits(at: time(2760 + 3600)) == ["cpu"])
    }

    @Test("A unit that is stuck is believed to be as slow as can be told, one odd run is not", arguments: [99.0, 100, 150, 1e6])
    func stuckUnit(ratio: Double) {
        var model = LatencyModel()
        for step in 0..<10 { model.observe(unit: "cpu", ratio: 1, error: 0.05, at: time(Double(step) * 60)) }
        var once = model
        once.observe(unit: "cpu", ratio: 1e6, error: 0.5, at: time(600))
        for step in 11..<20 { once.observe(unit: "cpu", ratio: step % 2 == 0 ? 1e6 : 1, error: 0.5, at: time(Double(step) * 60)) }
        #expect(once.scale(of: "cpu").factor == 1)
        for step in 10..<14 { model.observe(unit: "cpu", ratio: ratio, error: 0.05, at: time(Double(step) * 60)) }
        #expect(abs(model.scale(of: "cpu").factor / min(ratio, 100) - 1) < 0.02, "\(model.scale(of: "cpu"))")
        for step in 14..<18 { model.observe(unit: "cpu", ratio: 1, error: 0.05, at: time(Double(step) * 60)) }
        #expect(abs(model.scale(of: "cpu").factor - 1) < 0.1, "\(model.scale(of: "cpu"))")
    }

    private func learned(_ seed: UInt64) -> EnergyModel {
        var random = SeededGenerator(seed: seed)
        var model = EnergyModel()
        for step in 0..<50 {
            model.observe(
                EnergyObservation(
                    profiled: [
                        .init(unit: "cpu", energy: Joules(Double.random(in: 0...5, using: &random))),
                        .init(unit: "npu 0", energy: Joules(Double.random(in: 0.1...5, using: &random))),
                    ],
                    measured: Joules(Double.random(in: 4...9, using: &random)), error: Joules(0.5), basis: .metered, time: time(Double(step) * 60)))
        }
        return model
    }

    @Test("What was learned is read back as it was", arguments: seeds(20))
    func roundTrip(seed: UInt64) throws {
        let model = learned(seed)
        let read = try EnergyModel(persistentText: model.persistentText, name: "posterior")
        #expect(read.persistentText == model.persistentText, "seed \(seed)")
        #expect(read.scale(of: "npu 0") == model.scale(of: "npu 0"))
        #expect(try EnergyModel(persistentText: EnergyModel().persistentText, name: "p").knownUnits.isEmpty)
    }

    @Test("A damaged file is refused, whatever byte is wrong", arguments: seeds(40))
    func damage(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        var bytes = Array(learned(seed).persistentText.utf8)
        if Bool.random(using: &random) {
            bytes.removeLast(Int.random(in: 1...bytes.count, using: &random))
        } else {
            let index = Int.random(in: 0..<bytes.count, using: &random)
            bytes[index] = bytes[index] == 65 ? 66 : 65
        }
        #expect(throws: JouledError.self, "seed \(seed)") {
            _ = try EnergyModel(persistentText: String(decoding: bytes, as: UTF8.self), name: "posterior")
        }
    }

    @Test("A meter that is heard of no more binds for twelve hours, after a restart too; then the battery's word counts", arguments: [false, true])
    func expiry(restarted: Bool) throws {
        var model = EnergyModel()
        model.adopt(unit: "cpu", factor: 3, variance: 0.01, basis: .metered, at: time(0))
        if restarted { model = try EnergyModel(persistentText: model.persistentText, name: "posterior") }
        // Of a restart's evidence it is not known when it was seen: it counts from the first look on.
        let begin = restarted ? 600 : 0
        for minute in 10..<begin / 60 + 720 {
            model.adopt(unit: "cpu", factor: 1, variance: 0.02, at: time(Double(minute) * 60))
            model.adopt(unit: "cpu", factor: 1, variance: 0.02)
        }
        #expect(model.scale(of: "cpu").factor == 3 && model.scale(of: "cpu").basis == .metered)
        model.adopt(unit: "cpu", factor: 1, variance: 0.02, at: time(Double(begin) + 12 * 3600))
        #expect(model.scale(of: "cpu").factor == 1 && model.scale(of: "cpu").basis == .battery)
        // A meter that is back is believed at once.
        model.adopt(unit: "cpu", factor: 2, variance: 0.01, basis: .metered, at: time(13 * 3600))
        #expect(model.scale(of: "cpu").factor == 2 && model.scale(of: "cpu").basis == .metered)
    }

    @Test("A meter that is heard of does not expire, whether it tells the time or not", arguments: [false, true])
    func goesOn(timed: Bool) {
        var model = EnergyModel()
        for minute in 0..<1500 {
            let now = time(Double(minute) * 60)
            if minute % 60 == 0 { model.adopt(unit: "cpu", factor: 3, variance: 0.01, basis: .metered, at: timed ? now : nil) }
            model.adopt(unit: "cpu", factor: 1, variance: 0.02, at: now)
        }
        #expect(model.scale(of: "cpu").factor == 3)
    }

    @Test("Observations of a meter expire as well")
    func observationsExpire() {
        var model = EnergyModel()
        model.observe(unit: "cpu", predicted: Joules(1), measured: Joules(2), error: Joules(0.1), basis: .metered, time: time(0))
        model.observe(unit: "cpu", predicted: Joules(1), measured: Joules(2), error: Joules(0.1), basis: .modelled, time: time(3600))
        #expect(model.scale(of: "cpu").basis == .metered && model.scale(of: "cpu").observations == 2)
        model.observe(unit: "cpu", predicted: Joules(1), measured: Joules(2), error: Joules(0.1), basis: .modelled, time: time(12 * 3600))
        #expect(model.scale(of: "cpu").basis == .modelled && model.scale(of: "cpu").observations == 3)
    }
}
