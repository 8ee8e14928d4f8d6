import EnergyModel
import Planner
import PowerPolicy
import Testing
import Units

@testable import Decisions

@Suite("Planning ahead")
struct PlanningAheadTests {
    static func time(_ seconds: Double) -> MonotonicTime { MonotonicTime(nanoseconds: UInt64((1000 + seconds) * 1e9)) }

    static func profile(_ variant: String, joules: Double) -> OptionProfile {
        let cost = StepCost(cpu: Seconds(0.01), energy: Joules(joules))
        return OptionProfile(
            variant: variant, unit: "cpu", wake: .zero, first: cost, next: cost,
            latency: LatencyProfile(p50: Seconds(0.01), p99: Seconds(0.02)), basis: .metered)
    }

    static func request(_ id: UInt64, critical: Bool = false, weight: Double = 1, tolerance: Double = 0.1) -> StreamRequest {
        StreamRequest(
            id: id, name: "s\(id)", model: "m", hopTime: Seconds(1), latencyTolerance: Seconds(tolerance), floor: 0.9, weight: weight,
            critical: critical,
            variants: [
                .init(name: "fp32", quality: 1, profiles: [profile("fp32", joules: 0.2)]),
                .init(name: "int8", quality: 0.99, profiles: [profile("int8", joules: 0.05)]),
            ],
            cadences: [.init(multiple: 1, quality: 1), .init(multiple: 4, quality: 0.8)], pacing: .perWindow)
    }

    static func engine(hours: Double) -> DecisionEngine {
        DecisionEngine(
            policyName: "test", policy: PowerPolicy(kind: .lifetime(.init(end: .duration(Seconds(hours * 3600)), reserve: 0.1))),
            limits: .init(minimumDwell: Seconds(600)))
    }

    /// One look at a battery of 10 kJ that holds `energy` and gives `draw`.
    static func look(_ engine: inout DecisionEngine, at seconds: Double, energy: Double, draw: Double, metered: Double? = nil, profiled: Double = 0) {
        engine.observe(
            .init(
                battery: .init(energy: Joules(energy), full: Joules(10_000), error: Joules(1)), draw: Watts(draw), acOnline: false,
                temperature: nil, takenAt: time(seconds)),
            usage: .init(
                span: Seconds(seconds > 0 ? 60 : 0), profiled: [.init(unit: "cpu", energy: Joules(profiled))],
                metered: metered.map { Joules($0) }, meterError: Joules((metered ?? 0) * 0.02)),
            wall: WallTime(secondsSince1970: seconds), utcOffset: .zero)
    }

    @Test("With energy to spare, the best; with little, what the battery can keep up")
    func ample() {
        for (energy, draw, hours, expected) in [(9_000.0, 0.1, 4.0, "fp32"), (5_000, 0.2, 4.0, "int8")] {
            var engine = Self.engine(hours: hours)
            Self.look(&engine, at: 0, energy: energy, draw: draw)
            engine.open(Self.request(1), at: Self.time(0))
            let decision = engine.decide(because: .streamOpened, at: Self.time(0), wall: WallTime(secondsSince1970: 0), utcOffset: .zero)
            #expect(engine.placements[1]?.option?.plan.variant == expected, "\(decision.budget)")
            #expect(decision.budget.goal == .feasible)
        }
    }

    @Test("A goal out of reach is said in the first decision, and critical streams run on")
    func hopeless() {
        var engine = Self.engine(hours: 24)
        Self.look(&engine, at: 0, energy: 5_000, draw: 0.5)
        engine.open(Self.request(1, critical: true), at: Self.time(0))
        engine.open(Self.request(2), at: Self.time(0))
        let decision = engine.decide(because: .streamOpened, at: Self.time(0), wall: WallTime(secondsSince1970: 0), utcOffset: .zero)
        #expect(decision.budget.goal == .infeasible)
        #expect(decision.budget.reason.contains("cannot be met"))
        #expect(engine.placements[1]?.option != nil)
        // As the battery empties, the others pause first.
        var energy = 5_000.0
        for minute in 1...150 {
            energy -= 60 * 0.55
            Self.look(&engine, at: Double(minute) * 60, energy: max(energy, 50), draw: 0.55, metered: 3, profiled: 3)
            _ = engine.decide(because: .tick, at: Self.time(Double(minute) * 60), wall: WallTime(secondsSince1970: Double(minute) * 60), utcOffset: .zero)
        }
        #expect(engine.placements[1]?.option != nil)
        #expect(engine.placements[2]?.option == nil)
    }

    @Test("A slow unit's options that would be late are left out")
    func latency() {
        var engine = Self.engine(hours: 1)
        Self.look(&engine, at: 0, energy: 9_900, draw: 0.1)
        engine.open(Self.request(1, tolerance: 0.03), at: Self.time(0))
        _ = engine.decide(because: .streamOpened, at: Self.time(0), wall: WallTime(secondsSince1970: 0), utcOffset: .zero)
        #expect(engine.placements[1]?.option != nil)
        for step in 0..<20 { engine.observeLatency(unit: "cpu", ratio: 2, error: 0.01, at: Self.time(Double(step))) }
        _ = engine.decide(because: .policy, at: Self.time(30), wall: WallTime(secondsSince1970: 30), utcOffset: .zero)
        #expect(engine.placements[1]?.option == nil)
        #expect(engine.placements[1]?.reason.contains("later than") == true)
    }

    @Test("A meter tells a unit's factor within half an hour", arguments: [0.5, 0.85, 1.7, 3.5])
    func meter(factor: Double) {
        var engine = Self.engine(hours: 8)
        for minute in 0...30 {
            Self.look(
                &engine, at: Double(minute) * 60, energy: 9_000, draw: 0.3, metered: minute > 0 ? 6 * factor : nil, profiled: minute > 0 ? 6 : 0)
        }
        #expect(abs(engine.energy.scale(of: "cpu").factor / factor - 1) < 0.05)
    }
}
