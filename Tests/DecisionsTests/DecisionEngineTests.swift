import EnergyModel
import JouledTestKit
import Planner
import PowerPolicy
import Testing
import Units

@testable import Decisions

/// Random streams, variants and events; equal seeds give equal worlds.
private struct World {
    var random: SeededGenerator
    var engine: DecisionEngine
    var now = MonotonicTime(nanoseconds: 1_000_000_000_000)
    var next: UInt64 = 1
    var charge = 0.8
    var acOnline = false
    var quarantined: Set<String> = []
    /// Factor on all weights.
    var scale = 1.0

    init(seed: UInt64, policy: PowerPolicy) {
        random = SeededGenerator(seed: seed)
        engine = DecisionEngine(policyName: "test", policy: policy, limits: .init(minimumDwell: Seconds(2)))
    }

    mutating func chance(_ share: Double) -> Bool { Double.random(in: 0..<1, using: &random) < share }

    /// A stream of one of six models, with 1 to 4 variants of different quality and cost.
    mutating func request() -> StreamRequest {
        let model = Int.random(in: 0..<6, using: &random)
        var variants: [StreamRequest.Variant] = []
        for number in 0..<Int.random(in: 1...4, using: &random) {
            let cpu = Double.random(in: 1e-4...2e-3, using: &random)
            func cost(_ factor: Double) -> StepCost { StepCost(cpu: Seconds(cpu * factor), energy: Joules(cpu * factor * 1.5)) }
            let profile = OptionProfile(
                variant: "v\(number)", unit: "cpu", wake: cost(0.2), first: cost(1), next: cost(Double.random(in: 0.2...1, using: &random)),
                latency: LatencyProfile(p50: Seconds(cpu), p99: Seconds(cpu * 3)), loadEnergy: Joules(0.01), residentBytes: 1 << 20, basis: .modelled)
            variants.append(.init(name: "v\(number)", quality: number == 0 ? 1 : Double.random(in: 0.5...1, using: &random), profiles: [profile]))
        }
        defer { next += 1 }
        return StreamRequest(
            id: next, name: "s\(next)", model: "m\(model)", hopTime: Seconds([0.02, 0.032, 0.1, 1][Int.random(in: 0..<4, using: &random)]),
            latencyTolerance: Seconds(Double.random(in: 0.01...5, using: &random)),
            floor: chance(0.5) ? Double.random(in: 0...0.95, using: &random) : nil,
            weight: chance(0.3) ? scale * Double.random(in: 0.1...10, using: &random) : nil, critical: chance(0.3),
            variants: variants, cadences: [.init(multiple: 1, quality: 1), .init(multiple: 2, quality: 0.9)])
    }

    mutating func policy() -> PowerPolicy {
        let kind: PowerPolicy.Kind
        switch Int.random(in: 0..<4, using: &random) {
        case 0: kind = .unlimited
        case 1: kind = .fixed(Watts(Double.random(in: 0...0.1, using: &random)))
        case 2: kind = .levels(.init(levels: [.init(above: 0.5, watts: Watts(0.1)), .init(above: 0, watts: Watts(0.01))]))
        default: kind = .lifetime(.init(end: .duration(Seconds(3600))))
        }
        return PowerPolicy(kind: kind, defaults: .init(floor: chance(0.5) ? 0.7 : 0, weight: scale))
    }

    mutating func observe() {
        engine.observe(
            .init(
                battery: .init(energy: Joules(3600 * charge), full: Joules(3600), charge: charge, error: Joules(36), age: .zero),
                draw: acOnline ? .zero : Watts(0.5), acOnline: acOnline, temperature: nil, takenAt: now),
            own: Watts(0.02))
    }

    /// Something happens. Returns what the daemon would call it.
    mutating func event() -> DecisionEngine.Trigger {
        now = now.advanced(by: Seconds(Double.random(in: 0...5, using: &random)))
        let ids = engine.placements.keys.sorted()
        switch Int.random(in: 0..<8, using: &random) {
        case 0 where ids.count < 10, 1 where ids.count < 10:
            engine.open(request(), at: now)
            return .streamOpened
        case 2 where !ids.isEmpty:
            engine.close(ids[Int.random(in: 0..<ids.count, using: &random)])
            return .streamClosed
        case 3:
            engine.adopt(policy(), named: "p\(Int.random(in: 0..<3, using: &random))")
            return .policy
        case 4:
            acOnline.toggle()
            observe()
            return .power
        case 5 where chance(0.3):
            let (model, variant) = ("m\(Int.random(in: 0..<6, using: &random))", "v\(Int.random(in: 1..<4, using: &random))")
            engine.quarantine(model: model, variant: variant)
            quarantined.insert("\(model)/\(variant)")
            return .variantFailed
        default:
            charge = min(1, max(0, charge + Double.random(in: -0.1...0.08, using: &random)))
            observe()
            return .tick
        }
    }

