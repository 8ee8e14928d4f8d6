import Units

/// Reads all of `class/power_supply`: batteries summed, and whether power comes from outside.
public struct PowerSupplyReader: PowerSource {
    /// Gauges are not better than this, whatever their resolution.
    private static let gaugeError = 0.01
    /// Charge times a nominal voltage is off by what the true voltage differs.
    private static let voltageError = 0.04
    /// Current registers are averages and calibrated to a few percent.
    private static let powerError = 0.05

    private static let directory = "class/power_supply"

    /// Where the supplies are read.
    public let sysfs: SysfsRoot
    /// The energy of a full battery whose driver tells percentages only, as the operator knows it.
    public let assumedFull: Joules?
    /// Per battery what was read last and since when it has been the same.
    private var history: [String: (fingerprint: [Int64?], since: MonotonicTime)] = [:]

    /// - Parameters:
    ///   - sysfs: where the supplies are read.
    ///   - assumedFull: the energy of a full battery whose driver tells percentages only.
    public init(sysfs: SysfsRoot = SysfsRoot(), assumedFull: Joules? = nil) {
        self.sysfs = sysfs
        self.assumedFull = assumedFull
    }

    /// Reads every supply now.
    ///
    /// The kernel does not say when a gauge was refreshed. A reading's age is the time since any of its
    /// battery's numbers last changed, which is the most it can be; on the first look it is 0. A battery at rest beside
    /// others that are not has no part in the sum's age.
    public mutating func snapshot(at time: MonotonicTime) -> BatterySnapshot {
        var snapshot = BatterySnapshot()
        var batteries: [(directory: String, attributes: BatteryAttributes, age: Seconds)] = []
        var lineOnline: Bool?
        var seen: Set<String> = []
        for name in sysfs.names(in: Self.directory) {
            let directory = "\(Self.directory)/\(name)"
            let type = sysfs.text("\(directory)/type")
            if let problem = type.problem { snapshot.problems.append(problem) }
            switch type.value {
            case "Battery":
                // Batteries of mice and headsets say that they belong to a device.
                guard sysfs.text("\(directory)/scope").value != "Device",
                    sysfs.integer("\(directory)/present").value != 0
                else { continue }
                var reader = BatteryAttributeReader(sysfs: sysfs, directory: directory)
                let attributes = reader.read()
                seen.insert(name)
                batteries.append((directory, attributes, age(of: name, attributes.fingerprint, at: time)))
                snapshot.problems += attributes.problems
            case "Mains", "USB", "Wireless":
                let online = sysfs.integer("\(directory)/online", in: 0...2)
                if let problem = online.problem { snapshot.problems.append(problem) }
                if let value = online.value { lineOnline = (lineOnline ?? false) || value != 0 }
            default: break
            }
        }
        history = history.filter { seen.contains($0.key) }
        snapshot.batteryCount = batteries.count
        snapshot.status = Self.status(batteries.map(\.attributes.status))
        // Without any line supply only the batteries can tell; without those too, something feeds the device.
        snapshot.acOnline = lineOnline ?? (batteries.isEmpty || snapshot.status == .charging || snapshot.status == .full)
        sum(Self.withoutAgeAtRest(batteries, acOnline: snapshot.acOnline), into: &snapshot)
        return snapshot
    }

    private mutating func age(of name: String, _ fingerprint: [Int64?], at time: MonotonicTime) -> Seconds {
        if let last = history[name], last.fingerprint == fingerprint { return max(time.since(last.since), .zero) }
        history[name] = (fingerprint, time)
        return .zero
    }

    /// A battery at rest beside others that are not is as old as the oldest of those at most: its numbers stay the same
    /// because nothing flows, not because nobody looked. Where all are at rest, each keeps its age.
    private static func withoutAgeAtRest(
        _ batteries: [(directory: String, attributes: BatteryAttributes, age: Seconds)], acOnline: Bool
    ) -> [(directory: String, attributes: BatteryAttributes, age: Seconds)] {
        let oldest = batteries.filter { !isAtRest($0.attributes, acOnline: acOnline) }.map(\.age).max()
        guard let oldest else { return batteries }
        return batteries.map { ($0.directory, $0.attributes, isAtRest($0.attributes, acOnline: acOnline) ? min($0.age, oldest) : $0.age) }
    }

