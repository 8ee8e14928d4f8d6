import Units

/// One device on one or more days: what its battery, its other loads, its charger and its streams do.
///
/// The controller that is judged on it sees none of this directly (see `ScenarioReplay`).
public struct Scenario: Sendable, Equatable {
    public struct Battery: Sendable, Equatable {
        public var capacity: Joules
        /// Charge at the beginning, 0 to 1.
        public var initialCharge: Double
        /// What the charger delivers while external power is on.
        public var charger: Watts
    }

    /// What telemetry sees of the battery.
    public struct Gauge: Sendable, Equatable {
        public var period: Seconds
        /// Step of the charge, as a share of full.
        public var quantum: Double
        /// Power is multiplied by 1 + N(0, `powerNoise`).
        public var powerNoise: Double
    }

    public struct Goal: Sendable, Equatable {
        /// The device must live until then, from the beginning of the scenario.
        public var until: Seconds
        /// Charge that must be left then, 0 to 1.
        public var reserve: Double
    }

    /// A row of a profile: one variant of one model on one unit.
    public struct Option: Sendable, Equatable {
        public var model: String
        public var variant: String
        public var unit: String
        /// Validated quality, 0 to 1.
        public var quality: Double
        /// Profiled energy per window.
        public var joules: Joules
        public var p50: Seconds
        public var p99: Seconds
        public var residentMegabytes: Double
        public var loadJoules: Joules
    }

    public struct Stream: Sendable, Equatable {
        public var name: String
        public var model: String
        public var start: Seconds
        public var end: Seconds
        /// Between windows.
        public var hop: Seconds
        public var deadline: Seconds
        /// Lowest acceptable quality of a variant, 0 to 1.
        public var floor: Double
        public var weight: Double
        public var critical: Bool
        /// Whether the scenario says so itself, over a policy's rule for the model; what it does not say is 1 and false in the score.
        public var statesWeight = true
        public var statesCritical = true
        /// Hop multiples.
        public var cadences: [Int]
        /// Factor on quality for each cadence.
        public var cadenceQuality: [Double]
    }

    /// A row of the trace: what holds from its time to the next row's.
    public struct Row: Sendable, Equatable {
        public var time: Seconds
        /// Everything the device draws beside inference.
        public var base: Watts
        public var harvest: Watts = .zero
        public var acOnline = false
        public var temperature = Celsius(25)
    }

    public var name: String
    /// Seeds every random draw.
    public var seed: UInt64
    public var battery: Battery
    public var gauge: Gauge
    /// Whether an energy counter watches inference.
    public var hasMeter: Bool
    public var goal: Goal
    /// True joules per profiled joule, by unit; 1 for units not named.
    public var energyScale: [String: Double] = [:]
    /// True latency per profiled latency, by unit; 1 for units not named.
    public var latencyScale: [String: Double] = [:]
    /// Share of a unit's time that streams may use together; 1 for units not named.
    public var unitUtilization: [String: Double] = [:]
    /// Memory for loaded variants; nil: unlimited.
    public var residentMegabytes: Double?
    public var options: [Option]
    public var streams: [Stream]
    /// Ascending in time; what the first row says also holds before it.
    public var rows: [Row]
    /// What the file says that has no effect, with file and line.
    public var notices: [String] = []

    /// The index of the row that holds at `time`, in seconds.
    func row(at time: Double) -> Int {
        var low = 0
        var high = rows.count
        while high - low > 1 {
            let middle = (low + high) / 2
            if rows[middle].time.value <= time { low = middle } else { high = middle }
        }
        return low
    }
}
