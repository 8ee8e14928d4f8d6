import PowerTelemetry
import Units

/// How one channel of an Industrial I/O device lies in its buffer, and what a raw value means.
///
/// The kernel's text is `[be|le]:[s|u]bits/storagebits[Xrepeat][>>shift]` (Documentation/ABI/testing/sysfs-bus-iio). A physical value is
/// (raw + offset) * scale, in the units of that document: m/s2, rad/s, millivolts and so on.
struct IIOChannel: Hashable, Sendable {
    let name: String
    /// Position among the channels of a scan.
    let index: Int
    let isLittleEndian: Bool
    let isSigned: Bool
    let bits: Int
    let storageBytes: Int
    let shift: Int
    let offset: Double
    let scale: Double

    /// - Parameters:
    ///   - name: e.g. `in_accel_x`.
    ///   - directory: of the device, below `sysfs`.
    /// - Throws: naming the attribute that cannot be used.
    init(_ name: String, _ directory: String, _ sysfs: SysfsRoot) throws(JouledError) {
        self.name = name
        let elements = "\(directory)/scan_elements/\(name)"
        guard let index = sysfs.integer(elements + "_index", in: 0...1023).value, let type = sysfs.text(elements + "_type").value else {
            throw JouledError(.unusableSource, "\(sysfs.path)/\(elements): has no index or no type")
        }
        self.index = Int(index)
        var rest = type[...]
        func failure() -> JouledError { JouledError(.unusableSource, "\(sysfs.path)/\(elements)_type: '\(type)' is not understood") }
        func take(_ word: String) -> Bool {
            guard rest.hasPrefix(word) else { return false }
            rest = rest.dropFirst(word.count)
            return true
        }
        func number() -> Int? {
            let digits = rest.prefix { $0.isASCII && $0.isNumber }
            rest = rest.dropFirst(digits.count)
            return Int(digits)
        }
        isLittleEndian = take("le:")
        guard isLittleEndian || take("be:") else { throw failure() }
        isSigned = take("s")
        guard isSigned || take("u"), let bits = number(), take("/"), let storage = number(), [8, 16, 32, 64].contains(storage), (1...storage).contains(bits) else { throw failure() }
        (self.bits, storageBytes) = (bits, storage / 8)
        if take(">>") {
            guard let shift = number(), shift + bits <= storage else { throw failure() }
            self.shift = shift
        } else {
            shift = 0
        }
        guard rest.isEmpty else { throw failure() }
        (offset, scale) = try Self.conversion(name, directory, sysfs)
    }

    /// The attribute of the channel itself, or the one that its kind shares: `in_accel_x_scale`, `in_accel_scale`.
    static func conversion(_ name: String, _ directory: String, _ sysfs: SysfsRoot) throws(JouledError) -> (offset: Double, scale: Double) {
        func value(_ what: String, _ standard: Double) throws(JouledError) -> Double {
            let kind = name.split(separator: "_").prefix(2).joined(separator: "_").filter { !$0.isNumber }
            for stem in [name, kind] {
                let file = "\(directory)/\(stem)_\(what)"
                switch sysfs.text(file) {
                case .absent: continue
                case .unusable(let problem): throw JouledError(.unusableSource, "\(sysfs.path)/\(problem)")
                case .value(let text):
                    guard let number = Double(text), number.isFinite else { throw JouledError(.unusableSource, "\(sysfs.path)/\(file): '\(text)' is no number") }
                    return number
                }
            }
            return standard
        }
        return (try value("offset", 0), try value("scale", 1))
    }

    /// The physical value in `scan`, whose byte `start` is this channel's first.
    func value(_ scan: UnsafeRawBufferPointer, at start: Int) -> Float {
        var raw: UInt64 = 0
        for position in 0..<storageBytes {
            let byte = UInt64(scan[start + position])
            raw |= byte << UInt64(8 * (isLittleEndian ? position : storageBytes - 1 - position))
        }
        raw >>= UInt64(shift)
        // The bits above are whatever the hardware left there.
        let unused = UInt64(64 - bits)
        let number = isSigned ? Double(Int64(bitPattern: raw << unused) >> Int64(unused)) : Double((raw << unused) >> unused)
        return Float((number + offset) * scale)
    }
}
