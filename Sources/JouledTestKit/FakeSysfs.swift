import Glibc

/// A temporary directory laid out like /sys, removed with this object.
public final class FakeSysfs {
    /// The root, to be given where `/sys` would be.
    public let path: String
    /// What was created, parents first.
    private var created: [String] = []

    /// An empty tree.
    public init() {
        var template = Array("/tmp/jouled-sysfs-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { fatalError("mkdtemp: \(String(cString: strerror(errno)))") }
        path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    deinit {
        for entry in created.reversed() where unlink(entry) != 0 { rmdir(entry) }
        rmdir(path)
    }

    /// Writes `text` and a newline into `file`, a path below the root, creating directories on the way.
    public func write(_ file: String, _ text: String) { write(file, bytes: Array(text.utf8) + [0x0a]) }

    /// Writes a whole number into `file`.
    public func write(_ file: String, _ number: Int) { write(file, "\(number)") }

    /// Writes `bytes` as they are into `file`.
    public func write(_ file: String, bytes: [UInt8]) {
        makeParents(of: file)
        let whole = "\(path)/\(file)"
        if access(whole, F_OK) != 0 { created.append(whole) }
        let descriptor = open(whole, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
        guard descriptor >= 0 else { fatalError("\(whole): \(String(cString: strerror(errno)))") }
        defer { close(descriptor) }
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
            guard count > 0 else { fatalError("\(whole): \(String(cString: strerror(errno)))") }
            rest = rest.dropFirst(count)
        }
    }

    /// Puts a directory where a file is expected, so that reading fails with an error of input.
    public func makeUnreadable(_ file: String) {
        remove(file)
        makeParents(of: file + "/.")
    }

    /// Removes `file`, if it is there.
    public func remove(_ file: String) {
        let whole = "\(path)/\(file)"
        if unlink(whole) == 0 { created.removeAll { $0 == whole } }
    }

    /// Writes the attributes of the power supply `name`.
    public func supply(_ name: String, type: String, _ attributes: [String: String]) {
        write("class/power_supply/\(name)/type", type)
        for (attribute, value) in attributes { write("class/power_supply/\(name)/\(attribute)", value) }
    }

    /// Writes a thermal zone with its trip points.
    public func thermalZone(_ number: Int, type: String, millidegrees: Int, trips: [(kind: String, millidegrees: Int)] = []) {
        let zone = "class/thermal/thermal_zone\(number)"
        write("\(zone)/type", type)
        write("\(zone)/temp", millidegrees)
        for (index, trip) in trips.enumerated() {
            write("\(zone)/trip_point_\(index)_type", trip.kind)
            write("\(zone)/trip_point_\(index)_temp", trip.millidegrees)
        }
    }

    private func makeParents(of file: String) {
        var directory = path
        for component in file.split(separator: "/").dropLast() {
            directory += "/\(component)"
            if mkdir(directory, 0o755) == 0 { created.append(directory) }
        }
    }
}

/// Trees of real kinds of devices.
extension FakeSysfs {
    /// A laptop on battery: energies in microwatt-hours, positive power, an unplugged mains supply, a mouse.
    public static func laptop() -> FakeSysfs {
        let sysfs = FakeSysfs()
        sysfs.supply(
            "BAT0", type: "Battery",
            [
                "present": "1", "status": "Discharging", "capacity": "50", "energy_full_design": "57000000",
                "energy_full": "50000000", "energy_now": "25000000", "power_now": "8000000", "voltage_now": "11400000",
                "voltage_min_design": "11400000",
            ])
        sysfs.supply("AC", type: "Mains", ["online": "0"])
        sysfs.supply("hidpp_battery_0", type: "Battery", ["scope": "Device", "status": "Discharging", "capacity": "3"])
        return sysfs
    }

    /// A handheld with a bq27xxx gauge on battery: charges in microampere-hours, negative current while discharging.
    public static func handheld() -> FakeSysfs {
        let sysfs = FakeSysfs()
        sysfs.supply(
            "bq27441-battery", type: "Battery",
            [
                "present": "1", "status": "Discharging", "capacity": "75", "charge_full_design": "4000000",
                "charge_full": "4000000", "charge_now": "3000000", "current_now": "-500000", "voltage_now": "3900000",
                "voltage_min_design": "3700000",
            ])
        sysfs.supply("usb-charger", type: "USB", ["online": "0"])
        return sysfs
    }
}
