import Units

extension PowerPolicy {
    /// The most that uncertainty may add to a lifetime policy's margin. Decisions come again every
    /// minute or so, so what is held back too much now is spent later; starving now is never made up.
    static let uncertaintyLimit = 0.3
    /// Standard deviations of the forecast that the margin covers. A forecast is corrected by every
    /// reading to come, so that half of one is enough.
    static let caution = 0.5
    /// Standard deviations of the gauge that are held back: a reading in whole percents may be half a
    /// percent too high up to the end, and no later reading makes up for what it let us spend.
    static let gaugeCaution = 2.0
    /// What is left is never spread over less than this: near the end, the gauge's error divided by
    /// the seconds left would be any power at all. Of a short duration a twentieth is enough.
    static let shortestHorizon = Seconds(300)

    /// The power that inference may draw in `state`.
    ///
    /// Pure: the same policy, state and memory give the same budget, so a decision can be replayed.
    public func budget(for state: PowerState, memory: inout PolicyMemory) -> Budget {
        var budget: Budget
        switch kind {
        case .unlimited: budget = Budget(watts: nil, reason: "no limit asked for", terms: [], goal: .none)
        case .fixed(let watts): budget = Budget(watts: watts, reason: "\(watts) by policy", terms: [], goal: .none)
        case .levels(let levels): budget = Self.budget(levels, state, &memory)
        case .lifetime(let lifetime):
            budget = Self.budget(lifetime, state, &memory)
            if lifetime.end == .nextCharge, let next = state.nextCharge { budget.terms.append(.init("next charge", next.reason)) }
        }
        if let thermal { Self.derate(&budget, thermal, state, &memory) }
        return budget
    }

    /// Time until the goal's end; nil without a goal or after it.
    public func secondsLeft(
        at monotonic: MonotonicTime, wall: WallTime, utcOffset: UTCOffset, memory: PolicyMemory, nextCharge: PowerState.NextCharge? = nil
    ) -> Seconds? {
        guard case .lifetime(let lifetime) = kind else { return nil }
        switch lifetime.end {
        case .duration(let duration):
            let left = duration - memory.elapsed(at: monotonic)
            return left.value > 0 ? left : nil
        case .until(let second): return utcOffset.untilNext(secondOfDay: second, from: wall)
        case .nextCharge: return Self.untilCharge(nextCharge)
        }
    }

    // MARK: - Levels

    private static func budget(_ policy: Levels, _ state: PowerState, _ memory: inout PolicyMemory) -> Budget {
        guard !state.acOnline else { return onAC(state) }
        guard let charge = state.battery?.fraction else {
            return Budget(watts: nil, reason: "no battery charge to go by: no limit", terms: [], goal: .none)
        }
        let level = policy.level(at: charge, from: memory.level)
        memory.level = level
        let chosen = policy.levels[level]
        return Budget(
            watts: chosen.watts,
            reason: "battery at \(percent(charge)): \(chosen.watts) from \(percent(chosen.above)) up",
            terms: [
                .init("charge", percent(charge, places: 1)), .init("level", "\(level + 1) of \(policy.levels.count)"),
                .init("hysteresis", percent(policy.hysteresis, places: 1)),
            ], goal: .none)
    }

    private static func onAC(_ state: PowerState) -> Budget {
        Budget(
            watts: nil, reason: "on external power: no limit",
            terms: state.battery?.fraction.map { [.init("charge", percent($0, places: 1))] } ?? [], goal: .none)
    }

    // MARK: - Lifetime

