import Units

/// How an energy figure was come by; better evidence compares greater.
public enum Basis: String, Hashable, Sendable, CaseIterable, Comparable {
    /// CPU time x watts per core: no power was measured.
    case modelled
    /// The battery's own gauge, over minutes.
    case battery
    /// An energy meter (RAPL, INA226 and the like), over the runs themselves.
    case metered

    /// One standard deviation of a profile's energies on this basis, as a fraction. RAPL's psys
    /// against the battery differs by 10 to 30 % between machines, CPU-time models by factors of 2 to 3.
    public var relativeError: Double {
        switch self {
        case .modelled: 0.5
        case .battery: 0.2
        case .metered: 0.1
        }
    }

    public static func < (left: Basis, right: Basis) -> Bool { left.rank < right.rank }
    private var rank: Int {
        switch self {
        case .modelled: 0
        case .battery: 1
        case .metered: 2
        }
    }
}

/// What one step of work costs: time on its unit, and energy.
public struct StepCost: Hashable, Sendable {
    /// CPU seconds (busy seconds of the unit where it is no CPU).
    public var cpu: Seconds
    public var energy: Joules

    public init(cpu: Seconds, energy: Joules) {
        self.cpu = cpu
        self.energy = energy
    }

    /// The cost of `busy` seconds at `power`: energy = time x power.
    public init(busy: Seconds, at power: Watts) { self.init(cpu: busy, energy: busy * power) }

    public static let zero = StepCost(cpu: .zero, energy: .zero)
    public static func + (left: StepCost, right: StepCost) -> StepCost {
        StepCost(cpu: left.cpu + right.cpu, energy: left.energy + right.energy)
    }
    public static func * (cost: StepCost, factor: Double) -> StepCost {
        StepCost(cpu: cost.cpu * factor, energy: cost.energy * factor)
    }
}

/// The time from the start of a wake-up to a result, as median and 99th percentile.
public struct LatencyProfile: Hashable, Sendable {
    public var p50: Seconds
    public var p99: Seconds
    public init(p50: Seconds, p99: Seconds) {
        self.p50 = p50
        self.p99 = p99
    }
}

/// The measured cost of running one variant on one unit of one device, at its real cadence.
///
/// A wake-up that runs k windows costs `wake + first + (k - 1) x next`: the first window after a
/// pause runs on cold caches and a slow clock and costs several times a further one, which is why
/// cost is profiled in these three parts and never as a hot loop's average.
public struct OptionProfile: Hashable, Sendable {
    public var variant: String
    public var unit: String
    /// Waking up and fetching the input, without inference.
    public var wake: StepCost
    /// The first window after a wake-up.
    public var first: StepCost
    /// Each further window of the same wake-up.
    public var next: StepCost
    /// From the wake-up to the first window's result.
    public var latency: LatencyProfile
    /// What each further window adds to it.
    public var nextLatency: LatencyProfile
    public var loadTime: Seconds
    public var loadEnergy: Joules
    /// Memory held while the variant is loaded on the unit.
    public var residentBytes: Int
    /// A pebibyte: more is no memory, and thousands of these can still be added up.
    public static let mostBytes = 1 << 50
    public var basis: Basis

    public init(
        variant: String, unit: String, wake: StepCost, first: StepCost, next: StepCost,
        latency: LatencyProfile, nextLatency: LatencyProfile? = nil, loadTime: Seconds = .zero,
        loadEnergy: Joules = .zero, residentBytes: Int = 0, basis: Basis
    ) {
        self.variant = variant
        self.unit = unit
        self.wake = wake
        self.first = first
        self.next = next
        self.latency = latency
        self.nextLatency = nextLatency ?? latency
        self.loadTime = loadTime
        self.loadEnergy = loadEnergy
        self.residentBytes = residentBytes
        self.basis = basis
    }

    /// Cost per window when each wake-up runs `coalescing` windows:
    /// `(wake + first + (k - 1) x next) / k`.
    /// - Precondition: `coalescing >= 1`.
    public func perWindow(coalescing: Int) -> StepCost {
        precondition(coalescing >= 1, "a wake-up runs at least one window")
        let windows = Double(coalescing)
        return (wake + first + next * (windows - 1)) * (1 / windows)
    }

    /// Time from the wake-up to the result of its `position`th window, counted from 1.
    ///
    /// The p99 adds up the windows' p99, which is never less than the p99 of their sum when they are
    /// slow together (a throttled clock), the case that deadlines have to survive.
    public func latency(ofWindow position: Int) -> LatencyProfile {
        precondition(position >= 1, "windows are counted from 1")
        let further = Double(position - 1)
        return LatencyProfile(p50: latency.p50 + nextLatency.p50 * further, p99: latency.p99 + nextLatency.p99 * further)
    }

    /// The worst p99 from the moment a window's samples are complete to its result, when `coalescing`
    /// windows that become complete every `period` wait for one wake-up.
    ///
    /// The first waits for all the others, the last for none but runs last; between them the time is
    /// linear, so the worst is one of the two.
    public func worstLatency(coalescing: Int, period: Seconds) -> Seconds {
        let firstWindow = period * Double(coalescing - 1) + latency(ofWindow: 1).p99
        return max(firstWindow, latency(ofWindow: coalescing).p99)
    }

    /// The share of its unit's time that the option takes with a window every `period`.
    public func utilization(coalescing: Int, period: Seconds) -> Double {
        perWindow(coalescing: coalescing).cpu / period
    }
}
