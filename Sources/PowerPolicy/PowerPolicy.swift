import Units

/// What the operator asked of the battery, and what they ask of each model.
public struct PowerPolicy: Hashable, Sendable {
    /// How the budget comes about.
    public enum Kind: Hashable, Sendable {
        case lifetime(Lifetime)
        case levels(Levels)
        /// The same power whatever the battery says.
        case fixed(Watts)
        case unlimited

        /// The `kind` that a policy file names.
        public var name: String {
            switch self {
            case .lifetime: "lifetime"
            case .levels: "levels"
            case .fixed: "fixed"
            case .unlimited: "unlimited"
            }
        }
    }

    /// Last until a time, whatever it takes.
    public struct Lifetime: Hashable, Sendable {
        public enum End: Hashable, Sendable {
            /// So long from when the policy was first applied.
            case duration(Seconds)
            /// The next time that the local clock shows so many seconds after midnight.
            case until(secondOfDay: Int)
            /// The next usual charge, as `ChargeHabit` tells it.
            case nextCharge
        }
        public var end: End
        /// Share of a full battery, 0 to 1, that must be left at the end.
        public var reserve: Double
        /// Share of the energy for inference, 0 to 1, held back; grows with the forecast's uncertainty.
        public var margin: Double
        /// What a full battery holds, for gauges that know only percent.
        public var capacity: Joules?

        public init(end: End, reserve: Double = 0.05, margin: Double = 0.05, capacity: Joules? = nil) {
            self.end = end
            self.reserve = reserve
            self.margin = margin
            self.capacity = capacity
        }
    }

    /// So many watts at so much charge.
    public struct Levels: Hashable, Sendable {
        public struct Level: Hashable, Sendable {
            /// The level holds from this charge up, 0 to 1.
            public var above: Double
            public var watts: Watts
            public init(above: Double, watts: Watts) {
                self.above = above
                self.watts = watts
            }
        }
        /// From the fullest battery down; the last begins at 0.
        public var levels: [Level]
        /// How far above its threshold the charge must be, 0 to 1, to enter a higher level.
        public var hysteresis: Double

        public init(levels: [Level], hysteresis: Double = 0.02) {
            self.levels = levels
            self.hysteresis = hysteresis
        }
    }

    /// Less power as the device warms, so that it reaches no trip point: not by inference, at least.
    public struct Thermal: Hashable, Sendable {
        /// Up to here the budget stands; nil: only trip points count.
        public var from: Celsius?
        /// From here on the budget is 0; in between it falls linearly. Nil with `from`.
        public var to: Celsius?
        /// The same by how far the device is below the nearest trip point, where the kernel tells one. At a passive one, where the
        /// kernel slows the device down, `leastAtPassive` stays: some zones are always there.
        /// Trip points do not count where it is 0.
        public var fromBelowTrip: Celsius
        /// Below `fromBelowTrip`, 0 or more.
        public var toBelowTrip: Celsius
        /// What counts as full power while the budget is unlimited; nil: the most seen while cool, or what all streams take at their best
        /// if that is more.
        public var full: Watts?

        /// Share that is left however warm a zone with a passive trip point is.
        public static let leastAtPassive = 0.25

        public init(
            from: Celsius? = nil, to: Celsius? = nil, full: Watts? = nil, fromBelowTrip: Celsius = Celsius(10), toBelowTrip: Celsius = Celsius(2)
        ) {
            self.from = from
            self.to = to
            self.full = full
            self.fromBelowTrip = fromBelowTrip
            self.toBelowTrip = toBelowTrip
        }

        /// Whether power falls near trip points.
        public var countsTripPoints: Bool { fromBelowTrip > toBelowTrip }

        /// Whether it says temperatures, and nothing else than usual of trip points.
        public var isAbsolute: Bool { self == Thermal(from: from, to: to, full: full) && from != nil }

        /// The share of the budget that remains, 1 to 0; nil where there is nothing to go by.
        /// - Parameters:
        ///   - temperature: of the hottest part.
        ///   - tripMargin: how far the parts are below hot and critical trip points, at least; negative past one.
        ///   - passiveMargin: the same of passive ones.
        public func factor(at temperature: Celsius?, tripMargin: Celsius?, passiveMargin: Celsius?) -> Double? {
            var factor: Double?
            if let temperature, temperature.isFinite, let from, let to { factor = (to - temperature) / (to - from) }
            func near(_ margin: Celsius) -> Double { (margin - toBelowTrip) / (fromBelowTrip - toBelowTrip) }
            guard countsTripPoints else { return factor.map { min(1, max(0, $0)) } }
            if let tripMargin, tripMargin.isFinite { factor = min(factor ?? 1, near(tripMargin)) }
            if let passiveMargin, passiveMargin.isFinite { factor = min(factor ?? 1, max(Self.leastAtPassive, near(passiveMargin))) }
            return factor.map { min(1, max(0, $0)) }
        }
    }

    /// What the operator asks for streams of a model.
    public struct ModelRules: Hashable, Sendable {
        /// Lowest acceptable quality of a variant, 0 to 1.
        public var floor: Double
        /// Worth of its quality beside other models', within `weights`.
        public var weight: Double
        /// Paused only when everything else already is.
        public var critical: Bool

        /// Weights that may be asked for: a million between the least and the most leaves the least a say.
        public static let weights = 0.001...1000.0

        public init(floor: Double = 0, weight: Double = 1, critical: Bool = false) {
            self.floor = floor
            self.weight = weight
            self.critical = critical
        }
    }

    public var kind: Kind
    /// The operator's own words, shown beside the policy's name.
    public var description: String
    public var thermal: Thermal?
    /// For models that `models` does not name.
    public var defaults: ModelRules
    public var models: [String: ModelRules]
    /// Parts of the day in which another policy holds; see `inForce`.
    public var schedule: [ScheduleEntry] = []

    public init(
        kind: Kind, description: String = "", thermal: Thermal? = nil, defaults: ModelRules = ModelRules(),
        models: [String: ModelRules] = [:], schedule: [ScheduleEntry] = []
    ) {
        self.schedule = schedule
        self.kind = kind
        self.description = description
        self.thermal = thermal
        self.defaults = defaults
        self.models = models
    }

    /// The rules for streams of `model`.
    public func rules(for model: String) -> ModelRules { models[model] ?? defaults }
}
