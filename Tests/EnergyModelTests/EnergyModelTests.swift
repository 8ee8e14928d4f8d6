import JouledTestKit
import Testing
import Units

@testable import EnergyModel

@Suite("Energy model")
struct EnergyModelTests {
    private func time(_ seconds: Double) -> MonotonicTime { MonotonicTime(nanoseconds: UInt64(seconds * 1e9)) }
    private let option = profile("v", first: StepCost(cpu: Seconds(1e-3), energy: Joules(1e-3)), basis: .modelled)

    @Test("Before any observation the profile stands, with the error of its basis")
    func prior() {
        let prediction = EnergyModel().predict(option, coalescing: 4)
        #expect(prediction.joules == Joules(1e-3))
        #expect(abs(prediction.standardDeviation.value - 0.5e-3) < 1e-12)
        #expect(prediction.basis == .modelled)
    }

    @Test("It finds a wrong profile's truth, and its interval covers it", arguments: 1...60)
    func converges(seed: Int) {
        var random = SeededGenerator(seed: UInt64(seed))
        let truth = Double.random(in: 0.5...3.5, using: &random)
        var model = EnergyModel()
        for minute in 1...30 {
            let profiled = Double.random(in: 0.5...2, using: &random)
            let measured = max(0, profiled * truth * (1 + 0.1 * random.normal()))
            model.observe(
                unit: "cpu", predicted: Joules(profiled), measured: Joules(measured), error: Joules(0.1 * truth * profiled),
                basis: .metered, time: time(Double(minute) * 60))
        }
        let prediction = model.predict(option, coalescing: 1)
        let error = prediction.joules.value / 1e-3 - truth
        #expect(abs(error) < 0.08 * truth, "seed \(seed): \(prediction) against \(truth)")
        #expect(abs(error) * 1e-3 < 3 * prediction.standardDeviation.value, "seed \(seed)")
        #expect(prediction.basis == .metered)
        #expect(model.scale(of: "cpu").observations >= 26, "seed \(seed)")
    }

    @Test("One reading of two units corrects their sum; different mixtures tell them apart", arguments: 1...40)
    func mixtures(seed: Int) {
        var random = SeededGenerator(seed: UInt64(seed))
        let truth = ["cpu": Double.random(in: 0.6...2.5, using: &random), "npu": Double.random(in: 0.6...2.5, using: &random)]
        var model = EnergyModel()
        func reading(_ cpu: Double, _ npu: Double, at minute: Int) -> EnergyObservation {
            let exact = cpu * truth["cpu", default: 1] + npu * truth["npu", default: 1]
            return EnergyObservation(
                profiled: [.init(unit: "cpu", energy: Joules(cpu)), .init(unit: "npu", energy: Joules(npu))],
                measured: Joules(exact * (1 + 0.02 * random.normal())), error: Joules(0.02 * exact), basis: .metered,
                time: time(Double(minute)))
        }
        for minute in 0..<20 { model.observe(reading(1, 1, at: minute)) }
        let sum = model.scale(of: "cpu").factor + model.scale(of: "npu").factor
        #expect(abs(sum - truth["cpu", default: 0] - truth["npu", default: 0]) < 0.1, "seed \(seed)")
        #expect(model.scale(of: "cpu").variance > 0.1, "seed \(seed): alone, the sum cannot identify one unit")
        for minute in 20..<60 {
            model.observe(reading(.random(in: 0...1, using: &random), .random(in: 0...1, using: &random), at: minute))
        }
        for (unit, factor) in truth {
            #expect(abs(model.scale(of: unit).factor - factor) < 0.15 * factor, "seed \(seed): \(unit)")
        }
    }

    @Test("A unit's drift is followed")
    func drift() {
        var model = EnergyModel()
        var random = SeededGenerator(seed: UInt64(7))
        for minute in 0..<240 {
            let truth = 1 + 0.5 * Double(minute) / 240
            model.observe(
                unit: "cpu", predicted: Joules(1), measured: Joules(truth * (1 + 0.05 * random.normal())), error: Joules(0.05),
                basis: .metered, time: time(Double(minute) * 60))
        }
        #expect(abs(model.scale(of: "cpu").factor - 1.5) < 0.06)
    }

    @Test("A single wild reading changes nothing; a lasting change is believed after a few")
    func outliers() {
        var model = EnergyModel()
        func read(_ measured: Double, at second: Double) -> EnergyModel.Outcome {
            model.observe(
                unit: "cpu", predicted: Joules(1), measured: Joules(measured), error: Joules(0.02), basis: .metered, time: time(second))
        }
        for second in 0..<20 { #expect(read(1.1, at: Double(second)) == .accepted) }
        let before = model.scale(of: "cpu").factor
        #expect(read(40, at: 21) == .rejected)
        #expect(abs(model.scale(of: "cpu").factor - before) < 1e-9)
        #expect(read(1.1, at: 22) == .accepted)
        let outcomes = (23..<28).map { read(2.2, at: Double($0)) }
        #expect(outcomes == [.rejected, .rejected, .rejected, .accepted, .accepted])
        #expect(abs(model.scale(of: "cpu").factor - 2.2) < 0.05)
    }

    @Test("Nonsense is refused and leaves no trace", arguments: [(0.0, 1.0, 0.1), (1, -.infinity, 0.1), (1, .nan, 0.1), (1, 1, 0), (-1, 1, 0.1), (1, -1, 0.1)])
    func nonsense(predicted: Double, measured: Double, error: Double) {
        var model = EnergyModel()
        let outcome = model.observe(
            unit: "cpu", predicted: Joules(predicted), measured: Joules(measured), error: Joules(error), basis: .metered, time: time(1))
        #expect(outcome == .unusable)
        #expect(model.knownUnits.isEmpty)
    }

    @Test("What is marked dominated is never the better choice for anyone", arguments: 1...100)
    func domination(seed: Int) {
        var random = SeededGenerator(seed: UInt64(seed))
        let options: [(quality: Double, profile: OptionProfile)] = (0..<8).map { index in
            func cost() -> StepCost { StepCost(cpu: .zero, energy: Joules(Double(Int.random(in: 1...4, using: &random)))) }
            return (Double(Int.random(in: 1...3, using: &random)),
                profile("v\(index)", first: cost(), next: cost(), latency: Seconds(Double(Int.random(in: 1...2, using: &random)))))
        }
        let marks = EnergyModel().dominated(options)
        #expect(marks.contains(nil), "seed \(seed): something must remain")
        for (index, mark) in marks.enumerated() {
            guard let mark else { continue }
            #expect(options[mark].quality >= options[index].quality, "seed \(seed)")
            for k in 1...20 {
                #expect(
                    options[mark].profile.perWindow(coalescing: k).energy <= options[index].profile.perWindow(coalescing: k).energy,
                    "seed \(seed)")
            }
        }
    }
}
