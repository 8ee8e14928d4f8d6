import Units

/// One signal of a European Data Format file (EDF, and EDF+ without interruptions), in physical units.
///
/// Layout (Kemp et al. 1992; Kemp and Olivan 2003): a header of 256 bytes, 256 more for each signal, field by field over all signals, then data
/// records with the samples of each signal as little-endian 16-bit integers. All header fields are ASCII, padded with blanks.
struct EDFSignal {
    let sampleRate: Int
    let unit: String
    let values: [Float]

    /// What the header says of one signal.
    private struct Description {
        var label: String
        var unit: String
        var physical: ClosedRange<Double>
        var digital: ClosedRange<Double>
        /// Whether the smallest digital value is the largest physical one.
        var isInverted: Bool
        var samplesPerRecord: Int
    }

    /// - Parameter channel: label or number from 1; nil if the file has one signal only, its annotations not counted.
    /// - Throws: `.unusableData` naming the file and the field.
    init(_ bytes: [UInt8], _ path: String, _ channel: String?) throws(JouledError) {
        func failure(_ what: String) -> JouledError { JouledError(.unusableData, "\(path): \(what)") }
        func text(_ at: Int, _ width: Int) throws(JouledError) -> String {
            guard at + width <= bytes.count else { throw failure("ends within its header") }
            let field = bytes[at..<at + width]
            guard field.allSatisfy({ (0x20...0x7e).contains($0) }) else { throw failure("its header holds no text at byte \(at)") }
            var trimmed = field.drop { $0 == 0x20 }
            while trimmed.last == 0x20 { trimmed.removeLast() }
            return String(decoding: trimmed, as: UTF8.self)
        }
        func number(_ at: Int, _ width: Int, _ what: String) throws(JouledError) -> Double {
            let field = try text(at, width)
            guard let number = Double(field), number.isFinite else { throw failure("\(what) is no number: '\(field)'") }
            return number
        }
        func count(_ at: Int, _ width: Int, _ what: String, _ range: ClosedRange<Double>) throws(JouledError) -> Int {
            let value = try number(at, width, what)
            guard range.contains(value), value == value.rounded() else { throw failure("\(what) is \(value)") }
            return Int(value)
        }
        guard try text(0, 8) == "0" else { throw failure("no EDF file") }
        guard try !text(192, 44).hasPrefix("EDF+D") else { throw failure("an interrupted recording (EDF+D) is no one signal: convert it to EDF+C parts") }
        let headerLength = try count(184, 8, "the length of the header", 256...1e6)
        let records = try count(236, 8, "the number of data records", -1...1e8)
        let recordSeconds = try number(244, 8, "the duration of a data record")
        let signals = try count(252, 4, "the number of signals", 1...4096)
        guard headerLength == 256 * (signals + 1), recordSeconds > 0 else { throw failure("its header does not add up") }

        var described: [Description] = []
        for index in 0..<signals {
            // Each field is stored for all signals before the next field begins.
            func at(_ before: Int, _ width: Int) -> Int { 256 + before * signals + width * index }
            let label = try text(at(0, 16), 16)
            if label == "EDF Annotations" {
                let samples = try count(at(216, 8), 8, "samples of '\(label)'", 1...1e6)
                described.append(Description(label: label, unit: "", physical: 0...1, digital: 0...1, isInverted: false, samplesPerRecord: samples))
                continue
            }
            let physical = (try number(at(104, 8), 8, "physical minimum of '\(label)'"), try number(at(112, 8), 8, "physical maximum of '\(label)'"))
            let digital = (try number(at(120, 8), 8, "digital minimum of '\(label)'"), try number(at(128, 8), 8, "digital maximum of '\(label)'"))
            guard digital.0 < digital.1, physical.0 != physical.1 else { throw failure("the range of '\(label)' is empty") }
            described.append(
                Description(
                    label: label, unit: try text(at(96, 8), 8), physical: min(physical.0, physical.1)...max(physical.0, physical.1), digital: digital.0...digital.1,
                    isInverted: physical.0 > physical.1, samplesPerRecord: try count(at(216, 8), 8, "samples of '\(label)'", 1...1e6)))
        }
        let candidates = described.indices.filter { described[$0].label != "EDF Annotations" }
        let names = candidates.map { "'\(described[$0].label)'" }.joined(separator: ", ")
        let chosen: Int
        if let channel {
            let byNumber = Int(channel).map { $0 - 1 }.flatMap { described.indices.contains($0) ? $0 : nil }
            guard let found = candidates.first(where: { described[$0].label == channel }) ?? byNumber else { throw failure("has no signal '\(channel)'; there are \(names)") }
            chosen = found
        } else {
            guard candidates.count == 1 else { throw failure("has \(candidates.count) signals, choose a channel: \(names)") }
            chosen = candidates[0]
        }

        let signal = described[chosen]
        let rate = Double(signal.samplesPerRecord) / recordSeconds
        guard (1...1e6).contains(rate), abs(rate - rate.rounded()) < 1e-6 else { throw failure("'\(signal.label)' has \(rate) samples a second, which is no whole number up to a million") }
        let recordBytes = 2 * described.reduce(0) { $0 + $1.samplesPerRecord }
        let before = 2 * described[..<chosen].reduce(0) { $0 + $1.samplesPerRecord }
        let there = (bytes.count - headerLength) / recordBytes
        // A recorder that was cut off leaves -1, or more than there are.
        let whole = records < 0 ? there : min(records, there)
        guard whole > 0 else { throw failure("has no samples") }
        let lowest = signal.isInverted ? signal.physical.upperBound : signal.physical.lowerBound
        let highest = signal.isInverted ? signal.physical.lowerBound : signal.physical.upperBound
        let gain = (highest - lowest) / (signal.digital.upperBound - signal.digital.lowerBound)
        sampleRate = Int(rate.rounded())
        unit = signal.unit
        values = (0..<whole).flatMap { record in
            let start = headerLength + record * recordBytes + before
            return (0..<signal.samplesPerRecord).map { index in
                let raw = Int16(truncatingIfNeeded: Int(bytes[start + 2 * index]) | Int(bytes[start + 2 * index + 1]) << 8)
                return Float(lowest + (Double(raw) - signal.digital.lowerBound) * gain)
            }
        }
    }
}
