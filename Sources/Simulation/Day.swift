import Planner
import Units

/// A device's day as it truly is; the daemon's parts see of it only what a gauge and a meter show.
public struct Day: Sendable {
    /// What holds from `start` until the next interval's.
    public struct Interval: Hashable, Sendable {
        /// From the beginning of the day.
        public var start: Seconds
        /// What the device draws beside inference.
        public var base: Watts
        public var harvest: Watts
        public var acOnline: Bool
        public var temperature: Celsius?

        public init(
            start: Seconds, base: Watts, harvest: Watts = .zero, acOnline: Bool = false, temperature: Celsius? = nil
        ) {
            self.start = start
            self.base = base
            self.harvest = harvest
            self.acOnline = acOnline
            self.temperature = temperature
        }
    }

    /// A stream that is open from `start` to `end`.
    public struct Stream: Hashable, Sendable {
        /// What it asks for; `current` and `secondsSinceSwitch` are ignored.
        public var demand: StreamDemand
        public var start: Seconds
        public var end: Seconds

        public init(demand: StreamDemand, start: Seconds, end: Seconds) {
            self.demand = demand
            self.start = start
            self.end = end
        }
    }

    public var capacity: Joules
    /// Charge at the beginning, 0 to 1.
    public var initialCharge: Double
    /// What the charger delivers while on.
    public var charger: Watts
    /// How often the gauge is refreshed.
    public var gaugePeriod: Seconds
    /// The gauge's step, as a share of full.
    public var gaugeQuantum: Double
    /// Whether an energy meter watches inference.
    public var hasMeter: Bool
    /// True energy over profiled energy, by unit; 1 where not named.
    public var energyScale: [String: Double]
    /// Ascending; the first starts at 0.
    public var intervals: [Interval]
    public var streams: [Stream]
    public var length: Seconds

    public init(
        capacity: Joules, initialCharge: Double = 1, charger: Watts = .zero, gaugePeriod: Seconds = Seconds(60),
        gaugeQuantum: Double = 0.01, hasMeter: Bool = false, energyScale: [String: Double] = [:], intervals: [Interval],
        streams: [Stream], length: Seconds
    ) {
        self.capacity = capacity
        self.initialCharge = initialCharge
        self.charger = charger
        self.gaugePeriod = gaugePeriod
        self.gaugeQuantum = gaugeQuantum
        self.hasMeter = hasMeter
        self.energyScale = energyScale
        self.intervals = intervals
        self.streams = streams
        self.length = length
    }
}

/// How a day went.
public struct DayReport: Hashable, Sendable {
    /// One decision and what was true when it was made.
    public struct Step: Hashable, Sendable {
        public var time: Seconds
        /// True charge, 0 to 1.
        public var charge: Double
        public var budget: Watts?
        /// What the plan was expected to draw.
        public var planned: Watts
        public var utility: Double
    }
    /// True charge at the end, 0 to 1.
    public var endCharge: Double
    /// Weight x quality x seconds answered over weight x seconds asked for.
    public var utility: Double
    /// Changes of option of a stream that goes on, pauses and resumptions included.
    public var switches: Int
    /// When the battery first was empty.
    public var diedAt: Seconds?
    public var inferenceEnergy: Joules
    public var baseEnergy: Joules
    /// Energy that came from the charger and the harvest, as far as it fitted into the battery.
    public var chargedEnergy: Joules
    public var criticalPaused: Seconds
    public var steps: [Step]
}
