import Units

extension JouledError.Code {
    /// A model's directory or one of its files is missing or cannot be read.
    public static let unreadableModel = JouledError.Code("model.unreadable")
    /// A variant file is not the one that its manifest speaks of.
    public static let wrongDigest = JouledError.Code("model.wrong-digest")
    /// No model, or no version of it, by that name.
    public static let unknownModel = JouledError.Code("model.unknown")
    /// The model has no variant by that name.
    public static let unknownVariant = JouledError.Code("model.unknown-variant")
    /// A directory in the store that is not what its place says: wrong name or version.
    public static let misplacedModel = JouledError.Code("model.misplaced")
}

/// What `model.toml` says about a model: the signal it reads, how the signal is cut into windows, the
/// tensors of its graph, and the variants that stand for it.
///
/// A value of this type that came from a file has been checked: see `init(reading:)`.
public struct ModelManifest: Hashable, Sendable {
    /// Name of the model, also of its directory in the store, e.g. `silero-vad`.
    public var name: String
    /// Counts up from 1; also the name of the bundle's directory.
    public var version: Int
    /// One line for people.
    public var summary: String
    /// SPDX identifier or name of the weights' licence.
    public var licence: String
    /// Where the weights come from.
    public var source: String
    /// What the model is for, e.g. `voice-activity`. Models with one task may stand in for each other.
    public var task: String
    public var signal: Signal
    public var window: Window
    /// The tensor that takes the window.
    public var input: Tensor
    /// Recurrent state, zeros at the start of a stream and carried from window to window.
    public var states: [State]
    /// What clients get, in order.
    public var outputs: [Output]
    /// How old a result may be for a stream that does not say, in seconds.
    public var latencyTolerance: Seconds
    /// Declared before validation. A variant that breaks one does not exist for the planner.
    public var thresholds: Thresholds
    /// The model that may let this one sleep, and how; nil where the client has to say.
    public var gate: Gate?
    /// How often the model may run, and what is left of its quality; sorted, beginning with 1.
    public var cadences: [Cadence]
    /// In the order of the file, at least one, with distinct names.
    public var variants: [Variant]
}

extension ModelManifest {
    /// The signal that clients send.
    public struct Signal: Hashable, Sendable {
        public enum Kind: String, Hashable, Sendable, CaseIterable {
            case audio, ecg, ppg, motion
        }
        public var kind: Kind
        /// Samples per second and channel.
        public var sampleRate: Int
        /// Interleaved channels.
        public var channels: Int
        /// The value, in `unit`, of one step of an s16le sample. Samples of f32le are in `unit` already.
        public var s16Scale: Float
        /// Unit of the samples that the model expects, e.g. `full-scale` or `mV`.
        public var unit: String
    }

    /// How the signal is cut into inferences. All counts are samples per channel.
    public struct Window: Hashable, Sendable {
        /// What becomes of the samples that do not fill a window when the stream ends.
        public enum Tail: String, Hashable, Sendable, CaseIterable {
            /// If any sample has been in no window yet, zeros fill up one last window.
            case pad
            /// They are dropped.
            case drop
        }
        /// What is done to each window (its context included) before it goes into the input tensor.
        public enum Normalization: String, Hashable, Sendable, CaseIterable {
            case none
            /// x - min(x)
            case subtractMinimum = "subtract-minimum"
            /// (x - mean(x)) / std(x), with std the population's; a constant window becomes zeros.
            case standard
        }
        /// New samples that a window covers.
        public var samples: Int
        /// Samples from the start of one window to the start of the next; at most `samples`.
        public var hop: Int
        /// Samples before the window that go into the tensor ahead of it; zeros before the stream's first.
        public var context: Int
        public var tail: Tail
        public var normalization: Normalization

        /// Samples per channel that one inference reads.
        public var length: Int { context + samples }
    }

    /// A tensor of the graph, float32, with a static shape.
    public struct Tensor: Hashable, Sendable {
        public var name: String
        public var shape: [Int]
        /// Number of values.
        public var count: Int { shape.reduce(1, *) }
    }

    /// A pair of tensors of one shape: what `output` holds after a window is `input` of the next.
    public struct State: Hashable, Sendable {
        public var input: String
        public var output: String
        public var shape: [Int]
        /// Number of values.
        public var count: Int { shape.reduce(1, *) }
    }

    /// A tensor whose values clients get under names.
    public struct Output: Hashable, Sendable {
        public var tensor: Tensor
        /// A name for each value of the tensor, in its order.
        public var labels: [String]
    }

    /// Limits against the fp32 baseline on held-out data; nil where none is declared.
    public struct Thresholds: Hashable, Sendable {
        /// Smallest share of windows whose decision is the baseline's, 0...1.
        public var agreementMin: Double
        /// Largest 99th percentile of the absolute difference of outputs.
        public var p99ErrorMax: Double
        /// Largest loss of area under the ROC curve against ground truth.
        public var aucLossMax: Double?
    }

