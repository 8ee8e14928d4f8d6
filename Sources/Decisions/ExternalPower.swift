import PowerPolicy
import Units

/// Whether external power carries the device.
///
/// A port that gives less than the device takes shows as online while the battery drains: then the battery is what the device lives on,
/// and plans must be made as without a plug. Once found too weak it stays so until it is pulled, or until what it brings
/// would also carry what ran when it did not: a plan made for the battery takes less, and the plug must not seem strong by that alone.
struct ExternalPower: Sendable {
    /// The battery must drain, or fill, for so long on end before that is believed: gauges average, and loads peak.
    static let convincing = Seconds(300)
    /// Share of full by which the charge must fall where no power is told: more than a gauge's steps and its self-discharge.
    static let fallen = 0.02
    /// A drain below this share of what inference takes, or of a battery in a day, is a gauge's offset.
    static let leastShare = 0.05
    static let offsetDay = 0.02

    private(set) var isWeak = false
    private var drainedSince: MonotonicTime?
    private var filledSince: MonotonicTime?
    /// The most that inference took while the battery drained.
    private var ownWhenDrained = Watts.zero
    private var highest: Joules?

    /// Takes a reading.
    /// - Parameters:
    ///   - own: what inference drew meanwhile.
    /// - Returns: whether the device lives on external power.
    mutating func carries(_ reading: DecisionEngine.Reading, own: Watts) -> Bool {
        guard reading.acOnline else {
            self = ExternalPower()
            return false
        }
        let now = reading.takenAt
        if let draw = reading.draw, draw.isFinite {
            let offset = max(own * Self.leastShare, (reading.battery?.full ?? .zero) / Seconds(86400) * Self.offsetDay)
            drainedSince = draw > offset ? drainedSince ?? now : nil
            if let drainedSince {
                ownWhenDrained = max(ownWhenDrained, own)
                if now.since(drainedSince) >= Self.convincing { isWeak = true }
            }
            let spare = -draw + own - ownWhenDrained
            filledSince = spare > .zero ? filledSince ?? now : nil
            if isWeak, let filledSince, now.since(filledSince) >= Self.convincing { self = ExternalPower() }
        } else if let energy = reading.battery?.energy, let full = reading.battery?.full {
            highest = max(highest ?? energy, energy)
            if let highest, highest - energy >= full * Self.fallen { isWeak = true }
            // What has filled the battery again carries the device.
            if isWeak, energy >= full * 0.99 { self = ExternalPower() }
        }
        return !isWeak
    }
}
