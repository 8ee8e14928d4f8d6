/// A chip with energy channels in `class/hwmon`: `hwmon:CHIP`, or `hwmon:CHIP/LABEL` for one of its channels.
///
/// Without a chip's name the only one with such channels is taken; of several the operator has to say which one feeds the processor.
public struct HwmonMeter: EnergyMeter {
    public static let name = "hwmon"
    public static let forms = ["hwmon:CHIP", "hwmon:CHIP/LABEL"]
    private static let folder = "class/hwmon"
    private let chip: String?
    private let label: String?

    public init?(argument: String?) {
        let parts = (argument ?? "").split(separator: "/", maxSplits: 1).map(String.init)
        if argument != nil, parts.isEmpty { return nil }
        (chip, label) = (parts.first, parts.count > 1 ? parts[1] : nil)
    }

    public func counters(in sysfs: SysfsRoot, _ problems: inout [String]) -> [EnergyCounter] {
        var found: [[EnergyCounter]] = []
        for directory in sysfs.names(in: Self.folder) {
            let path = "\(Self.folder)/\(directory)"
            guard let name = sysfs.text("\(path)/name").value, chip == nil || name == chip else { continue }
            let channels = (1...8).compactMap { channel -> EnergyCounter? in
                guard label == nil || sysfs.text("\(path)/energy\(channel)_label").value == label else { return nil }
                // Absent is the rule for most channels; only what is there can be wrong.
                guard case .value = sysfs.text("\(path)/energy\(channel)_input") else { return nil }
                return EnergyCounter("\(path)/energy\(channel)_input", in: sysfs, &problems)
            }
            if !channels.isEmpty { found.append(channels) }
        }
        if found.count == 1 { return found[0] }
        if found.count > 1 || chip != nil {
            problems.append("\(Self.folder): \(found.isEmpty ? "no" : "more than one") chip \(chip.map { "'\($0)' " } ?? "")has such an energy channel")
        }
        return []
    }
}
