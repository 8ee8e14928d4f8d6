import Units

/// What a frame parser found. Byte pointers are valid only during the call that delivers them.
public enum FrameEvent {
    /// A piece of a DATA frame's payload, in order: `offset` counts from the payload's begin, and the last
    /// piece ends at `header.length`. A frame without samples gives one empty piece. Pieces follow the split
    /// of the input, so that one may begin or end inside a sample.
    case data(FrameHeader, offset: Int, UnsafeRawBufferPointer)
    /// So many samples were lost, the first with the header's index.
    case gap(FrameHeader, lost: UInt64)
    /// The client wants results for all that was sent.
    case flush(FrameHeader)
    /// The client will send nothing more.
    case end(FrameHeader)
    /// A RESULT, NOTICE or ERROR with its whole payload.
    case message(FrameHeader, UnsafeRawBufferPointer)
}

/// Cuts a byte stream into data frames, as a state machine without I/O.
///
/// Made for the path that every sample takes: samples are handed on from the caller's own read buffer without
/// a copy or an allocation, however the bytes were split, and nothing of DATA is kept. The first fault is
/// final: it names the frame by its ordinal number (the first is 1) and the field, and is thrown again by
/// every later call.
public struct FrameParser: Sendable {
    /// Which frames are legal.
    public enum Role: Hashable, Sendable {
        /// The daemon reads what a client sends: DATA of samples of so many bytes, GAP, FLUSH, END.
        case daemon(sampleSize: Int)
        /// A client reads what the daemon sends: RESULT, NOTICE, ERROR.
        case client
    }

    private let role: Role
    private var ordinal: UInt64 = 1
    /// The header being gathered, when a split fell into it. Inline, so that no split allocates.
    private var partialHeader: (UInt64, UInt64, UInt64) = (0, 0, 0)
    private var headerFilled = 0
    /// The frame whose payload is being received.
    private var present: FrameHeader?
    private var received = 0
    private var partialGap: UInt64 = 0
    /// The payload of RESULT, NOTICE or ERROR, when a split fell into it.
    private var partialMessage: [UInt8] = []
    private var hasEnded = false
    private var failure: JouledError?

    /// - Parameter role: which frames are legal.
    public init(role: Role) {
        if case .daemon(let sampleSize) = role { precondition(sampleSize > 0, "samples have a size") }
        self.role = role
    }

    /// Where a parser is in its input, so that another can go on from there.
    public struct Position: Hashable, Sendable {
        /// The ordinal number of the frame.
        public var ordinal: UInt64
        /// What was received of its header, up to 24 bytes.
        public var header: [UInt8]
        /// Bytes received of its payload.
        public var received: Int
        /// A GAP's count, as far as it was received.
        public var partialGap: UInt64

        public init(ordinal: UInt64, header: [UInt8], received: Int, partialGap: UInt64) {
            self.ordinal = ordinal
            self.header = header
            self.received = received
            self.partialGap = partialGap
        }
    }

    /// Where the daemon's parser is; nil after END or a fault, from which nothing goes on.
    public var position: Position? {
        guard !hasEnded, failure == nil else { return nil }
        var header: [UInt8] = []
        if let present {
            present.append(to: &header)
        } else {
            withUnsafeBytes(of: partialHeader) { header = Array($0.prefix(headerFilled)) }
        }
        return Position(ordinal: ordinal, header: header, received: received, partialGap: partialGap)
    }

    /// A parser that goes on from `position`.
    /// - Throws: if no parser of this role can be there.
    public init(role: Role, from position: Position) throws(JouledError) {
        self.init(role: role)
        ordinal = position.ordinal
        let filled = position.header.count
        guard filled <= FrameHeader.size else { throw fault("its saved header has \(filled) bytes") }
        withUnsafeMutableBytes(of: &partialHeader) { header in header.copyBytes(from: position.header) }
        headerFilled = filled
        guard filled == FrameHeader.size else { return }
        headerFilled = 0
        var fields = (length: UInt32(0), type: UInt16(0), flags: UInt16(0), index: UInt64(0), time: UInt64(0))
        withUnsafeBytes(of: partialHeader) { fields = Self.fields($0) }
        let header = try validated(fields)
        guard (0...Int(header.length)).contains(position.received) else { throw fault("its saved payload is longer than it") }
        present = header
        received = position.received
        partialGap = position.partialGap
    }

    /// The ordinal number of the frame that is being received or comes next, from 1.
    public var frameOrdinal: UInt64 { ordinal }

    /// Takes bytes as they arrived, in any split, and hands each event to `handle` in order.
    ///
    /// Events before a fault are delivered. If `handle` throws, the parser fails with that error.
    public mutating func receive(
        _ bytes: UnsafeRawBufferPointer, _ handle: (FrameEvent) throws(JouledError) -> Void
    ) throws(JouledError) {
        if let failure { throw failure }
        do throws(JouledError) {
            var rest = bytes[...]
            while true {
                if let header = present {
                    guard try payload(of: header, &rest, handle) else { return }
                } else {
                    guard !rest.isEmpty, let header = try header(&rest) else { return }
                    present = header
                    received = 0
                }
            }
        } catch {
            failure = error
            partialMessage = []
            throw error
        }
    }

    /// Declares the input at its end: throws if that is in the middle of a frame, saying how much is missing.
    public mutating func finish() throws(JouledError) {
        if let failure { throw failure }
        if let header = present {
            let missing = Int(header.length) - received
            throw JouledError(
                .truncatedFrame,
                "frame \(ordinal) (\(header.type.name)): the input ends \(missing) bytes before the end of its payload of \(header.length) bytes")
        }
        guard headerFilled == 0 else {
            throw JouledError(
                .truncatedFrame, "frame \(ordinal): the input ends \(FrameHeader.size - headerFilled) bytes before the end of its header")
        }
    }

