import EnergyModel
import JouledTestKit
import Planner
import PowerPolicy
import Testing
import Units

@testable import Decisions

@Suite("Days with faults")
struct FaultTests {
    /// A thousand random days of faults: whatever telemetry says, the engine's plans keep their promises.
    @Test("No fault breaks an invariant")
    func days() {
        for seed in seeds(1000) { if let problem = day(seed) { #expect(Bool(false), "seed \(seed): \(problem)") } }
    }

    /// - Returns: what went wrong.
    private func day(_ seed: UInt64) -> String? {
        var random = SeededGenerator(seed: seed)
        let hours = Double.random(in: 2...30, using: &random)
        var engine = PlanningAheadTests.engine(hours: hours)
        var energy = Double.random(in: 500...10_000, using: &random)
        var wall = Double.random(in: 0...1e9, using: &random)
        var open: Set<UInt64> = []
        var switches = 0
        var streamMinutes = 0.0
        let steps = 48
        let step = 300.0
        for index in 0..<steps {
            let now = Double(index) * step
            wall += step
            energy = max(0, energy - Double.random(in: 0...0.6, using: &random) * step)
            var reading = DecisionEngine.Reading(
                battery: .init(energy: Joules(energy), full: Joules(10_000), error: Joules(29)), draw: Watts(Double.random(in: 0.05...0.6, using: &random)),
                acOnline: Int.random(in: 0..<10, using: &random) == 0, temperature: Celsius(40), takenAt: PlanningAheadTests.time(now))
            var usage = DecisionEngine.Usage(
                span: Seconds(index == 0 ? 0 : step), profiled: [.init(unit: "cpu", energy: Joules(3))],
                metered: Bool.random(using: &random) ? Joules(Double.random(in: 2...6, using: &random)) : nil, meterError: Joules(0.1),
                drawError: Watts(0.02))
            switch Int.random(in: 0..<14, using: &random) {
            case 0: reading.battery = nil
            case 1: reading.draw = Watts(.nan)
            case 2: reading.draw = nil
            case 3: reading.battery?.energy = nil
            case 4: usage.metered = Joules(-4.2e9)
            case 5: usage.metered = Joules(4.2e9)
            case 6: reading.temperature = Celsius(120)
            case 7: wall += Double.random(in: -1e8...1e8, using: &random)
            case 8: reading.takenAt = PlanningAheadTests.time(max(0, now - 4000))
            case 9: usage.span = .zero
            case 10: engine.observeLatency(unit: "cpu", ratio: Double.random(in: 0.1...40, using: &random), error: 0.1, at: PlanningAheadTests.time(now))
            case 11:
                engine.adopt(
                    PowerPolicy(kind: .lifetime(.init(end: .duration(Seconds(hours * 3600)), reserve: Double.random(in: 0...0.5, using: &random)))),
                    named: "again")
            default: break
            }
            engine.observe(reading, usage: usage, wall: WallTime(secondsSince1970: wall), utcOffset: .zero)
            var trigger = DecisionEngine.Trigger.tick
            if open.count < 5, Int.random(in: 0..<6, using: &random) == 0 || index == 0 {
                let id = UInt64(index + 1)
                engine.open(PlanningAheadTests.request(id, critical: open.isEmpty, tolerance: 10), at: PlanningAheadTests.time(now))
                open.insert(id)
                trigger = .streamOpened
            } else if open.count > 1, Int.random(in: 0..<12, using: &random) == 0, let id = open.max() {
                engine.close(id)
                open.remove(id)
                trigger = .streamClosed
            }
            if Int.random(in: 0..<400, using: &random) == 0 {
                engine.quarantine(model: "m", variant: "fp32")
                trigger = .variantFailed
            }
            let decision = engine.decide(because: trigger, at: PlanningAheadTests.time(now), wall: WallTime(secondsSince1970: wall), utcOffset: .zero)
            switches += decision.changes.count { !$0.isFirst }
            streamMinutes += Double(open.count) * step / 60
            if let watts = decision.budget.watts, !watts.isFinite || watts.value < 0 { return "step \(index): a budget of \(watts)" }
            if decision.budget.reason.isEmpty { return "step \(index): a decision without a reason" }
            if Set(engine.placements.keys) != open { return "step \(index): streams \(open), placed \(engine.placements.keys)" }
            for (id, placement) in engine.placements {
                guard placement.isPlaced else { return "step \(index): stream \(id) was not placed" }
                if let option = placement.option {
                    guard option.plan.power.isFinite, option.plan.power.value >= 0 else { return "step \(index): a power of \(option.plan.power)" }
                    if option.plan.variantQuality < placement.rules.floor { return "step \(index): below the floor" }
                } else if placement.rules.critical, placement.request.variants.contains(where: { _ in engine.latency.cautiousFactor(of: "cpu") < 20 }) {
                    return "step \(index): critical stream \(id) paused: \(placement.reason)"
                }
            }
        }
        // Faults at every other step are far more than any device has; still no plan may flap.
        let rate = Double(switches) / (streamMinutes / 60)
        return rate < 12 ? nil : "\(rate) switches per stream and hour"
    }
}
