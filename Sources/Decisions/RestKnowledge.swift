import PowerPolicy
import Units

extension DecisionEngine {
    /// What was seen of the rest of the device, for a file; nil: nothing yet.
    public func restText(at wall: WallTime, utcOffset: UTCOffset) -> String? {
        lasting.hasData ? lasting.persistentText(at: wall, secondOfDay: Self.secondOfDay(wall, utcOffset)) : nil
    }

    /// Takes over what was seen of the rest of the device before a restart.
    public mutating func restore(_ forecaster: RestForecaster) { self.forecaster = forecaster }
}