    /// Whether nothing flows into or out of a battery, as its driver says.
    private static func isAtRest(_ attributes: BatteryAttributes, acOnline: Bool) -> Bool {
        let power = signed(attributes, acOnline: acOnline)
        switch attributes.status {
        case .full, .notCharging: return power ?? .zero == .zero
        // Drivers that know no better word for it show a current of nothing at least.
        case .unknown: return power == .zero
        case .charging, .discharging: return false
        }
    }

    /// One battery that discharges makes the whole discharge.
    private static func status(_ statuses: [BatteryStatus]) -> BatteryStatus {
        for status in [BatteryStatus.discharging, .charging] where statuses.contains(status) { return status }
        guard let first = statuses.first, !statuses.contains(.unknown) else { return .unknown }
        return statuses.allSatisfy { $0 == first } ? first : .notCharging
    }

    private func sum(
        _ batteries: [(directory: String, attributes: BatteryAttributes, age: Seconds)], into snapshot: inout BatterySnapshot
    ) {
        var now: Reading<Joules>?
        var full: Reading<Joules>?
        var draw: Reading<Watts>?
        var fractions: [Reading<Double>] = []
        for (directory, attributes, age) in batteries {
            guard let fraction = attributes.fraction else {
                snapshot.problems.append("\(directory): neither energy, charge nor capacity can be read")
                continue
            }
            fractions.append(Reading(fraction, age: age, error: Self.gaugeError, origin: directory))
            let relative = Self.gaugeError + (attributes.isFromCharge ? Self.voltageError : 0)
            if let value = attributes.energyFull ?? assumedFull {
                let stored = attributes.energyNow ?? value * fraction
                Self.add(Reading(value, age: age, error: value * (relative - Self.gaugeError), origin: directory), to: &full)
                Self.add(Reading(stored, age: age, error: value * relative, origin: directory), to: &now)
            }
            if let power = Self.signed(attributes, acOnline: snapshot.acOnline) {
                let error = Watts(power.value.magnitude * (Self.powerError + (attributes.isFromCharge ? Self.voltageError : 0)))
                Self.add(Reading(power, age: age, error: error, origin: directory), to: &draw)
            }
        }
        snapshot.energyNow = now
        snapshot.energyFull = full
        snapshot.draw = draw
        guard !fractions.isEmpty else { return }
        var whole = fractions[0]
        // Two percentages can only be averaged; two energies can be divided.
        whole.value = fractions.map(\.value).reduce(0, +) / Double(fractions.count)
        if let now, let full, full.value > .zero { whole.value = now.value / full.value }
        whole.age = fractions.map(\.age).max() ?? whole.age
        whole.origin = fractions.map(\.origin).joined(separator: " + ")
        snapshot.chargeFraction = whole
    }

    private static func add<Value: Quantity>(_ reading: Reading<Value>, to sum: inout Reading<Value>?) {
        guard let before = sum else {
            sum = reading
            return
        }
        sum = Reading(
            before.value + reading.value, age: max(before.age, reading.age), error: before.error + reading.error,
            origin: "\(before.origin) + \(reading.origin)")
    }

    /// The power that leaves the battery. Drivers disagree on the sign, so the status decides where it can.
    private static func signed(_ attributes: BatteryAttributes, acOnline: Bool) -> Watts? {
        guard let power = attributes.power else { return nil }
        let magnitude = Watts(power.value.magnitude)
        switch attributes.status {
        case .discharging: return magnitude
        case .charging: return -magnitude
        // At rest: what a register still shows there is an average of the past or noise.
        case .full, .notCharging: return acOnline ? .zero : magnitude
        case .unknown:
            if !acOnline { return magnitude }
            // Drivers that show a negative number at all mean discharging by it, as the kernel's ABI asks.
            return power.value < 0 ? magnitude : nil
        }
    }
}
