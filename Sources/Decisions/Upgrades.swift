import EnergyModel
import Planner
import PowerPolicy
import Units

extension DecisionEngine {
    /// A way to run a stream better than it runs now, and what stands against it.
    public struct Upgrade: Sendable, Equatable {
        public var option: RunOption
        /// Its power less that of what runs now.
        public var morePower: Watts
        /// All that would have to change, the others keeping their choices; empty: nothing any more, the next plan may take it.
        public var obstacles: [Obstacle]
    }

    /// What stands against an option.
    public enum Obstacle: Sendable, Hashable {
        /// So much more power than the budget has left.
        case power(missing: Watts)
        /// So much more of a unit's time than is free, as a share.
        case time(unit: String, missing: Double)
        case memory(missingBytes: Int)
        /// Results would come as late as `needed` at p99.
        case deadline(needed: Seconds, allowed: Seconds)
        /// Only for what is paused: the variant's quality is below the stream's floor.
        case floor(needed: Double, floor: Double)
        /// What it gains is worth less than what its energy earns elsewhere or later; from `needed` on it would pay.
        case weight(needed: Double, weight: Double)
        /// Quality gained is less than what a change must gain.
        case change(gain: Double, cost: Double)
        /// The stream changed so recently that it waits so much longer.
        case dwell(left: Seconds)
        /// The variant failed on this device.
        case failed

        fileprivate var kind: Int {
            switch self {
            case .power: 0
            case .time: 1
            case .memory: 2
            case .deadline: 3
            case .floor: 4
            case .weight: 5
            case .change: 6
            case .dwell: 7
            case .failed: 8
            }
        }
    }

    /// Ways to run a stream better, from the least additional power up: none that another beats in everything, the best one
    /// among them.
    /// - Parameter most: so many at most, 1 or more.
    public func upgrades(of id: UInt64, at now: MonotonicTime, most: Int = 4) -> [Upgrade] {
        guard let placement = placements[id], let latest else { return [] }
        let current = placement.option?.plan
        var candidates: [Upgrade] = []
        for var option in betterOptions(placement) {
            // On average, behind a gate.
            option.plan.power = option.plan.power * placement.duty
            option.plan.utilization *= placement.duty
            // What runs is priced as it is now, too: a factor that was learned meanwhile is no difference between options.
            let own = placement.option.map { energy.predict($0.profile, coalescing: $0.plan.coalescing).joules / (placement.request.hopTime * Double($0.plan.cadence)) * placement.duty }
            let more = option.plan.power - (own ?? .zero)
            candidates.append(Upgrade(option: option, morePower: more, obstacles: obstacles(option, more, placement, latest, at: now)))
        }
        func beats(_ left: Upgrade, _ right: Upgrade) -> Bool {
            guard left.option.plan.quality >= right.option.plan.quality, left.morePower <= right.morePower,
                Set(left.obstacles.map(\.kind)).isSubset(of: Set(right.obstacles.map(\.kind)))
            else { return false }
            return left.option.plan.quality > right.option.plan.quality || left.morePower < right.morePower || left.obstacles.count < right.obstacles.count
        }
        var kept = candidates.filter { candidate in !candidates.contains { beats($0, candidate) } && !(current?.sameChoice(as: candidate.option.plan) ?? false) }
        kept.sort { ($0.morePower, -$0.option.plan.quality) < ($1.morePower, -$1.option.plan.quality) }
        guard kept.count > most, let best = kept.max(by: { $0.option.plan.quality < $1.option.plan.quality }) else { return kept }
        let nearest = kept.prefix(most)
        return nearest.contains(best) ? Array(nearest) : Array(nearest.dropLast()) + [best]
    }

