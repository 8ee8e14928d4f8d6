import Units

// The budget of a lifetime policy where there is an outlook: what a joule is worth later decides what is spent now.
extension PowerPolicy {
    /// Standard deviations of the base load that must be affordable before more than the knee is spent: at the end,
    /// and so many more at the beginning.
    static let luxuryCaution = (late: 0.7, early: 1.5)
    /// Standard deviations that hope is given at the beginning, and taken off at the end, before less than the knee
    /// is spent.
    static let hope = (late: -0.5, early: 1.0)
    /// The same before streams are paused: a stream at its least saves most of what a paused one does.
    static let lastHope = (late: -0.4, early: 2.0)
    /// Standard deviations that the goal must be out of reach by to be given up.
    static let hopelessCaution = 2.0
    /// Held back from luxuries for streams that may yet come, as a share of the budget: at the end, and so much more
    /// at the beginning. Decisions come again, so it is spent later; and what the last of a budget buys is little.
    static let demandInsurance = (late: 0.05, early: 0.2)
    /// Share of full that must be stored at any time, so that a forecast's error does not end it all.
    static let leastStored = 0.02

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
        // Up to the end the gauge may be wrong by this, and nothing later makes up for it.
        let doubtful = min(error * 1.5 + full * 0.001, max(.zero, (now - reserve) * 0.5))
        let least = min(full * leastStored, now * 0.5)
        let whole = left + state.monotonic.since(memory.started ?? state.monotonic)
        let share = min(1, max(0, left / max(whole, Seconds(1))))
        let insurance = demandInsurance.late + demandInsurance.early * share
        let margin = min(0.95, policy.margin + insurance)
        let sure = outlook.steadyPower(
            energy: now - doubtful, capacity: full, least: least, reserve: reserve,
            caution: luxuryCaution.late + luxuryCaution.early * share) * (1 - margin)
        func affordable(_ hope: (late: Double, early: Double)) -> Watts {
            (state.hopefulOutlook ?? outlook).steadyPower(
                energy: now - doubtful * (1 - share), capacity: full, least: .zero, reserve: reserve,
                caution: -hope.late - (hope.early - hope.late) * share)
        }
        // What quality costs little is kept for as long as it may be affordable, what it costs much is had once it
        // surely is: the price of a joule is its expected worth over what may come, and that is flat around the knee.
        let perhaps = affordable(hope)
        var steady = sure
        if let knee = state.knee { steady = max(steady, min(knee, perhaps)) }
        if let running = state.leastRunning { steady = max(steady, min(running, affordable(lastHope))) }
        // Near the end the gauge's error divided by the seconds left would be any power at all.
        let stretch = min(1, max(left.value, 1) / 60)
        let watts = max(.zero, steady * stretch)
        let feasible = steady >= state.least && steady.value > 0
        var terms: [Budget.Term] = [
            .init("battery now", energyText(now)),
            .init("reserve", "- \(energyText(reserve)) (\(percent(policy.reserve, places: 1)) of full)"),
            .init("gauge error", "- \(energyText(doubtful))"),
            .init("rest of the device less income", "- \(energyText(outlook.total)) (base load \(state.rest) +- \(state.restDeviation))"),
            .init("time left", clockText(left.value)),
            .init("steady power", "\(max(sure, perhaps)) at most, \(sure) for sure, \(state.knee.map { "\($0)" } ?? "-") for the best per joule"),
            .init("margin", "\(percent(margin, places: 1)) (\(percent(policy.margin, places: 1)) + \(percent(insurance, places: 1)) for streams to come)"),
            .init("budget", "\(watts)"),
        ]
        let hopeful = (state.hopefulOutlook ?? outlook).steadyPower(
            energy: min(full, now + error * 1.5), capacity: full, least: .zero, reserve: reserve, caution: -hopelessCaution)
        if hopeful < state.least || (hopeful.value <= 0 && state.least == .zero) {
            let begun = memory.hopelessSince ?? now
            memory.hopelessSince = begun
            let share = begun.value > 0 ? min(1, now / begun) : 0
            terms.append(.init("out of reach", "even at best \(hopeful) for inference, at least \(state.least) needed"))
            return Budget(
                watts: nil,
                reason: "the goal cannot be met by what is known: \(energyText(now)) stored, the rest of the device takes \(energyText(outlook.total)) over \(clockText(left.value)) and \(energyText(reserve)) must be left; streams run for what they earn per joule, critical ones last",
                terms: terms, goal: .infeasible, secondsLeft: left,
                hopeless: .init(rest: max(.zero, state.rest), left: share))
        }
        memory.hopelessSince = nil
        let words =
            feasible
            ? "\(watts) for inference can be kept up over \(clockText(left.value))"
            : "the goal is in doubt: \(steady) would be left for inference over \(clockText(left.value)), streams that must run need \(state.least); others are stretched, then paused"
        return Budget(
            watts: watts, reason: words, terms: terms, goal: feasible ? .feasible : .infeasible, secondsLeft: left)
    }
}
