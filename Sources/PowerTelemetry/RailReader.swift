import Units

/// Reads the power of the device's input from a monitor chip of `class/hwmon` (INA219, INA226, INA3221 and the like).
///
/// INA3221 has no power file: its power is voltage times current of a channel. A shunt's least step bounds what can be told:
/// 40 uV and 8 mV on INA3221, 2.5 uV and 1.25 mV on INA226 (datasheets SBOS576, SBOS547), over shunts that drivers do not show,
/// so that a relative error stands for all of it.
public struct RailReader: Sendable {
    /// Shunts are of 1 %, gain and offset of the chip add as much again.
    private static let relativeError = 0.02
    private static let directory = "class/hwmon"

    public let sysfs: SysfsRoot
    /// The chip's name as its driver tells it, e.g. `ina3221`.
    public let chip: String
    /// The label of the channel (`inN_label`, `powerN_label`); nil: its first.
    public let label: String?

    public init(sysfs: SysfsRoot = SysfsRoot(), chip: String, label: String?) {
        self.sysfs = sysfs
        self.chip = chip
        self.label = label
    }

    /// The power now, or why there is none.
    public func power() -> (reading: Reading<Watts>?, problem: String?) {
        var problem: String?
        for name in sysfs.names(in: Self.directory) {
            let path = "\(Self.directory)/\(name)"
            guard sysfs.text("\(path)/name").value == chip else { continue }
            for channel in 1...8 {
                if let label {
                    let labels = ["power", "in", "curr"].map { sysfs.text("\(path)/\($0)\(channel)_label").value }
                    guard labels.contains(label) else { continue }
                }
                let watts = power(of: channel, in: path)
                problem = problem ?? watts.problem
                guard let value = watts.value else { continue }
                let power = Watts(value)
                return (Reading(power, age: .zero, error: Watts(value.magnitude * Self.relativeError), origin: "\(path) channel \(channel)"), nil)
            }
        }
        return (nil, problem ?? "\(Self.directory): no chip '\(chip)'\(label.map { " with a channel '\($0)'" } ?? "") gives power")
    }

    private func power(of channel: Int, in path: String) -> SysfsRoot.Content<Double> {
        let sane: ClosedRange<Int64> = -1_000_000_000...1_000_000_000
        // Microwatts.
        switch sysfs.integer("\(path)/power\(channel)_input", in: sane) {
        case .value(let micro): return .value(Double(micro) / 1e6)
        case .unusable(let problem): return .unusable(problem)
        case .absent: break
        }
        // Millivolts and milliamperes.
        let voltage = sysfs.integer("\(path)/in\(channel)_input", in: sane)
        let current = sysfs.integer("\(path)/curr\(channel)_input", in: sane)
        if let problem = voltage.problem ?? current.problem { return .unusable(problem) }
        guard let milliVolts = voltage.value, let milliAmperes = current.value else { return .absent }
        return .value(Double(milliVolts) * Double(milliAmperes) / 1e6)
    }
}
