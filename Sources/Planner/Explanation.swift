import Units

/// Puts a choice into figures and words: what binds, the runners-up, and a reason for each stream.
struct Explanation {
    private let prepared: Prepared
    private let outcome: Planner.Outcome
    private var totalPower = 0.0
    private var unitUse: [Double]
    private var users: [Int]
    /// Bytes, as a double: sums of those cannot overflow.
    private var memory = 0.0

    init(_ prepared: Prepared, _ outcome: Planner.Outcome) {
        self.prepared = prepared
        self.outcome = outcome
        unitUse = [Double](repeating: 0, count: prepared.units.names.count)
        users = [Int](repeating: 0, count: prepared.artefacts.names.count)
        for (stream, option) in outcome.choice.enumerated() where option >= 0 {
            totalPower += prepared.demands[stream].options[option].power.value
            unitUse[prepared.unitOf[stream][option]] += prepared.demands[stream].options[option].utilization
            let artefact = prepared.artefactOf[stream][option]
            if users[artefact] == 0 { memory += Double(prepared.artefactBytes[artefact]) }
            users[artefact] += 1
        }
    }

    /// The power limit as it applies to changes: over budget, nothing may take more than it does.
    private var powerCap: Double {
        let budget = prepared.limits.budget.map { max(0, $0.value) } ?? .infinity
        return outcome.isOverBudget ? totalPower : budget
    }

    private func worth(_ stream: Int, _ option: Int) -> Double {
        option < 0 ? prepared.pauseWorth[stream] : prepared.worth[stream][option]
    }
    private func power(_ stream: Int, _ option: Int) -> Double {
        option < 0 ? 0 : prepared.demands[stream].options[option].power.value
    }

    /// What the option earns once its energy is paid for, the cost of changing left out.
    private func merit(_ stream: Int, _ option: Int) -> Double {
        guard option >= 0 else { return 0 }
        let demand = prepared.demands[stream]
        return demand.weight * demand.options[option].quality - prepared.limits.energyPrice * power(stream, option)
    }
    /// What changing to the option costs more than changing to the choice, as utility.
    private func cost(_ stream: Int, _ option: Int) -> Double {
        let chosen = outcome.choice[stream]
        let cost = merit(stream, option) - worth(stream, option) - (merit(stream, chosen) - worth(stream, chosen))
        return abs(cost) > 1e-9 * prepared.demands[stream].weight ? cost : 0
    }
    /// Whether the better option's energy, its loading included, costs more than what it gains beyond what a change must; as `Upgrades` has it.
    private func isPricedOut(_ stream: Int, _ better: Int) -> Bool {
        let (demand, chosen) = (prepared.demands[stream], outcome.choice[stream])
        var settled = demand
        settled.secondsSinceSwitch = Seconds(.infinity)
        func penalty(_ option: Int, _ demand: StreamDemand) -> Double {
            demand.weight * Prepared.penalty(option < 0 ? nil : demand.options[option], demand, prepared.limits)
        }
        // What only the dwell adds is no price.
        func net(_ option: Int) -> Double { worth(stream, option) + penalty(option, demand) - penalty(option, settled) }
        let least = penalty(better, settled) - penalty(chosen, settled)
        let gain = demand.weight * (demand.options[better].quality - (chosen < 0 ? 0 : demand.options[chosen].quality))
        return net(better) + (gain > least ? 0 : least) <= net(chosen)
    }
    /// How long the dwell still forbids a stream to change to the option; nil: not at all, as a change of pace, or not more than the choice.
    private func dwell(_ stream: Int, _ option: Int) -> Seconds? {
        let (demand, chosen) = (prepared.demands[stream], outcome.choice[stream])
        let left = prepared.limits.minimumDwell - demand.secondsSinceSwitch
        func penalty(_ option: Int) -> Double { Prepared.penalty(option < 0 ? nil : demand.options[option], demand, prepared.limits) }
        return left.value > 0 && penalty(option) >= penalty(chosen) + 0.5 ? left : nil
    }

