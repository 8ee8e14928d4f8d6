/// A physical quantity held as a `Double` of one unit, so that watts cannot be added to joules.
public protocol Quantity: Hashable, Comparable, Sendable, AdditiveArithmetic, CustomStringConvertible {
    /// The value in the unit that the type is named after.
    var value: Double { get }
    /// - Parameter value: the value in the unit that the type is named after.
    init(_ value: Double)
}

extension Quantity {
    public static var zero: Self { Self(0) }
    public static func < (left: Self, right: Self) -> Bool { left.value < right.value }
    public static func + (left: Self, right: Self) -> Self { Self(left.value + right.value) }
    public static func - (left: Self, right: Self) -> Self { Self(left.value - right.value) }
    public static func * (left: Self, factor: Double) -> Self { Self(left.value * factor) }
    public static func / (left: Self, divisor: Double) -> Self { Self(left.value / divisor) }
    /// The ratio of two quantities of one kind: a plain number.
    public static func / (left: Self, right: Self) -> Double { left.value / right.value }
    public static prefix func - (quantity: Self) -> Self { Self(-quantity.value) }
    public var isFinite: Bool { value.isFinite }
}

/// Energy in joules (watt-seconds).
public struct Joules: Quantity {
    public var value: Double
    public init(_ value: Double) { self.value = value }
    /// Energy from watt-hours: 1 Wh = 3600 J.
    public init(wattHours: Double) { self.value = wattHours * 3600 }
    public var wattHours: Double { value / 3600 }
    public var description: String { scaled(value, "J") }
}

/// Power in watts.
public struct Watts: Quantity {
    public var value: Double
    public init(_ value: Double) { self.value = value }
    public var description: String { scaled(value, "W") }
}

/// A span of time in seconds.
public struct Seconds: Quantity {
    public var value: Double
    public init(_ value: Double) { self.value = value }
    public init(milliseconds: Double) { self.value = milliseconds / 1e3 }
    public init(microseconds: Double) { self.value = microseconds / 1e6 }
    public init(nanoseconds: UInt64) { self.value = Double(nanoseconds) / 1e9 }
    public var milliseconds: Double { value * 1e3 }
    public var microseconds: Double { value * 1e6 }
    public var description: String { value >= 60 ? clockText(value) : scaled(value, "s") }
}

/// Temperature in degrees Celsius.
public struct Celsius: Quantity {
    public var value: Double
    public init(_ value: Double) { self.value = value }
    public var description: String { decimal(value, places: 1) + " °C" }
}

public func * (power: Watts, time: Seconds) -> Joules { Joules(power.value * time.value) }
public func * (time: Seconds, power: Watts) -> Joules { Joules(power.value * time.value) }
public func / (energy: Joules, time: Seconds) -> Watts { Watts(energy.value / time.value) }
public func / (energy: Joules, power: Watts) -> Seconds { Seconds(energy.value / power.value) }
