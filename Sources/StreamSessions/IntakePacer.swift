import Units

/// Limits how fast samples are taken from a client to the rate its contract states, with room for bursts.
///
/// A token bucket: credit grows with time at a little more than the contract's rate (clocks of sensor and daemon
/// differ) up to `burst`. Energy was budgeted for the stated rate; a client that pushes a recording waits.
public struct IntakePacer: Sendable {
    /// Clocks of cheap audio hardware drift by up to 0.1 %; scheduling adds jitter. 5 % is ample and bounded.
    static let tolerance = 1.05

    private let samplesPerSecond: Double
    private let burst: Double
    private var credit: Double
    private var updated: MonotonicTime

    /// - Parameter burst: samples that may arrive at once, e.g. what a socket holds after a pause.
    public init(sampleRateHz: Double, burst: Double, at now: MonotonicTime) {
        samplesPerSecond = sampleRateHz * Self.tolerance
        self.burst = burst
        credit = burst
        updated = now
    }

    /// Samples that may be taken now.
    public mutating func allowance(at now: MonotonicTime) -> Int {
        credit = min(burst, credit + max(0, now.since(updated).value) * samplesPerSecond)
        updated = now
        return max(0, Int(credit))
    }

    /// Notes that samples were taken; a little more than the allowance is forgiven and waited for later.
    public mutating func take(_ samples: Int) { credit -= Double(samples) }

    /// When `samples` will be allowed.
    public func time(for samples: Int) -> MonotonicTime {
        updated.advanced(by: Seconds(max(0, Double(samples) - credit) / samplesPerSecond))
    }
}
