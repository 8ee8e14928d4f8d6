import ConfigDocument
import Units

/// A `profile.toml`: what each variant of a model costs on each unit of one device.
public struct DeviceProfile: Hashable, Sendable {
    /// What was profiled, e.g. a board name; a profile of another device is no evidence here.
    public var device: String
    /// The inference runtime and its version; costs change with it.
    public var runtime: String
    /// Power of one busy CPU core above idle: turns CPU time into energy where no meter exists.
    public var wattsPerCore: Watts
    public var options: [OptionProfile]

    public init(device: String, runtime: String, wattsPerCore: Watts, options: [OptionProfile]) {
        self.device = device
        self.runtime = runtime
        self.wattsPerCore = wattsPerCore
        self.options = options
    }

    /// The cost of `variant` on `unit`, if it was profiled.
    public func option(variant: String, unit: String) -> OptionProfile? {
        options.first { $0.variant == variant && $0.unit == unit }
    }

    // MARK: - Reading

    /// Reads the profile at `path`.
    /// - Throws: what `ConfigDocument.load` and `init(reading:)` throw.
    public static func load(_ path: String) throws(JouledError) -> DeviceProfile {
        try DeviceProfile(reading: ConfigDocument.load(path))
    }

    /// Reads a profile from its document.
    /// - Throws: `missingKey`, `invalidValue` and `unknownKey`, each with file, line and key. Negative
    ///   costs, a p99 below its p50 and a variant profiled twice on one unit are invalid values.
    public init(reading document: ConfigDocument) throws(JouledError) {
        let root = document.root
        device = try root.string("device")
        runtime = try root.string("runtime")
        wattsPerCore = Watts(try root.number("watts_per_core", range: 0...1000))
        options = []
        for table in try root.tables("option") {
            let option = try Self.option(table)
            if self.option(variant: option.variant, unit: option.unit) != nil {
                throw table.error("variant", "'\(option.variant)' on '\(option.unit)' is profiled twice")
            }
            options.append(option)
        }
        try root.finish()
    }

    private static func option(_ table: ConfigTable) throws(JouledError) -> OptionProfile {
        let basisName = try table.string("basis")
        guard let basis = Basis(rawValue: basisName) else {
            let known = Basis.allCases.map(\.rawValue).joined(separator: ", ")
            throw table.error("basis", "'\(basisName)' is none of \(known)")
        }
        let latency = try Self.latency(table.table("latency"))
        let next = try table.optionalTable("next_latency")
        return OptionProfile(
            variant: try table.string("variant"),
            unit: try table.string("unit"),
            wake: try cost(table.table("wake")),
            first: try cost(table.table("first")),
            next: try cost(table.table("next")),
            latency: latency,
            nextLatency: next == nil ? latency : try next.map(Self.latency),
            loadTime: try table.duration("load_s", default: .zero),
            loadEnergy: Joules(try table.number("load_joules", default: 0, range: amount)),
            residentBytes: try table.integer("resident_bytes", default: 0, range: 0...OptionProfile.mostBytes),
            basis: basis)
    }

    private static let amount: ClosedRange<Double> = 0 ... .infinity

    private static func cost(_ table: ConfigTable) throws(JouledError) -> StepCost {
        StepCost(
            cpu: Seconds(try table.number("cpu_s", range: amount)),
            energy: Joules(try table.number("joules", range: amount)))
    }

    private static func latency(_ table: ConfigTable) throws(JouledError) -> LatencyProfile {
        let p50 = try table.number("p50_s", range: amount)
        let p99 = try table.number("p99_s", range: amount)
        guard p99 >= p50 else { throw table.error("p99_s", "is below p50_s") }
        return LatencyProfile(p50: Seconds(p50), p99: Seconds(p99))
    }

    // MARK: - Writing

    /// The profile as TOML. The same profile gives the same bytes, and reading them gives the same
    /// profile to the last bit: quantities are in SI units, where no rounding is needed.
    public var text: String {
        var text = """
            # Measured by joulectl profile. Seconds and joules; a wake-up of k windows costs
            # wake + first + (k - 1) x next.
            device = \(tomlString(device))
            runtime = \(tomlString(runtime))
            watts_per_core = \(wattsPerCore.value)

            """
        func cost(_ cost: StepCost) -> String { "{ cpu_s = \(cost.cpu.value), joules = \(cost.energy.value) }" }
        func latency(_ latency: LatencyProfile) -> String {
            "{ p50_s = \(latency.p50.value), p99_s = \(latency.p99.value) }"
        }
        for option in options.sorted(by: { ($0.variant, $0.unit) < ($1.variant, $1.unit) }) {
            text += """

                [[option]]
                variant = \(tomlString(option.variant))
                unit = \(tomlString(option.unit))
                basis = \(tomlString(option.basis.rawValue))
                wake = \(cost(option.wake))
                first = \(cost(option.first))
                next = \(cost(option.next))
                latency = \(latency(option.latency))
                next_latency = \(latency(option.nextLatency))
                load_s = \(option.loadTime.value)
                load_joules = \(option.loadEnergy.value)
                resident_bytes = \(option.residentBytes)

                """
        }
        return text
    }
}
