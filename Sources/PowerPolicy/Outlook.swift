import Units

/// What lies ahead of the battery beside inference, until the goal's end.
public struct Outlook: Hashable, Sendable {
    public struct Slot: Hashable, Sendable {
        public var length: Seconds
        /// What the rest of the device takes, less what harvest and charger bring. Negative while charging.
        public var drain: Watts
        /// One standard deviation of the mean of `drain`.
        public var deviation: Watts
        public init(length: Seconds, drain: Watts, deviation: Watts = .zero) {
            self.length = length
            self.drain = drain
            self.deviation = deviation
        }
    }
    public var slots: [Slot]
    public init(slots: [Slot]) { self.slots = slots }

    public var length: Seconds { slots.reduce(.zero) { $0 + $1.length } }
    /// Net energy that the rest takes over the whole outlook.
    public var total: Joules { slots.reduce(.zero) { $0 + $1.drain * $1.length } }

    /// The power that inference may draw now so that it can be kept up longest: the first piece of
    /// the shortest path ("taut string") through the corridor of cumulated spending that neither
    /// empties the battery nor lets it overflow. Where utility is concave in power, following it is
    /// optimal, because power changes only where the battery forces it to (Tassiulas and others:
    /// energy harvesting with finite batteries; Yang and Ulukus 2012).
    /// - Parameters:
    ///   - energy: stored now, doubts already taken off.
    ///   - least: what must be stored at any time before the end.
    ///   - reserve: what must be stored at the end.
    ///   - caution: standard deviations added to each slot's drain.
    /// - Returns: watts; negative when the rest of the device alone takes too much.
    public func steadyPower(energy: Joules, capacity: Joules, least: Joules, reserve: Joules, caution: Double) -> Watts {
        var steepest = -Double.infinity
        var flattest = Double.infinity
        var time = 0.0
        var left = energy.value
        for (index, slot) in slots.enumerated() {
            time += slot.length.value
            left -= (slot.drain.value + caution * slot.deviation.value) * slot.length.value
            guard time > 0 else { continue }
            let isLast = index == slots.count - 1
            let upper = (left - (isLast ? reserve.value : least.value)) / time
            let lower = (left - capacity.value) / time
            if upper < steepest { return Watts(steepest) }
            if lower > flattest { return Watts(flattest) }
            flattest = min(flattest, upper)
            steepest = max(steepest, lower)
        }
        return Watts(flattest)
    }

    /// The most that inference may draw so that `least` is still stored at every slot's end within `span`.
    public func survivalPower(energy: Joules, least: Joules, caution: Double, within span: Seconds) -> Watts {
        var most = Double.infinity
        var time = 0.0
        var left = energy.value
        for slot in slots where time < span.value {
            time += slot.length.value
            left -= (slot.drain.value + caution * slot.deviation.value) * slot.length.value
            if time > 0 { most = min(most, (left - least.value) / time) }
        }
        return Watts(most)
    }
}
