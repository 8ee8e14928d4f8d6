import Decisions
import EnergyModel
import ModelStore
import Planner
import PowerPolicy
import StreamSessions
import Units
import Wire

// What clients see of the scheduler, as JSON.
extension Scheduler {
    /// The present state of a topic; of decisions those after number `since`.
    func view(of topic: Topic, since: Int = 0, for peer: Peer) -> JSONObject {
        if !peer.isAdmin { coarse.refresh(streams, ledger, at: clocks.monotonic()) }
        return switch topic {
        case .status: ["status": .object(statusJSON(for: peer))]
        case .streams: ["streams": .array(streams.keys.sorted().compactMap { id in streams[id].map { .object(json($0, for: peer)) } })]
        case .decisions: decisions(limit: nil, since: since)
        }
    }

    /// The latest decisions, oldest first.
    func decisions(limit: Int?, since: Int = 0) -> JSONObject {
        let later = history.filter { $0.number > since }
        return ["decisions": .array(later.suffix(limit ?? later.count).map { .object($0.json) })]
    }

    func ledgerJSON(for peer: Peer) -> JSONObject {
        // Whose earlier streams were is no longer known, so that they are nobody's own.
        func owns(_ entry: Ledger.Entry) -> Bool { peer.isAdmin || streams[entry.stream].map { peer.seesAll(of: $0.peer.uid) } ?? false }
        let others = coarse.entries.filter { !owns($0) }
        let own = ledger.entries.filter(owns)
        return ["entries": .array((own + others).map { .object($0.json) })]
    }

    private func statusJSON(for peer: Peer) -> JSONObject {
        let budget = engine.latest?.budget
        let plan = engine.latest?.plan
        let rest = engine.rest.estimate
        return [
            "battery": lastReading?.json ?? .null,
            "budgetWatts": json(budget?.watts),
            "plannedWatts": .double(plan?.totalPower.value ?? 0),
            "inferenceWatts": .double(peer.isAdmin ? inferencePower.value : CoarseFigures.round(inferencePower).value),
            "restWatts": json(rest?.power),
            "restDeviationWatts": json(rest?.deviation),
            "bindingConstraint": .string(plan?.bindingConstraint.description ?? "none"),
            "utilityPerWatt": .double(plan?.marginalUtilityPerWatt ?? 0),
            "policy": .string(engine.policyName),
            "reason": .string(budget?.reason ?? ""),
            "goal": .string(budget.map { "\($0.goal)" } ?? "none"),
            "secondsLeft": budget?.secondsLeft.map { .double($0.value) } ?? .null,
            "terms": JSONValue((budget?.terms ?? []).map { "\($0.name) = \($0.value)" }),
            "schedule": engine.scheduleEntry.map { .string($0) } ?? .null,
            "holds": .array(holdsJSON(for: peer)),
            "decisions": JSONValue(decisionCount),
            "problems": JSONValue(standingProblems),
        ]
    }

    private func json(_ power: Watts?) -> JSONValue { power.map { .double($0.value) } ?? .null }

