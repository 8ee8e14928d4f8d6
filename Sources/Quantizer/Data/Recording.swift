import OnnxGraph
import Units

/// Samples of a WAV, CSV or EDF file, channels interleaved.
public struct Recording: Sendable {
    /// The file.
    public let path: String
    /// Samples a second and channel; nil where the file does not tell.
    public let sampleRate: Int?
    /// Interleaved channels.
    public let channels: Int
    /// In 16-bit steps times `s16Scale` where `isPCM`, else in the file's own unit.
    public var values: [Float]
    /// Whether the file holds integer PCM, which has no unit but full scale.
    public let isPCM: Bool
    /// The unit that the file states, e.g. `uV`; nil where it does not.
    public let unit: String?
    /// What the columns of a CSV are called, or their numbers from 1 where it has no heading; empty for other files.
    public let columns: [String]

    /// - Parameters:
    ///   - path: the file; its name tells what it is: `.csv`, `.edf`, else WAV.
    ///   - s16Scale: the value of one step of a 16-bit sample; floats are taken as they are.
    ///   - channel: which signal of an EDF or column of a CSV, by name or by number from 1; all columns, and the only signal, if nil.
    /// - Throws: `.unusableData` naming the file, and in a CSV the line.
    public init(path: String, s16Scale: Float, channel: String? = nil) throws(JouledError) {
        let bytes: [UInt8]
        do throws(JouledError) { bytes = try BinaryFile.read(path) } catch { throw JouledError(.unusableData, error.message) }
        try self.init(bytes, path: path, s16Scale: s16Scale, channel: channel)
    }

    /// The same, of a file's content.
    package init(_ bytes: [UInt8], path: String, s16Scale: Float, channel: String? = nil) throws(JouledError) {
        self.path = path
        if path.lowercased().hasSuffix(".csv") {
            (channels, values, columns) = try Self.table(bytes, path, channel)
            (sampleRate, isPCM, unit) = (nil, false, nil)
        } else if path.lowercased().hasSuffix(".edf") {
            let signal = try EDFSignal(bytes, path, channel)
            (sampleRate, channels, values, isPCM, unit, columns) = (signal.sampleRate, 1, signal.values, false, signal.unit, [])
        } else {
            guard channel == nil else { throw JouledError(.unusableData, "\(path): a channel is chosen from EDF and CSV files only") }
            (sampleRate, channels, values, isPCM) = try Self.wave(bytes, path, s16Scale)
            (unit, columns) = (nil, [])
        }
    }

    /// RIFF/WAVE with PCM of 8 to 32 bits or float32.
    private static func wave(_ bytes: [UInt8], _ path: String, _ s16Scale: Float) throws(JouledError) -> (Int?, Int, [Float], Bool) {
        func failure(_ what: String) -> JouledError { JouledError(.unusableData, "\(path): \(what)") }
        func number(_ at: Int, _ width: Int) -> Int { (0..<width).reversed().reduce(0) { ($0 << 8) | Int(bytes[at + $1]) } }
        guard bytes.count >= 12, bytes.starts(with: Array("RIFF".utf8)), bytes[8..<12].elementsEqual("WAVE".utf8) else { throw failure("no WAV file") }
        var at = 12
        var format: (code: Int, channels: Int, rate: Int, bits: Int)?
        while at + 8 <= bytes.count {
            let (name, length) = (bytes[at..<at + 4], number(at + 4, 4))
            let start = at + 8
            if name.elementsEqual("fmt ".utf8) {
                guard length >= 16, start + length <= bytes.count else { throw failure("its format chunk is cut off") }
                // WAVE_FORMAT_EXTENSIBLE keeps the code at the start of its sub-format.
                let code = number(start, 2) == 0xFFFE && length >= 26 ? number(start + 24, 2) : number(start, 2)
                format = (code, number(start + 2, 2), number(start + 4, 4), number(start + 14, 2))
            } else if name.elementsEqual("data".utf8) {
                guard let format, format.channels > 0 else { throw failure("has data before its format") }
                // A recorder that was cut off leaves a wrong length: what is there counts.
                let content = bytes[start..<min(bytes.count, start + length)]
                let width = format.bits / 8
                guard (format.code == 1 && [1, 2, 3, 4].contains(width)) || (format.code == 3 && width == 4) else {
                    throw failure("has samples of format \(format.code) with \(format.bits) bits; PCM of 8 to 32 bits or float32 is needed")
                }
                let count = content.count / width / format.channels * format.channels
                let values = (0..<count).map { index -> Float in
                    let raw = number(start + index * width, width)
                    if format.code == 3 { return Float(bitPattern: UInt32(raw)) }
                    if width == 1 { return Float(raw - 128) * 256 * s16Scale }
                    let signed = raw >= 1 << (8 * width - 1) ? raw - 1 << (8 * width) : raw
                    return Float(signed) / Float(1 << (8 * width - 16)) * s16Scale
                }
                return (format.rate, format.channels, values, format.code == 1)
            }
            at = start + length + length % 2
        }
        throw failure("has no samples")
    }

    /// One row per sample, one column per channel; a first row that is no numbers is a heading, `#` begins a comment.
    private static func table(_ bytes: [UInt8], _ path: String, _ channel: String?) throws(JouledError) -> (Int, [Float], columns: [String]) {
        var heading: [String] = []
        var (channels, values, isFirst, chosen) = (0, [Float](), true, channel.flatMap { Int($0) }.map { $0 - 1 })
        for (index, row) in bytes.split(separator: 10, omittingEmptySubsequences: false).enumerated() {
            let text = String(decoding: row, as: UTF8.self).filter { $0 != "\r" && $0 != " " && $0 != "\t" }
            if text.isEmpty || text.hasPrefix("#") { continue }
            let cells = text.split(separator: ",", omittingEmptySubsequences: false)
            let fields = cells.map { Float($0) }
            defer { isFirst = false }
            if isFirst, !fields.contains(where: { $0 != nil }) {
                heading = cells.map(String.init)
                if let channel, let column = cells.firstIndex(where: { $0 == channel.filter { $0 != " " } }) { chosen = column }
                continue
            }
            if channels == 0 {
                channels = fields.count
                if heading.count != channels { heading = (1...channels).map(String.init) }
                if let channel, !(chosen.map(fields.indices.contains) ?? false) {
                    throw JouledError(.unusableData, "\(path): has no column '\(channel)'; there are \(heading.joined(separator: ", "))")
                }
            }
            guard fields.count == channels else { throw JouledError(.unusableData, "\(path):\(index + 1): has \(fields.count) values, the rows before \(channels)") }
            for (column, value) in fields.enumerated() where chosen == nil || column == chosen {
                guard let value, value.isFinite else { throw JouledError(.unusableData, "\(path):\(index + 1): column \(column + 1) is no finite number") }
                values.append(value)
            }
        }
        guard channels > 0 else { throw JouledError(.unusableData, "\(path): has no samples") }
        return (chosen == nil ? channels : 1, values, heading)
    }
}