    /// What lets a stream of the model sleep where its client asks for it and says nothing else.
    public struct Gate: Hashable, Sendable {
        /// The model whose stream is the gate, e.g. `silero-vad`.
        public var model: String
        /// The label of the value that is watched; nil for the only one that the gate has.
        public var output: String?
        /// From this value on there is something to hear.
        public var threshold: Double
        /// How long before and after what the gate hears windows are run.
        public var preroll: Seconds
        public var hold: Seconds

        public static let defaultThreshold = 0.5
        /// Detectors of speech are sure some windows after it began.
        static let detectionTime = Seconds(0.2)
        /// Pauses between words are shorter.
        public static let defaultHold = Seconds(0.5)
        /// Samples wait in memory for the gate's word.
        public static let longestPreroll = Seconds(10)
        public static let longestHold = Seconds(600)
    }

    /// Running only every n-th window and holding its result in between.
    public struct Cadence: Hashable, Sendable {
        /// n; 1 runs every window.
        public var multiple: Int
        /// Agreement of the held results with every window run in fp32, 0...1.
        public var quality: Double
    }

    /// One artefact of the model.
    public struct Variant: Hashable, Sendable {
        public var name: String
        /// How it was made, for people; `fp32` marks the baseline.
        public var scheme: String
        /// Name of the ONNX file in the bundle's directory.
        public var file: String
        /// Size of the file in bytes.
        public var bytes: Int
        /// SHA-256 of the file, 64 lower-case hexadecimal digits.
        public var sha256: String
        /// Accuracy relative to the fp32 baseline, 0...1.
        public var quality: Double
        /// Consecutive windows that one run takes, as rows of the first axis; 1 where the file is made for one.
        public var windowsPerRun = 1
        public var validation: Validation
    }

    /// What was measured on data that no calibration has seen.
    public struct Validation: Hashable, Sendable {
        /// Which data, and how much.
        public var data: String
        public var agreement: Double
        public var p99Error: Double
        /// Mean over windows of the largest absolute difference of outputs; nil where it was not measured.
        public var meanError: Double?
        public var aucLoss: Double?
    }
}

extension ModelManifest {
    /// Time from the start of one window to the start of the next, in seconds.
    public var windowPeriod: Seconds { Seconds(Double(window.hop) / Double(signal.sampleRate)) }

    /// How long before what a gate hears windows are run, where nobody says: so long as detectors take to be sure. A model without state
    /// needs no run for what later windows see anyway, by their overlap and their context.
    public var defaultPreroll: Seconds {
        guard states.isEmpty else { return Gate.detectionTime }
        let seen = Double(window.context + window.samples - window.hop) / Double(signal.sampleRate)
        return max(.zero, Gate.detectionTime - Seconds(seen))
    }

    /// The variant that quality is relative to: the first of scheme `fp32`, else the first of the best.
    public var baseline: Variant {
        let best = variants.map(\.quality).max() ?? 0
        return variants.first { $0.scheme == "fp32" } ?? variants.first { $0.quality == best } ?? variants[0]
    }

    /// The variants that hold every declared threshold: the only ones to choose from.
    public var usableVariants: [Variant] { variants.filter { brokenThresholds(of: $0).isEmpty } }

    /// One phrase for each declared threshold that the variant breaks, e.g. `agreement 0.9310 is below 0.9850`.
    public func brokenThresholds(of variant: Variant) -> [String] {
        func text(_ value: Double) -> String { decimal(value, places: 4) }
        let validation = variant.validation
        var broken: [String] = []
        if validation.agreement < thresholds.agreementMin {
            broken.append("agreement \(text(validation.agreement)) is below \(text(thresholds.agreementMin))")
        }
        if validation.p99Error > thresholds.p99ErrorMax {
            broken.append("p99 error \(text(validation.p99Error)) is above \(text(thresholds.p99ErrorMax))")
        }
        if let limit = thresholds.aucLossMax {
            if let loss = validation.aucLoss {
                if loss > limit { broken.append("AUC loss \(text(loss)) is above \(text(limit))") }
            } else {
                broken.append("AUC loss was not measured")
            }
        }
        return broken
    }

    /// The variant called `name`.
    /// - Throws: `unknownVariant`, listing those that exist.
    public func variant(_ name: String) throws(JouledError) -> Variant {
        if let variant = variants.first(where: { $0.name == name }) { return variant }
        throw JouledError(
            .unknownVariant,
            "model '\(self.name)' has no variant '\(name)'; there are: \(variants.map(\.name).joined(separator: ", "))")
    }
}
