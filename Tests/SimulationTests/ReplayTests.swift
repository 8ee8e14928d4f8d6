import ConfigDocument
import PowerPolicy
import Testing
import Units

@testable import Simulation

@Suite("Replay of scenarios")
struct ReplayTests {
    @Test("The twin follows the rules: death, and life above 2 %")
    func deathAndRevival() {
        // 100 J, 1 W of base and 1 W of inference: dead after 50 s. From 60 s on 0.5 W of sun: 2 J after 4 s more.
        var scenario = Fixture.scenario(capacity: 100, initial: 1, reserve: 0, base: 1, until: 100)
        scenario.rows = [.init(time: .zero, base: Watts(1)), .init(time: Seconds(60), base: Watts(0.1), harvest: Watts(0.5))]
        scenario.streams = [Fixture.stream("a", until: 100)]
        var twin = DeviceTwin(scenario)
        twin.apply([Choice(option: 0, cadence: 0)], first: [0])
        twin.advance(to: 55)
        #expect(!twin.alive)
        #expect(twin.score.diedAt == 50)
        #expect(abs(twin.score.earned - 50) < 1e-9)
        twin.advance(to: 63.9)
        #expect(!twin.alive)
        twin.advance(to: 64.1)
        #expect(twin.alive)
        #expect(abs(twin.energy - 1.95) < 0.02)
        #expect(abs(twin.score.asked - 64.1) < 1e-9)
        #expect(abs(twin.score.dead - 14) < 0.01)
    }

    @Test("A unit that is asked for more than its share makes all its streams late")
    func overload() {
        var scenario = Fixture.scenario(capacity: 1e6, initial: 1, reserve: 0, base: 0, until: 100)
        scenario.unitUtilization = ["cpu": 0.75]
        scenario.streams = [Fixture.stream("a", until: 100), Fixture.stream("b", until: 50)]
        var twin = DeviceTwin(scenario)
        twin.apply([Choice(option: 0, cadence: 0), Choice(option: 0, cadence: 0)], first: [0, 1])
        twin.advance(to: 50)
        #expect(twin.score.earned == 0)
        #expect(twin.score.late == 100)
        twin.dropEnded()
        twin.advance(to: 100)
        #expect(abs(twin.score.earned - 50) < 1e-9)
    }

    @Test("Energy adds up", arguments: [UInt64(0), 1, 2, 3, 4, 5])
    func energySums(seed: UInt64) {
        var scenario = RandomScenario.make(seed: seed)
        // Without clipping, what is stored is what was, plus income, minus what was drawn.
        scenario.battery.capacity = scenario.battery.capacity * 50
        scenario.battery.initialCharge = 0.5
        let outcome = ScenarioReplay(scenario, controller: .baseline(.cheapestStatic)).run()
        var income = 0.0
        for (index, row) in scenario.rows.enumerated() {
            let end = index + 1 < scenario.rows.count ? scenario.rows[index + 1].time.value : scenario.goal.until.value
            income += (row.harvest.value + (row.acOnline ? scenario.battery.charger.value : 0)) * (end - row.time.value)
        }
        let stored = scenario.battery.capacity.value * 0.5 + income - outcome.energy * 3600
        #expect(abs(stored / scenario.battery.capacity.value * 100 - outcome.endPercent) < 1e-6, "seed \(seed)")
    }

    @Test("The same scenario gives the same bytes", arguments: [UInt64(2), 4])
    func determinism(seed: UInt64) {
        let scenario = RandomScenario.make(seed: seed)
        func json() -> String {
            var outcome = ScenarioReplay(scenario).run()
            outcome.plannerTimes = []
            return ScenarioReport(name: scenario.name, controller: "jouled", outcome: outcome, oracle: Oracle(scenario).utility).json
        }
        #expect(json() == json())
    }

    @Test("The controller sees neither trace nor truth ahead of time", arguments: [UInt64(0), 1, 3])
    func blind(seed: UInt64) {
        // Two futures that part in the middle: until then both replays must have gone the same way.
        let scenario = RandomScenario.make(seed: seed)
        var other = scenario
        let middle = scenario.goal.until.value / 2
        for index in other.rows.indices where other.rows[index].time.value >= middle { other.rows[index].base = other.rows[index].base * 2 }
        for index in other.streams.indices where other.streams[index].end.value > middle { other.streams[index].end = scenario.goal.until }
        func past(_ scenario: Scenario) -> [ScenarioOutcome.Moment] { ScenarioReplay(scenario).run().moments.filter { $0.time < middle } }
        #expect(past(scenario) == past(other), "seed \(seed)")
    }

