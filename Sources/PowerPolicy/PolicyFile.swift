import ConfigDocument
import Units

extension PowerPolicy {
    /// Reads the policy file at `path` with its drop-ins, `PATH.d/*.toml`.
    /// - Throws: what `ConfigDocument.load` and `init(reading:)` throw.
    public static func load(_ path: String) throws(JouledError) -> PowerPolicy {
        try PowerPolicy(reading: document(path))
    }

    /// Reads a policy from its document.
    /// - Throws: `missingKey`, `invalidValue` and `unknownKey`, each with file, line and key; keys of
    ///   another kind of policy are unknown keys.
    public init(reading document: ConfigDocument) throws(JouledError) {
        let root = document.root
        let name = try root.string("kind")
        let description = try root.string("description", default: "")
        let thermal = try root.optionalTable("thermal").map(Self.thermal)
        let (defaults, models) = try Self.models(root.optionalTable("models"))
        let kind: Kind
        switch name {
        case "lifetime": kind = .lifetime(try Self.lifetime(root))
        case "levels": kind = .levels(try Self.levels(root))
        case "fixed": kind = .fixed(Watts(try root.number("watts", range: 0 ... .infinity)))
        case "unlimited": kind = .unlimited
        default: throw root.error("kind", "'\(name)' is none of lifetime, levels, fixed, unlimited")
        }
        let schedule = try Self.schedule(root, document)
        try root.finish()
        self.init(kind: kind, description: description, thermal: thermal, defaults: defaults, models: models, schedule: schedule)
    }

    private static func lifetime(_ root: ConfigTable) throws(JouledError) -> Lifetime {
        let duration = try root.optionalDuration("duration")
        let until = try root.optionalString("until")
        let end: Lifetime.End
        switch (duration, until) {
        case (let duration?, nil):
            guard duration.value > 0 else { throw root.error("duration", "must be more than 0") }
            end = .duration(duration)
        case (nil, "next-charge"): end = .nextCharge
        case (nil, let until?):
            guard let second = secondOfDay(until) else {
                throw root.error("until", "'\(until)' is no time of day; write \"22:00\", or \"next-charge\"")
            }
            end = .until(secondOfDay: second)
        case (nil, nil):
            throw root.error("duration", "a lifetime policy needs 'duration' or 'until'", code: .missingKey)
        case (.some, .some):
            throw root.error("until", "give either 'duration' or 'until', not both")
        }
        return Lifetime(
            end: end,
            reserve: try root.number("reserve_percent", default: 5, range: 0...99) / 100,
            margin: try root.number("margin", default: 0.05, range: 0...0.9),
            capacity: try root.optionalNumber("capacity_wh", range: 1e-6...1e6).map { Joules(wattHours: $0) })
    }

    /// Seconds after midnight of `HH:MM`, or nil.
    static func secondOfDay(_ text: String) -> Int? {
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        guard parts.count == 2, parts.allSatisfy({ $0.utf8.count == 2 && $0.utf8.allSatisfy { (0x30...0x39).contains($0) } }),
            let hour = Int(parts[0]), let minute = Int(parts[1]), hour < 24, minute < 60
        else { return nil }
        return hour * 3600 + minute * 60
    }

    private static func levels(_ root: ConfigTable) throws(JouledError) -> Levels {
        var levels: [Levels.Level] = []
        let tables = try root.tables("level")
        for table in tables {
            let above = try table.number("above_percent", range: 0...100) / 100
            if let last = levels.last, above >= last.above {
                throw table.error(
                    "above_percent", "levels go from the fullest battery down; must be below \(percent(last.above, places: 1))")
            }
            levels.append(.init(above: above, watts: Watts(try table.number("watts", range: 0 ... .infinity))))
        }
        guard let last = levels.last, let lastTable = tables.last else {
            throw root.error("level", "a levels policy needs at least one [[level]]", code: .missingKey)
        }
        guard last.above == 0 else {
            throw lastTable.error("above_percent", "the last level must begin at 0, so that every charge has one")
        }
        let hysteresis = try root.number("hysteresis_percent", default: 2, range: 0...50) / 100
        // A level that its own hysteresis reaches past could never be entered from below.
        if let top = levels.first, levels.count > 1, top.above + hysteresis > 1 {
            throw root.error(
                "hysteresis_percent",
                "the highest level could never be entered again: \(percent(top.above)) + \(percent(hysteresis)) is over 100 %")
        }
        return Levels(levels: levels, hysteresis: hysteresis)
    }

    private static func thermal(_ table: ConfigTable) throws(JouledError) -> Thermal {
        let from = try table.optionalNumber("derate_from_celsius", range: -50...200)
        let to = try table.optionalNumber("derate_to_celsius", range: -50...200)
        switch (from, to) {
        case (let from?, let to?):
            guard to > from else { throw table.error("derate_to_celsius", "must be above derate_from_celsius (\(from))") }
        case (.some, nil): throw table.error("derate_to_celsius", "belongs to derate_from_celsius; without both, trip points alone count", code: .missingKey)
        case (nil, .some): throw table.error("derate_from_celsius", "belongs to derate_to_celsius; without both, trip points alone count", code: .missingKey)
        case (nil, nil): break
        }
        let standard = Thermal()
        let below = try table.number("derate_from_below_trip", default: standard.fromBelowTrip.value, range: 0...100)
        let least = try table.number("derate_to_below_trip", default: min(standard.toBelowTrip.value, below / 2), range: 0...100)
        guard below > least || (below == 0 && least == 0) else { throw table.error("derate_from_below_trip", "must be more than derate_to_below_trip (\(least))") }
        return Thermal(
            from: from.map { Celsius($0) }, to: to.map { Celsius($0) },
            full: try table.optionalNumber("full_watts", range: 0 ... .infinity).map { Watts($0) },
            fromBelowTrip: Celsius(below), toBelowTrip: Celsius(least))
    }

    private static func models(_ table: ConfigTable?) throws(JouledError) -> (ModelRules, [String: ModelRules]) {
        guard let table else { return (ModelRules(), [:]) }
        let defaults = try table.optionalTable("*").map { inner throws(JouledError) in try rules(inner, ModelRules()) } ?? ModelRules()
        var models: [String: ModelRules] = [:]
        for name in table.keys where name != "*" {
            models[name] = try rules(table.table(name), defaults)
        }
        return (defaults, models)
    }

    private static func rules(_ table: ConfigTable, _ defaults: ModelRules) throws(JouledError) -> ModelRules {
        return ModelRules(
            floor: try table.number("floor", default: defaults.floor, range: 0...1),
            weight: try table.number("weight", default: defaults.weight, range: ModelRules.weights),
            critical: try table.bool("critical", default: defaults.critical))
    }
}
