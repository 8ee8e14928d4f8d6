import Units

/// How a stream is let sleep: which value of another stream, its gate, tells that there is something to hear, and how much around that
/// is wanted.
public struct GateContract: Sendable, Equatable {
    /// The gate: another stream of the same signal.
    public var stream: UInt64
    /// Which value of the gate's results is watched, by its place.
    public var output: Int
    /// From this value on there is something to hear.
    public var threshold: Float
    /// How long before and after what the gate hears windows are wanted.
    public var preroll: Seconds
    public var hold: Seconds
    /// Samples a second of the gate and of the stream behind it: both count their samples from the same moment.
    public var gateRateHz: Int
    public var rateHz: Int
    /// How long after a window's end the gate's word on it may take, all told; so much signal is kept at least.
    public var reserve: Seconds

    /// Streams that one gate can serve.
    public static let mostBehind = GateTap.limit

    public init(
        stream: UInt64, output: Int, threshold: Float, preroll: Seconds, hold: Seconds, gateRateHz: Int, rateHz: Int, reserve: Seconds
    ) {
        self.stream = stream
        self.output = output
        self.threshold = threshold
        self.preroll = preroll
        self.hold = hold
        self.gateRateHz = gateRateHz
        self.rateHz = rateHz
        self.reserve = reserve
    }
}

/// What a gate tells those behind it, in its own samples and in their order.
enum GateWord: Sendable, Equatable {
    /// A window was answered; whatever the gate will yet hear begins at `next` or later. Bit n says whether tap n's threshold was reached.
    case answer(start: UInt64, end: UInt64, next: UInt64, verdicts: UInt64)
    /// Windows begin, or begin anew after a gap, at this sample.
    case begins(at: UInt64)
    /// No window is answered any more, until one is.
    case silent(GateSilence)
    /// The client ended the gate: what there was up to this sample was answered, and nothing follows.
    case finished(at: UInt64)
}

/// Why a gate says nothing.
public enum GateSilence: String, Sendable, Hashable {
    case paused, failed, gone
}

/// What a gate is asked by one of the streams behind it.
struct GateTap: Sendable, Equatable {
    /// The stream behind the gate.
    let stream: UInt64
    let output: Int
    let threshold: Float

    /// Streams that one gate can serve: a bit each.
    static let limit = 64

    /// What is no number counts as something to hear.
    func isReached(by value: Float) -> Bool { !(value < threshold) }
}

/// What became of the windows of a stream behind a gate.
public struct GateCounts: Sendable, Equatable {
    /// Run because the gate heard something around them.
    public internal(set) var heard = 0
    /// Let go without inference.
    public internal(set) var letGo = 0
    /// Run because the gate's word did not come in time.
    public internal(set) var late = 0
    /// Run because the gate was paused, had failed, was gone, or had lost samples.
    public internal(set) var unguarded = 0
    /// Whether the last window was run.
    public internal(set) var isAwake = true
    /// Why the gate says nothing; nil while it does.
    public internal(set) var silence: GateSilence?

    public init() {}

    /// Windows that ran, and all windows, while the gate was at work.
    public var watched: (ran: Int, all: Int) { (heard + late, heard + late + letGo) }
}
