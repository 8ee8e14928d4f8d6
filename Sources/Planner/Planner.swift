import Units

/// Decides for all streams together which option each runs, or that it pauses.
///
/// Exact: among all plans within the limits it finds one of greatest utility, net of switch
/// penalties; among equals one of least power; and always the same for the same input, in whatever
/// order the demands come. Pure: no clock, no I/O.
///
/// Critical streams come first: no plan that runs fewer of them is considered, whatever it would
/// gain, and where they alone take more than the budget, they run at their least power all the same.
public enum Planner {
    /// The best plan for `demands` within `limits`.
    ///
    /// Options with figures that are no numbers, below the floor or beyond the latency tolerance are
    /// never chosen.
    public static func plan(_ demands: [StreamDemand], limits: PlanLimits) -> Plan {
        let order = demands.indices.sorted { (demands[$0].id, $0) < (demands[$1].id, $1) }
        let (prepared, outcome) = best(order.map { demands[$0] }, limits)
        var plan = Explanation(prepared, outcome).plan(price: outcome.price)
        // Back in the caller's order.
        let canonical = plan.assignments
        for (position, index) in order.enumerated() { plan.assignments[index] = canonical[position] }
        return plan
    }

    /// The best choice over all fates of the gates: most critical streams, then within the budget, then most worth.
    private static func best(_ demands: [StreamDemand], _ limits: PlanLimits) -> (Prepared, Outcome) {
        let gates = Gates(demands)
        guard !gates.gates.isEmpty else {
            let prepared = Prepared(demands, limits)
            return (prepared, choose(prepared))
        }
        var best: (prepared: Prepared, outcome: Outcome)?
        var nodes = 0
        var regret = 0.0
        for fates in gates.fates(demands) {
            let prepared = Prepared(fates.demands, limits, asleep: fates.asleep)
            let outcome = choose(prepared, mustRun: fates.running)
            nodes += outcome.nodes
            regret = max(regret, outcome.regretBound)
            guard fates.running.allSatisfy({ outcome.choice[$0] >= 0 }) else { continue }
            guard let leader = best else {
                best = (prepared, outcome)
                continue
            }
            if outcome.isBetter(than: leader.outcome, prepared, leader.prepared) { best = (prepared, outcome) }
        }
        // With all gates asleep nothing must run, so there is always one.
        var (prepared, outcome) = best ?? (Prepared(demands, limits), Outcome(choice: demands.map { _ in -1 }))
        outcome.nodes = nodes
        outcome.regretBound = regret
        return (prepared, outcome)
    }

    /// A choice for every stream, by index in canonical order.
    struct Outcome {
        /// Index into the demand's options; -1 for a pause.
        var choice: [Int]
        var isOverBudget = false
        var price = 0.0
        var regretBound = 0.0
        var nodes = 0

        private func figures(_ prepared: Prepared) -> (critical: Int, worth: Double, power: Double) {
            var figures = (critical: 0, worth: 0.0, power: 0.0)
            for (stream, option) in choice.enumerated() {
                guard option >= 0 else {
                    figures.worth += prepared.pauseWorth[stream]
                    continue
                }
                figures.worth += prepared.worth[stream][option]
                figures.power += prepared.demands[stream].options[option].power.value
                if prepared.demands[stream].critical { figures.critical += 1 }
            }
            return figures
        }

        /// Whether it beats `other`, both being the best of their own problem over the same streams.
        func isBetter(than other: Outcome, _ prepared: Prepared, _ otherPrepared: Prepared) -> Bool {
            let (own, their) = (figures(prepared), other.figures(otherPrepared))
            if own.critical != their.critical { return own.critical > their.critical }
            if isOverBudget != other.isOverBudget { return !isOverBudget }
            if isOverBudget { return own.power < their.power }
            if abs(own.worth - their.worth) > 1e-9 { return own.worth > their.worth }
            return own.power < their.power
        }
    }

    /// - Parameter mustRun: gates (indices); the outcome pauses one only if it cannot run beside as many critical streams.
    private static func choose(_ prepared: Prepared, mustRun: Set<Int> = []) -> Outcome {
        let demands = prepared.demands
        let all = Array(demands.indices)
        let budget = prepared.limits.budget.map { max(0, $0.value) } ?? .infinity
        // One critical stream outweighs all utility there is.
        var bonus = 1.0
        var mostPower = 0.0
        for stream in all {
            var worth = prepared.pauseWorth[stream].magnitude
            var power = 0.0
            for option in demands[stream].options.indices where prepared.exclusion[stream][option] == nil {
                worth = max(worth, prepared.worth[stream][option].magnitude)
                power = max(power, demands[stream].options[option].power.value)
            }
            bonus += 2 * worth
            mostPower += power
        }
        // Between equal utilities the cheaper wins; the whole term stays below what any quality is told to, of the least weight too.
        let least = demands.lazy.map(\.weight).filter { $0 > 0 }.min() ?? 1
        let tie = mostPower > 0 ? 1e-7 * min(least, 1) / mostPower : 0
        let problem = prepared.problem(include: all, budget: budget) { stream, option in
            guard option >= 0 else { return prepared.pauseWorth[stream] }
            let own = prepared.worth[stream][option] - tie * demands[stream].options[option].power.value
            return own + (demands[stream].critical ? bonus : 0) + (mustRun.contains(stream) ? bonus : 0)
        }
        var outcome = solve(problem, nodeLimit: prepared.limits.nodeLimit)
        outcome.choice = outcome.choice.map { problem.source[$0] }

        // Did the budget cost a critical stream its place?
        let critical = all.filter { demands[$0].critical && prepared.exclusion[$0].contains(nil) }
        let running = critical.count { outcome.choice[$0] >= 0 }
        guard running < critical.count, budget.isFinite else { return outcome }
        let place = 1 + mostPower
        let cheapest = prepared.problem(include: critical, budget: .infinity) { stream, option in
            option >= 0 ? place - demands[stream].options[option].power.value : 0
        }
        let saved = solve(cheapest, nodeLimit: prepared.limits.nodeLimit)
        let choice = saved.choice.map { cheapest.source[$0] }
        guard choice.count(where: { $0 >= 0 }) > running else { return outcome }
        var forced = Outcome(choice: [Int](repeating: -1, count: demands.count), isOverBudget: true)
        for (position, stream) in critical.enumerated() { forced.choice[stream] = choice[position] }
        forced.nodes = outcome.nodes + saved.nodes
        forced.regretBound = saved.regretBound
        return forced
    }

    /// So many nodes the plain search may take before memory is branched on first.
    private static let plainNodes = 15_000

    /// Solves `problem`; the outcome's choice is in the problem's own option indices.
    private static func solve(_ problem: Problem, nodeLimit: Int) -> Outcome {
        let plain = problem.memoryCap.isFinite ? min(plainNodes, nodeLimit) : nodeLimit
        var solver = Solver(problem, nodeLimit: plain)
        solver.solve()
        var outcome = Outcome(choice: solver.best, price: solver.powerPrice, nodes: solver.nodes)
        guard !solver.isProven else { return outcome }
        guard problem.memoryCap.isFinite else {
            outcome.regretBound = max(0, solver.bound - solver.bestValue)
            return outcome
        }
        var search = MemorySearch(
            problem, nodeLimit: nodeLimit - solver.effort, best: solver.best, bestValue: solver.bestValue)
        search.solve()
        outcome.choice = search.best
        outcome.nodes += search.nodes
        outcome.regretBound = search.isProven ? 0 : max(0, min(search.openBound, solver.bound) - search.bestValue)
        return outcome
    }
}
