import EnergyModel
import Planner
import Units

// What units' slow-downs ask for between plans.
extension DecisionEngine {
    /// Whether what runs still meets its deadlines and fits into its units' time, by what is known of their slow-downs now.
    func isInTime(_ decision: Decision) -> Bool {
        var shares: [String: Double] = [:]
        for placement in placements.values {
            guard let plan = placement.option?.plan else { continue }
            let slower = latency.cautiousFactor(of: plan.unit) / plannedLatency.cautiousFactor(of: plan.unit)
            guard slower > 1 else { continue }
            if plan.latencyP99 * slower > placement.request.latencyTolerance, plan.latencyP99 <= placement.request.latencyTolerance { return false }
            shares[plan.unit, default: 0] += plan.utilization * slower
        }
        return shares.allSatisfy { unit, share in share <= (decision.limits.unitUtilization[unit] ?? PlanLimits.defaultUtilization) * 1.001 }
    }

    /// Forgets how slow units were that nothing has run on for long, where a stream pauses because all of its options would be late:
    /// nothing else would ever tell that they have cooled.
    mutating func retrySlowUnits(at now: MonotonicTime) {
        let due = latency.slowUnits(at: now)
        guard !due.isEmpty else { return }
        for placement in placements.values where placement.option == nil {
            let options = RunOption.all(for: placement.request, by: energy, latency: latency).map(\.plan)
            guard options.allSatisfy({ $0.latencyP99 > placement.request.latencyTolerance }) else { continue }
            for unit in due where options.contains(where: { $0.unit == unit }) { latency.retry(unit) }
        }
    }
}
