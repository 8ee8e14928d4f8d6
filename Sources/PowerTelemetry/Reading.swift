import Units

/// A measured value with what is known of its truth.
public struct Reading<Value: Hashable & Sendable>: Hashable, Sendable {
    /// The value.
    public var value: Value
    /// How old the value may be: gauges refresh every 1 to 360 s and do not say when they did.
    public var age: Seconds
    /// How far the truth at that age may be away, in either direction.
    public var error: Value
    /// Where the value comes from: a path below the sysfs root, or `virtual`.
    public var origin: String

    /// - Parameters:
    ///   - value: the value.
    ///   - age: how old it may be.
    ///   - error: how far the truth may be away.
    ///   - origin: where it comes from.
    public init(_ value: Value, age: Seconds, error: Value, origin: String) {
        self.value = value
        self.age = age
        self.error = error
        self.origin = origin
    }
}