    // MARK: Headers

    private func fault(_ what: String) -> JouledError {
        JouledError(.malformedFrame, "frame \(ordinal): \(what)")
    }

    /// The next header, or nil when `rest` ends before it is complete.
    private mutating func header(_ rest: inout Slice<UnsafeRawBufferPointer>) throws(JouledError) -> FrameHeader? {
        if headerFilled == 0, rest.count >= FrameHeader.size {
            let whole = UnsafeRawBufferPointer(rebasing: rest.prefix(FrameHeader.size))
            rest = rest.dropFirst(FrameHeader.size)
            return try validated(whole)
        }
        let taken = min(FrameHeader.size - headerFilled, rest.count)
        let filled = headerFilled
        withUnsafeMutableBytes(of: &partialHeader) { header in
            for index in 0..<taken { header[filled + index] = rest[rest.startIndex + index] }
        }
        headerFilled += taken
        rest = rest.dropFirst(taken)
        guard headerFilled == FrameHeader.size else { return nil }
        headerFilled = 0
        let gathered = partialHeader
        // Checked outside of the closure, whose errors would lose their type.
        var fields = (length: UInt32(0), type: UInt16(0), flags: UInt16(0), index: UInt64(0), time: UInt64(0))
        withUnsafeBytes(of: gathered) { fields = Self.fields($0) }
        return try validated(fields)
    }

    private typealias Fields = (length: UInt32, type: UInt16, flags: UInt16, index: UInt64, time: UInt64)

    private static func fields(_ bytes: UnsafeRawBufferPointer) -> Fields {
        (
            bytes.littleEndian(at: 0, as: UInt32.self), bytes.littleEndian(at: 4, as: UInt16.self),
            bytes.littleEndian(at: 6, as: UInt16.self), bytes.littleEndian(at: 8, as: UInt64.self),
            bytes.littleEndian(at: 16, as: UInt64.self)
        )
    }

    private func validated(_ bytes: UnsafeRawBufferPointer) throws(JouledError) -> FrameHeader {
        try validated(Self.fields(bytes))
    }

    private func validated(_ fields: Fields) throws(JouledError) -> FrameHeader {
        guard !hasEnded else { throw fault("it follows END") }
        guard let type = FrameType(rawValue: fields.type) else { throw fault("type \(fields.type) is unknown") }
        guard type.isOutbound == (role == .client) else {
            throw fault("type \(type.name) goes from \(type.isOutbound ? "daemon to client" : "client to daemon")")
        }
        guard fields.flags == 0 else { throw fault("flags 0x\(String(fields.flags, radix: 16)) are reserved and must be 0") }
        guard fields.length <= FrameHeader.maximumPayload else {
            throw fault("length \(fields.length) is over the limit of \(FrameHeader.maximumPayload) bytes")
        }
        switch type {
        case .data:
            guard case .daemon(let sampleSize) = role, Int(fields.length) % sampleSize == 0 else {
                throw fault("length \(fields.length) of DATA is no multiple of the sample size\(sampleSizeText)")
            }
        case .gap:
            guard fields.length == 8 else { throw fault("length \(fields.length) of GAP must be 8") }
        case .flush, .end:
            guard fields.length == 0 else { throw fault("length \(fields.length) of \(type.name) must be 0") }
        case .result, .notice, .error: break
        }
        return FrameHeader(
            type, length: fields.length, sampleIndex: fields.index, time: MonotonicTime(nanoseconds: fields.time))
    }

    private var sampleSizeText: String {
        if case .daemon(let size) = role { ", \(size) bytes" } else { "" }
    }

    // MARK: Payloads

    /// Takes what `rest` holds of the payload; false when the payload is not complete yet.
    private mutating func payload(
        of header: FrameHeader, _ rest: inout Slice<UnsafeRawBufferPointer>,
        _ handle: (FrameEvent) throws(JouledError) -> Void
    ) throws(JouledError) -> Bool {
        let length = Int(header.length)
        let piece = UnsafeRawBufferPointer(rebasing: rest.prefix(length - received))
        rest = rest.dropFirst(piece.count)
        let offset = received
        let isComplete = offset + piece.count == length
        received += piece.count
        switch header.type {
        case .data:
            if !piece.isEmpty || length == 0 { try handle(.data(header, offset: offset, piece)) }
        case .gap:
            for (index, byte) in piece.enumerated() { partialGap |= UInt64(byte) << UInt64(8 * (offset + index)) }
            if isComplete {
                let lost = partialGap
                partialGap = 0
                try handle(.gap(header, lost: lost))
            }
        case .flush: try handle(.flush(header))
        case .end:
            hasEnded = true
            try handle(.end(header))
        case .result, .notice, .error:
            try message(header, offset, piece, isComplete, handle)
        }
        guard isComplete else { return false }
        present = nil
        ordinal += 1
        return true
    }

    private mutating func message(
        _ header: FrameHeader, _ offset: Int, _ piece: UnsafeRawBufferPointer, _ isComplete: Bool,
        _ handle: (FrameEvent) throws(JouledError) -> Void
    ) throws(JouledError) {
        if offset == 0, isComplete { return try handle(.message(header, piece)) }
        // Grows with what arrives, never with what a header claims.
        partialMessage.append(contentsOf: piece)
        guard isComplete else { return }
        let whole = partialMessage
        partialMessage.removeAll(keepingCapacity: false)
        var thrown: JouledError?
        whole.withUnsafeBytes { bytes in
            do throws(JouledError) { try handle(.message(header, bytes)) } catch { thrown = error }
        }
        if let thrown { throw thrown }
    }
}
