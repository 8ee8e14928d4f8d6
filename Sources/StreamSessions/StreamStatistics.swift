import Units

/// What a stream did since it was opened.
public struct StreamStatistics: Sendable, Equatable {
    /// Windows answered by variant, indexed as in the contract.
    public private(set) var windows: [Int]
    /// Energy spent by variant.
    public private(set) var joules: [Joules]
    /// Energy of a window that is alone in its wake-up.
    public internal(set) var joulesPerWindow: Joules = .zero
    /// Wake-ups in which a window was answered.
    public internal(set) var wakes = 0
    /// CPU time of those wake-ups on the inference thread, reading and writing included.
    public internal(set) var cpu: Seconds = .zero
    /// Samples that the client said it lost, or skipped.
    public internal(set) var lostSamples: UInt64 = 0
    /// First values of the last result, at most `lastValueLimit`.
    public private(set) var lastValues: [Float] = []
    /// The message of the last failure of a model.
    public internal(set) var fault = ""

    static let lastValueLimit = 8

    public init(variantCount: Int) {
        windows = Array(repeating: 0, count: variantCount)
        joules = Array(repeating: .zero, count: variantCount)
        lastValues.reserveCapacity(Self.lastValueLimit)
    }

    public var totalWindows: Int { windows.reduce(0, +) }
    public var totalJoules: Joules { joules.reduce(.zero, +) }

    mutating func count(variant: Int, joules energy: Joules) {
        windows[variant] += 1
        joules[variant] += energy
    }

    mutating func remember(_ values: UnsafeBufferPointer<Float>) {
        lastValues.removeAll(keepingCapacity: true)
        lastValues.append(contentsOf: values.prefix(Self.lastValueLimit))
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
