import EnergyModel
import JouledTestKit
import Planner
import PowerPolicy
import Testing
import Units

@testable import Decisions

@Suite("How much of the time streams are awake behind their gates")
struct GateDutyTests {
    @Test("A guess at first, then what was seen, the latest most")
    func learning() {
        var duties = GateDuties()
        #expect(duties.duty(of: "word", behind: "ear") == GateDuties.prior)
        // A minute weighs as much as the guess.
        duties.observe("word", behind: "ear", awake: .zero, of: Seconds(60))
        #expect(abs(duties.duty(of: "word", behind: "ear") - GateDuties.prior / 2) < 0.01)
        #expect(duties.duty(of: "other", behind: "ear") == GateDuties.prior)
        for _ in 0..<600 { duties.observe("word", behind: "ear", awake: Seconds(1), of: Seconds(10)) }
        #expect(abs(duties.duty(of: "word", behind: "ear") - 0.1) < 0.01)
        // After two hours of talk the morning's silence is forgotten.
        for _ in 0..<720 { duties.observe("word", behind: "ear", awake: Seconds(9), of: Seconds(10)) }
        #expect(abs(duties.duty(of: "word", behind: "ear") - 0.9) < 0.05)
        duties.observe("word", behind: "ear", awake: Seconds(2), of: Seconds(1))
        duties.observe("word", behind: "ear", awake: .zero, of: .zero)
        duties.observe("word", behind: "ear", awake: .zero, of: Seconds(.infinity))
        #expect(abs(duties.duty(of: "word", behind: "ear") - 0.9) < 0.05)
        for _ in 0..<10_000 { duties.observe("word", behind: "ear", awake: .zero, of: Seconds(10)) }
        #expect(duties.duty(of: "word", behind: "ear") > 0)
        for number in 0..<1000 { duties.observe("m\(number)", behind: "ear", awake: .zero, of: Seconds(1)) }
        #expect(duties.shares.count == GateDuties.limit)
    }

    @Test("It is kept to the last bit, and damage is told with its line", arguments: seeds(50))
    func persistence(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        var duties = GateDuties()
        for _ in 0..<Int.random(in: 0...40, using: &random) {
            let all = Double.random(in: 0...1000, using: &random)
            duties.observe(
                "m\(Int.random(in: 0..<5, using: &random))", behind: "g\(Int.random(in: 0..<3, using: &random))",
                awake: Seconds(all * Double.random(in: 0...1, using: &random)), of: Seconds(all))
        }
        let text = duties.persistentText
        #expect(try GateDuties(persistentText: text, name: "f") == duties)
        for cut in stride(from: 0, to: text.utf8.count, by: 7) {
            #expect(throws: JouledError.self) { try GateDuties(persistentText: String(text.prefix(cut)), name: "f") }
        }
        let bad = "jouled-gates 1\nword ear 5.0 4.0\n"
        let signed = bad + "checksum \(Checksum.text(of: bad.utf8))\n"
        #expect { try GateDuties(persistentText: signed, name: "f") } throws: { "\($0)".contains("f:2: ") }
    }

    private static func request(_ id: UInt64, _ name: String, milliwatts: Double, weight: Double = 1, gate: StreamRequest.Gate? = nil) -> StreamRequest {
        let cost = StepCost(cpu: Seconds(1e-5), energy: Joules(milliwatts * 1e-3 * 0.1))
        let free = StepCost(cpu: .zero, energy: .zero)
        let profile = OptionProfile(
            variant: "v", unit: "cpu", wake: free, first: cost, next: cost, latency: LatencyProfile(p50: Seconds(1e-4), p99: Seconds(2e-4)), loadEnergy: .zero,
            residentBytes: 1, basis: .modelled)
        return StreamRequest(
            id: id, name: name, model: name, hopTime: Seconds(0.1), latencyTolerance: Seconds(1), weight: weight, variants: [.init(name: "v", quality: 1, profiles: [profile])],
            cadences: [.init(multiple: 1, quality: 1)], gate: gate)
    }

