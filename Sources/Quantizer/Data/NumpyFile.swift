import OnnxGraph
import Units

extension JouledError.Code {
    /// Calibration or evaluation data cannot be read or does not suit the model.
    public static let unusableData = Self("quantizer.unusable-data")
}

/// One array of a `.npy` file, in C order.
public struct NumpyArray: Sendable {
    public var shape: [Int]
    public var values: Values
    public enum Values: Sendable {
        case float([Float])
        case integer([Int64])
    }
    public var count: Int { shape.reduce(1, *) }

    /// The values as float32.
    public var floats: [Float] {
        switch values {
        case .float(let array): array
        case .integer(let array): array.map(Float.init)
        }
    }
    /// The values as integers; floats are rounded.
    public var integers: [Int64] {
        switch values {
        case .float(let array): array.map { $0.isFinite && $0.magnitude < 9e18 ? Int64($0.rounded()) : 0 }
        case .integer(let array): array
        }
    }
}

/// Reads numpy's `.npy` (NEP 1, versions 1 to 3) and `.npz` (a zip archive of them, stored or deflated).
public enum NumpyFile {
    /// The arrays of a file by name; a `.npy` has one, under the empty name.
    /// - Throws: `.unusableData` naming the file and the array.
    public static func load(_ path: String) throws(JouledError) -> [String: NumpyArray] {
        let bytes: [UInt8]
        do throws(JouledError) { bytes = try BinaryFile.read(path) } catch { throw JouledError(.unusableData, error.message) }
        return try parse(bytes, path)
    }

    /// The arrays of a file's content.
    /// - Parameter path: what errors call the file.
    public static func parse(_ bytes: [UInt8], _ path: String) throws(JouledError) -> [String: NumpyArray] {
        if bytes.starts(with: [0x93, 0x4E, 0x55, 0x4D]) { return ["": try array(bytes[...], "\(path)")] }
        guard bytes.starts(with: [0x50, 0x4B]) else { throw JouledError(.unusableData, "\(path): neither .npz nor .npy") }
        var arrays: [String: NumpyArray] = [:]
        for (name, range, compressed, size) in try entries(bytes, path) {
            let place = "\(path): array '\(name)'"
            let content: ArraySlice<UInt8>
            if compressed {
                do { content = try Inflate.inflate(bytes[range], size: size)[...] } catch { throw JouledError(.unusableData, "\(place): \(error.reason)") }
            } else {
                content = bytes[range]
            }
            arrays[name.hasSuffix(".npy") ? String(name.dropLast(4)) : name] = try array(content, place)
        }
        return arrays
    }

    /// Walks the zip's central directory.
    private static func entries(
        _ bytes: [UInt8], _ path: String
    ) throws(JouledError) -> [(name: String, range: Range<Int>, compressed: Bool, size: Int)] {
        func corrupt(_ what: String) -> JouledError { JouledError(.unusableData, "\(path): damaged .npz: \(what)") }
        func number(_ at: Int, _ width: Int) throws(JouledError) -> Int {
            // Places come from the file: they may be negative, or so large that nothing can be added to them.
            guard at >= 0, at <= bytes.count - width else { throw corrupt("it ends early") }
            return (0..<width).reversed().reduce(0) { ($0 &<< 8) | Int(bytes[at + $1]) }
        }
        var end = bytes.count - 22
        while end >= max(0, bytes.count - 65_557), try number(end, 4) != 0x0605_4B50 { end -= 1 }
        guard end >= 0, try number(end, 4) == 0x0605_4B50 else { throw corrupt("no directory; is it complete?") }
        var total = try number(end + 10, 2)
        var at = try number(end + 16, 4)
        if end >= 20, try number(end - 20, 4) == 0x0706_4B50 {
            let record = try number(end - 12, 8)
            guard (0..<end).contains(record) else { throw corrupt("its directory lies outside the file") }
            total = try number(record + 32, 8)
            at = try number(record + 48, 8)
        }
        var list: [(String, Range<Int>, Bool, Int)] = []
        guard (0...bytes.count / 46).contains(total) else { throw corrupt("impossible number of entries") }
        for _ in 0..<total {
            guard try number(at, 4) == 0x0201_4B50 else { throw corrupt("bad directory entry") }
            let method = try number(at + 10, 2)
            var (packed, size) = (try number(at + 20, 4), try number(at + 24, 4))
            let (nameLength, extraLength, commentLength) = (try number(at + 28, 2), try number(at + 30, 2), try number(at + 32, 2))
            var local = try number(at + 42, 4)
            guard at + 46 + nameLength + extraLength <= bytes.count else { throw corrupt("it ends early") }
            let name = String(decoding: bytes[at + 46..<at + 46 + nameLength], as: UTF8.self)
            // numpy always writes zip64 fields for entries that it streams.
            var extra = at + 46 + nameLength
            let extraEnd = extra + extraLength
            while extra + 4 <= extraEnd {
                let (id, length) = (try number(extra, 2), try number(extra + 2, 2))
                if id == 1 {
                    var field = extra + 4
                    if size == 0xFFFF_FFFF { (size, field) = (try number(field, 8), field + 8) }
                    if packed == 0xFFFF_FFFF { (packed, field) = (try number(field, 8), field + 8) }
                    if local == 0xFFFF_FFFF { local = try number(field, 8) }
                }
                extra += 4 + length
            }
            guard try number(local, 4) == 0x0403_4B50 else { throw corrupt("bad header of '\(name)'") }
            let start = local + 30 + (try number(local + 26, 2)) + (try number(local + 28, 2))
            guard method == 0 || method == 8 else { throw corrupt("'\(name)' is compressed by method \(method)") }
            guard packed >= 0, size >= 0, start <= bytes.count, packed <= bytes.count - start else { throw corrupt("'\(name)' lies outside the file") }
            list.append((name, start..<start + packed, method == 8, size))
            at += 46 + nameLength + extraLength + commentLength
        }
        return list
    }

