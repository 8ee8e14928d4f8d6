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
        var weak = Day(charger: 0.3, base: 0.27, energy: 9000)
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

    private func plugged(_ minute: Int, draw: Double?, charge: Double = 0.5) -> DecisionEngine.Reading {
        .init(
            battery: .init(energy: Joules(charge * 10_000), full: Joules(10_000)), draw: draw.map { Watts($0) }, acOnline: true, temperature: nil,
            takenAt: Ahead.time(Double(minute) * 60))
    }

    @Test("A battery that is not used any more shows that the plug carries; a gauge without power shows it by its charge")
    func idle() {
        // Peaks above an adapter for six minutes, then held.
        var external = ExternalPower()
        for minute in 0...6 { _ = external.carries(plugged(minute, draw: 3), own: Watts(1)) }
        #expect(external.isWeak)
        for minute in 7...12 { _ = external.carries(plugged(minute, draw: 0), own: Watts(0.1)) }
        #expect(!external.isWeak)
        // Found weak again, it takes twice as long.
        for minute in 13...19 { _ = external.carries(plugged(minute, draw: 3), own: Watts(1)) }
        for minute in 20...26 { _ = external.carries(plugged(minute, draw: 0), own: Watts(0.1)) }
        #expect(external.isWeak)
        for minute in 27...31 { _ = external.carries(plugged(minute, draw: 0), own: Watts(0.1)) }
        #expect(!external.isWeak)
        // Two peaks with nothing told between them are no drain.
        var peaks = ExternalPower()
        for minute in 0...60 { _ = peaks.carries(plugged(minute, draw: minute % 60 == 0 ? 3 : nil), own: Watts(1)) }
        #expect(!peaks.isWeak)
        var percents = ExternalPower()
        for minute in 0...120 { _ = percents.carries(plugged(minute, draw: nil, charge: 0.8 - 0.03 * Double(minute) / 120), own: Watts(1)) }
        #expect(percents.isWeak)
        for minute in 121...190 { _ = percents.carries(plugged(minute, draw: nil, charge: 0.77), own: Watts(0.1)) }
        #expect(!percents.isWeak)
        // A battery that a charger holds between two levels loses them over days.
        var held = ExternalPower()
        for hour in 0..<200 { _ = held.carries(plugged(hour * 60, draw: nil, charge: 0.8 - 0.05 * Double(hour) / 200), own: Watts(1)) }
        #expect(!held.isWeak)
    }

    @Test("What the battery gives beside a weak plug is not what it gives without one")
    func pulled() {
        var day = Day(charger: 0.2, base: 0.3, energy: 9900, hours: 24)
        day.run(minutes: 180, online: false)
        let before = day.engine.forecaster.baseLoad.value
        #expect(abs(before - 0.3) < 0.03, "\(before)")
        day.energy = 9900
        day.run(minutes: 240)
        #expect(day.engine.isSupplyWeak && day.engine.forecaster.baseLoad.value < 0.15)
        #expect(abs(day.engine.lasting.baseLoad.value - 0.3) < 0.03, "what is kept over a restart")
        day.run(minutes: 2, online: false)
        #expect(abs(day.engine.forecaster.baseLoad.value - 0.3) < 0.03, "\(day.engine.forecaster.baseLoad)")
    }

    @Test("A unit that was too slow is tried again where nothing else runs, and left alone where something does")
    func retried() {
        func engine(alternative: Bool) -> DecisionEngine {
            var engine = Ahead.engine(hours: 10)
            Ahead.look(&engine, at: 0, energy: 9_900, draw: 0.05)
            var request = Ahead.request(1, tolerance: 0.03)
            if alternative {
                let cost = StepCost(cpu: Seconds(0.01), energy: Joules(0.01))
                request.variants[1].profiles.append(
                    OptionProfile(
                        variant: "int8", unit: "gpu", wake: .zero, first: cost, next: cost, latency: LatencyProfile(p50: Seconds(0.01), p99: Seconds(0.02)),
                        basis: .metered))
            }
            engine.open(request, at: Ahead.time(0))
            for step in 0..<20 { engine.observeLatency(unit: "cpu", ratio: 4, error: 0.01, at: Ahead.time(Double(step))) }
            for minute in 0..<45 {
                _ = engine.decide(
                    because: minute == 0 ? .streamOpened : .tick, at: Ahead.time(Double(minute) * 60), wall: WallTime(secondsSince1970: Double(minute) * 60),
                    utcOffset: .zero)
                if minute == 20 { #expect((engine.placements[1]?.option == nil) == !alternative) }
            }
            return engine
        }
        #expect(engine(alternative: false).placements[1]?.option?.plan.unit == "cpu")
        #expect(engine(alternative: true).placements[1]?.option?.plan.unit == "gpu")
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