    private static func decide(_ engine: inout DecisionEngine, at seconds: Double, _ trigger: DecisionEngine.Trigger = .streamOpened) -> DecisionEngine.Decision {
        engine.decide(because: trigger, at: MonotonicTime(nanoseconds: UInt64(seconds * 1e9)), wall: WallTime(secondsSince1970: seconds), utcOffset: .zero)
    }

    @Test("A dear stream fits the budget because it sleeps, costs its share, and is alone when the gate goes")
    func planned() throws {
        var engine = DecisionEngine(policyName: "p", policy: PowerPolicy(kind: .fixed(Watts(0.004))), limits: .init(minimumDwell: .zero))
        let start = MonotonicTime(nanoseconds: 1_000_000_000)
        engine.open(Self.request(1, "ear", milliwatts: 1), at: start)
        engine.open(Self.request(2, "word", milliwatts: 10, weight: 5), at: start)
        _ = Self.decide(&engine, at: 1)
        #expect(engine.placements[2]?.option == nil)
        engine.close(2)
        engine.open(Self.request(2, "word", milliwatts: 10, weight: 5, gate: .init(stream: 1, duty: 0.25)), at: start)
        let decision = Self.decide(&engine, at: 2)
        let placement = try #require(engine.placements[2])
        #expect(abs(try #require(placement.option).plan.power.value - 0.0025) < 1e-9)
        #expect(placement.duty == 0.25)
        #expect(placement.reason.hasSuffix("; asleep behind ear: awake 25 % of the time"), "\(placement.reason)")
        #expect(abs(decision.plan.totalPower.value - 0.0035) < 1e-9)
        #expect(abs(engine.inferencePower.watts.value - 0.0035) < 1e-9)
        #expect(decision.inputs?.streams.last?.request.gate == .init(stream: 1, duty: 0.25))
        // What runs is what is compared with: a better option would take its share, too.
        #expect(engine.upgrades(of: 2, at: MonotonicTime(nanoseconds: 2_000_000_000)).allSatisfy { $0.option.plan.power <= Watts(0.0025) })

        // People talk: it does not fit any more.
        engine.setDuty(0.9, of: 2)
        _ = Self.decide(&engine, at: 100, .policy)
        #expect(engine.placements[2]?.option == nil)
        #expect(engine.placements[1]?.option != nil)
        engine.setDuty(0.1, of: 2)
        _ = Self.decide(&engine, at: 200, .policy)
        #expect(abs(try #require(engine.placements[2]?.option).plan.power.value - 0.001) < 1e-9)

        // Without the gate it takes all that it takes.
        engine.close(1)
        _ = Self.decide(&engine, at: 300, .streamClosed)
        #expect(engine.placements[2]?.option == nil)
        engine.adopt(PowerPolicy(kind: .unlimited), named: "u")
        _ = Self.decide(&engine, at: 400, .policy)
        #expect(abs(try #require(engine.placements[2]?.option).plan.power.value - 0.010) < 1e-9)
        #expect(engine.placements[2]?.duty == 1)
    }

    @Test("A gate that is dearer than what it saves is paused, and what is behind it is always awake")
    func dearGate() throws {
        var engine = DecisionEngine(policyName: "p", policy: PowerPolicy(kind: .fixed(Watts(0.0025))), limits: .init(minimumDwell: .zero))
        let start = MonotonicTime(nanoseconds: 1_000_000_000)
        engine.open(Self.request(1, "ear", milliwatts: 3), at: start)
        engine.open(Self.request(2, "word", milliwatts: 2, gate: .init(stream: 1, duty: 0.1)), at: start)
        _ = Self.decide(&engine, at: 1)
        #expect(engine.placements[1]?.option == nil)
        #expect(abs(try #require(engine.placements[2]?.option).plan.power.value - 0.002) < 1e-9)
        #expect(engine.placements[2]?.duty == 1)
        #expect(engine.placements[2]?.reason.hasSuffix("; its gate ear does not run, so that it is always awake") == true)
    }
}
