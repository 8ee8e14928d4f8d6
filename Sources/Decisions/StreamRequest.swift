import EnergyModel
import Planner
import Units

/// What a client asked for when it opened a stream, together with what its model offers.
public struct StreamRequest: Sendable, Equatable {
    public var id: UInt64
    /// A name for people; may be empty.
    public var name: String
    public var model: String
    /// Time between the starts of windows.
    public var hopTime: Seconds
    /// Lateness of results that the client accepts.
    public var latencyTolerance: Seconds
    /// Overrides of the policy's rules for the model. A floor can only be raised.
    public var floor: Double?
    public var weight: Double?
    public var critical: Bool?
    /// The only variant to be considered.
    public var pinnedVariant: String?
    /// Usable variants: those that hold their declared thresholds.
    public var variants: [Variant]
    /// Hop multiples at which the model was validated.
    public var cadences: [Cadence]
    /// What its options' lateness and energy are made of.
    public var pacing: Pacing
    /// What lets the stream sleep; nil: it is always awake.
    public var gate: Gate?

    /// Another stream that lets this one sleep.
    public struct Gate: Sendable, Equatable {
        public var stream: UInt64
        /// Share of time that this stream is awake while the other runs, as learned so far, 0 to 1.
        public var duty: Double
        public init(stream: UInt64, duty: Double) {
            self.stream = stream
            self.duty = duty
        }
    }

    public enum Pacing: Sendable, Equatable {
        /// Windows may wait for one another and share a wake-up; waiting counts as lateness.
        case coalesced
        /// Each window is run when it is complete, and costs what the profile says of one.
        case perWindow
    }

    public struct Variant: Sendable, Equatable {
        public var name: String
        /// Validated quality relative to the baseline, 0 to 1.
        public var quality: Double
        /// Its cost by unit.
        public var profiles: [OptionProfile]
        /// What the variant is beside its name: the version of its bundle and the digest of its file. One that failed is not
        /// planned again, but what was published in its place is.
        public var artefact: String
        public init(name: String, quality: Double, profiles: [OptionProfile], artefact: String = "") {
            self.artefact = artefact
            self.name = name
            self.quality = quality
            self.profiles = profiles
        }
    }

    public struct Cadence: Sendable, Equatable {
        /// One of how many hops is answered.
        public var multiple: Int
        /// Factor on quality, 0 to 1.
        public var quality: Double
        public init(multiple: Int, quality: Double) {
            self.multiple = multiple
            self.quality = quality
        }
    }

    public init(
        id: UInt64, name: String, model: String, hopTime: Seconds, latencyTolerance: Seconds, floor: Double? = nil,
        weight: Double? = nil, critical: Bool? = nil, pinnedVariant: String? = nil, variants: [Variant], cadences: [Cadence],
        pacing: Pacing = .coalesced, gate: Gate? = nil
    ) {
        self.gate = gate
        self.pacing = pacing
        self.id = id
        self.name = name
        self.model = model
        self.hopTime = hopTime
        self.latencyTolerance = latencyTolerance
        self.floor = floor
        self.weight = weight
        self.critical = critical
        self.pinnedVariant = pinnedVariant
        self.variants = variants
        self.cadences = cadences
    }
}

extension StreamRequest {
    /// Share of time that the stream is awake.
    /// - Parameter runs: whether a stream runs.
    public func duty(_ runs: (UInt64) -> Bool) -> Double { gate.map { runs($0.stream) ? $0.duty : 1 } ?? 1 }
}

/// One way to run a stream: an option of the planner with how its socket is read.
public struct RunOption: Sendable, Equatable {
    public var plan: PlanOption
    public var profile: OptionProfile
    /// Energy per window and one standard deviation, as the model predicts now.
    public var energy: Prediction
    /// Time between reads of the socket; nil reads whenever bytes arrive.
    public var drainPeriod: Seconds?

    /// Windows per wake-up that are considered: powers of two, so that streams' wake-ups coincide, and the most that the
    /// tolerance allows. At 32 ms a window and 1 s of tolerance that is 30 and not 16, so half the wake-ups.
    static let coalescings = [1, 2, 4, 8, 16, 32, 64]
    /// A step beyond the last power of two that is smaller than this is not worth an option.
    private static let leastStep = 1.125

    /// All ways to run `request`, with energies as `model` and latencies as `latency` predict them.
    ///
    /// A socket on a grid of period P = k x hop x cadence is read up to P after a window is complete, whatever the
    /// client's phase, so its worst lateness is P plus the time to compute k windows. Where not even k = 1 fits, the
    /// socket is read on arrival and only the computing counts.
    public static func all(for request: StreamRequest, by model: EnergyModel, latency: LatencyModel = LatencyModel()) -> [RunOption] {
        var options: [RunOption] = []
        for variant in request.variants where request.pinnedVariant == nil || request.pinnedVariant == variant.name {
            for profile in variant.profiles {
                let slowDown = latency.cautiousFactor(of: profile.unit)
                for cadence in request.cadences {
                    let windowTime = request.hopTime * Double(cadence.multiple)
                    let lateness = { (k: Int) in windowTime * Double(k) + profile.latency(ofWindow: k).p99 * slowDown }
                    for k in request.pacing == .perWindow ? [1] : Self.coalescings(within: request.latencyTolerance, windowTime: windowTime, lateness) {
                        let lateness = lateness(k)
                        let waits = request.pacing == .coalesced && lateness <= request.latencyTolerance
                        let energy = model.predict(profile, coalescing: k)
                        options.append(
                            RunOption(
                                plan: PlanOption(
                                    variant: variant.name, unit: profile.unit, cadence: cadence.multiple, coalescing: k,
                                    quality: variant.quality * cadence.quality, variantQuality: variant.quality,
                                    power: energy.joules / windowTime,
                                    utilization: profile.utilization(coalescing: k, period: windowTime) * slowDown,
                                    latencyP99: waits ? lateness : profile.latency(ofWindow: 1).p99 * slowDown,
                                    residentBytes: profile.residentBytes, loadEnergy: profile.loadEnergy),
                                profile: profile, energy: energy, drainPeriod: waits ? windowTime * Double(k) : nil))
                    }
                }
            }
        }
        return options
    }

    /// The numbers of windows per wake-up for which no result is later than `tolerance`, rising; at least 1.
    private static func coalescings(within tolerance: Seconds, windowTime: Seconds, _ lateness: (Int) -> Seconds) -> [Int] {
        var fitting = coalescings.prefix { $0 == 1 || lateness($0) <= tolerance }.map { $0 }
        let last = fitting[fitting.count - 1], largest = coalescings[coalescings.count - 1]
        guard lateness(last) <= tolerance, last < largest else { return fitting }
        // Computing takes a fraction of a window's time, so the first that fits is close below.
        let most = Int(min(tolerance / windowTime, Double(largest)))
        if let more = stride(from: most, to: last, by: -1).first(where: { lateness($0) <= tolerance }), Double(more) >= Double(last) * leastStep {
            fitting.append(more)
        }
        return fitting
    }
}
