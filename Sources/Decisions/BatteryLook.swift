import Units

/// The battery's power over `span` up to now, and what the profiles say ran meanwhile, by unit.
struct BatteryLook: Sendable {
    var draw: Watts
    /// One standard deviation of `draw`.
    var noise: Watts
    var running: [(unit: String, watts: Watts)]
    var span: Seconds
}
