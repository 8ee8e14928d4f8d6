import Quantizer
import Units

extension JouledError.Code {
    /// A file or sensor cannot serve as the source of a stream.
    public static let unusableSource = Self("source.unusable")
}

/// What a model wants of a signal, as `io.jouled.Models.List` tells.
public struct SignalNeeds: Hashable, Sendable {
    /// Samples a second and channel.
    public var sampleRate: Int
    /// Interleaved channels.
    public var channels: Int
    /// Unit of f32le samples, e.g. `mV` or `full-scale`.
    public var unit: String

    /// - Parameters:
    ///   - sampleRate: samples a second and channel.
    ///   - channels: interleaved channels.
    ///   - unit: unit of f32le samples.
    public init(sampleRate: Int, channels: Int, unit: String) {
        self.sampleRate = sampleRate
        self.channels = channels
        self.unit = unit
    }
}

/// A recording as a stream takes it.
public struct FileSignal: Sendable {
    /// `s16le` or `f32le`.
    public let format: String
    /// Interleaved channels.
    public let channels: Int
    /// All samples, little-endian.
    public let bytes: [UInt8]

    /// Reads a WAV, CSV or EDF file.
    ///
    /// Integer PCM goes out as s16le, so that the model scales it as it scales a microphone; wider samples are rounded to 16 bits. All else goes out as
    /// f32le in the model's unit: volts in any multiple are converted, and `scale` is applied to what the file holds.
    /// - Parameters:
    ///   - path: the file.
    ///   - channel: signal of an EDF or column of a CSV, by name or number from 1.
    ///   - scale: factor from the file's unit to the model's; told by the units if nil.
    ///   - needs: what the model wants.
    /// - Throws: naming the file, if it cannot be read or does not fit.
    public init(path: String, channel: String?, scale: Double?, needs: SignalNeeds) throws(JouledError) {
        func failure(_ what: String) -> JouledError { JouledError(.unusableSource, "\(path): \(what)") }
        let recording = try Recording(path: path, s16Scale: 1, channel: channel)
        if let rate = recording.sampleRate, rate != needs.sampleRate {
            throw failure("is sampled at \(rate) Hz, the model takes \(needs.sampleRate) Hz; jouled does not resample")
        }
        guard recording.channels == needs.channels else {
            guard !recording.columns.isEmpty, channel == nil else { throw failure("has \(recording.channels) channels, the model takes \(needs.channels)") }
            let choice = needs.channels == 1 ? ": choose one with --channel NAME" : ""
            throw failure("has \(recording.channels) columns (\(recording.columns.joined(separator: ", "))), the model takes \(needs.channels)\(choice)")
        }
        channels = recording.channels
        if recording.isPCM, scale == nil {
            format = "s16le"
            bytes = recording.values.flatMap { value -> [UInt8] in
                let step = UInt16(bitPattern: Int16(max(-32768, min(32767, value.rounded()))))
                return [UInt8(truncatingIfNeeded: step), UInt8(truncatingIfNeeded: step >> 8)]
            }
        } else {
            let factor: Float
            if let scale { factor = Float(scale) } else { factor = Float(try Self.factor(from: recording.unit, to: needs.unit, path)) }
            format = "f32le"
            bytes = recording.values.flatMap { Self.littleEndian($0 * factor) }
        }
    }

    static func littleEndian(_ value: Float) -> [UInt8] {
        let bits = value.bitPattern
        return [UInt8(truncatingIfNeeded: bits), UInt8(truncatingIfNeeded: bits >> 8), UInt8(truncatingIfNeeded: bits >> 16), UInt8(truncatingIfNeeded: bits >> 24)]
    }

    private static let volts = ["nV": 1e-9, "uV": 1e-6, "µV": 1e-6, "mV": 1e-3, "V": 1]

    /// A file that states no unit is taken to be in the model's.
    private static func factor(from unit: String?, to wanted: String, _ path: String) throws(JouledError) -> Double {
        guard let unit, !unit.isEmpty, unit != wanted else { return 1 }
        guard let have = volts[unit], let want = volts[wanted] else {
            throw JouledError(.unusableSource, "\(path): is in '\(unit)', the model takes '\(wanted)': give --scale")
        }
        return have / want
    }
}
