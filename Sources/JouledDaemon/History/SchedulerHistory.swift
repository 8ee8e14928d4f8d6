import Decisions
import Planner
import PowerPolicy
import PowerTelemetry
import StreamSessions
import Units
import Wire

// Keeps the history, and shows it.
extension Scheduler {
    /// Ends a stretch if it is time; called by ticks.
    func keepHistory(all: Bool = false) async {
        let now = clocks.monotonic()
        if all || recorder.isDue(at: now), let reading = lastReading {
            let budget = engine.latest?.budget
            let point = HistoryPoint(
                at: clocks.wall(), span: .zero, charge: reading.chargeFraction, draw: reading.snapshot.draw?.value, acOnline: reading.acOnline, budget: budget?.watts,
                planned: engine.latest?.plan.totalPower ?? .zero, rest: engine.rest.estimate?.power, policy: engine.policyName, goal: budget.map { "\($0.goal)" } ?? "none",
                shares: [])
            let open = streams.mapValues { stream in (wakes: stream.statistics.wakes, quality: engine.placements[stream.id]?.option?.plan.quality ?? 0) }
            recorder.observe(.init(point: point, ledger: ledger.entries, streams: open), at: now)
        }
        let records = recorder.take(at: now, all: all)
        if !records.isEmpty { await historyStore.append(records) }
    }

    /// Keeps a change of plan for reports.
    func remember(_ entry: DecisionEntry, at now: MonotonicTime) {
        recorder.add(
            .decision(
                HistoryDecision(
                    at: clocks.wall(), number: entry.number, name: entry.streamName, model: entry.model, from: entry.from, to: entry.to, trigger: entry.trigger,
                    quality: entry.quality, reason: entry.reason)),
            at: now)
    }

    /// A page of the history, up to this moment.
    func history(after: Int64, since: WallTime, count: Int) async -> JSONObject {
        if after == 0 {
            await refresh()
            await keepHistory(all: true)
        }
        let (records, last) = await historyStore.read(after: after, since: since, count: count)
        var (points, decisions): ([JSONValue], [JSONValue]) = ([], [])
        for record in records {
            switch record {
            case .point(let point): points.append(point.json)
            case .decision(let decision): decisions.append(decision.json)
            }
        }
        return ["points": .array(points), "decisions": .array(decisions), "next": last.map { .int($0) } ?? .null]
    }
}
