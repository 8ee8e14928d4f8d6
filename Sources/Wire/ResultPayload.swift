import Units

/// The payload of RESULT, little-endian:
/// `{u16 variant, u16 flags (bit 0: padded window), u32 count, f64 joules, f32 values[count]}`.
public struct ResultPayload: Hashable, Sendable {
    /// The size before the values, in bytes.
    static let fixedSize = 16
    /// How many values fit into a frame.
    public static let maximumValues = (FrameHeader.maximumPayload - fixedSize) / 4
    private static let paddedFlag: UInt16 = 1

    /// Index into the list of variants of the reply to Open.
    public var variant: UInt16
    /// Whether the window was filled up because the stream ended.
    public var isPadded: Bool
    /// The energy this window took.
    public var joules: Joules
    /// The outputs in the order of the reply to Open.
    public var values: [Float]

    /// - Parameters:
    ///   - variant: index into the list of variants of the reply to Open.
    ///   - isPadded: whether the window was filled up because the stream ended.
    ///   - joules: the energy this window took.
    ///   - values: the outputs in the order of the reply to Open.
    public init(variant: UInt16, isPadded: Bool = false, joules: Joules, values: [Float]) {
        self.variant = variant
        self.isPadded = isPadded
        self.joules = joules
        self.values = values
    }

    /// Decodes a payload. Unknown flags are an error, because they may change what the values mean.
    public init(decoding bytes: UnsafeRawBufferPointer) throws(JouledError) {
        guard bytes.count >= Self.fixedSize else {
            throw JouledError(.malformedPayload, "RESULT: \(bytes.count) bytes are fewer than \(Self.fixedSize)")
        }
        let flags = bytes.littleEndian(at: 2, as: UInt16.self)
        guard flags & ~Self.paddedFlag == 0 else {
            throw JouledError(.malformedPayload, "RESULT: flags 0x\(String(flags, radix: 16)) are unknown")
        }
        let count = Int(bytes.littleEndian(at: 4, as: UInt32.self))
        guard bytes.count == Self.fixedSize + 4 * count else {
            throw JouledError(.malformedPayload, "RESULT: \(bytes.count) bytes do not hold \(count) values")
        }
        variant = bytes.littleEndian(at: 0, as: UInt16.self)
        isPadded = flags & Self.paddedFlag != 0
        joules = Joules(Double(bitPattern: bytes.littleEndian(at: 8, as: UInt64.self)))
        values = (0..<count).map {
            Float(bitPattern: bytes.littleEndian(at: Self.fixedSize + 4 * $0, as: UInt32.self))
        }
    }

    /// Appends the encoded payload.
    public func append(to bytes: inout [UInt8]) {
        values.withUnsafeBufferPointer {
            Self.append(variant: variant, isPadded: isPadded, joules: joules, values: $0, to: &bytes)
        }
    }

    static func append(
        variant: UInt16, isPadded: Bool, joules: Joules, values: UnsafeBufferPointer<Float>, to bytes: inout [UInt8]
    ) {
        bytes.appendLittleEndian(variant)
        bytes.appendLittleEndian(isPadded ? paddedFlag : 0)
        bytes.appendLittleEndian(UInt32(values.count))
        bytes.appendLittleEndian(joules.value.bitPattern)
        for value in values { bytes.appendLittleEndian(value.bitPattern) }
    }
}
