import EnergyModel
import Planner
import PowerPolicy
import Units

extension DecisionInputs {
    /// What follows from the inputs.
    public struct Outcome: Sendable {
        public var budget: Budget
        public var plan: Plan
        /// What the plan had to respect.
        public var limits: PlanLimits
        /// The power state with what the streams add to it.
        public var state: PowerState
        /// What the policy remembers from now on.
        public var memory: PolicyMemory
        /// Utility per joule where the search for it ended.
        public var price: Double
        /// By stream, what could be chosen from.
        public var options: [UInt64: [RunOption]]

        /// What a stream is to run; nil: it pauses.
        public func choice(of stream: UInt64) -> Choice? {
            plan.assignments.first { $0.stream == stream }?.option.map(Choice.init)
        }
    }

    /// Makes the decision. Pure: equal inputs give equal outcomes.
    public func derive() -> Outcome {
        let now = state.monotonic
        var options: [UInt64: [RunOption]] = [:]
        for stream in streams {
            let request = stream.request
            options[request.id] = RunOption.all(for: request, by: energy, latency: latency)
                .filter { !quarantined.contains("\(request.model)/\($0.plan.variant)") }
        }
        // Only weights' ratios matter, and figures around 1 keep tolerances the same whatever their scale is.
        let unit = streams.map { policy.rules(for: $0.request).weight }.filter { $0.isFinite && $0 > 0 }.max() ?? 1
        let demands = streams.map { demand($0, options[$0.request.id] ?? [], unit: unit, at: now) }
        var state = state
        var memory = memory
        state.least = least(options)
        state.most = most(options)
        var price = lastPrice
        let worth = state.outlook == nil ? nil : Worth(demands.map(\.expected), rest: state.rest, near: lastPrice / unit)
        if let worth, let left = policy.secondsLeft(at: now, wall: state.wall, utcOffset: state.utcOffset, memory: memory, nextCharge: state.nextCharge) {
            price = worth.price * unit
            (state.rungs, state.ordinary) = worth.rungs(lasting: streams.map { expectedLife($0, left, at: now) / max(left, Seconds(1)) })
        }
        let budget = policy.budget(for: state, memory: &memory)
        var planLimits = planLimits(budget)
        let running = runningPower
        if let watts = planLimits.budget, trigger == .tick, running > watts, running <= watts * (1 + DecisionEngine.tolerance) {
            planLimits.budget = running * (1 + 1e-9)
        }
        // Who comes must be made room for at once; who goes leaves room that can wait.
        if trigger != .tick, trigger != .streamClosed { planLimits.minimumDwell = min(planLimits.minimumDwell, Seconds(30)) }
        if let hopeless = budget.hopeless {
            planLimits.energyPrice = Self.price(worth?.price ?? 0, hopeless, hasCritical: demands.contains(where: \.critical))
        } else if let worth, budget.worth.isFinite {
            planLimits.energyPrice = worth.price * budget.worth * DecisionEngine.priceShare
        }
        planLimits.loadHorizon = min(Self.loadHorizon, max(planLimits.minimumDwell, budget.secondsLeft ?? Self.loadHorizon))
        let plan = Planner.plan(demands, limits: planLimits).valued(by: unit)
        planLimits.energyPrice *= unit
        return Outcome(budget: budget, plan: plan, limits: planLimits, state: state, memory: memory, price: price, options: options)
    }

    /// What runs before the decision, by the energy model.
    private var runningPower: Watts {
        streams.reduce(.zero) { sum, stream in
            guard let current = stream.current, let profile = stream.request.profile(of: current) else { return sum }
            let period = stream.request.hopTime * Double(current.cadence)
            let duty = stream.request.duty { gate in streams.contains { $0.request.id == gate && $0.current != nil } }
            return sum + profile.perWindow(coalescing: current.coalescing).energy / period * energy.scale(of: current.unit).factor * duty
        }
    }

    /// - Parameter unit: the weight that counts as 1.
    private func demand(_ stream: Stream, _ options: [RunOption], unit: Double, at now: MonotonicTime) -> StreamDemand {
        let rules = policy.rules(for: stream.request)
        return StreamDemand(
            id: stream.request.id, name: stream.request.name, model: stream.request.model, weight: rules.weight / unit,
            floor: rules.floor, critical: rules.critical, latencyTolerance: stream.request.latencyTolerance,
            options: options.map(\.plan), current: stream.current.map(PlanOption.init),
            secondsSinceSwitch: hasChanged(stream) ? now.since(stream.since) : Seconds(.infinity),
            gate: stream.request.gate.flatMap { gate in hasStream(gate.stream) ? .init(stream: gate.stream, duty: gate.duty) : nil })
    }

    /// One that has never run yet may start at any time: there is nothing that it could flap between.
    private func hasChanged(_ stream: Stream) -> Bool { stream.current != nil || (stream.isPlaced && stream.since > stream.openedAt) }

    private func hasStream(_ id: UInt64) -> Bool { streams.contains { $0.request.id == id } }