    @Test("The scenario's goal holds in all parts of a policy's day, and a part that changes nothing changes nothing")
    func scheduled() {
        let scenario = RandomScenario.make(seed: 12)
        let plain = PowerPolicy(kind: .lifetime(.init(end: .duration(Seconds(1)))))
        var parted = plain
        parted.schedule = [
            .init(name: "afternoon", from: 3 * 3600, until: 9 * 3600, policy: PowerPolicy(kind: .lifetime(.init(end: .nextCharge, reserve: 0.5)))),
            .init(name: "night", from: 8 * 3600, until: 3600, policy: plain),
        ]
        let usual = ScenarioReplay(scenario, controller: .jouled(plain)).run()
        let outcome = ScenarioReplay(scenario, controller: .jouled(parted)).run()
        #expect(outcome.goalMet == usual.goalMet)
        #expect(outcome.moments == usual.moments)
        // One that does change something is followed.
        parted.schedule[0].policy = PowerPolicy(kind: .fixed(.zero))
        let dark = ScenarioReplay(scenario, controller: .jouled(parted)).run()
        #expect(dark.moments.contains { (4 * 3600.0)...(7 * 3600) ~= $0.time && $0.budget == 0 })
        #expect(!dark.moments.contains { $0.time < 3 * 3600 && $0.budget == 0 })
    }

