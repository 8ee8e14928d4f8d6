/// Makes beginnings and ends of speech of the probabilities that a model gives window by window.
///
/// Speech begins with a window at or above the threshold, and ends where the probability stays below a lower one for long enough: speech has pauses,
/// and a listener that is told of each of them cuts sentences in two.
public struct VoiceActivity: Sendable {
    /// What changed, and at which sample.
    public enum Change: Hashable, Sendable {
        case started(UInt64)
        case stopped(UInt64)
    }

    /// How far below the threshold the probability must fall to count as silence.
    public static let hysteresis: Float = 0.15

    private let threshold: Float
    /// Samples of silence that end speech.
    private let silence: UInt64
    private var isSpeaking = false
    /// Where the silence began that may become the end.
    private var quietSince: UInt64?
    private var position: UInt64 = 0

    /// - Parameters:
    ///   - threshold: probability from which on a window is speech, 0 to 1.
    ///   - silence: samples of silence that end speech.
    public init(threshold: Float, silence: UInt64) {
        self.threshold = threshold
        self.silence = silence
    }

    /// Takes the probability of the window of samples `begin..<end`.
    public mutating func take(_ probability: Float, begin: UInt64, end: UInt64) -> Change? {
        position = max(position, end)
        guard isSpeaking else {
            guard probability >= threshold else { return nil }
            (isSpeaking, quietSince) = (true, nil)
            return .started(begin)
        }
        // What is no number is no speech.
        guard !(probability >= threshold - Self.hysteresis) else {
            quietSince = nil
            return nil
        }
        let since = quietSince ?? begin
        quietSince = since
        guard end >= since, end - since >= silence else { return nil }
        (isSpeaking, quietSince) = (false, nil)
        return .stopped(since)
    }

    /// The audio is over: speech that has not ended ends with it.
    public mutating func finish() -> Change? {
        guard isSpeaking else { return nil }
        defer { (isSpeaking, quietSince) = (false, nil) }
        return .stopped(quietSince ?? position)
    }
}
