import EnergyModel
import Planner
import PowerPolicy
import Testing
import Units

@testable import Decisions

@Suite("Which policy is in force")
struct InForceTests {
    private static let start = 1_000_000_000_000 as UInt64
    private func now(_ second: Double) -> MonotonicTime { MonotonicTime(nanoseconds: Self.start).advanced(by: Seconds(second)) }
    /// Thursday, 1970-01-01, 21:50 UTC, and so many seconds.
    private func wall(_ second: Double) -> WallTime { WallTime(secondsSince1970: 21 * 3600 + 50 * 60 + second) }

    private func request() -> StreamRequest {
        func variant(_ name: String, _ quality: Double, _ millijoules: Double) -> StreamRequest.Variant {
            let cost = StepCost(cpu: Seconds(milliseconds: millijoules), energy: Joules(millijoules / 1000))
            return .init(
                name: name, quality: quality,
                profiles: [OptionProfile(variant: name, unit: "cpu", wake: .zero, first: cost, next: cost, latency: .init(p50: Seconds(0.01), p99: Seconds(0.01)), basis: .metered)])
        }
        return StreamRequest(
            id: 1, name: "s", model: "m", hopTime: Seconds(0.1), latencyTolerance: Seconds(10), variants: [variant("fp32", 1, 1), variant("int8", 0.95, 0.3)],
            cadences: [.init(multiple: 1, quality: 1)], pacing: .perWindow)
    }

    private func decide(_ engine: inout DecisionEngine, _ trigger: DecisionEngine.Trigger, _ second: Double, offset: Double = 0) -> DecisionEngine.Decision {
        engine.observe(
            .init(
                battery: .init(energy: Joules(3000), full: Joules(3600), charge: nil, error: Joules(1)), draw: Watts(0.1), acOnline: false,
                temperature: nil, takenAt: now(second)),
            own: .zero)
        return engine.decide(because: trigger, at: now(second), wall: wall(second), utcOffset: UTCOffset(Seconds(offset)))
    }

    private let evening = PowerPolicy(
        kind: .unlimited,
        schedule: [.init(name: "night", from: 22 * 3600, until: 6 * 3600, policy: PowerPolicy(kind: .fixed(Watts(0.005)), defaults: .init(floor: 0.9)))])

    @Test("A part of the day begins with the first look after it, and plans anew, tick or not")
    func begins() {
        var engine = DecisionEngine(policyName: "p", policy: evening, limits: .init(minimumDwell: Seconds(600)))
        engine.open(request(), at: now(0))
        #expect(decide(&engine, .streamOpened, 0).budget.watts == nil)
        #expect(engine.scheduleEntry == nil && engine.placements[1]?.option?.plan.variant == "fp32")
        #expect(decide(&engine, .tick, 590).changes.isEmpty)
        let night = decide(&engine, .tick, 601)
        #expect(night.trigger == .policy)
        #expect(engine.scheduleEntry == "night" && night.budget.watts == Watts(0.005))
        #expect(engine.placements[1]?.option?.plan.variant == "int8")
        #expect(engine.placements[1]?.rules.floor == 0.9)
        // The operator's file is what it was, and reading it again changes nothing.
        #expect(engine.operatorPolicy.policy == evening)
        engine.adopt(evening, named: "p")
        #expect(decide(&engine, .policy, 700).budget.watts == Watts(0.005))
        // The clock is put back by an hour: it is evening again.
        #expect(decide(&engine, .tick, 1300, offset: -3600).budget.watts == nil)
        #expect(engine.scheduleEntry == nil)
    }

