import Units

/// What a battery does, as its driver says.
public enum BatteryStatus: String, Hashable, Sendable, CaseIterable {
    case charging
    case discharging
    case notCharging = "not-charging"
    case full
    case unknown
}

/// What is known of the device's energy at one moment, over all its batteries.
public struct BatterySnapshot: Hashable, Sendable {
    /// The energy stored; nil where only a percentage is known.
    public var energyNow: Reading<Joules>?
    /// The energy stored when full; nil where only a percentage is known.
    public var energyFull: Reading<Joules>?
    /// The charge from 0 to 1; nil without a battery, or where nothing about it can be read.
    public var chargeFraction: Reading<Double>?
    /// The power that leaves the battery: positive discharging, negative charging.
    public var draw: Reading<Watts>?
    /// What the batteries do: discharging if one of them is.
    public var status: BatteryStatus
    /// Whether the device gets power from outside.
    public var acOnline: Bool
    /// How many batteries there are. None at all is a device on mains.
    public var batteryCount: Int
    /// What could not be used, each naming the file at fault.
    public var problems: [String]

    /// A snapshot of a device of which nothing is known but that it runs.
    public init(
        energyNow: Reading<Joules>? = nil, energyFull: Reading<Joules>? = nil, chargeFraction: Reading<Double>? = nil,
        draw: Reading<Watts>? = nil, status: BatteryStatus = .unknown, acOnline: Bool = false, batteryCount: Int = 0,
        problems: [String] = []
    ) {
        self.energyNow = energyNow
        self.energyFull = energyFull
        self.chargeFraction = chargeFraction
        self.draw = draw
        self.status = status
        self.acOnline = acOnline
        self.batteryCount = batteryCount
        self.problems = problems
    }

    /// Whether there is a battery of which at least the charge is known.
    public var hasBattery: Bool { chargeFraction != nil }

    /// How old the oldest of the readings may be.
    public var age: Seconds {
        [energyNow?.age, energyFull?.age, chargeFraction?.age, draw?.age].compactMap { $0 }.max() ?? .zero
    }

    /// Where the charge comes from: a path, or `virtual`.
    public var origin: String? { chargeFraction?.origin ?? draw?.origin }
}

/// Something that can say how the battery is: the kernel, or a model of a device.
public protocol PowerSource: Sendable {
    /// The state as far as it can be known at `time`. Mutating, because a source may have to remember what
    /// it saw before to tell how old a reading is.
    mutating func snapshot(at time: MonotonicTime) -> BatterySnapshot
}
