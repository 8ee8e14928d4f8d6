import EnergyModel
import Units

/// Keeps a rising and a setting sun out of what is learned of inference.
///
/// A sun is noticed only once it brings about half of what the device takes. Until then, and again after it has sunk below
/// that, it looks like a base load that falls and rises, and a plan that changes meanwhile would get the credit. So what
/// was learned in the time before a sun is noticed is taken back, and for as long after it nothing is learned.
struct Twilight: Sendable {
    /// How long a sun takes to be noticed: a day of eleven hours that brings 2.75 times the load at noon takes 35 minutes.
    static let length = Seconds(2700)
    /// What was known at times `length` / 3 apart, the oldest at least `length` ago.
    private var earlier: [(at: MonotonicTime, attribution: BatteryAttribution)] = []
    private var lastSun: MonotonicTime?

    /// - Parameters:
    ///   - sun: whether one certainly shines.
    ///   - mayShine: whether so little is drawn that one may; from then on nothing new is kept to go back to.
    /// - Returns: whether a reading at `now` says nothing of the rest of the device.
    mutating func hides(_ attribution: inout BatteryAttribution, sun: Bool, mayShine: Bool, at now: MonotonicTime) -> Bool {
        if sun {
            if let before = earlier.first { attribution = before.attribution }
            earlier = []
            lastSun = now
            return true
        }
        guard !mayShine else { return true }
        if let lastSun, now.since(lastSun) < Self.length { return true }
        if earlier.last.map({ now.since($0.at) >= Self.length / 3 }) ?? true {
            earlier.append((now, attribution))
            while earlier.count > 1, now.since(earlier[1].at) >= Self.length { earlier.removeFirst() }
        }
        return false
    }
}
