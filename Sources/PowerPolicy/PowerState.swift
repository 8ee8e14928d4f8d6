import Units

/// What is known about power at one instant: the whole input of a policy's decision.
public struct PowerState: Hashable, Sendable {
    /// The batteries together, as their gauges last said.
    public struct Battery: Hashable, Sendable {
        /// Energy held, or nil when the gauge gives only percent.
        public var energy: Joules?
        /// Energy when full, or nil when unknown.
        public var full: Joules?
        /// Charge as a share of full, 0 to 1, or nil when unknown.
        public var charge: Double?
        /// One standard deviation of `energy` (or of the charge, times the energy when full).
        public var error: Joules
        /// How long ago the gauge was refreshed.
        public var age: Seconds

        public init(energy: Joules?, full: Joules?, charge: Double? = nil, error: Joules = .zero, age: Seconds = .zero) {
            self.energy = energy
            self.full = full
            self.charge = charge
            self.error = error
            self.age = age
        }

        /// Charge from whichever figures there are, held within 0 to 1.
        public var fraction: Double? {
            if let energy, let full, full.value > 0 { return min(1, max(0, energy / full)) }
            return charge.map { min(1, max(0, $0)) }
        }
    }

    /// When the device is next charged, as far as can be told.
    public struct NextCharge: Hashable, Sendable {
        public var left: Seconds
        /// How that is known.
        public var reason: String
        public init(left: Seconds, reason: String) {
            self.left = left
            self.reason = reason
        }
    }

    /// What all streams together take when a joule must earn so much.
    public struct Rung: Hashable, Sendable {
        /// What a joule must earn, relative to what it earns on the whole (the rest of the device's joules included) in
        /// the plan that makes most of the battery.
        public var worth: Double
        /// Power now.
        public var now: Watts
        /// Mean power until the goal's end, as far as streams are expected to last.
        public var mean: Watts
        public init(worth: Double, now: Watts, mean: Watts) {
            self.worth = worth
            self.now = now
            self.mean = mean
        }
    }

    /// Nil on a device without a battery.
    public var battery: Battery?
    public var acOnline: Bool
    /// What the whole device draws from the battery, where a gauge says so.
    public var draw: Watts?
    /// What inference draws, by the energy model.
    public var own: Watts
    /// What the rest of the device is expected to draw on average until the goal.
    public var rest: Watts
    /// One standard deviation of `rest`.
    public var restDeviation: Watts
    /// What the sun and the like are expected to bring on average until the goal.
    public var harvest: Watts
    /// The rest of the device, harvest and charging slot by slot until the goal; where there is one, `rest` and
    /// `harvest` count only for what happened since the gauge's last reading.
    public var outlook: Outlook?
    /// The same by what may well happen, for telling whether the goal is out of reach.
    public var hopefulOutlook: Outlook?
    /// What inference would take at falling prices of energy, ascending in power; empty: unknown.
    public var rungs: [Rung] = []
    /// What a joule must earn where every stream just has nearly all of its best utility.
    public var ordinary = 0.0
    /// The least that the streams which must not pause can run on; zero when there are none.
    public var least: Watts
    /// What all streams would take, each at its best.
    public var most = Watts.zero
    /// Of the hottest part.
    public var temperature: Celsius?
    /// How far the part that is closest to its hot or critical trip point is below it, negative past it; nil where the kernel tells of
    /// none. And the same of passive ones.
    public var tripMargin: Celsius?
    public var passiveMargin: Celsius?
    /// For policies that last until then.
    public var nextCharge: NextCharge?
    public var wall: WallTime
    /// Local time minus UTC.
    public var utcOffset: UTCOffset
    public var monotonic: MonotonicTime

    public init(
        battery: Battery?, acOnline: Bool = false, draw: Watts? = nil, own: Watts = .zero, rest: Watts = .zero,
        restDeviation: Watts = .zero, harvest: Watts = .zero, least: Watts = .zero, temperature: Celsius? = nil,
        wall: WallTime, utcOffset: UTCOffset = .zero, monotonic: MonotonicTime, outlook: Outlook? = nil,
        hopefulOutlook: Outlook? = nil
    ) {
        self.outlook = outlook
        self.hopefulOutlook = hopefulOutlook
        self.battery = battery
        self.acOnline = acOnline
        self.draw = draw
        self.own = own
        self.rest = rest
        self.restDeviation = restDeviation
        self.harvest = harvest
        self.least = least
        self.temperature = temperature
        self.wall = wall
        self.utcOffset = utcOffset
        self.monotonic = monotonic
    }
}

/// What a policy remembers from one decision to the next. Begin a new one with a new policy.
public struct PolicyMemory: Hashable, Sendable {
    /// When a `duration` began to count. Monotonic, so that setting the clock moves no goal.
    public var started: MonotonicTime?
    /// Time that counts although it passed before `started`: under an earlier process, before a reboot, or while the device slept.
    public var before = Seconds.zero
    /// The level that a `levels` policy is in, counted from the highest.
    public var level: Int?
    /// The most that inference drew while the device was cool.
    public var peak: Watts = .zero
    /// Stored energy when the goal was found to be out of reach.
    public var hopelessSince: Joules?
    public init() {}

    /// What is left of it where a schedule puts another policy in force: a duration goes on counting from when the operator
    /// chose the file, and what was seen while cool stays true.
    public var forSuccessor: PolicyMemory {
        var next = PolicyMemory()
        next.started = started
        next.before = before
        next.peak = peak
        return next
    }

    /// A goal that recurs begins anew: on external power nothing that was spent before counts.
    mutating func beginAnew(at now: MonotonicTime) {
        started = now
        before = .zero
        hopelessSince = nil
    }

    /// How long a `duration` has been counting.
    public func elapsed(at now: MonotonicTime) -> Seconds { before + now.since(started ?? now) }

    /// The device slept, which the monotonic clock did not count.
    public mutating func slept(_ span: Seconds) {
        if started != nil { before = before + max(.zero, span) }
    }
}

/// What inference may draw now, and why.
public struct Budget: Hashable, Sendable {
    public enum Goal: Hashable, Sendable {
        /// The policy sets no goal.
        case none
        case feasible
        /// Not to be met whatever inference does.
        case infeasible
    }
    /// Where nothing that inference does meets the goal: streams are then run for what they earn per joule, dearer as
    /// the battery empties, instead of being paused for a goal that is lost.
    public struct Hopeless: Hashable, Sendable {
        /// What the device takes beside inference.
        public var rest: Watts
        /// Share of the energy, 1 to 0, that is left of what there was when the goal was found to be out of reach.
        public var left: Double
    }
    /// A line of the arithmetic.
    public struct Term: Hashable, Sendable {
        public var name: String
        public var value: String
        public init(_ name: String, _ value: String) {
            self.name = name
            self.value = value
        }
    }

    /// Nil: as much as is useful.
    public var watts: Watts?
    /// One sentence.
    public var reason: String
    /// How `watts` came about, in order.
    public var terms: [Term]
    public var goal: Goal
    /// Time until the goal's end; nil without a goal.
    public var secondsLeft: Seconds?
    /// What a joule must earn, relative to what it earns on the whole; see `PowerState.Rung`.
    public var worth = 0.0
    /// How likely the goal is met, 0 to 1, by the forecast of the rest of the device; nil where nothing is forecast.
    public var chance: Double?
    /// Set while the goal is out of reach by more than the forecast's doubt.
    public var hopeless: Hopeless?
}
