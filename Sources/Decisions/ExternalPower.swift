import PowerPolicy
import Units

/// Whether external power carries the device.
///
/// A port that gives less than the device takes shows as online while the battery drains: then the battery is what the device lives on,
/// and plans must be made as without a plug. Once found too weak it stays so until it is pulled, until the battery is not used any
/// more, or until what it brings would also carry what ran when it did not: a plan made for the battery takes less, and the plug
/// must not seem strong by that alone. Each time that it is found weak again it takes twice as long to be believed in.
struct ExternalPower: Sendable {
    /// The battery must drain, or not, for so long on end before that is believed: gauges average, and loads peak.
    static let convincing = Seconds(300)
    /// Where no power is told: the charge must fall by this share of full, more than a gauge's steps, within this time, more than
    /// self-discharge does; and it must not have fallen further for so long before the plug is believed in again.
    static let fallen = 0.02
    static let fallsWithin = Seconds(6 * 3600)
    static let steady = Seconds(3600)
    /// A drain below this share of what inference takes, or of a battery in a day, is a gauge's offset.
    static let leastShare = 0.05
    static let offsetDay = 0.02
    /// Patience doubles so often at most.
    static let mostDoublings = 6

    private(set) var isWeak = false
    private var drainedSince: MonotonicTime?
    /// Since when nothing has spoken against the plug.
    private var carriedSince: MonotonicTime?
    /// The most that inference took while the battery drained.
    private var ownWhenDrained = Watts.zero
    private var highest: (energy: Joules, at: MonotonicTime)?
    private var lowest: (energy: Joules, at: MonotonicTime)?
    private var recoveries = 0

    private var patience: Double { Double(1 << min(recoveries, Self.mostDoublings)) }

    /// Takes a reading.
    /// - Parameter own: what inference drew meanwhile.
    /// - Returns: whether the device lives on external power.
    mutating func carries(_ reading: DecisionEngine.Reading, own: Watts) -> Bool {
        guard reading.acOnline else {
            self = ExternalPower()
            return false
        }
        if let draw = reading.draw, draw.isFinite {
            look(draw, own, full: reading.battery?.full, at: reading.takenAt)
        } else {
            (drainedSince, carriedSince) = (nil, nil)
            if let battery = reading.battery, let energy = battery.energy, let full = battery.full { look(energy, of: full, at: reading.takenAt) }
        }
        return !isWeak
    }

    private mutating func look(_ draw: Watts, _ own: Watts, full: Joules?, at now: MonotonicTime) {
        let offset = max(own * Self.leastShare, (full ?? .zero) / Seconds(86400) * Self.offsetDay)
        drainedSince = draw > offset ? drainedSince ?? now : nil
        if let drainedSince {
            ownWhenDrained = max(ownWhenDrained, own)
            if now.since(drainedSince) >= Self.convincing { isWeak = true }
        } else if !isWeak {
            ownWhenDrained = .zero
        }
        // A charger that holds the battery neither fills nor drains it; else what it brings must do for what ran before.
        let isIdle = abs(draw.value) <= offset.value
        let carries = isIdle || own - draw > ownWhenDrained
        carriedSince = carries ? carriedSince ?? now : nil
        if isWeak, let carriedSince, now.since(carriedSince) >= Self.convincing * patience { recover() }
    }

    private mutating func look(_ energy: Joules, of full: Joules, at now: MonotonicTime) {
        guard isWeak else {
            if let known = highest, energy < known.energy, now.since(known.at) < Self.fallsWithin {
                guard known.energy - energy >= full * Self.fallen else { return }
                isWeak = true
                lowest = (energy, now)
            } else {
                highest = (energy, now)
            }
            return
        }
        guard let known = lowest, energy >= known.energy else { return lowest = (energy, now) }
        if now.since(known.at) >= Self.steady * patience { recover() }
    }

    private mutating func recover() {
        let times = recoveries + 1
        self = ExternalPower()
        recoveries = times
    }
}
