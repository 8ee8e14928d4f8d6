import FoundationEssentials
import Units

/// Element types by their number in `TensorProto.data_type`.
public enum ElementType: Int32, Sendable {
    case float = 1
    case uint8 = 2
    case int8 = 3
    case int32 = 6
    case int64 = 7
    case bool = 9
    case float16 = 10
    case double = 11
    case uint4 = 21
    case int4 = 22
}

extension Tensor {
    /// A tensor of raw little-endian bytes.
    public init(name: String, type: ElementType, dims: [Int], bytes: [UInt8]) {
        self.init()
        self.name = name
        self.dims = dims.map(Int64.init)
        self.dataType = type.rawValue
        self.rawData = Data(bytes)
    }

    public init(name: String, dims: [Int], floats: [Float]) {
        self.init(name: name, type: .float, dims: dims, bytes: floats.withUnsafeBytes { [UInt8]($0) })
    }

    public init(name: String, dims: [Int], int64s: [Int64]) {
        self.init(name: name, type: .int64, dims: dims, bytes: int64s.withUnsafeBytes { [UInt8]($0) })
    }

    public init(name: String, dims: [Int], int32s: [Int32]) {
        self.init(name: name, type: .int32, dims: dims, bytes: int32s.withUnsafeBytes { [UInt8]($0) })
    }

    public init(name: String, dims: [Int], int8s: [Int8]) {
        self.init(name: name, type: .int8, dims: dims, bytes: int8s.map { UInt8(bitPattern: $0) })
    }

    public init(name: String, dims: [Int], uint8s: [UInt8]) {
        self.init(name: name, type: .uint8, dims: dims, bytes: uint8s)
    }

    /// The sizes by axis.
    public var shape: [Int] { dims.map(Int.init) }
    /// Number of values. The dimensions of a file may be nonsense, so the product saturates instead of trapping.
    public var count: Int {
        dims.reduce(1) { product, size in
            let (value, overflow) = product.multipliedReportingOverflow(by: Int(max(0, size)))
            return overflow ? .max : value
        }
    }
    public var elementType: ElementType? { ElementType(rawValue: dataType) }

    /// Bits of one element; 0 for strings and unknown types.
    public var bitsPerElement: Int {
        switch dataType {
        case 1, 6, 12: 32
        case 2, 3, 9, 17, 18, 19, 20, 24: 8
        case 4, 5, 10, 16: 16
        case 7, 11, 13, 14: 64
        case 15: 128
        case 21, 22, 23: 4
        case 25, 26: 2
        default: 0
        }
    }

    /// Bytes that the values take as raw data.
    public var expectedByteCount: Int {
        let (bits, overflow) = count.multipliedReportingOverflow(by: bitsPerElement)
        return overflow ? .max : (bits + 7) / 8
    }

    /// Bytes that the values take in the file, in whichever field they are.
    public var byteCount: Int { hasRawData ? rawData.count : expectedByteCount }

    /// The raw bytes where they lie, without a copy; nil where the values are in typed fields.
    public func withRawBytes<Result>(_ body: (UnsafeRawBufferPointer) throws -> Result) rethrows -> Result? {
        guard hasRawData else { return nil }
        return try rawData.withUnsafeBytes(body)
    }

