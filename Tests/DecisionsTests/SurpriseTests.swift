import EnergyModel
import Planner
import PowerPolicy
import Testing
import Units

@testable import Decisions

/// What a device meets that was not planned for: ports too weak, units that throttle, readings that were odd when a stream came.
@Suite("Surprises")
struct SurpriseTests {
    typealias Ahead = PlanningAheadTests

    /// A day on a port that gives `charger` to a device that takes `base` and inference: a battery of 10 kJ, looked at by the minute.
    private struct Day {
        var engine: DecisionEngine
        var energy: Double
        var minute = 0
        let charger: Double
        let base: Double
        let tellsPower: Bool

        init(charger: Double, base: Double, energy: Double = 4000, hours: Double = 12, tellsPower: Bool = true) {
            engine = Ahead.engine(hours: hours)
            self.charger = charger
            self.base = base
            self.energy = energy
            self.tellsPower = tellsPower
        }

        var own: Double { engine.placements.values.reduce(0) { $0 + ($1.option?.plan.power.value ?? 0) } }

        mutating func run(minutes: Int, online: Bool = true) {
            for _ in 0..<minutes {
                let draw = base + own - (online ? charger : 0)
                if minute > 0 { energy = min(10_000, max(0, energy - draw * 60)) }
                let at = Double(minute) * 60
                let share = EnergyObservation.Share(unit: "cpu", energy: Joules(minute > 0 ? own * 60 : 0))
                engine.observe(
                    .init(
                        battery: .init(energy: Joules(energy), full: Joules(10_000), error: Joules(30)), draw: tellsPower ? Watts(draw) : nil,
                        acOnline: online, temperature: nil, takenAt: Ahead.time(at)),
                    usage: .init(
                        span: Seconds(minute > 0 ? 60 : 0), profiled: [share], metered: share.energy, meterError: Joules(share.energy.value * 0.02),
                        drawError: Watts(0.01)),
                    wall: WallTime(secondsSince1970: at), utcOffset: .zero)
                if minute == 0 { engine.open(Ahead.request(1), at: Ahead.time(0)) }
                _ = engine.decide(
                    because: minute == 0 ? .streamOpened : .tick, at: Ahead.time(at), wall: WallTime(secondsSince1970: at), utcOffset: .zero)
                minute += 1
            }
        }
    }

    @Test("A port that gives less than the device takes is no reason to spend without limit", arguments: [true, false])
    func weakSupply(tellsPower: Bool) {
        var day = Day(charger: 0.3, base: 0.25, tellsPower: tellsPower)
        day.run(minutes: 1)
        #expect(day.engine.latest?.budget.watts == nil && !day.engine.isSupplyWeak)
        day.run(minutes: 719)
        #expect(day.engine.isSupplyWeak && day.engine.latest?.budget.watts != nil)
        // 0.2 W for fp32 would have taken 6.5 kJ of the 4 kJ that there were.
        #expect(day.energy >= 1000, "\(day.energy) J of 10 kJ left, and 1 kJ to be left")
    }

    @Test("A port that is strong enough stays one without limit, and a weak one that is pulled out is forgotten")
    func strongSupply() {
        var day = Day(charger: 2, base: 0.25)
        day.run(minutes: 300)
        #expect(!day.engine.isSupplyWeak && day.engine.latest?.budget.watts == nil)
        var weak = Day(charger: 0.3, base: 0.25, energy: 9000)
        weak.run(minutes: 60)
        #expect(weak.engine.isSupplyWeak)
        weak.run(minutes: 10, online: false)
        #expect(!weak.engine.isSupplyWeak)
    }

    @Test("A port that grows strong is believed in again, but not for the plan's own thrift")
    func grownSupply() {
        var external = ExternalPower()
        func carries(_ minute: Int, draw: Double, own: Double) -> Bool {
            external.carries(
                .init(
                    battery: .init(energy: Joules(5000), full: Joules(10_000)), draw: Watts(draw), acOnline: true, temperature: nil,
                    takenAt: Ahead.time(Double(minute) * 60)), own: Watts(own))
        }
        for minute in 0...5 { _ = carries(minute, draw: 0.1, own: 0.2) }
        #expect(external.isWeak)
        // It fills because inference takes 0.15 W less: with them it would drain again.
        for minute in 6...60 { #expect(!carries(minute, draw: -0.05, own: 0.05)) }
        for minute in 61...65 { _ = carries(minute, draw: -0.3, own: 0.05) }
        #expect(carries(66, draw: -0.3, own: 0.05) && !external.isWeak)
    }

    @Test("A unit that slows down beyond a deadline, or fills up, is planned for with the next tick")
    func throttled() {
        for (tolerance, share, slower) in [(0.03, 0.9, 2.0), (1, 0.015, 2)] {
            var engine = DecisionEngine(
                policyName: "test", policy: PowerPolicy(kind: .lifetime(.init(end: .duration(Seconds(3600)), reserve: 0.1))),
                limits: .init(unitUtilization: share, minimumDwell: Seconds(600)))
            Ahead.look(&engine, at: 0, energy: 9_900, draw: 0.1)
            engine.open(Ahead.request(1, tolerance: tolerance), at: Ahead.time(0))
            _ = engine.decide(because: .streamOpened, at: Ahead.time(0), wall: WallTime(secondsSince1970: 0), utcOffset: .zero)
            let before = engine.placements[1]?.option
            #expect(before?.plan.cadence == 1)
            for step in 0..<20 { engine.observeLatency(unit: "cpu", ratio: slower, error: 0.01, at: Ahead.time(Double(step))) }
            _ = engine.decide(because: .tick, at: Ahead.time(60), wall: WallTime(secondsSince1970: 60), utcOffset: .zero)
            #expect(engine.placements[1]?.option?.plan != before?.plan, "\(tolerance) s, \(share) of the unit")
        }
    }

    @Test("A stream that found no room when it came starts as soon as there is, and a goal that is soon is not dwelt away")
    func starts() throws {
        var engine = DecisionEngine(
            policyName: "test", policy: PowerPolicy(kind: .lifetime(.init(end: .duration(Seconds(3600)), reserve: 0.1))),
            limits: .init(unitUtilization: 0.012, minimumDwell: Seconds(600)))
        Ahead.look(&engine, at: 0, energy: 9_000, draw: 0.1)
        engine.open(Ahead.request(1, weight: 5), at: Ahead.time(0))
        engine.open(Ahead.request(2), at: Ahead.time(0))
        func decide(_ trigger: DecisionEngine.Trigger, _ second: Double) {
            _ = engine.decide(because: trigger, at: Ahead.time(second), wall: WallTime(secondsSince1970: second), utcOffset: .zero)
        }
        decide(.streamOpened, 0)
        #expect(engine.placements[1]?.option != nil && engine.placements[2]?.option == nil)
        Ahead.look(&engine, at: 60, energy: 8_990, draw: 0.1)
        engine.close(1)
        decide(.streamClosed, 60)
        #expect(engine.placements[2]?.option != nil, "\(engine.placements[2]?.reason ?? "")")
        #expect(try #require(engine.latest).limits.minimumDwell == Seconds(180))
    }
}
