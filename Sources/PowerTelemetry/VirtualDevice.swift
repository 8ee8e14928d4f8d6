import Units

/// A device that exists in arithmetic only: a battery, a charger, a base load, and a gauge that lies as real ones do.
///
/// It stands in for hardware on machines without a battery, in demonstrations and in simulations. Time is passed
/// in. The same calls give the same readings, and it does not matter into how many steps the time between them
/// is cut.
public struct VirtualDevice: PowerSource {
    /// What the gauge shows of the battery.
    public struct Gauge: Hashable, Sendable {
        /// How often the shown values are refreshed; at least a millisecond.
        public var period: Seconds
        /// The step of the shown charge, in percent; 0 shows it exactly.
        public var quantumPercent: Double
        /// The standard deviation of the shown power, as a fraction of it.
        public var powerNoise: Double
        /// Seeds the noise.
        public var seed: UInt64

        /// - Parameters:
        ///   - period: how often the shown values are refreshed.
        ///   - quantumPercent: the step of the shown charge, in percent.
        ///   - powerNoise: the standard deviation of the shown power, as a fraction of it.
        ///   - seed: seeds the noise.
        public init(period: Seconds = Seconds(30), quantumPercent: Double = 1, powerNoise: Double = 0.03, seed: UInt64 = 1) {
            self.period = period
            self.quantumPercent = quantumPercent
            self.powerNoise = powerNoise
            self.seed = seed
        }
    }

    /// What a device is made of.
    public struct Settings: Hashable, Sendable {
        /// The energy of the full battery.
        public var capacity: Joules
        /// The charge at the begin, in percent.
        public var initialPercent: Double
        /// What the charger delivers while it is plugged.
        public var charger: Watts
        /// Whether the charger is plugged at the begin.
        public var isPlugged: Bool
        /// What the device draws beside inference.
        public var baseLoad: Watts
        /// The gauge.
        public var gauge: Gauge

        /// - Parameters:
        ///   - capacityWattHours: the energy of the full battery.
        ///   - initialPercent: the charge at the begin.
        ///   - charger: what the charger delivers while it is plugged.
        ///   - isPlugged: whether it is plugged at the begin.
        ///   - baseLoad: what the device draws beside inference.
        ///   - gauge: the gauge.
        public init(
            capacityWattHours: Double, initialPercent: Double = 100, charger: Watts = Watts(10), isPlugged: Bool = false,
            baseLoad: Watts, gauge: Gauge = Gauge()
        ) {
            self.capacity = Joules(wattHours: capacityWattHours)
            self.initialPercent = initialPercent
            self.charger = charger
            self.isPlugged = isPlugged
            self.baseLoad = baseLoad
            self.gauge = gauge
        }
    }

    /// A device that ran empty comes back at this charge, as real ones do, lest it flicker.
    private static let revivalFraction = 0.02

    /// What the device is made of. Loads may change at any time, after `advance(to:)` to that time.
    public let settings: Settings
    /// What the device draws beside inference, while it is alive.
    public var baseLoad: Watts
    /// Whether the charger is plugged.
    public var isPlugged: Bool
    /// What a panel or the like delivers, plugged or not.
    public var harvest = Watts(0)

    /// The energy that is truly stored.
    public private(set) var storedEnergy: Joules
    /// Whether the battery ran empty and has not been charged enough since.
    public private(set) var isDead: Bool
    /// Up to when the device has been computed.
    public private(set) var time: MonotonicTime
    /// When the device first ran empty.
    public private(set) var diedAt: MonotonicTime?

    private let start: MonotonicTime
    /// The refresh that is shown now; 0 is the one at the begin.
    private var refresh: UInt64 = 0
    private var energyAtRefresh: Joules
    private var shownPower: Watts

    /// - Parameters:
    ///   - settings: what the device is made of.
    ///   - start: the time of its begin.
    public init(_ settings: Settings, start: MonotonicTime) {
        precondition(settings.capacity.value > 0 && settings.capacity.isFinite, "a battery has a capacity")
        self.settings = settings
        self.start = start
        time = start
        baseLoad = settings.baseLoad
        isPlugged = settings.isPlugged
        storedEnergy = settings.capacity * min(max(settings.initialPercent / 100, 0), 1)
        isDead = storedEnergy <= .zero
        diedAt = isDead ? start : nil
        energyAtRefresh = storedEnergy
        shownPower = settings.baseLoad - (isPlugged ? settings.charger : .zero)
        if shownPower < .zero, storedEnergy >= settings.capacity { shownPower = .zero }
    }

    // MARK: Truth

    /// The charge that is truly stored, from 0 to 1.
    public var trueFraction: Double { storedEnergy / settings.capacity }

