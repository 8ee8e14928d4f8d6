import EnergyModel
import Planner
import PowerPolicy
import Testing
import Units

@testable import Decisions

/// What would have to change for better quality: each need is checked by granting it.
@Suite("What stands against better quality")
struct UpgradeTests {
    private static let now = MonotonicTime(nanoseconds: 1_000_000_000_000)

    /// 10 windows a second: fp32 draws 10 mW, int8 3 mW. Each takes its joules' milliseconds of the unit.
    private func request(tolerance: Double = 10, floor: Double? = nil, weight: Double? = nil) -> StreamRequest {
        func variant(_ name: String, _ quality: Double, _ millijoules: Double, latency: Double) -> StreamRequest.Variant {
            let cost = StepCost(cpu: Seconds(milliseconds: millijoules), energy: Joules(millijoules / 1000))
            return .init(
                name: name, quality: quality,
                profiles: [
                    OptionProfile(
                        variant: name, unit: "cpu", wake: .zero, first: cost, next: cost, latency: .init(p50: Seconds(latency), p99: Seconds(latency)),
                        residentBytes: Int(millijoules * 1000), basis: .metered)
                ])
        }
        return StreamRequest(
            id: 1, name: "s", model: "m", hopTime: Seconds(0.1), latencyTolerance: Seconds(tolerance), floor: floor, weight: weight,
            variants: [variant("fp32", 1, 1, latency: 0.05), variant("int8", 0.95, 0.3, latency: 0.01)], cadences: [.init(multiple: 1, quality: 1)],
            pacing: .perWindow)
    }

    private func engine(_ kind: PowerPolicy.Kind, _ request: StreamRequest, _ limits: DecisionEngine.Limits = .init()) -> DecisionEngine {
        var engine = DecisionEngine(policyName: "p", policy: PowerPolicy(kind: kind), limits: limits)
        engine.open(request, at: Self.now)
        _ = engine.decide(because: .streamOpened, at: Self.now, wall: WallTime(secondsSince1970: 0), utcOffset: .zero)
        return engine
    }

    private func needs(_ engine: DecisionEngine, _ variant: String, after: Double = 0) -> [DecisionEngine.Obstacle]? {
        engine.upgrades(of: 1, at: Self.now.advanced(by: Seconds(after))).first { $0.option.plan.variant == variant }?.obstacles
    }

