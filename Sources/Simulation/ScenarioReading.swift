import ConfigDocument
import Units

extension Scenario {
    /// Reads the scenario at `path` and the trace that it names, which lies beside it.
    /// - Throws: what is wrong, with file, line and key (or column).
    public static func load(_ path: String) throws(JouledError) -> Scenario {
        let document = try ConfigDocument.load(path)
        var scenario = try Scenario(reading: document)
        let trace = try document.root.string("trace")
        let directory = path.lastIndex(of: "/").map { String(path[...$0]) } ?? ""
        do throws(JouledError) {
            scenario.rows = try TraceFile.load(trace.hasPrefix("/") ? trace : directory + trace)
        } catch where error.code == .unreadableFile {
            // A path that leads nowhere is wrong where it is written.
            throw document.root.error("trace", error.message, code: error.code)
        }
        return scenario
    }

    /// Reads everything but the trace's rows.
    package init(reading document: ConfigDocument) throws(JouledError) {
        let root = document.root
        _ = try root.string("trace")
        name = try root.string("name")
        seed = UInt64(try root.integer("seed", default: 1, range: 0...Int.max))
        rows = []
        let battery = try root.table("battery")
        self.battery = Battery(
            capacity: Joules(wattHours: try battery.number("capacity_wh", range: 1e-9...1e9)),
            initialCharge: try battery.number("initial_percent", range: 0...100) / 100,
            charger: Watts(try battery.number("charger_w", default: 0, range: 0...1e9)))
        let gauge = try root.table("gauge")
        self.gauge = Gauge(
            period: Seconds(try Self.positive(gauge, "period_s")),
            quantum: try gauge.number("quantum_percent", range: 0...100) / 100,
            powerNoise: try gauge.number("power_noise", default: 0, range: 0...10))
        hasMeter = try root.optionalTable("meter")?.bool("present") ?? false
        let goal = try root.table("goal")
        self.goal = Goal(
            until: Seconds(try goal.number("until_s", range: 1e-3...1e9)),
            reserve: try goal.number("reserve_percent", default: 0, range: 0...100) / 100)
        var options: [Option] = []
        for table in try root.tables("option") {
            let option = try Self.option(table)
            guard let known = options.first(where: { ($0.model, $0.variant, $0.unit) == (option.model, option.variant, option.unit) }) else {
                options.append(option)
                continue
            }
            // Said twice is said once; of two that differ, one would be planned with and the other be billed.
            guard known == option else {
                throw table.error("variant", "there is another [[option]] '\(option.variant)' of model '\(option.model)' on unit '\(option.unit)', with other figures")
            }
        }
        guard !options.isEmpty else { throw root.error("option", "a scenario needs at least one [[option]]", code: .missingKey) }
        self.options = options
        let units = Set(options.map(\.unit))
        let truth = try root.optionalTable("truth")
        energyScale = try Self.map(truth, "energy_scale", units, &notices)
        latencyScale = try Self.map(truth, "latency_scale", units, &notices)
        let limits = try root.optionalTable("limits")
        unitUtilization = try Self.map(limits, "unit_utilization", units, &notices)
        residentMegabytes = try limits?.optionalNumber("resident_mb", range: 0...1e9)
        var streams: [Stream] = []
        for table in try root.tables("stream") {
            let stream = try Self.stream(table)
            guard options.contains(where: { $0.model == stream.model }) else {
                throw table.error("model", "no [[option]] is of model '\(stream.model)'")
            }
            guard !streams.contains(where: { $0.name == stream.name }) else {
                throw table.error("name", "there is another stream '\(stream.name)'")
            }
            streams.append(stream)
        }
        self.streams = streams
        try root.finish()
    }

    /// - Parameter notices: is told of units that no option is on: one table may serve scenarios of several devices, or be misspelt.
    private static func map(
        _ table: ConfigTable?, _ key: String, _ units: Set<String>, _ notices: inout [String]
    ) throws(JouledError) -> [String: Double] {
        guard let inner = try table?.optionalTable(key) else { return [:] }
        var map: [String: Double] = [:]
        for unit in inner.keys {
            if !units.contains(unit) {
                notices.append(inner.error(unit, "no [[option]] is on unit '\(unit)'; there are: \(units.sorted().joined(separator: ", "))").message)
            }
            map[unit] = try inner.number(unit, range: 0...1000)
        }
        return map
    }

    private static func positive(_ table: ConfigTable, _ key: String) throws(JouledError) -> Double {
        let value = try table.number(key, range: -.greatestFiniteMagnitude ... .greatestFiniteMagnitude)
        guard value > 0 else { throw table.error(key, "must be more than 0, is \(value)") }
        return value
    }

    private static func option(_ table: ConfigTable) throws(JouledError) -> Option {
        let p50 = try table.number("p50_ms", range: 0...1e9)
        let p99 = try table.number("p99_ms", range: 0...1e9)
        guard p99 >= p50 else { throw table.error("p99_ms", "is below p50_ms (\(p50))") }
        return Option(
            model: try table.string("model"), variant: try table.string("variant"), unit: try table.string("unit"),
            quality: try table.number("quality", range: 0...1), joules: Joules(try table.number("joules", range: 0...1e6)),
            p50: Seconds(milliseconds: p50), p99: Seconds(milliseconds: p99),
            residentMegabytes: try table.number("resident_mb", default: 0, range: 0...1e9),
            loadJoules: Joules(try table.number("load_joules", default: 0, range: 0...1e6)))
    }

    private static func stream(_ table: ConfigTable) throws(JouledError) -> Stream {
        let start = try table.number("start_s", default: 0, range: 0...1e9)
        let end = try table.number("end_s", range: 0...1e9)
        guard end > start else { throw table.error("end_s", "must be after start_s (\(start))") }
        let cadences = try table.integers("cadences", default: [1], range: 1...10_000)
        let qualities = try table.numbers("cadence_quality", default: cadences.map { _ in 1 }, range: 0...1)
        guard !cadences.isEmpty, Set(cadences).count == cadences.count else {
            throw table.error("cadences", "must be different hop multiples, at least one")
        }
        guard cadences.count == qualities.count else {
            throw table.error("cadence_quality", "has \(qualities.count) factors for \(cadences.count) cadences")
        }
        // Only weights' ratios count, hence whatever scale is written in; sums of these are still numbers.
        let weight = try table.number("weight", default: 1, range: 1e-100...1e100)
        return Stream(
            name: try table.string("name"), model: try table.string("model"), start: Seconds(start), end: Seconds(end),
            hop: Seconds(try table.number("hop_s", range: 1e-6...1e6)),
            deadline: Seconds(milliseconds: try table.number("deadline_ms", range: 0...1e9)),
            floor: try table.number("floor", default: 0, range: 0...1), weight: weight,
            critical: try table.bool("critical", default: false), statesWeight: table.contains("weight"), statesCritical: table.contains("critical"), cadences: cadences, cadenceQuality: qualities)
    }
}
