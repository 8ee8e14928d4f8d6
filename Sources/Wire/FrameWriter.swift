import Units

/// Writes data frames into bytes to be sent.
public struct FrameWriter: Sendable {
    /// What was written and not taken yet.
    public private(set) var bytes: [UInt8] = []

    /// A writer without frames.
    public init() {}

    /// Takes all that was written; the writer is empty afterwards.
    public mutating func take() -> [UInt8] {
        defer { bytes = [] }
        return bytes
    }

    /// Appends DATA with `samples`, of which the first has `sampleIndex` and was taken at `time`. More than
    /// one frame holds is cut into several; the caller gives whole samples and a `sampleSize`.
    public mutating func data(
        _ samples: UnsafeRawBufferPointer, sampleSize: Int, sampleIndex: UInt64, time: MonotonicTime
    ) {
        precondition(sampleSize > 0 && samples.count % sampleSize == 0, "DATA carries whole samples")
        let most = FrameHeader.maximumPayload / sampleSize * sampleSize
        var offset = 0
        repeat {
            let piece = UnsafeRawBufferPointer(rebasing: samples[offset..<min(offset + most, samples.count)])
            append(
                FrameHeader(.data, length: UInt32(piece.count), sampleIndex: sampleIndex + UInt64(offset / sampleSize), time: time),
                piece)
            offset += piece.count
        } while offset < samples.count
    }

    /// Appends GAP: `lost` samples, the first with `sampleIndex`, will never come.
    public mutating func gap(lost: UInt64, sampleIndex: UInt64, time: MonotonicTime) {
        FrameHeader(.gap, length: 8, sampleIndex: sampleIndex, time: time).append(to: &bytes)
        bytes.appendLittleEndian(lost)
    }

    /// Appends FLUSH: results are wanted for all samples before `sampleIndex`.
    public mutating func flush(sampleIndex: UInt64, time: MonotonicTime) {
        FrameHeader(.flush, sampleIndex: sampleIndex, time: time).append(to: &bytes)
    }

    /// Appends END: `sampleIndex` samples were all.
    public mutating func end(sampleIndex: UInt64, time: MonotonicTime) {
        FrameHeader(.end, sampleIndex: sampleIndex, time: time).append(to: &bytes)
    }

    /// Appends RESULT without an allocation of its own.
    ///
    /// - Parameters:
    ///   - sampleIndex: one past the window's last sample.
    ///   - time: when the result was completed.
    ///   - variant: index into the list of variants of the reply to Open.
    ///   - isPadded: whether the window was filled up because the stream ended.
    ///   - joules: the energy this window took.
    ///   - values: the outputs in the order of the reply to Open.
    public mutating func result(
        sampleIndex: UInt64, time: MonotonicTime, variant: UInt16, isPadded: Bool, joules: Joules,
        values: UnsafeBufferPointer<Float>
    ) {
        precondition(values.count <= ResultPayload.maximumValues, "a result fits into a frame")
        let length = ResultPayload.fixedSize + 4 * values.count
        FrameHeader(.result, length: UInt32(length), sampleIndex: sampleIndex, time: time).append(to: &bytes)
        ResultPayload.append(variant: variant, isPadded: isPadded, joules: joules, values: values, to: &bytes)
    }

    /// Appends NOTICE or ERROR. Their text is cut if it should not fit into a frame.
    public mutating func notice(_ notice: Notice, isError: Bool = false, sampleIndex: UInt64, time: MonotonicTime) {
        let payload = notice.serialized()
        payload.withUnsafeBytes {
            append(
                FrameHeader(isError ? .error : .notice, length: UInt32($0.count), sampleIndex: sampleIndex, time: time), $0)
        }
    }

    private mutating func append(_ header: FrameHeader, _ payload: UnsafeRawBufferPointer) {
        header.append(to: &bytes)
        bytes.append(contentsOf: payload)
    }
}
