import Units

extension JouledError.Code {
    /// A recipe that contradicts itself or does not suit the model.
    public static let invalidRecipe = Self("quantizer.invalid-recipe")
}

/// What becomes of an operation's weights and arithmetic.
public enum Scheme: String, Sendable, CaseIterable, Hashable {
    /// Stays as it is.
    case skip
    /// Weights in float16, computed in float32.
    case fp16
    /// Weights and arithmetic in float16, with casts at the borders.
    case fp16Compute = "fp16-compute"
    /// Static QDQ: activations and weights in 8 bits, integer arithmetic.
    case int8
    /// Weights in 8 bits, arithmetic in float.
    case int8Weights = "int8-weights"
    /// Weights in 8 bits, activations ranged at each run: MatMul, Gemm and LSTM.
    case int8Dynamic = "int8-dynamic"
    /// Weights in 4 bits per block.
    case int4
    /// Weights as indices into a table of 2^bits values.
    case palette
}

/// The settings of one operation.
public struct OperatorRecipe: Sendable, Hashable {
    public enum Granularity: String, Sendable, CaseIterable { case tensor, channel, block, group }
    public enum PaletteMethod: String, Sendable, CaseIterable { case kmeans, uniform, unique }

    public var scheme: Scheme = .skip
    /// Of the palette: 1, 2, 3, 4, 6 or 8.
    public var bits = 4
    public var granularity: Granularity = .channel
    /// Values per scale of `block`.
    public var blockSize = 32
    /// Output channels that share a palette.
    public var groupSize = 16
    public var symmetric = true
    public var method: PaletteMethod = .kmeans
    /// Divide each output channel by its largest magnitude before the palette.
    public var channelScale = false
    /// k-means that weighs errors by the mean square of what each weight is multiplied with; needs calibration data.
    public var activationWeighted = false
    public init() {}
}

/// How activations are ranged.
public struct CalibrationRecipe: Sendable, Hashable {
    public enum Method: String, Sendable, CaseIterable { case minMax = "min-max", percentile, entropy, mse }
    public enum Activations: String, Sendable, CaseIterable { case unsigned, signed }
    /// By least squared error, unless measurement says otherwise: on recurrent models it has the shortest tail.
    public var method: Method = .mse
    /// For `percentile`: the share of values, in percent, that the range holds.
    public var percentile = 99.999
    /// u8 (with s8 weights: U8S8) or s8 (S8S8).
    public var activations: Activations = .unsigned
    /// Shift scale between neighbouring layers so that one 8-bit scale per tensor suits all channels.
    public var equalize = true
    public init() {}
}

/// A whole recipe: settings by operation name, operation type and for all others, in this order of precedence.
public struct Recipe: Sendable {
    public var global = OperatorRecipe()
    public var types: [String: OperatorRecipe] = [:]
    public var names: [String: OperatorRecipe] = [:]
    public var calibration = CalibrationRecipe()
    /// Weights with at most so many values stay as they are.
    public var weightThreshold = 2048
    public init() {}

    /// One scheme for everything.
    public init(_ scheme: Scheme) { global.scheme = scheme }

    /// The settings for an operation.
    public func settings(name: String, type: String) -> OperatorRecipe { names[name] ?? types[type] ?? global }
}
