import Units

/// How hot the device is.
public struct ThermalSnapshot: Hashable, Sendable {
    /// A temperature at which the kernel acts.
    public struct Trip: Hashable, Sendable {
        /// `passive`, `hot` or `critical`.
        public let kind: String
        /// The temperature.
        public let temperature: Celsius
    }

    /// The temperature of the hottest zone.
    public var hottest: Reading<Celsius>?
    /// The hottest zone's type, e.g. `x86_pkg_temp`.
    public var zone: String?
    /// Of each zone's lowest passive trip point, at which the kernel slows the device down, the one that its zone is closest to; and how
    /// far that zone is below it, negative past it.
    public var passiveTrip: Trip?
    public var passiveMargin: Celsius?
    /// The same of hot and critical trip points, at which the kernel protects the hardware.
    public var nearestTrip: Trip?
    public var margin: Celsius?
    /// What could not be used, each naming the file at fault.
    public var problems: [String] = []
}

/// Reads `class/thermal`.
public struct ThermalReader: Sendable {
    private static let directory = "class/thermal"
    /// In thousandths of a degree. Drivers use absolute zero and the like for "no such trip".
    private static let plausible: ClosedRange<Int64> = -60_000...200_000
    private static let maximumTrips = 16
    /// In thousandths of a degree. Firmware that knows of no trip point writes 0, absolute zero or, often, 20.8 degrees.
    private static let plausibleTrips: ClosedRange<Int64> = 40_000...200_000

    /// Where the zones are read.
    public let sysfs: SysfsRoot

    /// - Parameter sysfs: where the zones are read.
    public init(sysfs: SysfsRoot = SysfsRoot()) { self.sysfs = sysfs }

    /// Reads every zone now.
    public func snapshot() -> ThermalSnapshot {
        var snapshot = ThermalSnapshot()
        for name in sysfs.names(in: Self.directory) where name.hasPrefix("thermal_zone") {
            let zone = "\(Self.directory)/\(name)"
            let content = sysfs.integer("\(zone)/temp", in: Self.plausible)
            if let problem = content.problem { snapshot.problems.append(problem) }
            guard let value = content.value else { continue }
            let temperature = Celsius(Double(value) / 1000)
            let trips = trips(of: zone)
            if let trip = trips.passive, trip.temperature - temperature < snapshot.passiveMargin ?? Celsius(.infinity) {
                snapshot.passiveTrip = trip
                snapshot.passiveMargin = trip.temperature - temperature
            }
            if let trip = trips.protecting, trip.temperature - temperature < snapshot.margin ?? Celsius(.infinity) {
                snapshot.nearestTrip = trip
                snapshot.margin = trip.temperature - temperature
            }
            if let hottest = snapshot.hottest, hottest.value >= temperature { continue }
            // The kernel asks the sensor on reading, so the value is fresh; sensors are good to a degree.
            snapshot.hottest = Reading(temperature, age: .zero, error: Celsius(1), origin: zone)
            snapshot.zone = sysfs.text("\(zone)/type").value
        }
        return snapshot
    }

    /// The lowest of each kind.
    private func trips(of zone: String) -> (passive: ThermalSnapshot.Trip?, protecting: ThermalSnapshot.Trip?) {
        var trips: [ThermalSnapshot.Trip] = []
        for number in 0..<Self.maximumTrips {
            // They are numbered without gaps.
            guard let kind = sysfs.text("\(zone)/trip_point_\(number)_type").value else { break }
            // Active trips only start fans; they endanger nothing.
            guard kind != "active" else { continue }
            guard let value = sysfs.integer("\(zone)/trip_point_\(number)_temp", in: Self.plausibleTrips).value else { continue }
            trips.append(ThermalSnapshot.Trip(kind: kind, temperature: Celsius(Double(value) / 1000)))
        }
        trips.sort { $0.temperature < $1.temperature }
        return (trips.first { $0.kind == "passive" }, trips.first { $0.kind != "passive" })
    }
}
