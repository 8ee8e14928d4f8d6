import JouledTestKit
import Testing
import Units

@testable import Planner

@Suite("Planner")
struct PlannerTests {
    @Test("Ordinals of cadences", arguments: [(1, ""), (2, "2nd"), (3, "3rd"), (4, "4th"), (11, "11th"), (12, "12th"), (13, "13th"), (21, "21st"), (22, "22nd"), (23, "23rd"), (111, "111th"), (122, "122nd")])
    func ordinals(cadence: Int, expected: String) {
        let option = PlanOption(variant: "int8", unit: "cpu", cadence: cadence, quality: 1, variantQuality: 1, power: Watts(1), utilization: 0, latencyP99: .zero)
        #expect(option.words == "int8 on cpu\(cadence == 1 ? "" : ", every \(expected) window"), 1 per wake-up")
    }

    @Test("The optimum of brute force, in 7,000 random cases", arguments: 0..<70)
    func bruteForce(block: Int) {
        var kinds: [PlanConstraint: Int] = [:]
        for seed in block * 100 + 1...block * 100 + 100 {
            let (demands, limits) = randomCase(seed)
            let brute = BruteForce(demands: demands, limits: limits)
            let expected = brute.best()
            let plan = Planner.plan(demands, limits: limits)
            kinds[plan.bindingConstraint, default: 0] += 1
            let objective = plan.utility - plan.switchPenalty - limits.energyPrice * plan.totalPower.value
            #expect(plan.regretBound == 0, "seed \(seed)")
            #expect(plan.isOverBudget == expected.isOverBudget, "seed \(seed)")
            if expected.isOverBudget {
                #expect(abs(plan.totalPower.value - expected.power) < 1e-6, "seed \(seed)")
            } else {
                #expect(abs(objective - expected.objective) < 2e-7, "seed \(seed): \(objective), brute force \(expected.objective)")
                #expect(plan.totalPower.value <= expected.power + 1e-6, "seed \(seed): among equals the cheaper")
            }
            let running = zip(demands, plan.assignments).count { $0.critical && $1.option != nil }
            #expect(running == expected.critical, "seed \(seed): critical streams")
            check(plan, demands, limits, seed)
        }
        // Cases in which nothing binds prove little.
        #expect(kinds[.none, default: 0] < 60, "\(kinds)")
        #expect(kinds[.power, default: 0] > 20, "\(kinds)")
    }

    @Test("Gates: the optimum of brute force, in 3,000 random cases", arguments: 0..<30)
    func gates(block: Int) {
        var saved = 0
        for seed in block * 100 + 1...block * 100 + 100 {
            // Fewer leaves: gates make the optimum, not the number of options, hard.
            var (demands, limits) = randomCase(seed + 500_000, leaves: 800, gates: true)
            // Over budget the planner saves critical streams as they are; that is tested without gates.
            for index in demands.indices { demands[index].critical = false }
            let expected = BruteForce(demands: demands, limits: limits).best()
            let plan = Planner.plan(demands, limits: limits)
            #expect(plan.regretBound == 0, "seed \(seed)")
            let objective = plan.utility - plan.switchPenalty - limits.energyPrice * plan.totalPower.value
            #expect(abs(objective - expected.objective) < 2e-7, "seed \(seed): \(objective), brute force \(expected.objective)")
            #expect(plan.totalPower.value <= (limits.budget?.value ?? .infinity) + 1e-9, "seed \(seed)")
            for index in demands.indices { demands[index].gate = nil }
            let without = Planner.plan(demands, limits: limits)
            #expect(objective >= without.utility - without.switchPenalty - limits.energyPrice * without.totalPower.value - 2e-7, "seed \(seed): a gate made things worse")
            if objective > without.utility - without.switchPenalty - limits.energyPrice * without.totalPower.value + 1e-6 { saved += 1 }
        }
        #expect(saved > 5, "gates hardly mattered")
    }

