import Units

/// One way to run a stream: a variant on a unit, every so many windows, so many windows per wake-up.
public struct PlanOption: Hashable, Sendable {
    public var variant: String
    public var unit: String
    /// Every how many hops a window is run, 1 or more.
    public var cadence: Int
    /// Windows per wake-up, 1 or more.
    public var coalescing: Int
    /// Variant quality x cadence quality, 0 to 1: what the stream's weight multiplies.
    public var quality: Double
    /// Quality of the variant alone, 0 to 1: what the stream's floor is about.
    public var variantQuality: Double
    /// Average power while it runs.
    public var power: Watts
    /// Share of the unit's time, 0 to 1.
    public var utilization: Double
    /// From a window's last sample to its result, waiting for coalescing included.
    public var latencyP99: Seconds
    /// Memory of the loaded variant; shared by all streams of the model that use it on this unit.
    public var residentBytes: Int
    /// Energy to load the variant on the unit.
    public var loadEnergy: Joules

    public init(
        variant: String, unit: String, cadence: Int = 1, coalescing: Int = 1, quality: Double, variantQuality: Double,
        power: Watts, utilization: Double, latencyP99: Seconds, residentBytes: Int = 0, loadEnergy: Joules = .zero
    ) {
        self.variant = variant
        self.unit = unit
        self.cadence = cadence
        self.coalescing = coalescing
        self.quality = quality
        self.variantQuality = variantQuality
        self.power = power
        self.utilization = utilization
        self.latencyP99 = latencyP99
        self.residentBytes = residentBytes
        self.loadEnergy = loadEnergy
    }

    /// How people read it, e.g. `int8 on cpu, every 4th window, 2 per wake-up`.
    public var words: String {
        "\(variant) on \(unit)\(cadence == 1 ? "" : ", every \(Self.ordinal(cadence)) window"), \(coalescing) per wake-up"
    }

    /// `2nd`, `11th`, `22nd`.
    private static func ordinal(_ number: Int) -> String {
        let isTeen = (11...13).contains(number % 100)
        switch number % 10 {
        case 1 where !isTeen: return "\(number)st"
        case 2 where !isTeen: return "\(number)nd"
        case 3 where !isTeen: return "\(number)rd"
        default: return "\(number)th"
        }
    }

    /// Whether both run the same artefact in the same place, so that going from one to the other loads nothing.
    public func sameArtefact(as other: PlanOption) -> Bool { variant == other.variant && unit == other.unit }
    /// Whether both also keep the same time. Figures may differ: estimates move.
    public func sameChoice(as other: PlanOption) -> Bool {
        sameArtefact(as: other) && cadence == other.cadence && coalescing == other.coalescing
    }
}

/// A stream that wants to run.
public struct StreamDemand: Hashable, Sendable {
    public var id: UInt64
    public var name: String
    public var model: String
    /// Worth of its quality beside other streams', above 0.
    public var weight: Double
    /// Lowest acceptable `variantQuality`.
    public var floor: Double
    /// Paused only if no limit but the budget's excess could keep it.
    public var critical: Bool
    /// An option whose `latencyP99` is above this is late, and late is worth nothing.
    public var latencyTolerance: Seconds
    public var options: [PlanOption]
    /// What it runs now; nil when new or paused.
    public var current: PlanOption?
    /// Since its last change, infinite for a new stream.
    public var secondsSinceSwitch: Seconds
    /// The stream that lets this one sleep; nil: it is always awake.
    public var gate: Gate?

    /// While a cheap stream runs, a dear one behind it is awake only now and then.
    public struct Gate: Hashable, Sendable {
        /// Id of the cheap stream.
        public var stream: UInt64
        /// Share of time that the dear one is awake, 0 to 1: its options then take so much of their power and time.
        public var duty: Double
        public init(stream: UInt64, duty: Double) {
            self.stream = stream
            self.duty = duty
        }
    }

    public init(
        id: UInt64, name: String, model: String, weight: Double = 1, floor: Double = 0, critical: Bool = false,
        latencyTolerance: Seconds = Seconds(.infinity), options: [PlanOption], current: PlanOption? = nil,
        secondsSinceSwitch: Seconds = Seconds(.infinity), gate: Gate? = nil
    ) {
        self.gate = gate
        self.id = id
        self.name = name
        self.model = model
        self.weight = weight
        self.floor = floor
        self.critical = critical
        self.latencyTolerance = latencyTolerance
        self.options = options
        self.current = current
        self.secondsSinceSwitch = secondsSinceSwitch
    }
}