    /// Lets time pass; going back does nothing.
    public mutating func advance(to target: MonotonicTime) {
        guard target > time else { return }
        let due = (target.nanoseconds - start.nanoseconds) / periodNanoseconds
        if due > refresh {
            // Of many missed refreshes only the last is seen, and it shows the mean since the one before.
            if due - 1 > refresh {
                integrate(to: timeOfRefresh(due - 1))
                energyAtRefresh = storedEnergy
            }
            integrate(to: timeOfRefresh(due))
            shownPower = (energyAtRefresh - storedEnergy) / Seconds(nanoseconds: periodNanoseconds)
            energyAtRefresh = storedEnergy
            refresh = due
        }
        integrate(to: target)
    }

    /// Takes energy for inference, at the present time, and returns what the battery could give.
    @discardableResult
    public mutating func draw(_ joules: Joules) -> Joules {
        guard !isDead, joules > .zero else { return .zero }
        let given = min(joules, storedEnergy)
        storedEnergy = storedEnergy - given
        if storedEnergy <= .zero { die() }
        return given
    }

    private var periodNanoseconds: UInt64 {
        let period = settings.gauge.period.value
        return UInt64(min(max(period.isFinite ? period : 1, 1e-3), 1e6) * 1e9)
    }

    private func timeOfRefresh(_ number: UInt64) -> MonotonicTime {
        MonotonicTime(nanoseconds: start.nanoseconds + number * periodNanoseconds)
    }

    private mutating func die() {
        storedEnergy = .zero
        isDead = true
        if diedAt == nil { diedAt = time }
    }

    /// Moves the true state to `target`, through deaths and revivals on the way.
    private mutating func integrate(to target: MonotonicTime) {
        while time < target {
            let income = harvest + (isPlugged ? settings.charger : .zero)
            let net = income - (isDead ? .zero : baseLoad)
            let left = target.since(time)
            let energy = storedEnergy + net * left
            let revival = settings.capacity * Self.revivalFraction
            if isDead, energy > revival, net > .zero {
                time = min(target, max(time.advanced(by: (revival - storedEnergy) / net), MonotonicTime(nanoseconds: time.nanoseconds + 1)))
                storedEnergy = revival
                isDead = false
            } else if !isDead, energy <= .zero, net < .zero {
                time = min(target, max(time.advanced(by: storedEnergy / -net), MonotonicTime(nanoseconds: time.nanoseconds + 1)))
                die()
            } else {
                storedEnergy = min(max(energy, .zero), settings.capacity)
                time = target
            }
        }
    }

    // MARK: What the gauge shows

    /// The state as the gauge tells it at `at`: up to a period old, in whole steps, with a noisy power.
    public func snapshot(at: MonotonicTime) -> BatterySnapshot {
        var device = self
        device.advance(to: at)
        return device.shown()
    }

    private func shown() -> BatterySnapshot {
        let gauge = settings.gauge
        let age = max(time.since(timeOfRefresh(refresh)), .zero)
        let exact = energyAtRefresh / settings.capacity
        let step = max(gauge.quantumPercent, 0) / 100
        let fraction = step > 0 ? min(max((exact / step).rounded() * step, 0), 1) : exact
        let power = shownPower * max(1 + gauge.powerNoise * normal(refresh), 0)
        let status: BatteryStatus =
            if power > .zero { .discharging } else if power < .zero { .charging } else { trueFraction >= 1 ? .full : .notCharging }
        return BatterySnapshot(
            energyNow: Reading(settings.capacity * fraction, age: age, error: settings.capacity * (step / 2), origin: "virtual"),
            energyFull: Reading(settings.capacity, age: .zero, error: .zero, origin: "virtual"),
            chargeFraction: Reading(fraction, age: age, error: step / 2, origin: "virtual"),
            draw: Reading(power, age: age, error: Watts(power.value.magnitude * 2 * gauge.powerNoise), origin: "virtual"),
            status: status,
            // Plugs are told by an event and not by the gauge, hence at once.
            acOnline: isPlugged,
            batteryCount: 1)
    }

    /// A normally distributed number that belongs to refresh `number`, so that skipping refreshes changes no later one.
    private func normal(_ number: UInt64) -> Double {
        // A sum of twelve uniform numbers: near enough, bounded by 6, and free of transcendental functions, whose
        // last digit differs between C libraries.
        var state = settings.gauge.seed &+ number &* 0x9e37_79b9_7f4a_7c15
        var sum = -6.0
        for _ in 0..<12 {
            state = (state ^ (state >> 30)) &* 0xbf58_476d_1ce4_e5b9
            state = (state ^ (state >> 27)) &* 0x94d0_49bb_1331_11eb
            state = (state ^ (state >> 31)) &+ 0x9e37_79b9_7f4a_7c15
            sum += Double(state >> 11) * 0x1p-53
        }
        return sum
    }
}
