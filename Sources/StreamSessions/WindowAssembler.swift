/// Cuts a stream of samples into overlapping windows with left context, in a buffer of fixed size.
///
/// Window `n` covers the samples `origin + n x hop ..< origin + n x hop + window`, and is handed out together with
/// the `context` samples before it (zeros before the origin). No I/O: append samples, take the
/// windows that are complete. Not copyable, because it owns its memory. Sample counts are per channel; values of several channels are interleaved.
public struct WindowAssembler: ~Copyable {
    /// Samples (per channel) that a window covers.
    public let window: Int
    /// Samples between the starts of windows, at most `window`.
    public let hop: Int
    /// Samples of left context handed out before each window.
    public let context: Int
    /// Interleaved channels.
    public let channels: Int

    /// Index of the first sample of the next window.
    public private(set) var nextWindowStart: UInt64 = 0
    /// Windows passed since the origin, answered or skipped.
    public private(set) var windowNumber: UInt64 = 0

    private let storage: UnsafeBuffer
    /// Position of the next window's context in `storage`, in values.
    private var head = 0
    /// Values held from `head` on, context included.
    private var held: Int

    /// - Parameter slack: samples that can be held beyond one window, so that appending moves memory rarely.
    public init(window: Int, hop: Int, context: Int, channels: Int = 1, slack: Int = 8192) {
        precondition(window > 0 && hop > 0 && hop <= window && context >= 0 && channels > 0 && slack >= hop)
        self.window = window
        self.hop = hop
        self.context = context
        self.channels = channels
        storage = UnsafeBuffer(count: (context + window + slack) * channels)
        held = context * channels
    }

    /// Forgets all samples and starts again at `origin`, with zeros for context.
    public mutating func restart(at origin: UInt64) {
        head = 0
        held = context * channels
        storage.values.initialize(repeating: 0)
        nextWindowStart = origin
        windowNumber = 0
    }

    /// The values held, context first.
    public var values: [Float] { Array(storage.values[head..<(head + held)]) }

    /// Goes on where another assembler of the same windows was.
    /// - Parameters:
    ///   - values: what it held.
    ///   - start: its `nextWindowStart`.
    ///   - number: its `windowNumber`.
    /// - Returns: false, and nothing changes, if it cannot have held that.
    public mutating func resume(_ values: [Float], start: UInt64, number: UInt64) -> Bool {
        guard values.count >= context * channels, values.count <= storage.values.count else { return false }
        restart(at: start)
        windowNumber = number
        held = values.count
        _ = storage.values.update(fromContentsOf: values)
        return true
    }

    /// Index one past the last sample appended.
    public var endOfSamples: UInt64 { nextWindowStart + UInt64(held / channels - context) }
    /// Samples that can be appended before a window must be taken.
    public var freeSamples: Int { (storage.values.count - held) / channels }
    /// True if the next window is complete.
    public var hasWindow: Bool { held >= (context + window) * channels }
    /// Samples of the next window that have arrived.
    public var pendingSamples: Int { held / channels - context }

    /// Appends up to `freeSamples` samples written by `fill` into the memory it is given.
    /// - Parameter count: samples per channel, at most `freeSamples`.
    public mutating func append(_ count: Int, _ fill: (UnsafeMutableBufferPointer<Float>) -> Void) {
        appendValues(count * channels, fill)
    }

    /// Appends values of interleaved channels; the last sample may be incomplete until the next call.
    public mutating func appendValues(_ values: Int, _ fill: (UnsafeMutableBufferPointer<Float>) -> Void) {
        precondition(values <= storage.values.count - held, "more samples than free space")
        if head + held + values > storage.values.count {
            // Overlapping move to the front; rare because of the slack.
            let base = storage.values.baseAddress.unsafelyUnwrapped
            base.update(from: base + head, count: held)
            head = 0
        }
        fill(UnsafeMutableBufferPointer(rebasing: storage.values[(head + held)..<(head + held + values)]))
        held += values
    }

    /// Takes back values that were appended last.
    mutating func removeLast(_ values: Int) { held -= values }

    /// Context and window, oldest first: `(context + window) x channels` values. Valid until the next mutation.
    public var currentWindow: UnsafeBufferPointer<Float> {
        precondition(hasWindow, "no complete window")
        return UnsafeBufferPointer(rebasing: storage.values[head..<(head + (context + window) * channels)])
    }

    /// True if the window after `ahead` others is complete as well.
    public func hasWindow(ahead: Int) -> Bool { held >= (ahead * hop + context + window) * channels }

    /// The same as `currentWindow` for the window after `ahead` others.
    public func window(ahead: Int) -> UnsafeBufferPointer<Float> {
        precondition(hasWindow(ahead: ahead), "no complete window")
        let start = head + ahead * hop * channels
        return UnsafeBufferPointer(rebasing: storage.values[start..<(start + (context + window) * channels)])
    }

    /// Index one past the last sample of the next window.
    public var windowEnd: UInt64 { nextWindowStart + UInt64(window) }

    /// Moves on to the next window.
    public mutating func advance() {
        precondition(hasWindow, "no complete window")
        head += hop * channels
        held -= hop * channels
        nextWindowStart += UInt64(hop)
        windowNumber += 1
    }

    /// Completes a partial window with zeros, for the end of a stream.
    /// - Returns: false if there was nothing to complete.
    public mutating func padTail() -> Bool {
        let missing = (context + window) * channels - held
        // Samples that only overlap the last window have been answered already.
        guard missing > 0, held > (context + window - hop) * channels || (windowNumber == 0 && pendingSamples > 0) else { return false }
        append(missing / channels) { $0.initialize(repeating: 0) }
        return true
    }

    /// Zeroed memory of fixed size with one owner.
    private final class UnsafeBuffer {
        let values: UnsafeMutableBufferPointer<Float>
        init(count: Int) {
            values = .allocate(capacity: count)
            values.initialize(repeating: 0)
        }
        deinit { values.deallocate() }
    }
}
