import Units

/// The numbers of one battery, in watts, joules and so on, after the quirks of its driver were undone.
struct BatteryAttributes {
    var energyNow: Joules?
    var energyFull: Joules?
    var fraction: Double?
    /// Of unknown sign.
    var power: Watts?
    var status = BatteryStatus.unknown
    /// Whether energies were computed from charge and voltage, which is less exact.
    var isFromCharge = false
    var problems: [String] = []
    /// All that was read: while this stays the same the gauge has probably not been refreshed.
    var fingerprint: [Int64?] = []
}

/// Reads one battery's directory below `class/power_supply`.
///
/// The kernel's unit is the millionth (uWh, uAh, uV, uA, uW). Drivers that report thousandths are recognized
/// by what no battery can be, and corrected with a problem that names the file.
struct BatteryAttributeReader {
    /// No battery that runs Linux holds less than 0.11 Wh or 20 mAh, nor more than 5 kWh or 1000 Ah.
    private static let plausibleEnergy: ClosedRange<Double> = 1.1e5...5e9
    private static let plausibleCharge: ClosedRange<Double> = 2e4...1e9
    private static let plausibleVoltage: ClosedRange<Double> = 5e5...2e8
    /// Beyond this a number is noise, whatever its unit.
    private static let sane: ClosedRange<Int64> = -1_000_000_000_000_000...1_000_000_000_000_000
    /// Hours in which the present power would empty the battery, where it can be believed.
    private static let plausibleHours: ClosedRange<Double> = 1.0 / 60...5000
    /// No driver is corrected into emptying its battery faster than this, in hours.
    private static let leastCorrectedHours = 0.1
    /// What runs Linux and empties its battery takes more than this; a large battery alone makes no power too small.
    private static let leastPower = Watts(0.01)
    /// Gauges drift above full by less than this.
    private static let mostOfFull = 1.3
    /// An order of magnitude above full is a matter of units, whatever else is read. Below that it may be full that is wrong.
    private static let otherUnits = 10.0

    let sysfs: SysfsRoot
    /// The battery's directory below the root.
    let directory: String
    private var found = BatteryAttributes()
    private var percentage: Double?
    /// By what this driver's energies or charges are off, where they agree about it.
    private var driverScale = 1.0

    init(sysfs: SysfsRoot, directory: String) {
        self.sysfs = sysfs
        self.directory = directory
    }

    mutating func read() -> BatteryAttributes {
        readStatus()
        readPercentage()
        let voltageNow = plausible("voltage_now", Self.plausibleVoltage)
        let voltage = plausible("voltage_min_design", Self.plausibleVoltage) ?? voltageNow
        if let full = full("energy", Self.plausibleEnergy) {
            found.energyFull = Joules(wattHours: full.value * full.scale / 1e6)
            driverScale = full.scale
            found.energyNow = now("energy", full).map { Joules(wattHours: $0 / 1e6) }
        } else if let full = full("charge", Self.plausibleCharge), let voltage {
            // One voltage for both, so that their ratio stays the gauge's.
            found.isFromCharge = true
            found.energyFull = Joules(wattHours: full.value * full.scale / 1e6 * voltage / 1e6)
            driverScale = full.scale
            found.energyNow = now("charge", full).map { Joules(wattHours: $0 / 1e6 * voltage / 1e6) }
        }
        deriveFraction()
        // Energies go with powers and charges with currents; the one tells nothing of the other's unit.
        if let watts = number("power_now") {
            if found.isFromCharge { driverScale = 1 }
            found.power = believable(Watts(watts.magnitude / 1e6), "power_now", sign: watts)
        } else if let current = number("current_now"), let voltage = voltageNow ?? voltage {
            if !found.isFromCharge { driverScale = 1 }
            found.power = believable(Watts(current.magnitude / 1e6 * voltage / 1e6), "current_now", sign: current)
        }
        return found
    }

    // MARK: Attributes

    private mutating func number(_ name: String, in range: ClosedRange<Int64> = Self.sane) -> Double? {
        let content = sysfs.integer("\(directory)/\(name)", in: range)
        if let problem = content.problem { found.problems.append(problem) }
        found.fingerprint.append(content.value)
        return content.value.map(Double.init)
    }

    private mutating func problem(_ name: String, _ what: String) {
        found.problems.append("\(directory)/\(name): \(what)")
    }

    /// A number that has to lie in `range`, corrected by a factor of 1000 if that puts it there.
    private mutating func plausible(_ name: String, _ range: ClosedRange<Double>) -> Double? {
        scaled(name, range).map { $0.value * $0.scale }
    }

    private mutating func scaled(_ name: String, _ range: ClosedRange<Double>) -> (value: Double, scale: Double)? {
        guard let value = number(name), value != 0 else { return nil }
        for scale in [1, 1000, 0.001] where range.contains(value * scale) {
            if scale != 1 { problem(name, "\(Int64(value)) is off by 1000, corrected") }
            return (value, scale)
        }
        problem(name, "\(Int64(value)) is impossible")
        return nil
    }

