import Units

/// Puts looks at the battery that are seconds apart together before anything is told from them.
///
/// Inference runs in bursts, and a gauge averages over a second or more of its own choosing: what ran between two readings
/// and what they show are shifted against each other, which makes inference look cheaper than it is. Over half a minute
/// the shift no longer matters.
struct LookAverage: Sendable {
    static let least = Seconds(30)
    private var span = Seconds.zero
    private var drawn = Joules.zero
    /// Sum of variances of what each look says was drawn, in square joules.
    private var variance = 0.0
    private var ran: [String: Joules] = [:]

    /// - Returns: the mean over all looks since the last that was returned, once they span `least`.
    mutating func add(_ look: BatteryLook) -> BatteryLook? {
        guard look.draw.isFinite, look.noise.isFinite else { return nil }
        // A look that speaks for no time is the first, of a device without inference: as it is.
        guard look.span.value > 0 else { return look }
        span = span + look.span
        drawn = drawn + look.draw * look.span
        let error = (look.noise * look.span).value
        variance += error * error
        for share in look.running { ran[share.unit, default: .zero] += share.watts * look.span }
        guard span >= Self.least else { return nil }
        defer { self = LookAverage() }
        return BatteryLook(
            draw: drawn / span, noise: Joules(variance.squareRoot()) / span, running: ran.keys.sorted().map { ($0, (ran[$0] ?? .zero) / span) }, span: span)
    }
}