    private static func array(_ bytes: ArraySlice<UInt8>, _ place: String) throws(JouledError) -> NumpyArray {
        func failure(_ what: String) -> JouledError { JouledError(.unusableData, "\(place): \(what)") }
        let data = Array(bytes)
        guard data.count >= 12, data.starts(with: [0x93, 0x4E, 0x55, 0x4D, 0x50, 0x59]) else { throw failure("not a .npy array") }
        let (start, length) =
            data[6] == 1
            ? (10, Int(data[8]) | Int(data[9]) << 8)
            : (12, Int(data[8]) | Int(data[9]) << 8 | Int(data[10]) << 16 | Int(data[11]) << 24)
        guard start + length <= data.count else { throw failure("its header is cut off") }
        let header = String(decoding: data[start..<start + length], as: UTF8.self)
        func field(_ name: String) -> Substring? {
            guard let key = header.range(of: "'\(name)':") else { return nil }
            return header[key.upperBound...].drop { $0 == " " }
        }
        guard let type = field("descr").map({ String($0.dropFirst().prefix { $0 != "'" }) }),
            let order = field("fortran_order"), let sizes = field("shape")
        else { throw failure("its header cannot be read: \(header.prefix(80))") }
        guard order.hasPrefix("False") else { throw failure("is in Fortran order; save it with numpy.ascontiguousarray") }
        let shape = sizes.dropFirst().prefix { $0 != ")" }.split(separator: ",").compactMap { Int($0.filter { $0 != " " }) }
        var count = 1
        for size in shape {
            let (product, overflow) = count.multipliedReportingOverflow(by: size)
            guard size >= 0, !overflow else { throw failure("has impossible shape \(shape)") }
            count = product
        }
        let widths = ["<f4": 4, "<f8": 8, "<f2": 2, "|b1": 1, "|i1": 1, "|u1": 1, "<i2": 2, "<i4": 4, "<i8": 8, "<u2": 2, "<u4": 4]
        guard let width = widths[type] else { throw failure("has numpy type '\(type)', which is not supported; use float32 or an integer") }
        let content = data[(start + length)...]
        guard content.count / width >= count else { throw failure("shape \(shape) needs \(count) values of \(width) bytes, but it has \(content.count) bytes") }
        return data.withUnsafeBytes { raw in
            let base = start + length
            func values<T, R>(_: T.Type, _ convert: (T) -> R) -> [R] {
                (0..<count).map { convert(raw.loadUnaligned(fromByteOffset: base + $0 * width, as: T.self)) }
            }
            let result: NumpyArray.Values =
                switch type {
                case "<f4": .float(values(Float.self) { $0 })
                case "<f8": .float(values(Double.self, Float.init))
                case "<f2": .float(values(UInt16.self, Half.float))
                case "|i1": .integer(values(Int8.self, Int64.init))
                case "|b1", "|u1": .integer(values(UInt8.self, Int64.init))
                case "<i2": .integer(values(Int16.self, Int64.init))
                case "<u2": .integer(values(UInt16.self, Int64.init))
                case "<i4": .integer(values(Int32.self, Int64.init))
                case "<u4": .integer(values(UInt32.self, Int64.init))
                default: .integer(values(Int64.self) { $0 })
                }
            return NumpyArray(shape: shape, values: result)
        }
    }
}

extension String {
    /// The first place of `other`, without Foundation.
    fileprivate func range(of other: String) -> Range<Index>? {
        var start = startIndex
        while start < endIndex {
            if self[start...].hasPrefix(other) { return start..<index(start, offsetBy: other.count) }
            start = index(after: start)
        }
        return nil
    }
}