    private mutating func full(_ kind: String, _ range: ClosedRange<Double>) -> (value: Double, scale: Double)? {
        scaled("\(kind)_full", range) ?? scaled("\(kind)_full_design", range)
    }

    /// What is left of `full`, in millionths. Above full is held at full: gauges drift.
    private mutating func now(_ kind: String, _ full: (value: Double, scale: Double)) -> Double? {
        guard let raw = number("\(kind)_now") else { return nil }
        guard raw >= 0 else {
            problem("\(kind)_now", "\(Int64(raw)) is negative")
            return nil
        }
        let most = full.value * full.scale
        let correction = Self.correction(raw * full.scale / most, percentage)
        guard let correction else {
            problem("\(kind)_now", "\(Int64(raw)) is far above full")
            return nil
        }
        let scale = full.scale * correction
        // Registers of different units say nothing about a third.
        if correction != 1 { driverScale = 1 }
        if scale != full.scale { problem("\(kind)_now", "\(Int64(raw)) is off by 1000, corrected") }
        if raw * scale > most { problem("\(kind)_now", "\(Int64(raw)) is above full") }
        return min(raw * scale, most)
    }

    /// By what a share of full has to be corrected: a register that is off by 1000 alone, or beside a full that is. Anything between 0 and full is taken as it
    /// is, however far from the driver's percentage: one of the two is wrong, and a battery is not emptied on the word of a percentage that may be stuck.
    /// nil: the share is impossible, and so is what correcting it would give.
    private static func correction(_ share: Double, _ percentage: Double?) -> Double? {
        // To within what gauges differ by, less where there is little left, so that a percentage near 0 is no match for everything small.
        func agrees(_ corrected: Double) -> Bool {
            percentage.map { (corrected - $0).magnitude < min(0.15, $0 / 2 + 0.005) } ?? false
        }
        if share <= mostOfFull { return share * 1000 <= mostOfFull && percentage ?? 0 > 0 && agrees(share * 1000) ? 1000 : 1 }
        guard share / 1000 <= mostOfFull, share >= otherUnits || agrees(share / 1000) else { return nil }
        return 0.001
    }

    /// The driver's own percentage.
    private mutating func readPercentage() {
        guard let percent = number("capacity") else { return }
        guard (0...130).contains(percent) else { return problem("capacity", "\(Int64(percent)) is no percentage") }
        if percent > 100 { problem("capacity", "\(Int64(percent)) is above 100") }
        percentage = min(percent / 100, 1)
    }

    private mutating func deriveFraction() {
        if let now = found.energyNow, let full = found.energyFull {
            found.fraction = now / full
            return
        }
        found.fraction = percentage
        if let percentage, let full = found.energyFull { found.energyNow = full * percentage }
    }

    /// `power`, unless the battery could not bear it or would last for most of a year.
    private mutating func believable(_ power: Watts, _ name: String, sign: Double) -> Watts? {
        let direction: Double = sign < 0 ? -1 : 1
        guard let full = found.energyFull, power.value > 0 else {
            // Without a capacity only the impossible can be told.
            if power.value < 1000 { return power * direction }
            problem(name, "\(Int64(sign)) is impossible")
            return nil
        }
        for scale in [driverScale, 1, 1000, 0.001] {
            let hours = full.wattHours / (power.value * scale)
            guard Self.plausibleHours.contains(hours), scale <= 1 || hours >= Self.leastCorrectedHours else { continue }
            // A battery at rest reports next to nothing, and that is the truth. So may a small device on a large battery.
            if scale > driverScale, found.status != .discharging || power * driverScale >= Self.leastPower { break }
            if scale != 1 { problem(name, "\(Int64(sign)) is off by 1000, corrected") }
            return power * (direction * scale)
        }
        guard full.wattHours / power.value > Self.plausibleHours.lowerBound else {
            problem(name, "\(Int64(sign)) is impossible")
            return nil
        }
        return power * direction
    }

    private mutating func readStatus() {
        let content = sysfs.text("\(directory)/status")
        if let problem = content.problem { found.problems.append(problem) }
        switch content.value?.lowercased() {
        case "charging": found.status = .charging
        case "discharging": found.status = .discharging
        case "not charging": found.status = .notCharging
        case "full": found.status = .full
        case "unknown", nil: found.status = .unknown
        default: problem("status", "it is none of the known states")
        }
        found.fingerprint.append(Int64(found.status.hashIndex))
    }
}

extension BatteryStatus {
    /// A small stable number for comparing states.
    fileprivate var hashIndex: Int { Self.allCases.firstIndex(of: self) ?? 0 }
}
