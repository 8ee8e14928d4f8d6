import Units

/// The kind of a data frame.
public enum FrameType: UInt16, Hashable, Sendable, CaseIterable {
    /// Client to daemon: samples.
    case data = 1
    /// Client to daemon: a count of samples that were lost before the next DATA.
    case gap = 2
    /// Client to daemon: answer now for all that was sent, without waiting for more.
    case flush = 3
    /// Client to daemon: no more frames follow.
    case end = 4
    /// Daemon to client: the outputs of one window.
    case result = 16
    /// Daemon to client: something worth knowing, as JSON.
    case notice = 17
    /// Daemon to client: why the stream ends, as JSON.
    case error = 18

    /// The type's name as protocol documents write it.
    public var name: String {
        switch self {
        case .data: "DATA"
        case .gap: "GAP"
        case .flush: "FLUSH"
        case .end: "END"
        case .result: "RESULT"
        case .notice: "NOTICE"
        case .error: "ERROR"
        }
    }

    /// Whether the type goes from daemon to client.
    public var isOutbound: Bool { rawValue >= 16 }
}

/// The 24 bytes that begin every data frame, little-endian:
/// `{u32 payload length, u16 type, u16 flags, u64 first sample index, u64 CLOCK_MONOTONIC ns}`.
public struct FrameHeader: Hashable, Sendable {
    /// The encoded size in bytes.
    public static let size = 24
    /// The largest payload in bytes.
    public static let maximumPayload = 1 << 20

    /// Length of the payload in bytes.
    public var length: UInt32
    /// The frame's type.
    public var type: FrameType
    /// Reserved: always zero for now.
    public var flags: UInt16
    /// For DATA and GAP the index of the first sample that is carried or lost; for RESULT the index one past
    /// the window's last sample.
    public var sampleIndex: UInt64
    /// When the first sample was taken, or the result completed.
    public var time: MonotonicTime

    /// - Parameters:
    ///   - type: the frame's type.
    ///   - length: length of the payload in bytes.
    ///   - sampleIndex: see the property.
    ///   - time: see the property.
    public init(_ type: FrameType, length: UInt32 = 0, sampleIndex: UInt64 = 0, time: MonotonicTime = MonotonicTime(nanoseconds: 0)) {
        self.length = length
        self.type = type
        self.flags = 0
        self.sampleIndex = sampleIndex
        self.time = time
    }

    /// Appends the 24 bytes of this header.
    public func append(to bytes: inout [UInt8]) {
        bytes.appendLittleEndian(length)
        bytes.appendLittleEndian(type.rawValue)
        bytes.appendLittleEndian(flags)
        bytes.appendLittleEndian(sampleIndex)
        bytes.appendLittleEndian(time.nanoseconds)
    }
}

extension [UInt8] {
    /// Appends `value` with its lowest byte first.
    mutating func appendLittleEndian(_ value: some FixedWidthInteger) {
        Swift.withUnsafeBytes(of: value.littleEndian) { append(contentsOf: $0) }
    }
}

extension UnsafeRawBufferPointer {
    /// The integer whose lowest byte is at `offset`, at any alignment. Bounds are checked by the caller; in
    /// debug builds `loadUnaligned` checks them too.
    func littleEndian<Value: FixedWidthInteger & BitwiseCopyable>(at offset: Int, as type: Value.Type) -> Value {
        Value(littleEndian: loadUnaligned(fromByteOffset: offset, as: type))
    }
}