    mutating func decide(_ trigger: DecisionEngine.Trigger) -> DecisionEngine.Decision {
        engine.decide(because: trigger, at: now, wall: WallTime(secondsSince1970: 1.7e9 + now.since(MonotonicTime(nanoseconds: 0)).value), utcOffset: .zero)
    }
}

@Suite("The decision engine")
struct DecisionEngineTests {
    @Test("In random lives no plan breaks a floor, the budget or a promise to critical streams", arguments: seeds(12))
    func lives(seed: UInt64) {
        var world = World(seed: seed, policy: PowerPolicy(kind: .unlimited))
        for step in 0..<80 {
            let before = world.engine.placements
            let trigger = world.event()
            if trigger == .streamClosed { #expect(world.engine.placements.count == before.count - 1) }
            let placed = world.engine.placements
            let decision = world.decide(trigger)
            let after = world.engine.placements
            let label: () -> String = { "seed \(seed), step \(step), \(trigger.rawValue)" }

            var total = Watts.zero
            for (id, placement) in after {
                #expect(!placement.reason.isEmpty && placement.isPlaced, "\(label()): stream \(id) without a reason")
                guard let option = placement.option else { continue }
                #expect(!world.quarantined.contains("\(placement.request.model)/\(option.plan.variant)"), "\(label())")
                total += option.plan.power
                #expect(option.plan.variantQuality >= placement.rules.floor, "\(label()): stream \(id) is below its floor")
                let isLate = option.plan.latencyP99 > placement.request.latencyTolerance
                #expect(!isLate, "\(label()): stream \(id) is late")
            }
            #expect(abs((total - decision.plan.totalPower).value) < 1e-9, "\(label())")
            if let watts = decision.budget.watts, total > watts * (1 + 1e-9) {
                #expect(decision.plan.isOverBudget, "\(label()): \(total) of \(watts)")
                #expect(after.values.allSatisfy { $0.option == nil || $0.rules.critical }, "\(label()): over budget for one that is not critical")
            }
            // A critical stream is paused only if nothing at all could run it.
            for (id, placement) in after where placement.rules.critical && placement.option == nil {
                let possible = RunOption.all(for: placement.request, by: world.engine.energy).filter {
                    $0.plan.variantQuality >= placement.rules.floor && $0.plan.latencyP99 <= placement.request.latencyTolerance
                        && !world.quarantined.contains("\(placement.request.model)/\($0.plan.variant)")
                }
                let time = possible.map(\.plan.utilization).min() ?? .infinity
                let others = after.values.compactMap(\.option?.plan.utilization).reduce(0, +)
                #expect(others + time > 0.9, "\(label()): critical stream \(id) is paused")
            }
            // Changes are exactly what differs, each first placement is told once.
            for change in decision.changes {
                #expect(change.isFirst == (placed[change.stream]?.isPlaced == false), "\(label())")
                #expect(change.to == after[change.stream]?.option, "\(label())")
            }
            let changed = Set(decision.changes.map(\.stream))
            #expect(changed.count == decision.changes.count, "\(label()): a stream changes twice")
            for (id, placement) in after where !changed.contains(id) {
                let (old, new) = (placed[id]?.option?.plan, placement.option?.plan)
                #expect((old == nil && new == nil) || (old.map { o in new.map { o.sameChoice(as: $0) } ?? false } ?? false), "\(label()): stream \(id) changed untold")
            }
            // Nothing new: nothing changes.
            let again = world.decide(.tick)
            #expect(again.changes.isEmpty, "\(label()): changed its mind without a reason: \(again.changes.map { "\($0.from?.plan.variant ?? "-") -> \($0.to?.plan.variant ?? "-")" })")
        }
    }

    @Test("The scale of weights changes no plan, and utilities are told in the operator's weights", arguments: seeds(6), [1e-6, 1e6])
    func weightScale(seed: UInt64, scale: Double) {
        var world = World(seed: seed, policy: PowerPolicy(kind: .unlimited))
        var scaled = World(seed: seed, policy: PowerPolicy(kind: .unlimited, defaults: .init(weight: scale)))
        scaled.scale = scale
        for step in 0..<60 {
            let (decision, other) = (world.decide(world.event()), scaled.decide(scaled.event()))
            let label = "seed \(seed), step \(step)"
            #expect(decision.plan.assignments.map(\.option) == other.plan.assignments.map(\.option), "\(label)")
            #expect(decision.plan.assignments.map(\.reason) == other.plan.assignments.map(\.reason), "\(label)")
            #expect(abs(other.plan.utility / scale - decision.plan.utility) < 1e-9, "\(label)")
            #expect(abs(other.plan.marginalUtilityPerWatt / scale - decision.plan.marginalUtilityPerWatt) < 1e-6 * decision.plan.marginalUtilityPerWatt + 1e-9, "\(label)")
            for (left, right) in zip(decision.plan.assignments, other.plan.assignments) {
                #expect(abs((right.runnerUp?.utilityDifference ?? 0) / scale - (left.runnerUp?.utilityDifference ?? 0)) < 1e-9, "\(label)")
            }
        }
    }

    @Test("External power lifts a lifetime's limit, and its end brings it back")
    func externalPower() {
        var world = World(seed: 1, policy: PowerPolicy(kind: .lifetime(.init(end: .duration(Seconds(3600))))))
        world.observe()
        world.engine.open(world.request(), at: world.now)
        #expect(world.decide(.streamOpened).budget.watts != nil)
        world.acOnline = true
        world.observe()
        #expect(world.decide(.power).budget.watts == nil)
        world.acOnline = false
        world.now = world.now.advanced(by: Seconds(10))
        world.observe()
        #expect(world.decide(.power).budget.watts != nil)
    }

    @Test("A quarantined variant is never planned again; without any other the stream pauses, with a reason")
    func quarantine() throws {
        var world = World(seed: 2, policy: PowerPolicy(kind: .unlimited))
        var request = world.request()
        request.floor = nil
        request.latencyTolerance = Seconds(10)
        world.engine.open(request, at: world.now)
        var used: Set<String> = []
        for _ in request.variants {
            _ = world.decide(.variantFailed)
            let variant = try #require(world.engine.placements[request.id]?.option?.plan.variant)
            #expect(used.insert(variant).inserted, "\(variant) was chosen again")
            world.engine.quarantine(model: request.model, variant: variant)
        }
        let last = world.decide(.variantFailed)
        #expect(last.changes.count == 1 && last.changes[0].to == nil)
        #expect(world.engine.placements[request.id]?.reason.isEmpty == false)
    }

    @Test("After a restart a stream goes on as it ran, unless something else is worth a change; one that does not exist is forgotten")
    func earlier() throws {
        var world = World(seed: 4, policy: PowerPolicy(kind: .unlimited))
        var request = world.request()
        request.floor = nil
        request.latencyTolerance = Seconds(10)
        let profiles = try #require(request.variants.first).profiles
        // A difference that is not worth a switch, and one that is.
        for (quality, isKept) in [(0.9, true), (0.8, false)] {
            request.variants = [
                .init(name: "best", quality: 0.9001, profiles: profiles), .init(name: "earlier", quality: quality, profiles: profiles),
            ]
            request.id += 1
            world.engine.open(request, at: world.now)
            _ = world.decide(.streamOpened)
            var plan = try #require(world.engine.placements[request.id]?.option?.plan)
            #expect(plan.variant == "best")
            func reopen(_ variant: String) throws {
                world.engine.close(request.id)
                world.engine.open(
                    request, at: world.now,
                    earlier: EarlierChoice(variant: variant, unit: plan.unit, cadence: plan.cadence, coalescing: plan.coalescing, age: Seconds(3600)))
                let change = try #require(world.decide(.streamOpened).changes.first { $0.stream == request.id })
                #expect(change.isFirst, "it is told as any stream that opens")
                plan = try #require(world.engine.placements[request.id]?.option?.plan)
            }
            try reopen("earlier")
            #expect((plan.variant == "earlier") == isKept, "quality \(quality)")
            try reopen("gone")
            #expect(plan.variant == "best")
            world.engine.quarantine(model: request.model, variant: "earlier")
            try reopen("earlier")
            #expect(plan.variant == "best")
            world.engine.pardon()
            world.engine.close(request.id)
        }
    }

    @Test("A policy's floor can be raised by a stream, not lowered; weight and critical are the stream's own")
    func rules() {
        let policy = PowerPolicy(kind: .unlimited, defaults: .init(floor: 0.8, weight: 2, critical: true))
        var world = World(seed: 3, policy: policy)
        for (floor, expected) in [(nil, 0.8), (0.5, 0.8), (0.95, 0.95)] as [(Double?, Double)] {
            var request = world.request()
            (request.floor, request.weight, request.critical) = (floor, nil, false)
            world.engine.open(request, at: world.now)
            let rules = world.engine.placements[request.id]?.rules
            #expect(rules?.floor == expected && rules?.weight == 2 && rules?.critical == false)
        }
        world.engine.adopt(PowerPolicy(kind: .unlimited), named: "other")
        #expect(world.engine.placements.values.map(\.rules.floor).sorted() == [0, 0.5, 0.95])
    }
}
