/// RAPL, the processor's own counters, in `class/powercap`.
///
/// RAPL domains nest: of a package's children only `dram` is counted beside it, because `core` and `uncore` are parts of the package's own count. `psys`
/// measures the whole platform, packages included, and is taken alone where it exists. The `intel-rapl-mmio` domains are a second window on the
/// counters of `intel-rapl`.
public struct PowercapMeter: EnergyMeter {
    public static let name = "powercap"
    public static let forms = ["powercap"]
    private static let folder = "class/powercap"

    public init?(argument: String?) { if argument != nil { return nil } }

    public func counters(in sysfs: SysfsRoot, _ problems: inout [String]) -> [EnergyCounter] {
        var packages: [String] = []
        var platform: [String] = []
        for zone in sysfs.names(in: Self.folder) where zone.hasPrefix("intel-rapl:") {
            guard let name = sysfs.text("\(Self.folder)/\(zone)/name").value else { continue }
            let isChild = zone.dropFirst("intel-rapl:".count).contains(":")
            if name == "psys" { platform.append(zone) }
            if (name.hasPrefix("package") && !isChild) || (name == "dram" && isChild) { packages.append(zone) }
        }
        for zones in [platform, packages] where !zones.isEmpty {
            let found = zones.compactMap { zone in
                EnergyCounter("\(Self.folder)/\(zone)/energy_uj", rangeFile: "\(Self.folder)/\(zone)/max_energy_range_uj", in: sysfs, &problems)
            }
            if found.count == zones.count { return found }
        }
        return []
    }
}