    /// For each variant, unit and cadence that is better than what runs the cheapest pace that is in time, or else the earliest.
    private func betterOptions(_ placement: Placement) -> [RunOption] {
        let floor = placement.option?.plan.quality ?? -1
        var best: [DecisionInputs.Choice: RunOption] = [:]
        for option in RunOption.all(for: placement.request, by: energy, latency: latency) where option.plan.quality > floor + 1e-9 {
            var key = DecisionInputs.Choice(option.plan)
            key.coalescing = 1
            guard let known = best[key] else {
                best[key] = option
                continue
            }
            let tolerance = placement.request.latencyTolerance
            let (isIn, wasIn) = (option.plan.latencyP99 <= tolerance, known.plan.latencyP99 <= tolerance)
            if isIn != wasIn ? isIn : isIn ? option.plan.power < known.plan.power : option.plan.latencyP99 < known.plan.latencyP99 { best[key] = option }
        }
        return best.values.sorted { ($0.plan.variant, $0.plan.unit, $0.plan.cadence) < ($1.plan.variant, $1.plan.unit, $1.plan.cadence) }
    }

    private func obstacles(_ option: RunOption, _ more: Watts, _ placement: Placement, _ latest: Decision, at now: MonotonicTime) -> [Obstacle] {
        let (plan, rules, limits) = (option.plan, placement.rules, latest.limits)
        let current = placement.option?.plan
        var list: [Obstacle] = []
        if isQuarantined(plan.variant, of: placement.request) { list.append(.failed) }
        if plan.latencyP99 > placement.request.latencyTolerance {
            list.append(.deadline(needed: plan.latencyP99, allowed: placement.request.latencyTolerance))
        }
        if plan.variantQuality < rules.floor { list.append(.floor(needed: plan.variantQuality, floor: rules.floor)) }
        if let budget = latest.budget.watts {
            let missing = runningPower().watts + more - budget
            if missing.value > budget.value.magnitude * 1e-9 { list.append(.power(missing: missing)) }
        }
        let others = placements.filter { $0.key != placement.request.id }.values
        let time = others.reduce(plan.utilization) { $0 + ($1.option?.plan.unit == plan.unit ? $1.option?.plan.utilization ?? 0 : 0) }
        let share = limits.unitUtilization[plan.unit] ?? PlanLimits.defaultUtilization
        if time > share * (1 + 1e-9) { list.append(.time(unit: plan.unit, missing: time - share)) }
        if let room = limits.residentBytes {
            var loaded: [DecisionInputs.Choice: Int] = [:]
            func load(_ model: String, _ option: PlanOption) {
                loaded[.init(variant: "\(model)/\(option.variant)", unit: option.unit, cadence: 1, coalescing: 1)] = option.residentBytes
            }
            for other in others { if let running = other.option?.plan { load(other.request.model, running) } }
            load(placement.request.model, plan)
            let bytes = loaded.values.reduce(0, +)
            if bytes > room { list.append(.memory(missingBytes: bytes - room)) }
        }
        let gain = plan.quality - (current?.quality ?? 0)
        let isVariant = current.map { !plan.sameArtefact(as: $0) } ?? true
        let cost = current == nil || !placement.isPlaced ? 0 : isVariant ? limits.switchCost : limits.retimeCost
        // What a change must gain is not there to pay for energy.
        let net = gain > cost ? gain - cost : gain
        let price = limits.energyPrice * (more + loading(plan, of: placement.request.model, limits)).value
        if limits.energyPrice > 0, net > 0, rules.weight * net <= price { list.append(.weight(needed: price / net, weight: rules.weight)) }
        // One that has not run yet may start at any time.
        if placement.isPlaced, current != nil || placement.since > openedAt[placement.request.id] ?? placement.since {
            let dwelt = now.since(placement.since)
            if isVariant, dwelt < limits.minimumDwell { list.append(.dwell(left: limits.minimumDwell - dwelt)) }
            if current != nil, gain <= cost { list.append(.change(gain: gain, cost: cost)) }
        }
        return list
    }

    /// What loading adds to an option's power over the time that it is reckoned to serve; nothing if any stream runs it already.
    private func loading(_ plan: PlanOption, of model: String, _ limits: PlanLimits) -> Watts {
        let isLoaded = placements.values.contains { $0.request.model == model && $0.option?.plan.sameArtefact(as: plan) == true }
        return isLoaded ? .zero : plan.loadEnergy / limits.loadHorizon
    }
}