    /// What stands against `stream` running `option` while the others keep their choices, with how
    /// much is missing relative to the limit; nil when it fits.
    private func obstacle(_ stream: Int, _ option: Int) -> (constraint: PlanConstraint, missing: Double, share: Double)? {
        let chosen = outcome.choice[stream]
        var worst: (constraint: PlanConstraint, missing: Double, share: Double)?
        func consider(_ constraint: PlanConstraint, _ use: Double, _ cap: Double) {
            guard use > Problem.slack(cap) else { return }
            let share = cap > 0 ? (use - cap) / cap : .infinity
            if share > worst?.share ?? -1 { worst = (constraint, use - cap, share) }
        }
        consider(.power, totalPower - power(stream, chosen) + power(stream, option), powerCap)
        let unit = prepared.unitOf[stream][option]
        var time = unitUse[unit] + prepared.demands[stream].options[option].utilization
        if chosen >= 0, prepared.unitOf[stream][chosen] == unit {
            time -= prepared.demands[stream].options[chosen].utilization
        }
        consider(.utilization(prepared.units.names[unit]), time, prepared.unitCap(unit))
        if let cap = prepared.limits.residentBytes {
            let artefact = prepared.artefactOf[stream][option]
            var bytes = memory
            if chosen >= 0, users[prepared.artefactOf[stream][chosen]] == 1 {
                bytes -= Double(prepared.artefactBytes[prepared.artefactOf[stream][chosen]])
            }
            let remaining = users[artefact] - (chosen >= 0 && prepared.artefactOf[stream][chosen] == artefact ? 1 : 0)
            if remaining == 0 { bytes += Double(prepared.artefactBytes[artefact]) }
            consider(.memory, bytes, Double(cap))
        }
        return worst
    }

    /// The option of greatest worth, and among equals of least power, that would be better than the choice but does
    /// not fit: what is said to be missing is what is missing at least.
    private func blockedUpgrade(_ stream: Int) -> Int? {
        prepared.demands[stream].options.indices
            .filter {
                prepared.exclusion[stream][$0] == nil && worth(stream, $0) > worth(stream, outcome.choice[stream]) + 1e-9
                    && obstacle(stream, $0) != nil
            }
            .max { (worth(stream, $0), -power(stream, $0)) < (worth(stream, $1), -power(stream, $1)) }
    }

    // MARK: - The plan

    func plan(price: Double) -> Plan {
        var plan = Plan(
            assignments: [], totalPower: Watts(totalPower), utility: 0, switchPenalty: 0, loadEnergy: .zero,
            bindingConstraint: .none, marginalUtilityPerWatt: 0, isOverBudget: outcome.isOverBudget,
            regretBound: outcome.regretBound, nodes: outcome.nodes)
        var steepest = 0.0
        for (stream, demand) in prepared.demands.enumerated() {
            let chosen = outcome.choice[stream]
            if chosen >= 0 { plan.utility += demand.weight * demand.options[chosen].quality }
            plan.switchPenalty += merit(stream, chosen) - worth(stream, chosen)
            for option in demand.options.indices where prepared.exclusion[stream][option] == nil {
                let more = power(stream, option) - power(stream, chosen)
                if more > 0 { steepest = max(steepest, (worth(stream, option) - worth(stream, chosen)) / more) }
            }
            plan.assignments.append(
                Plan.Assignment(
                    stream: demand.id, option: chosen >= 0 ? demand.options[chosen] : nil, reason: reason(stream),
                    runnerUp: runnerUp(stream)))
        }
        plan.loadEnergy = loadEnergy()
        plan.bindingConstraint = bindingConstraint()
        // The solver's price also weighs critical streams' places; a watt buys no more than its best use.
        plan.marginalUtilityPerWatt = min(price, steepest)
        return plan
    }

    private func loadEnergy() -> Joules {
        var loaded = prepared.resident
        var energy = Joules.zero
        for (stream, option) in outcome.choice.enumerated() where option >= 0 {
            if loaded.insert(prepared.artefactOf[stream][option]).inserted {
                energy = energy + prepared.demands[stream].options[option].loadEnergy
            }
        }
        return energy
    }