    @Test("Watts that are missing, and exactly those")
    func power() throws {
        let short = engine(.fixed(Watts(0.005)), request())
        #expect(short.placements[1]?.option?.plan.variant == "int8")
        guard case .power(let missing)? = needs(short, "fp32")?.first else { return #expect(Bool(false), "\(String(describing: needs(short, "fp32")))") }
        #expect(abs(missing.value - 0.005) < 1e-12)
        #expect(engine(.fixed(Watts(0.005) + missing), request()).placements[1]?.option?.plan.variant == "fp32")
        #expect(engine(.fixed((Watts(0.005) + missing) * 0.999), request()).placements[1]?.option?.plan.variant == "int8")
        #expect(engine(.unlimited, request()).upgrades(of: 1, at: Self.now).isEmpty)
    }

    @Test("Time on the unit, memory, and the deadline")
    func limits() {
        // fp32 takes 1 % of the unit, int8 0.3 %.
        let busy = engine(.unlimited, request(), .init(unitUtilization: 0.004))
        guard case .time("cpu", let time)? = needs(busy, "fp32")?.first else { return #expect(Bool(false), "\(String(describing: needs(busy, "fp32")))") }
        #expect(abs(time - 0.006) < 1e-12)
        #expect(engine(.unlimited, request(), .init(unitUtilization: 0.004 + time)).placements[1]?.option?.plan.variant == "fp32")
        let small = engine(.unlimited, request(), .init(residentBytes: 400))
        #expect(needs(small, "fp32") == [.memory(missingBytes: 600)])
        #expect(engine(.unlimited, request(), .init(residentBytes: 1000)).placements[1]?.option?.plan.variant == "fp32")
        let hasty = engine(.unlimited, request(tolerance: 0.02))
        #expect(needs(hasty, "fp32") == [.deadline(needed: Seconds(0.05), allowed: Seconds(0.02))])
        #expect(engine(.unlimited, request(tolerance: 0.05)).placements[1]?.option?.plan.variant == "fp32")
    }

    @Test("A paused stream is told both ways out: a lower floor, or more power")
    func paused() {
        let paused = engine(.fixed(Watts(0.005)), request(floor: 0.99))
        #expect(paused.placements[1]?.isPlaced == true && paused.placements[1]?.option == nil)
        #expect(needs(paused, "int8") == [.floor(needed: 0.95, floor: 0.99)])
        guard case .power(let missing)? = needs(paused, "fp32")?.first else { return #expect(Bool(false), "\(String(describing: needs(paused, "fp32")))") }
        #expect(abs(missing.value - 0.005) < 1e-12)
        #expect(engine(.fixed(Watts(0.005)), request(floor: 0.95)).placements[1]?.option?.plan.variant == "int8")
    }

    @Test("What was paused stays so for the dwell, and is said to")
    func pausedLately() {
        var engine = engine(.fixed(Watts(0.02)), request(), .init(minimumDwell: Seconds(600)))
        let later = Self.now.advanced(by: Seconds(700))
        engine.adopt(PowerPolicy(kind: .fixed(.zero)), named: "none")
        _ = engine.decide(because: .policy, at: later, wall: WallTime(secondsSince1970: 700), utcOffset: .zero)
        #expect(engine.placements[1]?.option == nil)
        engine.adopt(PowerPolicy(kind: .fixed(Watts(0.02))), named: "more")
        _ = engine.decide(because: .tick, at: later.advanced(by: Seconds(60)), wall: WallTime(secondsSince1970: 760), utcOffset: .zero)
        #expect(engine.placements[1]?.reason == "paused: it changed only 1m00s ago and may change again in 9m00s", "\(engine.placements[1]?.reason ?? "")")
        #expect(needs(engine, "fp32", after: 760) == [.dwell(left: Seconds(540))])
    }

    @Test("A change of lately has to wait, and a variant that failed is said to have failed")
    func waiting() {
        var engine = engine(.fixed(Watts(0.005)), request(), .init(minimumDwell: Seconds(600)))
        engine.adopt(PowerPolicy(kind: .fixed(Watts(0.02))), named: "more")
        // A tick later it may not change yet: the plan for a new policy would wait half a minute only.
        _ = engine.decide(because: .tick, at: Self.now.advanced(by: Seconds(60)), wall: WallTime(secondsSince1970: 60), utcOffset: .zero)
        #expect(engine.placements[1]?.option?.plan.variant == "int8")
        #expect(needs(engine, "fp32", after: 100) == [.dwell(left: Seconds(500))])
        engine.quarantine(model: "m", variant: "fp32")
        #expect(needs(engine, "fp32", after: 100)?.first == .failed)
    }

    @Test("Where a joule earns more elsewhere, the weight that would pay for it")
    func weight() throws {
        // A small battery beside a heavy load, with a goal: the price of energy is what keeps it from fp32.
        func run(_ weight: Double) -> DecisionEngine {
            var engine = DecisionEngine(policyName: "p", policy: PowerPolicy(kind: .lifetime(.init(end: .duration(Seconds(36000)), reserve: 0))))
            engine.open(request(weight: weight), at: Self.now)
            for minute in 0..<30 {
                let time = Self.now.advanced(by: Seconds(Double(minute) * 60))
                let wall = WallTime(secondsSince1970: Double(minute) * 60)
                engine.observe(
                    .init(
                        battery: .init(energy: Joules(2000 - Double(minute) * 0.6), full: Joules(4000), error: Joules(1)), draw: Watts(0.05),
                        acOnline: false, temperature: nil, takenAt: time),
                    usage: .init(span: Seconds(60), profiled: []), wall: wall, utcOffset: .zero)
                _ = engine.decide(because: minute == 0 ? .streamOpened : .power, at: time, wall: wall, utcOffset: .zero)
            }
            return engine
        }
        let engine = run(1)
        let price = try #require(engine.latest?.limits.energyPrice)
        for upgrade in engine.upgrades(of: 1, at: Self.now.advanced(by: Seconds(1740))) {
            for case .weight(let needed, let weight) in upgrade.obstacles {
                #expect(weight == 1)
                let gain = upgrade.option.plan.quality - (engine.placements[1]?.option?.plan.quality ?? 0)
                // At that weight, what it gains over a change's least gain and its cost are even.
                #expect(abs(needed * (gain - DecisionEngine.switchCost) - price * upgrade.morePower.value) < 1e-9)
                #expect(needed >= 1)
            }
        }
    }

    @Test("Reason, runner-up and list agree: what is priced out is so in all three, and is not called the best")
    func agreement() throws {
        // A battery that falls short of fp32 by ever more, and a heavy load beside it.
        var pricedOut = 0
        for load in stride(from: 0.044, through: 0.06, by: 0.0005) {
            var engine = DecisionEngine(policyName: "p", policy: PowerPolicy(kind: .lifetime(.init(end: .duration(Seconds(36000)), reserve: 0))))
            engine.open(request(), at: Self.now)
            for minute in 0..<30 {
                let time = Self.now.advanced(by: Seconds(Double(minute) * 60))
                let wall = WallTime(secondsSince1970: Double(minute) * 60)
                engine.observe(
                    .init(
                        battery: .init(energy: Joules(2000 - Double(minute) * 60 * load), full: Joules(4000), error: Joules(1)), draw: Watts(load),
                        acOnline: false, temperature: nil, takenAt: time),
                    usage: .init(span: Seconds(60), profiled: []), wall: wall, utcOffset: .zero)
                _ = engine.decide(because: minute == 0 ? .streamOpened : .power, at: time, wall: wall, utcOffset: .zero)
            }
            let placement = try #require(engine.placements[1])
            let upgrades = engine.upgrades(of: 1, at: Self.now.advanced(by: Seconds(1740)))
            let label = "\(load) W: \(placement.reason) | \(placement.runnerUp) | \(upgrades.map(\.obstacles))"
            #expect(placement.reason.contains("the best it can have") == (placement.option != nil && upgrades.isEmpty), "\(label)")
            let isPricedOut = upgrades.contains { $0.obstacles.contains { if case .weight = $0 { true } else { false } } }
            #expect(placement.reason.contains("later") == isPricedOut, "\(label)")
            guard isPricedOut, let upgrade = upgrades.first else { continue }
            pricedOut += 1
            #expect(placement.reason.hasPrefix("quality 0.950; fp32 on cpu, 1 per wake-up (1.000) takes \(upgrade.morePower) more, energy that buys "), "\(label)")
            #expect(placement.reason.hasSuffix("as much later"), "\(label)")
            #expect(placement.runnerUp.isEmpty || placement.runnerUp.hasSuffix("once its energy is paid for)"), "\(label)")
        }
        #expect(pricedOut > 2)
    }

    @Test("The list is short, rises in power, ends no better than its best, and has nothing that another beats")
    func order() {
        var many = request()
        many.cadences = [.init(multiple: 1, quality: 1), .init(multiple: 2, quality: 0.9), .init(multiple: 4, quality: 0.7), .init(multiple: 8, quality: 0.5)]
        let starved = engine(.fixed(Watts(0)), many)
        let upgrades = starved.upgrades(of: 1, at: Self.now, most: 3)
        #expect(upgrades.count == 3)
        #expect(zip(upgrades, upgrades.dropFirst()).allSatisfy { $0.morePower <= $1.morePower && $0.option.plan.quality < $1.option.plan.quality })
        #expect(upgrades.last?.option.plan.quality == 1)
        #expect(upgrades.allSatisfy { $0.obstacles.contains { if case .power = $0 { true } else { false } } })
    }
}
