import Glibc
import Units

// What is told of whole days by their quarters of hours.
extension RestForecaster {
    /// Forgets times of day that were not seen for long, though the device may have run at others.
    mutating func forgetOldBins() {
        for index in 0..<Self.binCount {
            guard let seen = seenAt[index] else { continue }
            // What is yet to come by the clock was seen by another clock: before this one was set, or behind one that was wrong. Either
            // way it is old once the device has run for long without it.
            guard wallNow - seen > Self.oldest || (seen - wallNow > Self.binLength && awake > Self.oldest) else { continue }
            (harvest[index], base[index], charging[index], chargingDays[index], seenAt[index]) = (nil, nil, nil, 0, nil)
        }
    }

    /// The middle of what a whole day's sun brought, told in the night after it.
    mutating func findNoon() {
        guard everNegative, darkBins == 8 else { return }
        var east = 0.0
        var north = 0.0
        for (index, watts) in harvest.enumerated() {
            let angle = 2 * .pi * (Double(index) + 0.5) / Double(Self.binCount)
            north += (watts ?? 0) * cos(angle)
            east += (watts ?? 0) * sin(angle)
        }
        guard north != 0 || east != 0 else { return }
        let second = atan2(east, north) / (2 * .pi) * 86400
        noonSeen = second < 0 ? second + 86400 : second
    }
}