    /// Everything a plan says about itself, checked from the plan.
    private func check(_ plan: Plan, _ demands: [StreamDemand], _ limits: PlanLimits, _ seed: Int) {
        var power = 0.0
        var utility = 0.0
        var net = 0.0
        let brute = BruteForce(demands: demands, limits: limits)
        for (demand, assignment) in zip(demands, plan.assignments) {
            #expect(assignment.stream == demand.id, "seed \(seed)")
            #expect(assignment.reason.hasPrefix("paused") == (assignment.option == nil), "seed \(seed)")
            net += brute.worth(demand, assignment.option)
            if let option = assignment.option {
                #expect(brute.eligible(demand).contains(option), "seed \(seed)")
                power += option.power.value
                utility += demand.weight * option.quality
            }
            if let runnerUp = assignment.runnerUp {
                #expect(brute.eligible(demand).contains(runnerUp.option), "seed \(seed)")
                if !plan.isOverBudget { #expect(runnerUp.utilityDifference - runnerUp.changeCost < 2e-7, "seed \(seed): the runner-up is better") }
                #expect(
                    abs(runnerUp.powerDifference.value - runnerUp.option.power.value + (assignment.option?.power.value ?? 0)) < 1e-9,
                    "seed \(seed)")
            }
        }
        #expect(abs(plan.totalPower.value - power) < 1e-9, "seed \(seed)")
        #expect(abs(plan.utility - utility) < 1e-9, "seed \(seed)")
        #expect(abs(plan.utility - plan.switchPenalty - net) < 1e-9, "seed \(seed)")
        if let budget = limits.budget, !plan.isOverBudget { #expect(power <= budget.value + 1e-9, "seed \(seed)") }
    }

    @Test("The plan does not depend on the order of demands or options", arguments: 1...100)
    func order(seed: Int) {
        let (demands, limits) = randomCase(seed)
        var random = SeededGenerator(seed: UInt64(seed + 1_000_000))
        var shuffled = demands.shuffled(using: &random)
        for index in shuffled.indices { shuffled[index].options.shuffle(using: &random) }
        let plan = Planner.plan(demands, limits: limits)
        let again = Planner.plan(shuffled, limits: limits)
        for assignment in plan.assignments {
            #expect(again.assignments.first { $0.stream == assignment.stream }?.option == assignment.option, "seed \(seed)")
        }
    }

    @Test("More budget never lowers the utility, and a watt is worth nothing once nothing binds", arguments: 1...100)
    func monotone(seed: Int) {
        var (demands, limits) = randomCase(seed)
        for index in demands.indices { demands[index].critical = false }
        var last = -Double.infinity
        for step in 0...20 {
            limits.budget = Watts(Double(step) * 0.2)
            let plan = Planner.plan(demands, limits: limits)
            let objective = plan.utility - plan.switchPenalty - limits.energyPrice * plan.totalPower.value
            #expect(objective >= last - 2e-7, "seed \(seed)")
            #expect(plan.marginalUtilityPerWatt >= 0, "seed \(seed)")
            if plan.bindingConstraint == .none { #expect(plan.marginalUtilityPerWatt == 0, "seed \(seed)") }
            last = objective
        }
    }

    @Test("Cut off early, the plan still holds the limits and the bound covers the regret", arguments: 1...200)
    func cutOff(seed: Int) {
        var (demands, limits) = randomCase(seed, streams: 4...8, options: 4...12, leaves: .max)
        for index in demands.indices { demands[index].critical = false }
        let exact = Planner.plan(demands, limits: limits)
        limits.nodeLimit = 3
        let cut = Planner.plan(demands, limits: limits)
        func net(_ plan: Plan) -> Double { plan.utility - plan.switchPenalty - limits.energyPrice * plan.totalPower.value }
        let regret = net(exact) - net(cut)
        #expect(regret <= cut.regretBound + 2e-7, "seed \(seed)")
        check(exact, demands, limits, seed)
        #expect(cut.totalPower.value <= (limits.budget?.value ?? .infinity) + 1e-9)
    }

    private func option(
        _ variant: String, quality: Double, watts: Double, unit: String = "cpu", cadence: Int = 1, time: Double = 0.1,
        latency: Double = 0.01, bytes: Int = 10
    ) -> PlanOption {
        PlanOption(
            variant: variant, unit: unit, cadence: cadence, quality: quality, variantQuality: quality, power: Watts(watts),
            utilization: time, latencyP99: Seconds(latency), residentBytes: bytes, loadEnergy: Joules(2))
    }

    @Test("Falling budget: cheaper variants, then pauses by worth, critical last and over budget")
    func degrade() {
        let options = [option("fp32", quality: 1, watts: 1), option("int8", quality: 0.9, watts: 0.3)]
        let demands = [
            StreamDemand(id: 1, name: "vad", model: "vad", weight: 1, options: options),
            StreamDemand(id: 2, name: "ecg", model: "ecg", weight: 2, options: options),
            StreamDemand(id: 3, name: "alarm", model: "alarm", weight: 0.5, critical: true, options: options),
        ]
        func plan(_ watts: Double?) -> Plan { Planner.plan(demands, limits: PlanLimits(budget: watts.map { Watts($0) })) }
        func names(_ watts: Double?) -> [String] { plan(watts).assignments.map { $0.option?.variant ?? "-" } }
        #expect(names(nil) == ["fp32", "fp32", "fp32"])
        #expect(plan(nil).bindingConstraint == .none)
        #expect(names(1.7) == ["int8", "fp32", "int8"])
        #expect(plan(1.7).bindingConstraint == .power)
        // The watt that is missing would take the first stream from int8 to fp32: 0.1 for 0.7 W.
        #expect(abs(plan(1.7).marginalUtilityPerWatt - 0.1 / 0.7) < 1e-4)
        #expect(plan(nil).marginalUtilityPerWatt == 0)
        #expect(names(0.9) == ["int8", "int8", "int8"])
        #expect(names(0.6) == ["-", "int8", "int8"])
        #expect(names(0.3) == ["-", "-", "int8"])
        let broke = plan(0.1)
        #expect(broke.assignments.map { $0.option?.variant ?? "-" } == ["-", "-", "int8"])
        #expect(broke.isOverBudget)
        #expect(broke.assignments[2].reason == "critical: runs int8 on cpu, 1 per wake-up (quality 0.900), its least power, although the budget is exceeded")
        #expect(broke.assignments[0].reason == "paused: critical streams alone take 300 mW, more than the budget")
        #expect(plan(1.7).assignments[0].reason == "quality 0.900; fp32 on cpu, 1 per wake-up (1.000) needs 600 mW more than the budget has left")
        #expect(plan(0.6).assignments[0].reason == "paused: streams worth more leave too little; its nearest option, int8 on cpu, 1 per wake-up, needs 300 mW more than the budget has left")
        #expect(plan(nil).loadEnergy == Joules(6))
    }

    @Test("A variant's memory counts once however many streams share it")
    func sharedMemory() {
        let options = [option("a", quality: 0.8, watts: 0.1, bytes: 100), option("b", quality: 1, watts: 0.1, bytes: 101)]
        let demands = (1...4).map { StreamDemand(id: $0, name: "s", model: "m", options: options) }
        func utility(_ bytes: Int) -> Plan { Planner.plan(demands, limits: PlanLimits(budget: nil, residentBytes: bytes)) }
        #expect(abs(utility(101).utility - 4) < 1e-9)
        #expect(abs(utility(100).utility - 3.2) < 1e-9)
        #expect(utility(100).bindingConstraint == .memory)
        #expect(utility(99).utility == 0)
        #expect(utility(101).loadEnergy == Joules(2))
    }

    @Test("Reasons and constraints name what stands in the way")
    func reasons() {
        let fast = option("fast", quality: 0.7, watts: 0.1, time: 0.2)
        let late = option("slow", quality: 1, watts: 0.1, time: 0.2, latency: 5)
        var demand = StreamDemand(id: 1, name: "s", model: "m", latencyTolerance: Seconds(1), options: [fast, late])
        func plan(_ limits: PlanLimits = PlanLimits(budget: nil)) -> Plan { Planner.plan([demand], limits: limits) }
        #expect(plan().bindingConstraint == .latency)
        #expect(plan().assignments[0].reason == "quality 0.700; slow on cpu, 1 per wake-up (1.000) would be late: 5.00 s at p99, allowed 1.00 s")
        demand.floor = 0.8
        #expect(plan().assignments[0].reason == "paused: every option at or above its floor is later than 1.00 s at p99")
        demand.options = [fast]
        #expect(plan().bindingConstraint == .floor)
        #expect(plan().assignments[0].reason == "paused: no variant reaches its floor of 0.800")
        demand.floor = 0
        #expect(plan(PlanLimits(budget: nil, unitUtilization: ["cpu": 0.1])).bindingConstraint == .utilization("cpu"))
        demand.options = []
        #expect(plan().assignments[0].reason == "paused: the model has no option on this device")
        demand.options = [fast, option("nan", quality: .nan, watts: 0.1), option("free", quality: 1, watts: -1)]
        #expect(plan().assignments[0].option?.variant == "fast")
        #expect(Planner.plan([], limits: PlanLimits(budget: .zero)).assignments.isEmpty)
    }

    @Test("The best that a stream can have is only what no other option beats; what is priced out is told with what it takes")
    func pricedOut() throws {
        let (cheap, dear) = (option("int8", quality: 0.9, watts: 0.3), option("fp32", quality: 0.95, watts: 0.4))
        var demand = StreamDemand(id: 1, name: "s", model: "m", weight: 2, options: [cheap, dear])
        var plan = self.plan([demand], price: 3)
        #expect(plan.assignments[0].option == cheap)
        #expect(plan.bindingConstraint == .price)
        #expect(plan.assignments[0].reason == "quality 0.900; fp32 on cpu, 1 per wake-up (0.950) takes 100 mW more, energy that buys 3.0 times as much later")
        let other = try #require(plan.assignments[0].runnerUp)
        #expect(other.option == dear && abs(other.utilityDifference - (2 * 0.05 - 3 * 0.1)) < 1e-12 && other.dwell == nil && other.changeCost == 0)
        plan = self.plan([demand], price: 0.9)
        #expect(plan.assignments[0].option == dear && plan.bindingConstraint == .none)
        #expect(plan.assignments[0].reason == "quality 0.950, the best it can have")
        // Just not worth it.
        #expect(self.plan([demand], price: 1.001).assignments[0].reason.hasSuffix("takes 100 mW more, energy that buys as much later"))
        demand.options = [dear]
        #expect(self.plan([demand], price: 10).assignments[0].reason == "paused: fp32 on cpu, 1 per wake-up takes 400 mW, energy that buys 2.1 times as much later")
    }

    private func plan(_ demands: [StreamDemand], price: Double) -> Plan {
        Planner.plan(demands, limits: PlanLimits(budget: Watts(1), energyPrice: price))
    }

    @Test("Whatever else a plan does, it calls only that the best which nothing beats, and no reason says what does not hold", arguments: 1...300)
    func honestReasons(seed: Int) {
        var (demands, limits) = randomCase(seed)
        var random = SeededGenerator(seed: UInt64(seed))
        if Bool.random(using: &random) { limits.energyPrice = Double.random(in: 0...5, using: &random) }
        for index in demands.indices { demands[index].weight = 1 }
        let plan = Planner.plan(demands, limits: limits)
        for (demand, assignment) in zip(demands, plan.assignments) where !plan.isOverBudget {
            guard let option = assignment.option else { continue }
            let better = demand.options.filter { $0.quality > option.quality + 1e-9 }
            #expect(assignment.reason.contains("the best it can have") == better.isEmpty, "seed \(seed): \(assignment.reason)")
            if assignment.reason.contains("may change again") {
                #expect(demand.secondsSinceSwitch < limits.minimumDwell, "seed \(seed)")
                #expect(better.contains { !$0.sameArtefact(as: demand.current ?? $0) && assignment.reason.contains($0.words) }, "seed \(seed): \(assignment.reason)")
            }
            if assignment.reason.contains("later"), !assignment.reason.contains("would be late") { #expect(limits.energyPrice > 0, "seed \(seed)") }
        }
    }

    @Test("The dwell is told where it forbids, not of a change of pace, and is in no utility")
    func dwelling() throws {
        let current = option("int8", quality: 0.9, watts: 0.3)
        let dear = option("fp32", quality: 0.95, watts: 0.3)
        let faster = option("int8", quality: 0.901, watts: 0.3, cadence: 2)
        var demand = StreamDemand(id: 1, name: "s", model: "m", options: [current, dear], current: current, secondsSinceSwitch: Seconds(5))
        let limits = PlanLimits(budget: Watts(1), switchCost: 0.002, retimeCost: 0.01, minimumDwell: Seconds(600))
        let waiting = try #require(Planner.plan([demand], limits: limits).assignments.first)
        #expect(waiting.reason == "quality 0.900; fp32 on cpu, 1 per wake-up (0.950) has to wait: it changed only 5.00 s ago and may change again in 9m55s", "\(waiting.reason)")
        #expect(abs((waiting.runnerUp?.utilityDifference ?? 0) - 0.05) < 1e-12)
        #expect(waiting.runnerUp?.dwell == Seconds(595))
        demand.options = [current, faster]
        let paced = try #require(Planner.plan([demand], limits: limits).assignments.first)
        #expect(paced.reason == "quality 0.900; int8 on cpu, every 2nd window, 1 per wake-up (0.901) gains less than a change must", "\(paced.reason)")
        #expect(paced.runnerUp?.dwell == nil)
    }

    @Test("A change must be worth its cost, and none comes within the dwell unless others need it")
    func switching() {
        let cheap = option("int8", quality: 0.9, watts: 0.3)
        let dear = option("fp32", quality: 0.95, watts: 0.4)
        var demand = StreamDemand(id: 1, name: "s", model: "m", options: [cheap, dear], current: cheap)
        func chosen(_ limits: PlanLimits) -> String? { Planner.plan([demand], limits: limits).assignments[0].option?.variant }
        #expect(chosen(PlanLimits(budget: nil, switchCost: 0.04)) == "fp32")
        #expect(chosen(PlanLimits(budget: nil, switchCost: 0.06)) == "int8")
        demand.secondsSinceSwitch = Seconds(5)
        #expect(chosen(PlanLimits(budget: nil, switchCost: 0.04, minimumDwell: Seconds(10))) == "int8")
        #expect(chosen(PlanLimits(budget: nil, switchCost: 0.04, minimumDwell: Seconds(4))) == "fp32")
        demand.current = dear
        #expect(chosen(PlanLimits(budget: Watts(0.3), minimumDwell: Seconds(10))) == "int8", "a limit is a limit")
        // Estimates move; the same choice with other figures is no change.
        demand.current = option("int8", quality: 0.91, watts: 0.29)
        #expect(Planner.plan([demand], limits: PlanLimits(budget: Watts(0.35), switchCost: 0.1)).switchPenalty == 0)
    }
}

@Suite("Memory search")
struct MemorySearchTests {
    @Test("Branching on artefacts finds what the plain search finds", arguments: 1...150)
    func agrees(seed: Int) {
        var (demands, limits) = randomCase(seed, streams: 2...6, options: 3...10, leaves: .max)
        var random = SeededGenerator(seed: UInt64(seed))
        limits.residentBytes = Int.random(in: 20...200, using: &random)
        demands.sort { $0.id < $1.id }
        let prepared = Prepared(demands, limits)
        let problem = prepared.problem(include: Array(demands.indices), budget: limits.budget?.value ?? .infinity) { stream, option in
            option < 0 ? prepared.pauseWorth[stream] : prepared.worth[stream][option]
        }
        var solver = Solver(problem, nodeLimit: .max)
        solver.solve()
        // From a poor start, so that it has everything to find by itself.
        let paused = demands.indices.map { stream in
            (problem.starts[stream]..<problem.starts[stream + 1]).first { problem.source[$0] == -1 } ?? 0
        }
        var search = MemorySearch(problem, nodeLimit: .max, best: paused, bestValue: paused.reduce(0) { $0 + problem.value[$1] })
        search.solve()
        #expect(search.isProven && solver.isProven, "seed \(seed)")
        #expect(abs(search.bestValue - solver.bestValue) < 1e-12, "seed \(seed): \(search.bestValue), plain \(solver.bestValue)")
        #expect(Use(problem, search.best).fits(problem), "seed \(seed)")
        #expect(abs(search.best.reduce(0) { $0 + problem.value[$1] } - search.bestValue) < 1e-12, "seed \(seed)")
    }
}
