import Glibc
import Units

// The budget of a lifetime policy where there is an outlook: what a joule is worth later decides what is spent now.
extension PowerPolicy {
    /// Standard deviations that the goal must be out of reach by to be given up.
    static let hopelessCaution = 2.0
    /// Share of full that must be stored at any time, so that a forecast's error does not end it all.
    static let leastStored = 0.025
    /// Before this share of the time is left, no stream is paused for a goal in doubt: what pausing saves beyond the
    /// least options is little beside the forecast's error, and can still be saved later.
    static let pausingShare = 0.3
    /// Streams that earn less than this many times what a joule earns on the whole may be paused for it, though.
    static let pausingWorth = 4.0

    /// How sure it must be that a rung can be kept up.
    ///
    /// The price of a joule is its expected worth over what may come. Where quality costs little (worth 1 and more)
    /// the worth hardly depends on what comes, so it is bought while it may be affordable; what costs much is bought
    /// once it surely is. Hope is for the beginning, when everything can still be made up for.
    struct Confidence {
        var worth: Double
        /// Standard deviations of the outlook to plan for, when all time is left and when none is.
        var early: Double
        var late: Double
        /// Share held back for streams that may yet come, when all time is left.
        var insurance: Double
    }
    static let confidences = [
        Confidence(worth: 8, early: -2.0, late: 0.8, insurance: 0),
        Confidence(worth: 1, early: -1.0, late: 0.9, insurance: 0),
        Confidence(worth: 0.25, early: -0.2, late: 1.2, insurance: 0.02),
        Confidence(worth: 0.06, early: 0.6, late: 1.8, insurance: 0.08),
        Confidence(worth: 0.015, early: 2.2, late: 2.0, insurance: 0.25),
    ]

    /// The demand on confidence at `worth`, interpolated by its logarithm.
    static func confidence(at worth: Double, share: Double) -> (caution: Double, insurance: Double) {
        func mix(_ confidence: Confidence) -> (caution: Double, insurance: Double) {
            (confidence.late + (confidence.early - confidence.late) * share, confidence.insurance * share)
        }
        guard worth < confidences[0].worth else { return mix(confidences[0]) }
        for (upper, lower) in zip(confidences, confidences.dropFirst()) where worth >= lower.worth {
            let part = log(worth / lower.worth) / log(upper.worth / lower.worth)
            let (high, low) = (mix(upper), mix(lower))
            return (low.caution + (high.caution - low.caution) * part, low.insurance + (high.insurance - low.insurance) * part)
        }
        return mix(confidences[confidences.count - 1])
    }

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
        let hopeful = state.hopefulOutlook ?? outlook
        // Hope is for the goal; an empty battery within hours ends everything.
        let survival = outlook.survivalPower(energy: now - doubtful, least: full * leastStored, caution: 1, within: Seconds(4 * 3600))
        func affordable(_ worth: Double) -> Watts {
            let (caution, insurance) = confidence(at: worth, share: share)
            let steady = (worth >= 0.5 ? hopeful : outlook).steadyPower(
                energy: now - doubtful * (worth >= 0.5 ? 1 - share : 1), capacity: full, least: least, reserve: reserve, caution: caution)
            return min(survival, steady * (1 - insurance - (worth < 0.5 ? policy.margin : 0)))
        }
        let (steady, worth) = power(state.rungs, affordable)
        let running = state.rungs.first { $0.worth <= pausingWorth }?.now ?? .zero
        let base = max(.zero, steady)
        let isDoubtful = base < running
        let watts = isDoubtful && share > pausingShare ? max(base, min(running, survival)) : base
        var terms: [Budget.Term] = [
            .init("battery now", energyText(now)),
            .init("reserve", "- \(energyText(reserve)) (\(percent(policy.reserve, places: 1)) of full)"),
            .init("gauge error", "- \(energyText(doubtful))"),
            .init("rest of the device less income", "- \(energyText(outlook.total)) (base load \(state.rest) +- \(state.restDeviation))"),
            .init("time left", clockText(left.value)),
            .init("steady power", "\(affordable(0)) for sure, \(affordable(1)) perhaps, \(affordable(.infinity)) at best"),
            .init("budget", "\(watts)"),
        ]
        let best = hopeful.steadyPower(
            energy: min(full, now + error * 1.5), capacity: full, least: .zero, reserve: reserve, caution: -hopelessCaution)
        // A goal that slips away only at the end is still worth coming near to: streams pause for it.
        if best < state.least || best.value <= 0, share > pausingShare || memory.hopelessSince != nil {
            let begun = memory.hopelessSince ?? now
            memory.hopelessSince = begun
            terms.append(.init("out of reach", "even at best \(best) for inference, at least \(state.least) needed"))
            return Budget(
                watts: nil,
                reason: "the goal cannot be met by what is known: \(energyText(now)) stored, the rest of the device takes \(energyText(outlook.total)) over \(clockText(left.value)) and \(energyText(reserve)) must be left; streams run for what they earn per joule, critical ones last",
                terms: terms, goal: .infeasible, secondsLeft: left,
                hopeless: .init(rest: max(.zero, state.rest), left: begun.value > 0 ? min(1, now / begun) : 0))
        }
        memory.hopelessSince = nil
        let feasible = steady >= state.least && !isDoubtful
        let words =
            feasible
            ? "\(watts) for inference can be kept up over \(clockText(left.value))"
            : "the goal is in doubt: \(steady) would be left for inference over \(clockText(left.value)), all streams at their least need \(running), those that must run \(state.least); streams are stretched, later paused, critical ones last"
        return Budget(
            watts: watts, reason: words, terms: terms, goal: feasible ? .feasible : .infeasible, secondsLeft: left,
            worth: worth)
    }

    /// The power now of the highest rung whose mean is affordable with the confidence that it asks for, and of the part
    /// of the next that is.
    /// - Returns: also what a joule must then earn.
    private static func power(_ rungs: [PowerState.Rung], _ affordable: (Double) -> Watts) -> (Watts, worth: Double) {
        guard let top = rungs.last else { return (affordable(0), 0) }
        let most = affordable(top.worth)
        if most >= top.mean { return (max(most, top.now), 0) }
        var best = (power: Watts(-.infinity), worth: Double.infinity)
        var below = PowerState.Rung(worth: .infinity, now: .zero, mean: .zero)
        for rung in rungs {
            let limit = affordable(rung.worth)
            var power = Watts(-.infinity)
            if limit >= rung.mean {
                power = rung.now
            } else if limit > below.mean {
                power = below.now + (rung.now - below.now) * ((limit - below.mean) / (rung.mean - below.mean))
            } else if below.mean == .zero {
                power = limit
            }
            if power > best.power { best = (power, rung.worth) }
            below = rung
        }
        return best
    }
}
