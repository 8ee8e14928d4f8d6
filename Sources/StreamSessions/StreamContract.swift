import InferenceRuntime
import Units
import Wire

/// What a stream's samples are and how they become windows of a model: fixed when the stream opens.
public struct StreamContract: Sendable {
    /// What is done to a window's values before the model sees them.
    public enum Normalization: Sendable, Equatable {
        /// Nothing.
        case none
        /// The window's least value is subtracted from all.
        case subtractMinimum
        /// Each window is shifted to mean 0 and scaled to standard deviation 1 (left at 0 if it is constant).
        case standard
    }

    /// Samples per second and channel.
    public var sampleRateHz: Double
    public var channels: Int
    public var format: SampleFormat
    /// Value of one step of s16le; f32le samples are taken as they are.
    public var s16Scale: Float
    /// Samples that a window covers, between the starts of windows, and put before each window.
    public var window: Int
    public var hop: Int
    public var context: Int
    /// True if the last partial window is completed with zeros when the client ends the stream.
    public var padsTail: Bool
    public var normalization: Normalization
    /// The tensor that takes `(context + window) x channels` values.
    public var input: TensorSpec
    /// Recurrent state: the output of one window is the input of the next; zeros at the start.
    public var states: [State]
    /// The tensors that results carry, in order.
    public var outputs: [TensorSpec]
    /// How late a result may be after its window's last sample.
    public var latencyTolerance: Seconds
    /// The gate that lets the stream sleep; nil: every window is run.
    public var gate: GateContract?

    public struct State: Sendable, Equatable {
        public var input: TensorSpec
        public var output: TensorSpec
        public init(input: TensorSpec, output: TensorSpec) {
            self.input = input
            self.output = output
        }
    }

    public init(
        sampleRateHz: Double, channels: Int, format: SampleFormat, s16Scale: Float, window: Int, hop: Int, context: Int,
        padsTail: Bool, normalization: Normalization, input: TensorSpec, states: [State], outputs: [TensorSpec],
        latencyTolerance: Seconds, gate: GateContract? = nil
    ) {
        self.sampleRateHz = sampleRateHz
        self.channels = channels
        self.format = format
        self.s16Scale = s16Scale
        self.window = window
        self.hop = hop
        self.context = context
        self.padsTail = padsTail
        self.normalization = normalization
        self.input = input
        self.states = states
        self.outputs = outputs
        self.latencyTolerance = latencyTolerance
        self.gate = gate
    }

    /// Time between the starts of windows.
    public var hopTime: Seconds { Seconds(Double(hop) / sampleRateHz) }
    /// Bytes of one sample of all channels.
    public var bytesPerSample: Int { format.bytesPerSample * channels }
    var inputs: [TensorSpec] { [input] + states.map(\.input) }
    var allOutputs: [TensorSpec] { outputs + states.map(\.output) }
}

/// What a window costs by its place in a wake-up: energy, CPU time and time to the result, as profiled.
public struct WindowCost: Sendable, Equatable {
    public var energy: Joules
    public var cpu: Seconds
    public var latency: Seconds

    public init(energy: Joules, cpu: Seconds = .zero, latency: Seconds = .zero) {
        self.energy = energy
        self.cpu = cpu
        self.latency = latency
    }

    public static let zero = WindowCost(energy: .zero)
    public static func += (left: inout WindowCost, right: WindowCost) {
        left.energy += right.energy
        left.cpu += right.cpu
        left.latency += right.latency
    }
}

/// How a stream runs from the next window on.
public struct Assignment: Sendable {
    /// The loaded variant; nil pauses the stream: samples are taken and not answered.
    public var session: InferenceSession?
    /// Index of the variant in the contract told to the client.
    public var variantIndex: UInt16
    public var variantName: String
    public var unit: String
    /// Answers every `cadence`-th window.
    public var cadence: Int
    /// Windows per wake-up.
    public var coalescing: Int
    /// Windows that the variant takes in one run.
    public var windowsPerRun: Int
    /// Time between reads of the socket; nil reads whenever bytes arrive.
    public var drainPeriod: Seconds?
    /// The first window of a wake-up, with the wake-up: caches are cold.
    public var firstWindow: WindowCost
    /// Each further window of the same wake-up.
    public var nextWindow: WindowCost
    /// True joules per profiled joule of `unit`, as learned so far.
    public var energyFactor: Double
    /// CPU time that a window may take before it is taken for stuck, and what each further one of the same run adds to it.
    public var runLimit: Seconds
    public var furtherRunLimit: Seconds
    /// True while energy is limited: samples are taken at the contract's rate at most (with bursts), so that a
    /// client which pushes a recording cannot spend more than the plan allows it.
    public var isPaced: Bool
    /// Why, in words; told to the client.
    public var reason: String

    public init(
        session: InferenceSession?, variantIndex: UInt16, variantName: String, unit: String, cadence: Int,
        coalescing: Int, windowsPerRun: Int = 1, drainPeriod: Seconds?, firstWindow: WindowCost, nextWindow: WindowCost, energyFactor: Double = 1,
        runLimit: Seconds = Seconds(5), furtherRunLimit: Seconds = .zero, isPaced: Bool, reason: String
    ) {
        self.session = session
        self.variantIndex = variantIndex
        self.variantName = variantName
        self.unit = unit
        self.cadence = cadence
        self.coalescing = coalescing
        self.windowsPerRun = windowsPerRun
        self.drainPeriod = drainPeriod
        self.firstWindow = firstWindow
        self.nextWindow = nextWindow
        self.energyFactor = energyFactor
        self.runLimit = runLimit
        self.furtherRunLimit = furtherRunLimit
        self.isPaced = isPaced
        self.reason = reason
    }

    /// What a client cares about; a change of it is worth a notice.
    func looksTheSame(as other: Assignment) -> Bool {
        // A paused stream has no variant; one whose model is unloaded has.
        variantName == other.variantName && unit == other.unit
            && cadence == other.cadence
    }
}