    private func runnerUp(_ stream: Int) -> Plan.RunnerUp? {
        let chosen = outcome.choice[stream]
        let others = prepared.demands[stream].options.indices.filter {
            $0 != chosen && prepared.exclusion[stream][$0] == nil && obstacle(stream, $0) == nil
        }
        return best(stream, others).map {
            Plan.RunnerUp(
                option: prepared.demands[stream].options[$0],
                utilityDifference: merit(stream, $0) - merit(stream, chosen), changeCost: cost(stream, $0), dwell: dwell(stream, $0),
                powerDifference: Watts(power(stream, $0) - power(stream, chosen)))
        }
    }

    /// The option that earns most, and among equals takes least.
    private func best(_ stream: Int, _ options: [Int]) -> Int? {
        options.max { (merit(stream, $0), -power(stream, $0), -$0) < (merit(stream, $1), -power(stream, $1), -$1) }
    }

    /// What the most valuable single change that does not fit runs into; without one, what keeps
    /// better options of a stream out altogether.
    private func bindingConstraint() -> PlanConstraint {
        if outcome.isOverBudget { return .power }
        var gain = 0.0
        var binding: PlanConstraint?
        var aside: PlanConstraint?
        var isPricedOut = false
        for stream in prepared.demands.indices {
            let chosen = outcome.choice[stream]
            if let option = blockedUpgrade(stream), worth(stream, option) - worth(stream, chosen) > gain,
                let obstacle = obstacle(stream, option)
            {
                gain = worth(stream, option) - worth(stream, chosen)
                binding = obstacle.constraint
            }
            if let option = betterOption(stream), self.isPricedOut(stream, option) { isPricedOut = true }
            for option in prepared.demands[stream].options.indices where aside == nil {
                guard let exclusion = prepared.exclusion[stream][option] else { continue }
                let better = prepared.worth[stream][option] > worth(stream, chosen) + 1e-9
                guard better else { continue }
                switch exclusion {
                case .latency: aside = .latency
                case .floor: aside = chosen < 0 ? .floor : nil
                case .utilization: aside = .utilization(prepared.demands[stream].options[option].unit)
                case .memory: aside = .memory
                case .invalid, .gate: break
                }
            }
        }
        return binding ?? (isPricedOut ? .price : aside) ?? .none
    }

    // MARK: - Words

    /// The option and its quality.
    private func words(_ option: PlanOption) -> String { "\(option.words) (\(decimal(option.quality, places: 3)))" }

    private func shortfall(_ stream: Int, _ option: Int) -> String {
        guard let obstacle = obstacle(stream, option) else { return "fits" }
        switch obstacle.constraint {
        case .utilization(let unit): return "needs \(percent(obstacle.missing, places: 1)) more of \(unit)'s time than is free"
        case .memory: return "needs \(scaled(obstacle.missing, "B")) more memory than is free"
        default: return "needs \(Watts(obstacle.missing)) more than the budget has left"
        }
    }

    private func reason(_ stream: Int) -> String {
        let demand = prepared.demands[stream]
        let chosen = outcome.choice[stream]
        return chosen < 0 ? pauseReason(stream, demand) : runReason(stream, demand, chosen)
    }

    private func runReason(_ stream: Int, _ demand: StreamDemand, _ chosen: Int) -> String {
        let option = demand.options[chosen]
        let quality = "quality \(decimal(option.quality, places: 3))"
        if outcome.isOverBudget {
            return "critical: runs \(option.words) (\(quality)), its least power, although the budget is exceeded"
        }
        if let better = betterOption(stream) { return "\(quality); \(against(stream, demand, better, chosen))" }
        // What could not run even alone.
        let excluded = demand.options.indices.filter { prepared.exclusion[stream][$0] != nil && demand.options[$0].quality > option.quality + 1e-9 }
        if let best = excluded.max(by: { demand.options[$0].quality < demand.options[$1].quality }), let why = against(stream, demand, excluded: best) {
            return "\(quality); \(words(demand.options[best])) \(why)"
        }
        return "\(quality), the best it can have"
    }

    /// Of the options that could run and are better than the choice, the one that earns most.
    private func betterOption(_ stream: Int) -> Int? {
        let quality = outcome.choice[stream] >= 0 ? prepared.demands[stream].options[outcome.choice[stream]].quality : -.infinity
        return best(
            stream,
            prepared.demands[stream].options.indices.filter {
                prepared.exclusion[stream][$0] == nil && prepared.demands[stream].options[$0].quality > quality + 1e-9
            })
    }

