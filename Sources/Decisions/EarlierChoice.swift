import Planner
import Units

/// How a stream ran before the process was restarted.
public struct EarlierChoice: Sendable, Equatable {
    public var variant: String
    public var unit: String
    public var cadence: Int
    public var coalescing: Int
    /// How long it had been running so.
    public var age: Seconds

    public init(variant: String, unit: String, cadence: Int, coalescing: Int, age: Seconds) {
        self.variant = variant
        self.unit = unit
        self.cadence = cadence
        self.coalescing = coalescing
        self.age = age
    }

    func names(_ option: PlanOption) -> Bool {
        option.variant == variant && option.unit == unit && option.cadence == cadence && option.coalescing == coalescing
    }
}
