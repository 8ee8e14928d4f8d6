import Units

extension PowerPolicy {
    /// A setting that is not as it would be if the file said nothing of it.
    public struct Difference: Hashable, Sendable {
        /// As in the file, tables with dots.
        public var key: String
        public var value: String
        /// Nil: there is no default, the policy must say.
        public var standard: String?
        /// True for what a schedule changes; `standard` is then what holds otherwise.
        public var isSchedule = false
    }

    /// What the policy says that is not the default, in the order of the documentation.
    public var differences: [Difference] {
        var list: [Difference] = []
        func add(_ key: String, _ value: String, _ standard: String?) {
            if value != standard { list.append(Difference(key: key, value: value, standard: standard)) }
        }
        add("kind", kind.name, nil)
        switch kind {
        case .lifetime(let lifetime):
            let standard = Lifetime(end: lifetime.end)
            switch lifetime.end {
            case .duration(let duration): add("duration", clockText(duration.value), nil)
            case .until(let second): add("until", Self.timeOfDay(second), nil)
            case .nextCharge: add("until", "next-charge", nil)
            }
            add("reserve_percent", decimal(lifetime.reserve * 100, places: 2), decimal(standard.reserve * 100, places: 2))
            add("margin", decimal(lifetime.margin, places: 4), decimal(standard.margin, places: 4))
            if let capacity = lifetime.capacity { add("capacity_wh", decimal(capacity.wattHours, places: 4), "what the gauge says") }
        case .levels(let levels):
            for level in levels.levels { add("level from \(percent(level.above, places: 1))", "\(level.watts)", nil) }
            add("hysteresis_percent", decimal(levels.hysteresis * 100, places: 2), decimal(Levels(levels: []).hysteresis * 100, places: 2))
        case .fixed(let watts): add("watts", "\(watts)", nil)
        case .unlimited: break
        }
        if let thermal {
            if let from = thermal.from { add("thermal.derate_from_celsius", "\(from)", "no derating") }
            if let to = thermal.to { add("thermal.derate_to_celsius", "\(to)", "no derating") }
            add("thermal.derate_from_below_trip", "\(thermal.fromBelowTrip)", "no derating")
            add("thermal.derate_to_below_trip", "\(thermal.toBelowTrip)", "no derating")
            if let full = thermal.full { add("thermal.full_watts", "\(full)", "the most seen while cool") }
        }
        func add(_ name: String, _ rules: ModelRules, _ standard: ModelRules) {
            add("models.\(name).floor", decimal(rules.floor, places: 4), decimal(standard.floor, places: 4))
            add("models.\(name).weight", decimal(rules.weight, places: 4), decimal(standard.weight, places: 4))
            add("models.\(name).critical", "\(rules.critical)", "\(standard.critical)")
        }
        add("\"*\"", defaults, ModelRules())
        for (name, rules) in models.sorted(by: { $0.key < $1.key }) { add(name, rules, defaults) }
        for entry in schedule {
            let days = entry.days.count == 7 ? "" : " on " + Self.days(entry.days)
            add("schedule \(entry.name)", "\(Self.timeOfDay(entry.from)) to \(Self.timeOfDay(entry.until))\(days)", nil)
            // Only what is other then than it is otherwise.
            let otherwise = plainDifferences
            let then = entry.policy.differences
            for difference in then where !otherwise.contains(where: { $0.key == difference.key && $0.value == difference.value }) {
                let usual = otherwise.first { $0.key == difference.key }?.value ?? difference.standard
                list.append(Difference(key: "schedule \(entry.name).\(difference.key)", value: difference.value, standard: usual, isSchedule: true))
            }
            for difference in otherwise where difference.standard != nil && entry.policy.kind.name == kind.name && !then.contains(where: { $0.key == difference.key }) {
                list.append(Difference(key: "schedule \(entry.name).\(difference.key)", value: difference.standard ?? "", standard: difference.value, isSchedule: true))
            }
        }
        return list
    }

    private var plainDifferences: [Difference] {
        var plain = self
        plain.schedule = []
        return plain.differences
    }

    /// `mon, tue`
    private static func days(_ days: Set<Int>) -> String {
        let names = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]
        return days.sorted().map { names[$0] }.joined(separator: ", ")
    }
}
