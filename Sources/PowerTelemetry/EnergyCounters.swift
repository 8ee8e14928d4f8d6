import Units

/// Energy that counters of the device took between two looks.
public struct EnergySample: Hashable, Sendable {
    /// Energy in `span`.
    public var joules: Reading<Joules>
    /// Time between the looks.
    public var span: Seconds
    /// What could not be used, each naming the file at fault.
    public var problems: [String] = []
}

/// Reads cumulative energy counters: RAPL of `class/powercap`, and energy channels of `class/hwmon`.
///
/// Counters measure all that their domain feeds and not inference alone; telling the two apart is `MeterAttribution`'s.
/// RAPL domains nest: of a package's children only `dram` is counted beside it, because `core` and `uncore` are parts of
/// the package's own count. `psys` measures the whole platform, packages included, and is taken alone where it exists.
/// The `intel-rapl-mmio` domains are a second window on the counters of `intel-rapl`.
public struct EnergyCounterReader: Sendable {
    /// The source of counters.
    public enum Source: Hashable, Sendable {
        /// RAPL if it can be read, else a hwmon energy channel if there is exactly one chip with such.
        case automatic
        case powercap
        /// A hwmon chip by name; a label chooses one of its channels.
        case hwmon(chip: String, label: String?)
    }

    private struct Counter {
        var file: String
        /// The number after which the counter begins at 0 again; nil: it does not say, and never should.
        var range: Int64?
        var last: Int64?
    }

    private static let powercap = "class/powercap"
    private static let hwmon = "class/hwmon"
    /// No package takes more: with it a counter that may have wrapped twice is told from one that did not.
    private static let mostWatts = 500.0
    /// RAPL's counters were found within 3 % of a wattmeter's changes on Haswell and later (Khan et al. 2018, ACM TOMPECS).
    private static let relativeError = 0.03

    public let sysfs: SysfsRoot
    private let source: Source
    private var counters: [Counter] = []
    private var last: MonotonicTime?
    private var unchanged = 0

    /// - Parameter sysfs: where the counters are read.
    public init(sysfs: SysfsRoot = SysfsRoot(), source: Source = .automatic) {
        self.sysfs = sysfs
        self.source = source
    }

    /// The energy since the look before; nil on the first look, without counters, or if they cannot be believed.
    ///
    /// The first look finds the counters; so does each after a counter disappeared.
    public mutating func sample(at time: MonotonicTime) -> EnergySample? {
        var problems: [String] = []
        if counters.isEmpty {
            find(&problems)
            last = nil
        }
        guard !counters.isEmpty else { return problems.isEmpty ? nil : EnergySample(joules: none, span: .zero, problems: problems) }
        let span = last.map { time.since($0) } ?? .zero
        var total = 0.0
        var isWhole = last != nil && span > .zero
        for index in counters.indices {
            let content = sysfs.integer(counters[index].file, in: 0 ... .max)
            guard let now = content.value else {
                problems.append(content.problem ?? "\(counters[index].file): the counter is gone")
                counters = []
                return EnergySample(joules: none, span: .zero, problems: problems)
            }
            if let before = counters[index].last, let micro = Self.difference(from: before, to: now, counters[index].range, span) {
                total += Double(micro) / 1e6
            } else {
                isWhole = false
            }
            counters[index].last = now
        }
        last = time
        guard isWhole else { return nil }
        let origin = counters.map(\.file).joined(separator: " + ")
        // A processor that runs this takes something: a counter that stands still is not connected.
        unchanged = total > 0 ? 0 : unchanged + 1
        guard total > 0 else {
            return unchanged < 3 ? nil : EnergySample(joules: none, span: .zero, problems: ["\(origin): the counter stands still"])
        }
        return EnergySample(
            joules: Reading(Joules(total), age: .zero, error: Joules(total * Self.relativeError), origin: origin), span: span)
    }

    private var none: Reading<Joules> { Reading(.zero, age: .zero, error: .zero, origin: "") }

    /// The count between two looks, in microjoules; nil if it cannot be known.
    static func difference(from before: Int64, to now: Int64, _ range: Int64?, _ span: Seconds) -> Int64? {
        if let range, span.value * mostWatts * 1e6 >= Double(range) { return nil }
        if now >= before { return now - before }
        guard let range, before <= range else { return nil }
        let (difference, overflow) = (range - before).addingReportingOverflow(now)
        return overflow ? nil : difference
    }

    // MARK: Finding counters

    private mutating func find(_ problems: inout [String]) {
        switch source {
        case .powercap: findPowercap(&problems)
        case .hwmon(let chip, let label): findHwmon(chip, label, &problems)
        case .automatic:
            findPowercap(&problems)
            if counters.isEmpty { findHwmon(nil, nil, &problems) }
        }
    }

    private mutating func findPowercap(_ problems: inout [String]) {
        var packages: [String] = []
        var platform: [String] = []
        for zone in sysfs.names(in: Self.powercap) where zone.hasPrefix("intel-rapl:") {
            guard let name = sysfs.text("\(Self.powercap)/\(zone)/name").value else { continue }
            let isChild = zone.dropFirst("intel-rapl:".count).contains(":")
            if name == "psys" { platform.append(zone) }
            if (name.hasPrefix("package") && !isChild) || (name == "dram" && isChild) { packages.append(zone) }
        }
        for zones in [platform, packages] where !zones.isEmpty {
            let found = zones.compactMap { counter("\(Self.powercap)/\($0)/energy_uj", range: "\(Self.powercap)/\($0)/max_energy_range_uj", &problems) }
            // A sum that misses a part would look like a cheap device.
            guard found.count == zones.count else { continue }
            counters = found
            return
        }
    }

    private mutating func findHwmon(_ chip: String?, _ label: String?, _ problems: inout [String]) {
        var found: [[Counter]] = []
        for directory in sysfs.names(in: Self.hwmon) {
            let path = "\(Self.hwmon)/\(directory)"
            guard let name = sysfs.text("\(path)/name").value, chip == nil || name == chip else { continue }
            let channels = (1...8).compactMap { channel -> Counter? in
                guard label == nil || sysfs.text("\(path)/energy\(channel)_label").value == label else { return nil }
                // Absent is the rule for most channels; only what is there can be wrong.
                guard case .value = sysfs.text("\(path)/energy\(channel)_input") else { return nil }
                return counter("\(path)/energy\(channel)_input", range: nil, &problems)
            }
            if !channels.isEmpty { found.append(channels) }
        }
        // Of several chips the operator has to say which one feeds the processor.
        if found.count == 1 { counters = found[0] } else if found.count > 1 || chip != nil {
            problems.append("\(Self.hwmon): \(found.isEmpty ? "no" : "more than one") chip \(chip.map { "'\($0)' " } ?? "")has such an energy channel")
        }
    }

    private func counter(_ file: String, range: String?, _ problems: inout [String]) -> Counter? {
        let content = sysfs.integer(file, in: 0 ... .max)
        if let problem = content.problem { problems.append(problem) }
        guard content.value != nil else { return nil }
        return Counter(file: file, range: range.flatMap { sysfs.integer($0, in: 1 ... .max).value })
    }
}