    /// The values as float32, from float32, float16 or double.
    /// - Throws: `.unreadableGraph` naming the tensor where type or length do not fit.
    public func floats() throws(JouledError) -> [Float] {
        let count = count
        if hasRawData {
            guard rawData.count == expectedByteCount else { throw wrongLength(rawData.count) }
            switch elementType {
            case .float:
                return rawData.withUnsafeBytes { raw in
                    [Float](unsafeUninitializedCapacity: count) { buffer, filled in
                        UnsafeMutableRawBufferPointer(buffer).copyMemory(from: raw)
                        filled = count
                    }
                }
            case .float16:
                return rawData.withUnsafeBytes { raw in
                    (0..<count).map { Half.float(raw.loadUnaligned(fromByteOffset: 2 * $0, as: UInt16.self)) }
                }
            case .double:
                return rawData.withUnsafeBytes { raw in
                    (0..<count).map { Float(raw.loadUnaligned(fromByteOffset: 8 * $0, as: Double.self)) }
                }
            default: throw JouledError(.unsupportedGraph, "tensor '\(name)' has element type \(dataType), not a floating-point one")
            }
        }
        switch elementType {
        case .float:
            guard floatData.count == count else { throw wrongLength(floatData.count * 4) }
            return floatData
        case .double:
            guard doubleData.count == count else { throw wrongLength(doubleData.count * 8) }
            return doubleData.map(Float.init)
        case .float16:
            guard int32Data.count == count else { throw wrongLength(int32Data.count * 2) }
            return int32Data.map { Half.float(UInt16(truncatingIfNeeded: $0)) }
        default: throw JouledError(.unsupportedGraph, "tensor '\(name)' has element type \(dataType), not a floating-point one")
        }
    }

    /// The values as integers, from int64 or int32.
    /// - Throws: as `floats()` does.
    public func integers() throws(JouledError) -> [Int] {
        let count = count
        switch (elementType, hasRawData) {
        case (.int64, true):
            guard rawData.count == expectedByteCount else { throw wrongLength(rawData.count) }
            return rawData.withUnsafeBytes { raw in (0..<count).map { Int(raw.loadUnaligned(fromByteOffset: 8 * $0, as: Int64.self)) } }
        case (.int64, false): return int64Data.map(Int.init)
        case (.int32, true):
            guard rawData.count == expectedByteCount else { throw wrongLength(rawData.count) }
            return rawData.withUnsafeBytes { raw in (0..<count).map { Int(raw.loadUnaligned(fromByteOffset: 4 * $0, as: Int32.self)) } }
        case (.int32, false): return int32Data.map(Int.init)
        default: throw JouledError(.unsupportedGraph, "tensor '\(name)' has element type \(dataType), not int32 or int64")
        }
    }

    private func wrongLength(_ found: Int) -> JouledError {
        JouledError(.unreadableGraph, "tensor '\(name)' of shape \(shape) needs \(expectedByteCount) bytes, but has \(found)")
    }
}

/// IEEE 754 binary16, converted without hardware support, as Swift's Float16 is missing on x86 Linux in older toolchains.
public enum Half {
    /// Round to nearest, ties to even; values beyond 65504 become infinite.
    public static func bits(_ value: Float) -> UInt16 {
        let bits = value.bitPattern
        let sign = UInt16(truncatingIfNeeded: bits >> 16) & 0x8000
        let magnitude = bits & 0x7FFF_FFFF
        if magnitude > 0x7F80_0000 { return sign | 0x7E00 }
        if magnitude >= 0x477F_F000 { return sign | 0x7C00 }
        if magnitude < 0x3880_0000 {
            // Subnormal: the unit is 2^-24. Float arithmetic rounds to even by itself.
            let scaled = (Float(bitPattern: magnitude) * 16_777_216).rounded(.toNearestOrEven)
            return sign | UInt16(scaled)
        }
        let rounded = magnitude + 0x0FFF + ((magnitude >> 13) & 1)
        return sign | UInt16(truncatingIfNeeded: (rounded - 0x3800_0000) >> 13)
    }

    public static func float(_ half: UInt16) -> Float {
        let sign = UInt32(half & 0x8000) << 16
        let exponent = UInt32(half >> 10) & 0x1F
        let mantissa = UInt32(half & 0x3FF)
        if exponent == 0x1F { return Float(bitPattern: sign | 0x7F80_0000 | (mantissa << 13)) }
        if exponent == 0 {
            let value = Float(mantissa) / 16_777_216
            return sign == 0 ? value : -value
        }
        return Float(bitPattern: sign | ((exponent + 112) << 23) | (mantissa << 13))
    }
}
