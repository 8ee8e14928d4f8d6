import Units

// The budget of a lifetime policy where there is an outlook: what a joule is worth later decides what is spent now.
extension PowerPolicy {
    /// Standard deviations that the goal must be out of reach by to be given up.
    static let hopelessCaution = 2.0
    /// Share of full that must be stored at any time, so that a forecast's error does not end it all.
    static let leastStored = 0.025
    /// For so long the battery must not run empty, even if the rest of the device takes a standard deviation more.
    static let survival = Seconds(5400)
    /// Standard deviations of the forecast that the goal is guarded against at the end, and how many fewer for all the
    /// time before: early on nothing is given up that may yet turn out to be affordable.
    static let guarding = (end: 1.0, slope: 12.0)
    /// What is held back for the gauge: a share of full for what it does not know of itself, and standard deviations of it. At the
    /// end, where no later reading makes up for an error, more than before: it grows with the fourth power of the share of the
    /// time that is gone.
    static let gaugeDoubt = (share: 0.001, deviations: 0.8, shareAtEnd: 0.002, deviationsAtEnd: 1.5)
    /// Before this share of the time is left, a goal out of reach is given up; later it is still worth coming near to.
    static let hopelessShare = 0.3

    static func lookAhead(
        _ policy: Lifetime, _ state: PowerState, _ outlook: Outlook, full: Joules, gauge: Joules, left: Seconds,
        _ memory: inout PolicyMemory
    ) -> Budget {
        let since = min(state.battery?.age ?? .zero, Seconds(3600))
        let error = state.battery?.error ?? .zero
        // What was drawn since the gauge's last reading is gone.
        let drawn = (outlook.slots[0].drain + state.own) * since
        let now = max(.zero, min(full, gauge - drawn))
        let reserve = full * policy.reserve
        var gone = memory.elapsed(at: state.monotonic)
        // A goal by time of day is a day old at most, however long the policy has been in force.
        if case .until = policy.end { gone = max(.zero, min(gone, Seconds(86400) - left)) }
        let whole = left + gone
        let share = min(1, max(0, left / max(whole, Seconds(1))))
        let late = (1 - share) * (1 - share) * (1 - share) * (1 - share)
        let deviations = gaugeDoubt.deviations + (gaugeDoubt.deviationsAtEnd - gaugeDoubt.deviations) * late
        let unknown = full * (gaugeDoubt.share + (gaugeDoubt.shareAtEnd - gaugeDoubt.share) * late)
        let doubtful = min(error * deviations + unknown, max(.zero, (now - reserve) * 0.5))
        let least = min(full * leastStored, now * 0.5)
        let hopeful = state.hopefulOutlook ?? outlook
        let survivable = outlook.survivalPower(energy: now - doubtful, least: full * leastStored, caution: 1, within: survival)
        func affordable(_ deviations: Double) -> Watts {
            outlook.steadyPower(
                energy: now - doubtful, capacity: full, least: least, reserve: reserve, caution: deviations) * (1 - policy.margin)
        }
        let steady = affordable(0)
        let price = JoulePrice(rungs: state.rungs, least: state.least, share: share, ordinary: state.ordinary)
        let (worth, chance) = price.expected(affordable)
        var watts = state.rungs.last { $0.worth >= worth }?.now ?? .zero
        if worth == 0 { watts = max(watts, steady) }
        // Near the end what is saved too late is missing from the reserve.
        let guarded = affordable(guarding.end - guarding.slope * share)
        watts = min(watts, survivable, state.rungs.last { $0.mean <= guarded }.map { $0.now + (guarded - $0.mean) } ?? guarded)
        watts = max(.zero, watts)
        var terms: [Budget.Term] = [
            .init("battery now", energyText(now)),
            .init("reserve", "- \(energyText(reserve)) (\(percent(policy.reserve, places: 1)) of full)"),
            .init("gauge error", "- \(energyText(doubtful))"),
            .init("rest of the device less income", "- \(energyText(outlook.total)) (base load \(state.rest) +- \(state.restDeviation))"),
            .init("time left", clockText(left.value)),
            .init("steady power", "\(steady), \(affordable(1)) with caution, \(affordable(-1)) with luck"),
            .init("chance of the goal", percent(chance)),
            .init("price of a joule", "\(decimal(worth, places: 3)) x what one earns on the whole"),
            .init("budget", "\(watts)"),
        ]
        let best = hopeful.steadyPower(
            energy: min(full, now + error * 1.5), capacity: full, least: .zero, reserve: reserve, caution: -hopelessCaution)
        // A goal that slips away only at the end is still worth coming near to: streams pause for it.
        let isOut = best < state.least || best.value <= 0
        // While a charger fills the battery, how long it will stay is anyone's guess: a fifth of what it brings beyond the rest is spent.
        let surplus = state.acOnline ? max(.zero, Watts(-(state.draw ?? .zero).value)) : .zero
        let isFilling = surplus > .zero
        if isOut, isFilling {
            watts = max(watts, state.own + surplus * 0.2)
            terms[terms.count - 1] = .init("budget", "\(watts), of what the charger brings")
        }
        if isOut, !isFilling, share > hopelessShare || memory.hopelessSince != nil {
            // A battery that was nearly empty then, and is not now, is measured by what it has since come to hold.
            let begun = max(memory.hopelessSince ?? now, now)
            memory.hopelessSince = begun
            terms.append(.init("out of reach", "even at best \(best) for inference, at least \(state.least) needed"))
            return Budget(
                watts: nil,
                reason: "the goal cannot be met by what is known: \(energyText(now)) stored, the rest of the device takes \(energyText(outlook.total)) over \(clockText(left.value)) and \(energyText(reserve)) must be left; streams run for what they earn per joule, critical ones last",
                terms: terms, goal: .infeasible, secondsLeft: left, chance: chance,
                hopeless: .init(rest: max(.zero, state.rest), left: begun.value > 0 ? min(1, now / begun) : 0))
        }
        memory.hopelessSince = nil
        let feasible = chance >= 0.5
        let words =
            feasible
            ? "\(watts) for inference now; \(steady) can be kept up over \(clockText(left.value))"
            : "the goal is in doubt: \(steady) would be left for inference over \(clockText(left.value)), those that must run need \(state.least); streams are stretched, later paused, critical ones last"
        return Budget(
            watts: watts, reason: words, terms: terms, goal: feasible ? .feasible : .infeasible, secondsLeft: left,
            worth: worth, chance: chance)
    }
}