    /// A regression guard over all kinds of days; the distribution over many more is in docs/energy-model.md.
    @Test("Baselines load no more than there is memory for, a variant on a unit once", arguments: Baseline.allCases)
    func baselineMemory(baseline: Baseline) {
        var scenario = Fixture.scenario(capacity: 1e6, initial: 0.9, reserve: 0, base: 0, until: 600)
        let option = scenario.options[0]
        for (model, variant, quality, megabytes) in [("m", "int8", 0.8, 1.0), ("n", "fp32", 1, 3), ("n", "int8", 0.9, 2)] {
            var other = option
            (other.model, other.variant, other.quality, other.residentMegabytes) = (model, variant, quality, megabytes)
            other.joules = Joules(quality * quality)
            other.p50 = Seconds(0.01)
            scenario.options.append(other)
        }
        scenario.options[0].residentMegabytes = 4
        for (name, model, weight) in [("light", "m", 1.0), ("heavy", "n", 5), ("like heavy", "n", 4)] {
            var stream = Fixture.stream(name, until: 600)
            (stream.model, stream.weight) = (model, weight)
            scenario.streams.append(stream)
        }
        for megabytes in [nil, 7, 6, 4, 3, 2.5, 1, 0] as [Double?] {
            scenario.residentMegabytes = megabytes
            var view = BaselineView(scenario)
            view.observe(charge: 9e5, rest: 0, online: false)
            let choices = baseline.choose(view, live: [0, 1, 2], at: 0)
            let loaded = Set(choices.compactMap { $0?.option }).reduce(0) { $0 + scenario.options[$1].residentMegabytes }
            #expect(loaded <= megabytes ?? .infinity, "\(megabytes ?? -1) MB: \(choices)")
            // Who is worth more chooses first, and what one has loaded the next has for nothing.
            if baseline != .greedy { #expect(choices[1]?.option == choices[2]?.option) }
            switch megabytes {
            case nil, 7: #expect(choices.allSatisfy { $0 != nil })
            case 2.5: #expect(choices[1].map { scenario.options[$0.option].variant } == "int8")
            case 1: #expect(choices[1] == nil && choices[0].map { scenario.options[$0.option].variant } == "int8")
            case 0: #expect(choices.allSatisfy { $0 == nil })
            default: break
            }
        }
    }

    @Test("The greedy baseline keeps its limits, and stops only where no better choice fits into what is left", arguments: 0..<12 as Range<UInt64>)
    func greedyLimits(seed: UInt64) {
        var scenario = RandomScenario.make(seed: seed)
        let all = Array(scenario.streams.indices)
        let total = scenario.options.reduce(0) { $0 + $1.residentMegabytes }
        for share in [0.1, 0.3, 0.6, 1] {
            scenario.residentMegabytes = total * share
            for charge in [0.2, 0.9] {
                var view = BaselineView(scenario)
                let stored = scenario.battery.capacity.value * charge
                view.observe(charge: stored, rest: 0, online: false)
                func candidate(_ stream: Int, _ choice: Choice?) -> BaselineView.Candidate? { view.candidates(stream).first { $0.choice == choice } }
                /// What all streams take together, reckoned from nothing.
                func fits(_ choices: [Choice?], watts: Double) -> Bool {
                    let running = all.compactMap { candidate($0, choices[$0]) }
                    let memory = Set(running.map(\.choice.option)).reduce(0) { $0 + scenario.options[$1].residentMegabytes }
                    let times = Dictionary(running.map { ($0.unit, $0.time) }, uniquingKeysWith: +)
                    return memory <= total * share * (1 + 1e-9) && running.reduce(0) { $0 + $1.power } <= watts * (1 + 1e-9)
                        && times.allSatisfy { $0.value <= (scenario.unitUtilization[$0.key] ?? .infinity) * (1 + 1e-9) }
                }
                let label = "seed \(seed), \(share) of all memory, charge \(charge)"
                let usable = stored - scenario.battery.capacity.value * scenario.goal.reserve
                let watts = max(0, usable / max(60, scenario.goal.until.value))
                let choices = Baseline.greedy.choose(view, live: all, at: 0)
                #expect(fits(choices, watts: watts), "\(label)")
                for stream in all {
                    let now = candidate(stream, choices[stream])?.utility ?? 0
                    for better in view.candidates(stream) where better.utility > now {
                        var other = choices
                        other[stream] = better.choice
                        #expect(!fits(other, watts: watts * (1 - 1e-6)), "\(label): \(better) would fit")
                    }
                }
            }
        }
    }

    @Test("A policy's rules hold for what the scenario does not state, and what it states holds over them")
    func policyRules() throws {
        var scenario = Fixture.scenario(capacity: 1e6, initial: 1, reserve: 0, base: 0, until: 600)
        var other = scenario.options[0]
        other.model = "n"
        scenario.options.append(other)
        scenario.streams = [Fixture.stream("first", until: 600), Fixture.stream("second", until: 600)]
        scenario.streams[1].model = "n"
        for index in [0, 1] { (scenario.streams[index].statesWeight, scenario.streams[index].statesCritical) = (false, false) }
        var read = try Scenario(reading: ConfigDocument(file: "s.toml", text: scenario.text.toml))
        read.rows = scenario.rows
        #expect(read.streams.allSatisfy { !$0.statesWeight && !$0.statesCritical && $0.weight == 1 && !$0.critical })
        /// Room for one at full cadence only, and the other at half.
        func running(_ scenario: Scenario, _ rules: PowerPolicy.ModelRules, _ watts: Double) -> [String] {
            let policy = PowerPolicy(kind: .fixed(Watts(watts)), models: ["n": rules])
            return ScenarioReplay(scenario, controller: .jouled(policy)).run().moments.last?.running ?? []
        }
        #expect(running(read, .init(weight: 3), 1.5) == ["fp32/cpu/2", "fp32/cpu/1"])
        #expect(running(read, .init(weight: 0.3), 1.5) == ["fp32/cpu/1", "fp32/cpu/2"])
        #expect(running(read, .init(weight: 0.3, critical: true), 0.5) == ["", "fp32/cpu/2"])
        (read.streams[1].statesWeight, read.streams[1].weight) = (true, 0.2)
        #expect(running(read, .init(weight: 3, critical: true), 0.5) == ["", "fp32/cpu/2"])
        read.streams[1].statesCritical = true
        #expect(running(read, .init(weight: 3), 1.5) == ["fp32/cpu/1", "fp32/cpu/2"])
        #expect(running(read, .init(weight: 3, critical: true), 0.5) == ["fp32/cpu/2", ""])
    }

    @Test("Random days: goals met, floors and critical streams kept, near the optimum")
    func randomDays() {
        var ratios: [Double] = []
        var missed: [UInt64] = []
        for seed in UInt64(300)..<336 {
            let scenario = RandomScenario.make(seed: seed)
            let outcome = ScenarioReplay(scenario).run()
            #expect(outcome.floorViolation == 0, "seed \(seed)")
            #expect(outcome.criticalPaused == 0, "seed \(seed)")
            #expect(outcome.switchesPerStreamHour < 6, "seed \(seed)")
            guard let optimum = Oracle(scenario).utility else {
                #expect(outcome.notices.contains { $0.time == 0 || $0.text.contains("cannot be met") }, "seed \(seed): said nothing")
                continue
            }
            guard optimum > 0.4 else { continue }
            ratios.append(outcome.utility / optimum)
            if !outcome.goalMet { missed.append(seed) }
        }
        let mean = ratios.reduce(0, +) / Double(ratios.count)
        #expect(mean > 0.96, "mean ratio \(mean)")
        #expect(missed.count <= 1, "missed \(missed)")
    }

    @Test("A hopeless budget is said at once, and critical streams live longest")
    func hopeless() {
        var scenario = RandomScenario.make(seed: 0)
        scenario.battery.capacity = scenario.battery.capacity * 0.5
        #expect(Oracle(scenario).utility == nil)
        let outcome = ScenarioReplay(scenario).run()
        #expect(outcome.notices.first?.time ?? .infinity < 120)
        #expect(outcome.notices.first?.text.contains("cannot be met") == true)
        #expect(outcome.criticalPaused == 0)
        #expect(outcome.paused > 0)
        let cheapest = ScenarioReplay(scenario, controller: .baseline(.bestStatic)).run()
        #expect(outcome.diedAt ?? .infinity > cheapest.diedAt ?? .infinity)
    }
}
