import Decisions
import EnergyModel
import ModelStore
import Planner
import PowerPolicy
import StreamSessions
import Units
import Wire

// Why a stream runs as it does, for people and for programs.
extension Scheduler {
    /// Plain words on one stream, and the same as figures; nil if there is none with this id.
    func explain(_ id: UInt64) -> JSONObject? {
        guard let stream = streams[id], let placement = engine.placements[id], let latest = engine.latest else { return nil }
        let budget = latest.budget
        let upgrades = engine.upgrades(of: id, at: clocks.monotonic())
        var lines = ["Stream \(id) (\(stream.displayName)) runs \(placement.option.map(Self.text) ?? "nothing: it is paused")."]
        lines.append("Why: \(placement.reason).")
        lines.append("Budget: \(budget.watts.map { "\($0)" } ?? "no limit") for all streams, \(latest.plan.totalPower) of it planned (\(policyText): \(budget.reason)).")
        lines += budget.terms.map { "  \($0.name) = \($0.value)" }
        if latest.plan.bindingConstraint != .none { lines.append("What holds the whole plan back: \(Self.text(latest.plan.bindingConstraint)).") }
        if let held = holds.floor(for: stream.model.bundle.manifest.name, of: stream.peer.uid), held >= placement.rules.floor {
            lines.append("Its floor of \(decimal(held, places: 3)) is held by a client; joulectl status says by whom.")
        }
        lines += gateLines(stream, placement)
        if let option = placement.option?.plan, option.cadence > 1, placement.rules.floor > 0 {
            lines.append(
                "Its floor of \(decimal(placement.rules.floor, places: 3)) is about the variant, which has \(decimal(option.variantQuality, places: 4)); a floor does not bind the cadence. "
                    + "Answering 1 window in \(option.cadence), it has a quality of \(decimal(option.quality, places: 4)) over time.")
        }
        lines += certainty(placement, latest)
        if !placement.runnerUp.isEmpty { lines.append("The best other choice was \(placement.runnerUp).") }
        lines += better(placement, upgrades)
        var object: JSONObject = [
            "stream": JSONValue(id), "name": .string(stream.displayName), "model": .string(stream.model.bundle.manifest.name),
            "paused": .bool(placement.option == nil), "reason": .string(placement.reason), "policy": .string(engine.policyName),
            "schedule": engine.scheduleEntry.map { .string($0) } ?? .null, "budgetWatts": budget.watts.map { .double($0.value) } ?? .null,
            "budgetReason": .string(budget.reason), "plannedWatts": .double(latest.plan.totalPower.value),
            "bindingConstraint": .string(latest.plan.bindingConstraint.description), "goal": .string("\(budget.goal)"),
            "chanceOfGoal": budget.chance.map { .double($0) } ?? .null, "runnerUp": .string(placement.runnerUp),
            "better": .array(upgrades.map { .object(json($0)) }), "lines": JSONValue(lines),
            "gate": stream.gate.map { .object($0.json) } ?? .null, "duty": .double(placement.duty),
        ]
        if let option = placement.option {
            let (low, high) = Self.interval(option.energy)
            object["runs"] = [
                "variant": .string(option.plan.variant), "unit": .string(option.plan.unit), "cadence": JSONValue(option.plan.cadence),
                "coalescing": JSONValue(option.plan.coalescing), "quality": .double(option.plan.quality), "watts": .double(option.plan.power.value),
                "joulesPerWindow": .double(option.energy.joules.value), "joulesLow": .double(low.value), "joulesHigh": .double(high.value),
                "basis": .string(option.energy.basis.rawValue),
            ]
        } else {
            object["runs"] = .null
        }
        return object
    }

    private var policyText: String { "policy \(engine.policyName)" + (engine.scheduleEntry.map { ", part of the day \($0)" } ?? "") }

    /// 90 % of a normal distribution.
    private static func interval(_ energy: Prediction) -> (low: Joules, high: Joules) {
        let half = energy.standardDeviation * 1.645
        return (max(.zero, energy.joules - half), energy.joules + half)
    }

    /// What lets it sleep, and what that does to its figures.
    private func gateLines(_ stream: OpenStream, _ placement: DecisionEngine.Placement) -> [String] {
        guard let gate = stream.gate else { return [] }
        let contract = gate.contract
        guard let other = streams[contract.stream] else { return ["Its gate, stream \(contract.stream), is gone: every window is run."] }
        let name = "stream \(contract.stream) (\(other.displayName))"
        guard engine.placements[contract.stream]?.option != nil else { return ["Its gate, \(name), is paused: every window is run until it goes on."] }
        var lines = [
            "It sleeps behind \(name) until \(gate.label) is \(contract.threshold) or more: windows from \(contract.preroll) before to \(contract.hold) after that are run, the others let go. It is awake \(percent(duty(of: stream))) of the time by what was learned so far, and its power is reckoned so."
        ]
        lines.append("Of the \(stream.contract.latencyTolerance) that its client tolerates, \(contract.reserve) are left to its gate.")
        return lines
    }