/// What all streams share.
public struct PlanLimits: Hashable, Sendable {
    /// Nil: unlimited.
    public var budget: Watts?
    /// What a watt must earn: utility (weight x quality) per watt that is taken off each option's worth. It stands for
    /// what the energy is worth later; 0 where the budget alone decides.
    public var energyPrice: Double
    /// Share of a unit's time that streams may use together; 0.9 for units not named.
    public var unitUtilization: [String: Double]
    /// Memory for loaded variants; nil: unlimited.
    public var residentBytes: Int?
    /// For so long a variant that is loaded is expected to serve: its load energy, spread over that time, is priced like
    /// power. Infinite: loading costs nothing.
    public var loadHorizon: Seconds
    /// Quality that a change of variant or unit must gain to be worth it.
    public var switchCost: Double
    /// Quality that a change of cadence or coalescing alone must gain.
    public var retimeCost: Double
    /// For so long after a change, a further change of variant or unit costs a whole unit of quality
    /// more: it happens only for the sake of others, or not at all.
    public var minimumDwell: Seconds
    /// Search effort, in nodes of some 30 ns, after which the best plan so far is taken with its
    /// `regretBound`. Eight streams need some hundreds, with tight memory at times thousands.
    public var nodeLimit: Int

    /// Effort for decisions while streams run: 3 ms at the 99th percentile with 64 streams of 24 options, whatever binds.
    public static let liveNodeLimit = 55_000

    public static let defaultUtilization = 0.9

    public init(
        budget: Watts?, unitUtilization: [String: Double] = [:], residentBytes: Int? = nil, switchCost: Double = 0,
        retimeCost: Double = 0, minimumDwell: Seconds = .zero, nodeLimit: Int = 1_000_000, energyPrice: Double = 0,
        loadHorizon: Seconds = Seconds(.infinity)
    ) {
        self.energyPrice = energyPrice
        self.loadHorizon = loadHorizon
        self.budget = budget
        self.unitUtilization = unitUtilization
        self.residentBytes = residentBytes
        self.switchCost = switchCost
        self.retimeCost = retimeCost
        self.minimumDwell = minimumDwell
        self.nodeLimit = nodeLimit
    }
}

/// What keeps the plan from being better.
public enum PlanConstraint: Hashable, Sendable, CustomStringConvertible {
    /// Every stream runs at its best.
    case none
    case power
    /// The named unit's time.
    case utilization(String)
    case memory
    /// A better option is too late for its stream.
    case latency
    /// Only options below its floor would fit a stream.
    case floor
    /// The energy of better options is worth more later.
    case price

    public var description: String {
        switch self {
        case .none: "none"
        case .power: "power"
        case .utilization(let unit): "utilization(\(unit))"
        case .memory: "memory"
        case .latency: "latency"
        case .floor: "floor"
        case .price: "price"
        }
    }
}

/// What each stream does until the next plan.
public struct Plan: Hashable, Sendable {
    public struct Assignment: Hashable, Sendable {
        public var stream: UInt64
        /// Nil: paused. Behind a gate that runs, power and utilization are those of the time that it is awake.
        public var option: PlanOption?
        /// Why, in words for a person.
        public var reason: String
        public var runnerUp: RunnerUp?
    }

    /// A stream's best other choice while the other streams keep theirs.
    public struct RunnerUp: Hashable, Sendable {
        public var option: PlanOption
        /// Its weight x quality less the choice's, both less what their energy is worth. Above 0 in an exact plan only where
        /// `changeCost` is not less.
        public var utilityDifference: Double
        /// By how much utility changing to it costs more than changing to the choice, the dwell's forbidding price included.
        public var changeCost: Double
        /// So long the stream may not change to it, for it changed lately; nil: it may at any time.
        public var dwell: Seconds?
        /// Its power less the choice's.
        public var powerDifference: Watts
    }

    /// In the order of the demands.
    public var assignments: [Assignment]
    public var totalPower: Watts
    /// Sum of weight x quality over running streams.
    public var utility: Double
    /// What changing and loading cost, in the same measure; the plan maximises `utility - switchPenalty` less the price of
    /// its power.
    public var switchPenalty: Double
    /// Energy to load what no stream has loaded now, each artefact once.
    public var loadEnergy: Joules
    public var bindingConstraint: PlanConstraint
    /// By how much more power would raise the utility, at most; 0 while power does not bind.
    public var marginalUtilityPerWatt: Double
    /// Critical streams alone take more than the budget and run nonetheless.
    public var isOverBudget: Bool
    /// How far from the optimum the plan can be at most; 0 when proven optimal.
    public var regretBound: Double
    /// Search effort.
    public var nodes: Int
}
