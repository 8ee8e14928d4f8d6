import Units

/// The form of PCM samples.
public struct AudioFormat: Hashable, Sendable, CustomStringConvertible {
    /// Samples a second and channel.
    public var rate: Int
    /// Bytes a sample: 1 (unsigned), 2, 3 or 4 (signed, little-endian).
    public var width: Int
    /// Interleaved channels.
    public var channels: Int

    public init(rate: Int, width: Int, channels: Int) {
        self.rate = rate
        self.width = width
        self.channels = channels
    }

    /// What the models take.
    public static let native = AudioFormat(rate: 16_000, width: 2, channels: 1)

    public var description: String { "\(rate) Hz, \(width * 8) bits, \(channels) channel\(channels == 1 ? "" : "s")" }
}

/// Makes 16 kHz s16 mono of audio in other forms, chunk by chunk.
///
/// Channels are averaged. Rates in a ratio of whole numbers are converted linearly: downwards each sample is the mean of those that it stands for,
/// which is a low-pass of its own; upwards the line between two samples is followed.
public struct AudioConverter: Sendable {
    public let format: AudioFormat
    /// Input samples that one output sample stands for.
    private let down: Int
    /// Output samples for one input sample.
    private let up: Int
    /// Sum of the samples of an output sample that is not complete, and how many they are.
    private var sum = 0
    private var summed = 0
    private var last = 0

    /// - Throws: `.wyomingFormat`, naming the field that is not converted.
    public init(_ format: AudioFormat) throws(JouledError) {
        func refusal(_ what: String) -> JouledError { JouledError(.wyomingFormat, what) }
        guard (1...4).contains(format.width) else { throw refusal("width: \(format.width) bytes a sample; 1 to 4 are converted") }
        guard (1...8).contains(format.channels) else { throw refusal("channels: \(format.channels); 1 to 8 are converted") }
        let native = AudioFormat.native.rate
        guard format.rate == native / 2 || ((native...native * 12).contains(format.rate) && format.rate % native == 0) else {
            throw refusal("rate: \(format.rate) Hz; the models take \(native) Hz, and 8000 Hz and multiples of \(native) Hz up to \(native * 12) Hz are converted")
        }
        self.format = format
        (down, up) = (max(1, format.rate / native), max(1, native / format.rate))
    }

    /// Converts samples.
    /// - Returns: s16le, mono, 16 kHz.
    /// - Throws: `.wyomingFormat` if `bytes` ends within a sample.
    public mutating func convert(_ bytes: [UInt8]) throws(JouledError) -> [UInt8] {
        let size = format.width * format.channels
        guard bytes.count % size == 0 else { throw JouledError(.wyomingFormat, "payload: \(bytes.count) bytes are no whole samples of \(format)") }
        if format == .native { return bytes }
        var output: [UInt8] = []
        output.reserveCapacity(bytes.count / size * 2 * up / down + 2)
        func put(_ sample: Int) {
            output.append(UInt8(truncatingIfNeeded: sample))
            output.append(UInt8(truncatingIfNeeded: sample >> 8))
        }
        for at in stride(from: 0, to: bytes.count, by: size) {
            let total = (0..<format.channels).reduce(0) { $0 + sample(bytes, at + $1 * format.width) }
            let mono = Self.mean(total, format.channels)
            if up > 1 {
                for step in 1...up { put(last + Self.mean((mono - last) * step, up)) }
                last = mono
                continue
            }
            sum += mono
            summed += 1
            guard summed == down else { continue }
            put(Self.mean(sum, down))
            (sum, summed) = (0, 0)
        }
        return output
    }

    /// In steps of 16 bits.
    private func sample(_ bytes: [UInt8], _ at: Int) -> Int {
        if format.width == 1 { return (Int(bytes[at]) - 128) << 8 }
        // The two highest bytes are what 16 bits hold of it.
        let high = at + format.width - 1
        return Int(Int16(truncatingIfNeeded: Int(bytes[high]) << 8 | Int(bytes[high - 1])))
    }

    /// Rounded to the nearest, halves away from zero.
    private static func mean(_ sum: Int, _ count: Int) -> Int { (sum >= 0 ? sum + count / 2 : sum - count / 2) / count }
}
