import Units

/// What a stream did since it was opened.
public struct StreamStatistics: Sendable, Equatable {
    /// Windows answered by variant, indexed as in the contract.
    public private(set) var windows: [Int]
    /// Energy spent by variant, as the energy model saw it at the time.
    public private(set) var joules: [Joules]
    /// What the units did for the stream.
    public private(set) var work: [UnitWork] = []
    /// Energy of a window that is alone in its wake-up.
    public internal(set) var joulesPerWindow: Joules = .zero
    /// Wake-ups in which a window was answered.
    public internal(set) var wakes = 0
    /// Samples that the client said it lost, or skipped.
    public internal(set) var lostSamples: UInt64 = 0
    /// First values of the last result, at most `lastValueLimit`.
    public private(set) var lastValues: [Float] = []
    /// What the stream's gate let it do; nil without a gate.
    public internal(set) var gate: GateCounts?
    /// The message of the last failure of a model.
    public internal(set) var fault = ""

    /// Index into `work` of the unit that runs now.
    private var unit = 0

    static let lastValueLimit = 8

    public init(variantCount: Int) {
        windows = Array(repeating: 0, count: variantCount)
        joules = Array(repeating: .zero, count: variantCount)
        lastValues.reserveCapacity(Self.lastValueLimit)
    }

    /// CPU time of all wake-ups with windows on the inference thread, reading and writing included.
    public var cpu: Seconds { work.reduce(.zero) { $0 + $1.cpu } }
    public var totalWindows: Int { windows.reduce(0, +) }
    public var totalJoules: Joules { joules.reduce(.zero, +) }

    mutating func count(variant: Int, joules energy: Joules, profiled: WindowCost) {
        windows[variant] += 1
        joules[variant] += energy
        work[unit].profiled += profiled
    }

    /// Takes what a turn with windows really took.
    mutating func count(cpu: Seconds, latency: Seconds) {
        work[unit].cpu += cpu
        work[unit].latency += latency
        work[unit].turns += 1
    }

    /// What follows runs on `name`.
    mutating func runs(on name: String) {
        unit = work.firstIndex { $0.unit == name } ?? work.count
        if unit == work.count { work.append(UnitWork(unit: name)) }
    }

    mutating func remember(_ values: UnsafeBufferPointer<Float>) {
        lastValues.removeAll(keepingCapacity: true)
        lastValues.append(contentsOf: values.prefix(Self.lastValueLimit))
    }
}

/// What a unit did for a stream, beside what its profile says of the same windows.
public struct UnitWork: Sendable, Equatable {
    public var unit: String
    /// The windows' costs by the profile.
    public var profiled = WindowCost.zero
    /// CPU time on the inference thread.
    public var cpu: Seconds = .zero
    /// From the begin of a turn to its last result written.
    public var latency: Seconds = .zero
    /// Turns in which windows were answered.
    public var turns = 0

    public init(unit: String) { self.unit = unit }

    public static func += (left: inout UnitWork, right: UnitWork) {
        left.profiled += right.profiled
        left.cpu += right.cpu
        left.latency += right.latency
        left.turns += right.turns
    }

    /// What was done since `earlier`.
    public func since(_ earlier: UnitWork?) -> UnitWork {
        guard let earlier else { return self }
        var work = self
        work.profiled = WindowCost(
            energy: profiled.energy - earlier.profiled.energy, cpu: profiled.cpu - earlier.profiled.cpu,
            latency: profiled.latency - earlier.profiled.latency)
        work.cpu = cpu - earlier.cpu
        work.latency = latency - earlier.latency
        work.turns = turns - earlier.turns
        return work
    }
}

/// How a stream came to its end.
public enum StreamEnd: Sendable, Equatable {
    /// The client sent END and got everything.
    case finished
    /// The client closed its socket.
    case clientGone
    /// The daemon closed it, and said why.
    case closedByDaemon
    /// The client broke the protocol or the model failed; the message was sent to the client.
    case failed(String)
}