    @Test("A duration goes on counting through parts of the day and holds")
    func duration() {
        let day = PowerPolicy(
            kind: .lifetime(.init(end: .duration(Seconds(7200)))),
            schedule: [.init(name: "night", from: 22 * 3600, until: 6 * 3600, policy: PowerPolicy(kind: .lifetime(.init(end: .duration(Seconds(7200)), reserve: 0.2))))])
        var engine = DecisionEngine(policyName: "p", policy: day)
        engine.open(request(), at: now(0))
        #expect(decide(&engine, .streamOpened, 0).budget.secondsLeft == Seconds(7200))
        #expect(decide(&engine, .tick, 900).budget.secondsLeft == Seconds(6300))
        #expect(engine.scheduleEntry == "night")
        engine.hold(("other", PowerPolicy(kind: .fixed(Watts(1)))))
        #expect(decide(&engine, .policy, 1000).budget.watts == Watts(1))
        #expect(engine.policyName == "other" && engine.operatorPolicy.name == "p")
        engine.hold(nil)
        #expect(decide(&engine, .policy, 1200).budget.secondsLeft == Seconds(6000))
        #expect(engine.policyName == "p")
    }

    @Test("What the operator chooses during a hold waits for its end")
    func waiting() {
        var engine = DecisionEngine(policyName: "a", policy: PowerPolicy(kind: .fixed(Watts(1))))
        engine.open(request(), at: now(0))
        engine.hold(("h", PowerPolicy(kind: .fixed(Watts(2)))))
        engine.adopt(PowerPolicy(kind: .fixed(Watts(3))), named: "b")
        #expect(decide(&engine, .policy, 1).budget.watts == Watts(2))
        // Another hold takes the first one's place.
        engine.hold(("i", PowerPolicy(kind: .fixed(Watts(4)))))
        #expect(decide(&engine, .policy, 2).budget.watts == Watts(4))
        engine.hold(nil)
        #expect(decide(&engine, .policy, 3).budget.watts == Watts(3))
        #expect(engine.operatorPolicy.name == "b")
        engine.hold(nil)
        #expect(engine.policyName == "b")
    }

    @Test("Until the next charge: the goal moves with the habit that the engine sees")
    func nextCharge() {
        var engine = DecisionEngine(policyName: "p", policy: PowerPolicy(kind: .lifetime(.init(end: .nextCharge))))
        engine.open(request(), at: now(0))
        // A charge each evening from 20:00 to 21:00, looked at every half hour for three days.
        for step in 0..<144 {
            let second = Double(step) * 1800
            let hour = (21 + 5.0 / 6 + second / 3600).truncatingRemainder(dividingBy: 24)
            engine.observe(
                .init(
                    battery: .init(energy: Joules(3000), full: Joules(3600), error: Joules(1)), draw: Watts(0.1), acOnline: hour >= 20 && hour < 21,
                    temperature: nil, takenAt: now(second)),
                own: .zero)
            _ = engine.decide(because: .tick, at: now(second), wall: wall(second), utcOffset: .zero)
        }
        let later = 144.0 * 1800
        let decision = decide(&engine, .tick, later)
        // At 21:50 the next is on the following evening, some time after 20:00.
        let left = decision.budget.secondsLeft?.value ?? 0
        #expect((22 * 3600.0)...(23.2 * 3600) ~= left, "\(left)")
        #expect(decision.budget.terms.contains { $0.name == "next charge" && $0.value.hasPrefix("usually charged by 20:") }, "\(decision.budget.terms)")
    }

    @Test("A floor can be held and let go of")
    func floor() {
        var engine = DecisionEngine(policyName: "p", policy: PowerPolicy(kind: .fixed(Watts(0.005)), defaults: .init(floor: 0.5)))
        engine.open(request(), at: now(0))
        _ = decide(&engine, .streamOpened, 0)
        #expect(engine.placements[1]?.option?.plan.variant == "int8")
        engine.setFloor(0.99, of: 1)
        #expect(engine.placements[1]?.rules.floor == 0.99)
        _ = decide(&engine, .policy, 100)
        #expect(engine.placements[1]?.option == nil)
        engine.setFloor(nil, of: 1)
        #expect(engine.placements[1]?.rules.floor == 0.5)
        _ = decide(&engine, .policy, 200)
        #expect(engine.placements[1]?.option?.plan.variant == "int8")
    }
}