    /// Why a stream does not run `better`, which it could.
    private func against(_ stream: Int, _ demand: StreamDemand, _ better: Int, _ chosen: Int) -> String {
        let words = words(demand.options[better])
        if isPricedOut(stream, better) {
            let more = power(stream, better) - power(stream, chosen)
            let gain = demand.weight * (demand.options[better].quality - demand.options[chosen].quality)
            return "\(words) takes \(Watts(more)) more, \(elsewhere(prepared.limits.energyPrice * more / gain))"
        }
        if obstacle(stream, better) != nil { return "\(words) \(shortfall(stream, better))" }
        if let left = dwell(stream, better) {
            return "\(words) has to wait: it changed only \(demand.secondsSinceSwitch) ago and may change again in \(left)"
        }
        if cost(stream, better) > 0 { return "\(words) gains less than a change must" }
        return "\(words) may follow: the search for the best plan was cut short"
    }

    /// What an option's energy does elsewhere, by how much more it earns there.
    private func elsewhere(_ times: Double) -> String {
        let much = times < 1.05 ? "as much" : "\(decimal(times, places: times < 10 ? 1 : 0)) times as much"
        return "energy that buys \(much) later"
    }

    /// Why an option is out of the question; nil where its figures are no use or a gate is better off asleep.
    private func against(_ stream: Int, _ demand: StreamDemand, excluded option: Int) -> String? {
        switch prepared.exclusion[stream][option] {
        case .latency: "would be late: \(demand.options[option].latencyP99) at p99, allowed \(demand.latencyTolerance)"
        case .utilization: "would take more of \(demand.options[option].unit)'s time than streams may"
        case .memory: "would take more memory than streams may"
        case .floor: "is below its floor of \(decimal(demand.floor, places: 3))"
        case .invalid, .gate, nil: nil
        }
    }

    private func pauseReason(_ stream: Int, _ demand: StreamDemand) -> String {
        guard !demand.options.isEmpty else { return "paused: the model has no option on this device" }
        let exclusions = prepared.exclusion[stream]
        let eligible = demand.options.indices.filter { exclusions[$0] == nil }
        guard let cheapest = eligible.min(by: { power(stream, $0) < power(stream, $1) }) else {
            if exclusions.allSatisfy({ $0 == .floor }) {
                return "paused: no variant reaches its floor of \(decimal(demand.floor, places: 3))"
            }
            if exclusions.contains(.gate) { return "paused: the streams behind it are better off without it" }
            if exclusions.contains(.latency) {
                return "paused: every option at or above its floor is later than \(demand.latencyTolerance) at p99"
            }
            if exclusions.contains(.utilization) { return "paused: no unit has the time for any option at or above its floor" }
            if exclusions.contains(.memory) { return "paused: no option at or above its floor fits into memory" }
            return "paused: its options have no usable figures"
        }
        if outcome.isOverBudget, !demand.critical {
            return "paused: critical streams alone take \(Watts(totalPower)), more than the budget"
        }
        let blocked = eligible.min { left, right in
            (obstacle(stream, left)?.share ?? 0) < (obstacle(stream, right)?.share ?? 0)
        }
        if let blocked, obstacle(stream, blocked) != nil {
            return "paused: streams worth more leave too little; its nearest option, \(demand.options[blocked].words), \(shortfall(stream, blocked))"
        }
        if demand.secondsSinceSwitch < prepared.limits.minimumDwell {
            let left = prepared.limits.minimumDwell - demand.secondsSinceSwitch
            return "paused: it changed only \(demand.secondsSinceSwitch) ago and may change again in \(left)"
        }
        let best = best(stream, eligible) ?? cheapest
        let (needed, earned) = (prepared.limits.energyPrice * power(stream, best), demand.weight * demand.options[best].quality)
        guard needed >= earned, earned > 0 else { return "paused: \(demand.options[cheapest].words) gains less than a change must" }
        return "paused: \(demand.options[best].words) takes \(Watts(power(stream, best))), \(elsewhere(needed / earned))"
    }
}