    /// What streams that must not pause need at least.
    private func least(_ options: [UInt64: [RunOption]]) -> Watts {
        var least = Watts.zero
        for stream in streams {
            let rules = policy.rules(for: stream.request)
            guard rules.critical else { continue }
            let cheapest = (options[stream.request.id] ?? []).filter { $0.plan.variantQuality >= rules.floor }.map(\.plan.power).min()
            least += (cheapest ?? .zero) * stream.request.duty(hasStream)
        }
        return least
    }

    /// What all streams take at their best, each by itself.
    private func most(_ options: [UInt64: [RunOption]]) -> Watts {
        var most = Watts.zero
        for stream in streams {
            let floor = policy.rules(for: stream.request).floor
            let best = (options[stream.request.id] ?? []).lazy.map(\.plan)
                .filter { $0.variantQuality >= floor && $0.latencyP99 <= stream.request.latencyTolerance }
                .max { ($0.quality, $1.power) < ($1.quality, $0.power) }
            most += (best?.power ?? .zero) * stream.request.duty(hasStream)
        }
        return most
    }

    private func planLimits(_ budget: Budget) -> PlanLimits {
        var units: [String: Double] = [:]
        for stream in streams {
            for variant in stream.request.variants {
                for profile in variant.profiles { units[profile.unit] = limits.unitUtilizations[profile.unit] ?? limits.unitUtilization }
            }
        }
        let isUnlimited = budget.watts == nil
        return PlanLimits(
            budget: budget.watts, unitUtilization: units, residentBytes: limits.residentBytes,
            switchCost: isUnlimited ? DecisionEngine.changeCostWithoutLimit : DecisionEngine.switchCost,
            retimeCost: isUnlimited ? DecisionEngine.changeCostWithoutLimit : DecisionEngine.retimeCost,
            minimumDwell: isUnlimited ? .zero : limits.dwell(for: policy), nodeLimit: PlanLimits.liveNodeLimit)
    }

    /// Streams change every two hours on average, and a variant mostly serves several.
    private static let loadHorizon = Seconds(7200)

    /// How much longer a stream is expected to run: to the goal's end if it was there from the beginning, else twice as
    /// long as it has been, because what came late mostly goes early.
    private func expectedLife(_ stream: Stream, _ left: Seconds, at now: MonotonicTime) -> Seconds {
        // Late is what came well after the policy, and after other streams that are still there.
        let first = streams.reduce(stream.openedAt) { min($0, $1.openedAt) }
        guard let started = memory.started, stream.openedAt.since(max(started, first)) > Seconds(900) else { return left }
        return min(left, max(Seconds(3600), now.since(stream.openedAt) * 2))
    }

    /// The price when the goal is lost: low at first, because something unforeseen may come and only then does the
    /// choice matter; what a joule earns on the whole when half is left. Where there are critical streams it goes on
    /// rising as the battery empties, so that the others pause in the order of what they are worth per watt and the
    /// critical ones live longest.
    private static func price(_ worth: Double, _ hopeless: Budget.Hopeless, hasCritical: Bool) -> Double {
        let scarcity = 0.5 / max(hopeless.left, 1e-3)
        let factor = scarcity * scarcity
        return worth * (hasCritical ? factor * max(1, scarcity) : min(1, factor))
    }
}

extension PlanOption {
    /// A choice whose figures nobody asks for.
    fileprivate init(_ choice: DecisionInputs.Choice) {
        self.init(
            variant: choice.variant, unit: choice.unit, cadence: choice.cadence, coalescing: choice.coalescing, quality: 0,
            variantQuality: 0, power: .zero, utilization: 0, latencyP99: .zero)
    }
}

extension Plan {
    /// In the operator's weights again, of which `unit` was planned with as 1.
    fileprivate func valued(by unit: Double) -> Plan {
        var plan = self
        plan.utility *= unit
        plan.switchPenalty *= unit
        plan.marginalUtilityPerWatt *= unit
        plan.regretBound *= unit
        for index in assignments.indices {
            plan.assignments[index].runnerUp?.utilityDifference *= unit
            plan.assignments[index].runnerUp?.changeCost *= unit
        }
        return plan
    }
}

extension StreamDemand {
    /// With what its options take on average while its gate runs, as gates mostly do.
    fileprivate var expected: StreamDemand {
        guard let gate else { return self }
        var demand = self
        for index in options.indices { demand.options[index].power = options[index].power * gate.duty }
        return demand
    }
}

extension StreamRequest {
    /// The profile that a choice runs by; nil if the model has no such variant on that unit.
    public func profile(of choice: DecisionInputs.Choice) -> OptionProfile? {
        for variant in variants where variant.name == choice.variant {
            if let profile = variant.profiles.first(where: { $0.unit == choice.unit }) { return profile }
        }
        return nil
    }
}

extension DecisionEngine.Limits {
    /// Share of a goal's duration that is dwelt for, and the least.
    private static let dwellShare = 0.05
    private static let leastDwell = Seconds(60)

    /// The dwell of a goal that is soon is shorter: half of ten minutes must not be lost to one noisy reading.
    func dwell(for policy: PowerPolicy) -> Seconds {
        guard case .lifetime(let lifetime) = policy.kind, case .duration(let duration) = lifetime.end else { return minimumDwell }
        return min(minimumDwell, max(Self.leastDwell, duration * Self.dwellShare))
    }
}
