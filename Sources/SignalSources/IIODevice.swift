import Glibc
import PowerTelemetry
import Units

/// A sensor of the kernel's Industrial I/O subsystem as a source of samples.
///
/// A device with a buffer delivers whole scans at its own rate, which is the right way for anything but a slow sensor; one without is read value by
/// value whenever a sample is due.
public struct IIODevice: Sendable {
    /// Where the system's files are; a fake tree in tests.
    private let root: String
    private let sysfs: SysfsRoot
    private let directory: String
    /// `iio:deviceN`.
    public let name: String
    private let channels: [String]
    private let scale: Double
    /// Whether the device delivers scans by itself.
    public var hasBuffer: Bool { access("\(root)/dev/\(name)", R_OK) == 0 && !sysfs.names(in: "\(directory)/scan_elements").isEmpty }

    /// - Parameters:
    ///   - device: the device's own name, e.g. `adxl345`, or its number or `iio:deviceN`.
    ///   - channel: names without `_raw`, comma-separated, e.g. `in_accel_x,in_accel_y`; all of the device's if nil.
    ///   - scale: factor from the kernel's unit to the model's.
    ///   - root: where `sys` and `dev` are.
    /// - Throws: naming what there is instead.
    public init(_ device: String, channel: String?, scale: Double?, root: String = "") throws(JouledError) {
        self.root = root
        self.scale = scale ?? 1
        let sysfs = SysfsRoot("\(root)/sys/bus/iio/devices")
        self.sysfs = sysfs
        let all = sysfs.names(in: ".").filter { $0.hasPrefix("iio:device") }
        guard let found = all.first(where: { [$0, String($0.dropFirst(10))].contains(device) || sysfs.text("\($0)/name").value == device }) else {
            let known = all.map { "\($0) (\(sysfs.text("\($0)/name").value ?? "no name"))" }.joined(separator: ", ")
            throw JouledError(.unusableSource, "no IIO device '\(device)'; there are: \(known.isEmpty ? "none" : known)")
        }
        (name, directory) = (found, found)
        let elements = sysfs.names(in: "\(found)/scan_elements").filter { $0.hasSuffix("_en") && $0 != "in_timestamp_en" }.map { String($0.dropLast(3)) }
        let values = sysfs.names(in: found).filter { $0.hasPrefix("in_") && $0.hasSuffix("_raw") }.map { String($0.dropLast(4)) }
        let there = elements.isEmpty ? values : elements
        let asked = channel.map { $0.split(separator: ",").map(String.init) } ?? there
        for one in asked where !there.contains(one) && !values.contains(one) {
            throw JouledError(.unusableSource, "\(sysfs.path)/\(found): has no channel '\(one)'; there are: \(there.joined(separator: ", "))")
        }
        guard !asked.isEmpty else { throw JouledError(.unusableSource, "\(sysfs.path)/\(found): has no channels to read") }
        channels = asked
    }

    /// Values in one sample.
    public var channelCount: Int { channels.count }

    /// Asks the device for a sampling rate, where it has a choice.
    /// - Throws: if it keeps another one.
    public func setRate(_ rate: Int) throws(JouledError) {
        for file in ["sampling_frequency", "buffer/sampling_frequency"] {
            guard sysfs.text("\(directory)/\(file)").value != nil else { continue }
            try? write("\(rate)", to: file)
            guard let kept = sysfs.text("\(directory)/\(file)").value.flatMap({ Double($0) }), abs(kept - Double(rate)) <= 0.01 * Double(rate) else {
                throw JouledError(.unusableSource, "\(sysfs.path)/\(directory)/\(file): stays at \(sysfs.text("\(directory)/\(file)").value ?? "?") Hz, the model takes \(rate) Hz")
            }
            return
        }
    }

    /// Reads one sample now.
    public func read() throws(JouledError) -> [Float] {
        var sample: [Float] = []
        for channel in channels {
            let (offset, factor) = try IIOChannel.conversion(channel, directory, sysfs)
            guard let raw = sysfs.text("\(directory)/\(channel)_raw").value.flatMap({ Double($0) }) else {
                throw JouledError(.unusableSource, "\(sysfs.path)/\(directory)/\(channel)_raw: holds no number")
            }
            sample.append(Float((raw + offset) * factor * scale))
        }
        return sample
    }

    /// Switches the buffer on with the chosen channels alone.
    /// - Throws: naming the attribute that could not be set.
    public func openBuffer() throws(JouledError) -> IIOBuffer {
        let described = try channels.map { (channel) throws(JouledError) in try IIOChannel(channel, directory, sysfs) }
        // What a program before this one left switched on.
        try? write("0", to: "buffer/enable")
        for element in sysfs.names(in: "\(directory)/scan_elements") where element.hasSuffix("_en") {
            try write(channels.contains(String(element.dropLast(3))) ? "1" : "0", to: "scan_elements/\(element)")
        }
        // Some drivers have a fixed length.
        try? write("4096", to: "buffer/length")
        try write("1", to: "buffer/enable")
        let path = "\(root)/dev/\(name)"
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw JouledError(.unusableSource, "\(path): \(String(cString: strerror(errno)))") }
        return IIOBuffer(descriptor: descriptor, channels: described, scale: Float(scale)) { [self] in try? write("0", to: "buffer/enable") }
    }

    private func write(_ text: String, to file: String) throws(JouledError) {
        let path = "\(sysfs.path)/\(directory)/\(file)"
        let descriptor = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC)
        defer { if descriptor >= 0 { close(descriptor) } }
        guard descriptor >= 0, Array(text.utf8).withUnsafeBytes({ Glibc.write(descriptor, $0.baseAddress, $0.count) }) == text.utf8.count else {
            throw JouledError(.unusableSource, "\(path): cannot be set to \(text): \(String(cString: strerror(errno)))")
        }
    }
}

/// A switched-on buffer; switched off with this object.
public final class IIOBuffer {
    /// Where scans are read; it blocks.
    public let descriptor: Int32
    private let channels: [IIOChannel]
    /// Where each of `channels` begins in a scan.
    private let starts: [Int]
    private let scanBytes: Int
    private let scale: Float
    private let switchOff: () -> Void
    private var pending: [UInt8] = []

    init(descriptor: Int32, channels: [IIOChannel], scale: Float, switchOff: @escaping () -> Void) {
        self.descriptor = descriptor
        self.channels = channels
        self.scale = scale
        self.switchOff = switchOff
        // In the order of their index, each aligned to its own size, the whole to the largest.
        var position = 0
        var starts = [Int](repeating: 0, count: channels.count)
        for order in channels.indices.sorted(by: { channels[$0].index < channels[$1].index }) {
            let size = channels[order].storageBytes
            position = (position + size - 1) / size * size
            starts[order] = position
            position += size
        }
        let largest = channels.map(\.storageBytes).max() ?? 1
        scanBytes = (position + largest - 1) / largest * largest
        self.starts = starts
    }

    deinit {
        switchOff()
        close(descriptor)
    }

    /// The samples of whole scans in `bytes` and what was left over before, as f32le.
    public func convert(_ bytes: UnsafeRawBufferPointer) -> [UInt8] {
        pending += bytes
        var samples: [UInt8] = []
        let whole = pending.count / scanBytes
        pending.withUnsafeBytes { scans in
            for scan in 0..<whole {
                for (channel, start) in zip(channels, starts) { samples += FileSignal.littleEndian(channel.value(scans, at: scan * scanBytes + start) * scale) }
            }
        }
        pending.removeFirst(whole * scanBytes)
        return samples
    }
}