    private func json(_ stream: OpenStream, for peer: Peer) -> JSONObject {
        let isOwn = peer.seesAll(of: stream.peer.uid)
        let placement = engine.placements[stream.id]
        let option = placement?.option
        let statistics = stream.statistics
        let (windows, joules) = isOwn ? (statistics.totalWindows, statistics.totalJoules) : coarse.figures(of: stream.id)
        return [
            "stream": JSONValue(stream.id), "name": .string(stream.request.name),
            "model": .string(stream.model.bundle.manifest.name),
            "variant": .string(option?.plan.variant ?? ""), "unit": .string(option?.plan.unit ?? ""),
            "cadence": JSONValue(option?.plan.cadence ?? 0), "coalescing": JSONValue(option?.plan.coalescing ?? 0),
            "quality": .double(option?.plan.quality ?? 0), "floor": .double(placement?.rules.floor ?? 0),
            "weight": .double(placement?.rules.weight ?? 0), "critical": .bool(placement?.rules.critical ?? false),
            "paused": .bool(option == nil), "windows": JSONValue(windows), "wakes": JSONValue(isOwn ? statistics.wakes : 0),
            "joules": .double(joules.value),
            "joulesPerWindow": .double(option?.energy.joules.value ?? 0),
            "plannedWatts": .double(option?.plan.power.value ?? 0),
            "lastValues": .array(isOwn && statistics.lastValues.allSatisfy(\.isFinite) ? statistics.lastValues.map { .double(Double($0)) } : []),
            "lostSamples": JSONValue(statistics.lostSamples), "reason": .string(placement?.reason ?? ""),
            "uid": JSONValue(stream.peer.uid), "basis": .string(option?.energy.basis.rawValue ?? Basis.modelled.rawValue),
            // When others speak is nobody's business.
            "gating": isOwn ? gatingJSON(stream) : .null,
        ]
    }

    /// All models with the cost of their variants on this device.
    func modelsJSON() async -> JSONObject {
        let listing = await models.list()
        return [
            "models": .array(listing.models.map { .object(Self.json($0.bundle, $0.profile)) }),
            "problems": JSONValue(listing.problems),
        ]
    }

    private static func json(_ bundle: ModelBundle, _ profile: DeviceProfile?) -> JSONObject {
        let manifest = bundle.manifest
        let variants = manifest.variants.map { variant -> JSONValue in
            let cost = profile?.options.filter { $0.variant == variant.name }
                .min { $0.perWindow(coalescing: 1).energy < $1.perWindow(coalescing: 1).energy }
            return [
                "name": .string(variant.name), "scheme": .string(variant.scheme), "bytes": JSONValue(variant.bytes),
                "quality": .double(variant.quality), "usable": .bool(manifest.brokenThresholds(of: variant).isEmpty),
                "joulesPerWindow": cost.map { .double($0.perWindow(coalescing: 1).energy.value) } ?? .null,
                "p99Ms": cost.map { .double($0.latency.p99.milliseconds) } ?? .null,
                "basis": .string(cost?.basis.rawValue ?? Basis.modelled.rawValue),
            ]
        }
        return [
            "name": .string(manifest.name), "version": JSONValue(manifest.version), "summary": .string(manifest.summary),
            "licence": .string(manifest.licence), "task": .string(manifest.task), "kind": .string(manifest.signal.kind.rawValue),
            "sampleRateHz": JSONValue(manifest.signal.sampleRate), "channels": JSONValue(manifest.signal.channels),
            "unit": .string(manifest.signal.unit), "windowSamples": JSONValue(manifest.window.samples),
            "hopSamples": JSONValue(manifest.window.hop), "latencyToleranceMs": JSONValue(Int(manifest.latencyTolerance.milliseconds.rounded())),
            "gate": manifest.gate.map { .string($0.model) } ?? .null, "labels": JSONValue(manifest.outputs.flatMap(\.labels)),
            "variants": .array(variants),
        ]
    }

    /// One line for `systemctl status`.
    var statusLine: String {
        var parts = ["\(streams.count) streams"]
        if let latest = engine.latest {
            parts.append("\(latest.plan.totalPower) planned")
            if let watts = latest.budget.watts { parts.append("budget \(watts)") } else { parts.append("no power limit") }
        }
        if let charge = lastReading?.chargeFraction { parts.append("battery \(percent(charge))") } else { parts.append("no battery") }
        parts.append("policy \(engine.policyName)" + (engine.scheduleEntry.map { " (\($0))" } ?? ""))
        if !holds.all.isEmpty { parts.append("\(holds.all.count) hold\(holds.all.count == 1 ? "" : "s")") }
        if let trouble = standingProblems.first { parts.append(trouble) }
        return parts.joined(separator: ", ")
    }
}
