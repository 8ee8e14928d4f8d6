import Glibc
import PowerPolicy
import Testing
import Units

@testable import Decisions

@Suite("A solar device that restarts")
struct RestKnowledgeTests {
    private static func sun(_ second: Double) -> Double {
        let inDay = second.truncatingRemainder(dividingBy: 86400)
        return inDay > 21600 && inDay < 64800 ? 0.5 * sin(.pi * (inDay - 21600) / 43200) : 0
    }

    private static func engine() -> DecisionEngine {
        var engine = DecisionEngine(policyName: "p", policy: PowerPolicy(kind: .lifetime(.init(end: .until(secondOfDay: 75600), reserve: 0.1))))
        engine.open(PlanningAheadTests.request(1), at: PlanningAheadTests.time(0))
        return engine
    }

    /// Minutes of a device of 100 mW with a battery of 10 kJ under that sun.
    private static func live(_ engine: inout DecisionEngine, _ energy: inout Double, hours: ClosedRange<Double>) -> DecisionEngine.Decision? {
        var decision: DecisionEngine.Decision?
        for minute in Int(hours.lowerBound * 60)..<Int(hours.upperBound * 60) {
            let second = Double(minute) * 60
            let own = engine.runningPower().watts.value
            let drain = 0.1 + own - sun(second)
            energy = min(10_000, energy - drain * 60)
            let wall = WallTime(secondsSince1970: second)
            let now = PlanningAheadTests.time(second)
            engine.observe(
                .init(
                    battery: .init(energy: Joules(energy), full: Joules(10_000), error: Joules(1)), draw: Watts(drain), acOnline: false, temperature: nil,
                    takenAt: now),
                usage: .init(span: Seconds(60), profiled: []), wall: wall, utcOffset: .zero)
            decision = engine.decide(because: decision == nil ? .streamOpened : .tick, at: now, wall: wall, utcOffset: .zero)
        }
        return decision
    }

    @Test("It knows its sun, and announces no hopeless goal; without what was kept it would", arguments: [true, false])
    func night(isKept: Bool) throws {
        var energy = 8000.0
        var before = Self.engine()
        _ = Self.live(&before, &energy, hours: 0...45)
        let text = try #require(before.restText(at: WallTime(secondsSince1970: 45 * 3600), utcOffset: .zero))
        var after = Self.engine()
        if isKept { after.restore(try RestForecaster(persistentText: text, name: "rest", at: WallTime(secondsSince1970: 46 * 3600))) }
        // Enough for the night, not for a day without a sun.
        energy = 6000
        let decision = try #require(Self.live(&after, &energy, hours: 46...46.5))
        #expect((decision.budget.goal == .feasible) == isKept, "\(decision.budget.reason)")
    }
}