    /// How sure the figures are.
    private func certainty(_ placement: DecisionEngine.Placement, _ latest: DecisionEngine.Decision) -> [String] {
        var lines: [String] = []
        if let option = placement.option {
            let (low, high) = Self.interval(option.energy)
            let basis =
                switch option.energy.basis {
                case .metered: "by an energy meter"
                case .battery: "by the battery's gauge, over minutes"
                case .modelled: "from CPU time alone, no meter told it: compare variants by it, and trust no absolute figure to better than half"
                }
            lines.append(
                "It takes \(option.energy.joules) per window, with 90 % certainty \(low) to \(high), known \(basis); that is \(option.plan.power) for a quality of \(decimal(option.plan.quality, places: 4)) of 1.")
        }
        if let chance = latest.budget.chance {
            lines.append("The battery lasts as asked with a chance of \(percent(chance)), as far as the rest of the device does what it did before.")
        } else if latest.budget.goal == .feasible {
            lines.append("The battery lasts as asked by what is known; how likely that is cannot be told before the rest of the device was watched for a while.")
        }
        return lines
    }

    // MARK: Better quality

    private func better(_ placement: DecisionEngine.Placement, _ upgrades: [DecisionEngine.Upgrade]) -> [String] {
        guard !upgrades.isEmpty else {
            if let pinned = placement.request.pinnedVariant { return ["Better quality: there is none; its client asked for variant \(pinned) alone."] }
            return ["Better quality: there is none; this is the best that the model offers."]
        }
        return [placement.option == nil ? "For it to run, one of these would have to change:" : "For better quality, one of these would have to change:"]
            + upgrades.map { "  \(Self.text($0))" }
    }

    private static func text(_ upgrade: DecisionEngine.Upgrade) -> String {
        let more = upgrade.morePower.value >= 0 ? "\(upgrade.morePower) more" : "\(-upgrade.morePower) less"
        let what = "\(text(upgrade.option)) (quality \(decimal(upgrade.option.plan.quality, places: 4)), \(more))"
        guard !upgrade.obstacles.isEmpty else { return "\(what): nothing stands against it any more; the next plan may take it" }
        return "\(what): \(upgrade.obstacles.map(text).joined(separator: "; and "))"
    }

    private static func text(_ obstacle: DecisionEngine.Obstacle) -> String {
        switch obstacle {
        case .power(let missing): "the budget would have to be \(missing) larger"
        case .time(let unit, let missing): "\(unit) would need \(percent(missing, places: 1)) more time for it than streams may use there"
        case .memory(let bytes): "\(scaled(Double(bytes), "B")) more memory would have to be allowed ([limits] resident_mb)"
        case .deadline(let needed, let allowed): "its client would have to tolerate results that are \(needed) late (now \(allowed))"
        case .floor(let needed, let floor): "its floor would have to be \(decimal(needed, places: 3)) at most (now \(decimal(floor, places: 3)))"
        case .weight(let needed, let weight):
            "its energy buys more later; at the present price of energy a weight over \(scaled(needed, "")) (now \(decimal(weight, places: 2))) would pay for it"
        case .change(let gain, let cost): "it gains \(decimal(gain, places: 4)) of quality, and a change must gain \(decimal(cost, places: 4))"
        case .dwell(let left): "it changed only lately and may change again in \(left)"
        case .failed: "the variant failed on this device; see the journal, then systemctl reload jouled"
        }
    }

    private static func text(_ constraint: PlanConstraint) -> String {
        switch constraint {
        case .none: "nothing"
        case .power: "power"
        case .utilization(let unit): "time on \(unit)"
        case .memory: "memory for loaded variants"
        case .latency: "what its clients tolerate in lateness"
        case .floor: "floors that no affordable variant reaches"
        case .price: "the price of energy, which is worth more later"
        }
    }

    private func json(_ upgrade: DecisionEngine.Upgrade) -> JSONObject {
        let plan = upgrade.option.plan
        return [
            "variant": .string(plan.variant), "unit": .string(plan.unit), "cadence": JSONValue(plan.cadence), "coalescing": JSONValue(plan.coalescing),
            "quality": .double(plan.quality), "watts": .double(plan.power.value), "moreWatts": .double(upgrade.morePower.value),
            "needs": .array(upgrade.obstacles.map { .object(Self.json($0)) }),
        ]
    }

    private static func json(_ obstacle: DecisionEngine.Obstacle) -> JSONObject {
        var object: JSONObject
        switch obstacle {
        case .power(let missing): object = ["kind": "power", "missing": .double(missing.value), "unit": "W"]
        case .time(let unit, let missing): object = ["kind": "time", "missing": .double(missing), "unit": .string("share of \(unit)")]
        case .memory(let bytes): object = ["kind": "memory", "missing": .double(Double(bytes)), "unit": "B"]
        case .deadline(let needed, let allowed): object = ["kind": "deadline", "missing": .double((needed - allowed).value), "unit": "s"]
        case .floor(let needed, let floor): object = ["kind": "floor", "missing": .double(floor - needed), "unit": "quality"]
        case .weight(let needed, let weight): object = ["kind": "weight", "missing": .double(needed - weight), "unit": "weight"]
        case .change(let gain, let cost): object = ["kind": "change", "missing": .double(cost - gain), "unit": "quality"]
        case .dwell(let left): object = ["kind": "dwell", "missing": .double(left.value), "unit": "s"]
        case .failed: object = ["kind": "failed", "missing": .double(0), "unit": ""]
        }
        object["text"] = .string(text(obstacle))
        return object
    }
}
