import PowerPolicy
import Units

/// The battery's power by how its charge fell, for gauges that tell neither power nor current.
///
/// Charge is shown in steps, so only from one change of what is shown to another is it known how much was drawn.
struct FallingCharge: Sendable {
    /// Steps are counted together for at least this long: when a gauge that is read every minute changed is known to a minute.
    static let least = Seconds(300)
    private var anchor: (at: MonotonicTime, energy: Joules)?
    private var last: (at: MonotonicTime, energy: Joules)?
    private var ran: [String: Joules] = [:]

    /// - Returns: nil until the charge has fallen by a step.
    mutating func look(_ reading: DecisionEngine.Reading, running: [(unit: String, watts: Watts)], span: Seconds) -> BatteryLook? {
        guard let energy = reading.battery?.energy, !reading.acOnline else {
            self = FallingCharge()
            return nil
        }
        let now = reading.takenAt
        for share in running { ran[share.unit, default: .zero] += share.watts * span }
        guard let before = last else {
            last = (now, energy)
            return nil
        }
        last = (now, energy)
        guard energy != before.energy else { return nil }
        // Between the last reading of before and this one the step was passed; what was shown first is of an unknown share of a step.
        guard let from = anchor, energy < before.energy, from.energy > energy else {
            anchor = (now, energy)
            ran = [:]
            return nil
        }
        let passed = now.since(from.at)
        guard passed >= Self.least else { return nil }
        defer {
            anchor = (now, energy)
            ran = [:]
        }
        let drawn = from.energy - energy
        let late = now.since(before.at)
        return BatteryLook(
            draw: drawn / passed, noise: (drawn / passed) * min(1, late / passed), running: ran.keys.sorted().map { ($0, (ran[$0] ?? .zero) / passed) },
            span: passed)
    }
}