    private static func budget(_ policy: Lifetime, _ state: PowerState, _ memory: inout PolicyMemory) -> Budget {
        if memory.started == nil { memory.started = state.monotonic }
        // A duration counts from when it was asked for; what recurs begins anew with every charge.
        if case .duration = policy.end {} else if state.acOnline { memory.beginAnew(at: state.monotonic) }
        let left: Seconds
        var shortest = shortestHorizon
        switch policy.end {
        case .duration(let duration):
            left = duration - memory.elapsed(at: state.monotonic)
            shortest = min(shortestHorizon, duration * 0.05)
            guard left.value > 0 else {
                return Budget(
                    watts: nil, reason: "lasted \(clockText(duration.value)) as asked; no goal beyond it", terms: [],
                    goal: .none, secondsLeft: .zero)
            }
        case .until(let second): left = state.utcOffset.untilNext(secondOfDay: second, from: state.wall)
        case .nextCharge: left = untilCharge(state.nextCharge)
        }
        guard !state.acOnline || state.outlook != nil else {
            var budget = onAC(state)
            budget.goal = .feasible
            budget.secondsLeft = left
            return budget
        }
        guard let battery = state.battery else {
            return Budget(watts: nil, reason: "no battery to make last: no limit", terms: [], goal: .none, secondsLeft: left)
        }
        guard let full = battery.full ?? policy.capacity,
            let gauge = battery.energy ?? battery.fraction.map({ full * $0 })
        else {
            return Budget(
                watts: nil, reason: "the gauge gives no energy (set capacity_wh in the policy): no limit", terms: [],
                goal: .none, secondsLeft: left)
        }
        if let outlook = state.outlook, !outlook.slots.isEmpty {
            return lookAhead(policy, state, outlook, full: full, gauge: gauge, left: left, &memory)
        }
        // The gauge is as old as it says; what was drawn since is gone.
        let since = min(battery.age, Seconds(3600)) * max(0, (state.rest + state.own - state.harvest).value)
        let now = gauge - Joules(since.value)
        let reserve = full * policy.reserve
        let usable = now - reserve
        let doubtful = min(battery.error * gaugeCaution, max(.zero, usable * 0.5))
        let available = usable - doubtful + state.harvest * left - state.rest * left
        let spread = state.restDeviation * left
        let doubt = available.value > 0 ? min(uncertaintyLimit, caution * (spread / available)) : uncertaintyLimit
        let margin = min(0.95, policy.margin + doubt)
        let watts = max(.zero, available / max(left, shortest) * (1 - margin))
        let feasible = available.value > 0 && available / left >= state.least
        var terms: [Budget.Term] = [
            .init("battery now", energyText(now)),
            .init("reserve", "- \(energyText(reserve)) (\(percent(policy.reserve, places: 1)) of full)"),
        ]
        if doubtful.value > 0 { terms.append(.init("gauge error", "- \(energyText(doubtful))")) }
        if state.harvest.value != 0 { terms.append(.init("expected harvest", "+ \(energyText(state.harvest * left))")) }
        terms += [
            .init("rest of the device", "- \(energyText(state.rest * left)) (\(state.rest) +- \(state.restDeviation))"),
            .init("time left", clockText(left.value)),
            .init("margin", "\(percent(margin, places: 1)) (\(percent(policy.margin, places: 1)) + \(percent(doubt, places: 1)) for uncertainty)"),
            .init("budget", "\(watts)"),
        ]
        let words =
            feasible
            ? "\(energyText(available)) for inference over \(clockText(left.value)): \(watts)"
            : infeasibleReason(available: available, left: left, state: state)
        return Budget(
            watts: watts, reason: words, terms: terms, goal: feasible ? .feasible : .infeasible, secondsLeft: left)
    }

    private static func infeasibleReason(available: Joules, left: Seconds, state: PowerState) -> String {
        let span = clockText(left.value)
        guard available.value > 0 else {
            return "the goal cannot be met: the rest of the device alone (\(state.rest)) takes more than the battery holds over \(span)"
        }
        return "the goal cannot be met: streams that must run need \(state.least), the battery gives \(available / left) over \(span)"
    }

    /// Battery energies in watt-hours, as batteries are labelled.
    static func energyText(_ energy: Joules) -> String { scaled(energy.wattHours, "Wh") }

    /// A day, where nobody looked for a habit.
    private static func untilCharge(_ next: PowerState.NextCharge?) -> Seconds { max(Seconds(60), next?.left ?? Seconds(86400)) }

    // MARK: - Heat

    private static func derate(_ budget: inout Budget, _ thermal: Thermal, _ state: PowerState, _ memory: inout PolicyMemory) {
        guard let factor = thermal.factor(at: state.temperature, tripMargin: state.tripMargin, passiveMargin: state.passiveMargin) else { return }
        // While cool, learn what "full power" means. Warm, what runs is a share of it already: what its streams would
        // take counts, too, or whatever ran first would be all that ever runs.
        if factor == 1 { memory.peak = max(memory.peak, state.own) }
        guard factor < 1 else { return }
        let full = budget.watts ?? thermal.full ?? max(memory.peak, state.most)
        // Nothing runs and nothing is limited: there is no power to take a share of, except none.
        guard budget.watts != nil || full.value > 0 || factor == 0 else { return }
        var heat = state.temperature.map { "\($0)" } ?? ""
        for (margin, kind) in [(state.passiveMargin, "passive trip point"), (state.tripMargin, "trip point")] {
            guard thermal.countsTripPoints, let margin, margin < thermal.fromBelowTrip else { continue }
            heat += (heat.isEmpty ? "" : ", ") + (margin.value >= 0 ? "\(margin) below" : "\(-margin) above") + " a \(kind)"
        }
        budget.watts = full * factor
        budget.terms.append(.init("heat", "\(heat): x \(decimal(factor, places: 2)) of \(full)"))
        budget.reason += "; derated to \(percent(factor)) at \(heat)"
    }
}

extension PowerPolicy.Levels {
    /// The level for `charge`, coming from level `current`: down as soon as the charge is below the
    /// level's threshold, up only when it is `hysteresis` above that of the higher one.
    /// - Returns: an index into `levels`.
    func level(at charge: Double, from current: Int?) -> Int {
        let plain = levels.firstIndex { charge >= $0.above } ?? levels.count - 1
        guard let current, current < levels.count, plain < current else { return plain }
        return levels.prefix(current).firstIndex { charge >= $0.above + hysteresis } ?? current
    }
}
