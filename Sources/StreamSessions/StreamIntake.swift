import Units
import Wire

// What a stream's frames bring: samples, gaps, and the wish for a flush or the end.
extension StreamSession {
    /// The largest index at which samples may begin: sums with it neither overflow nor leave the range of JSON's integers.
    static let lastIndex: UInt64 = 1 << 62
    /// Beyond this a float sample is no measurement, and sums over a window could overflow. NaN is beyond it, too.
    static let largestSample: Float = 1e9

    func handle(_ event: FrameEvent) throws(JouledError) {
        switch event {
        case .data(_, let offset, _) where offset > 0: break
        default: frame += 1
        }
        switch event {
        case .data(let header, let offset, let bytes):
            if offset == 0 { try align(to: header.sampleIndex) }
            try take(bytes)
        case .gap(let header, let lost):
            guard header.sampleIndex >= assembler.endOfSamples || !hasOrigin else { throw backwards(header.sampleIndex, "GAP") }
            let (next, overflow) = header.sampleIndex.addingReportingOverflow(lost)
            guard !overflow, next <= Self.lastIndex else {
                throw JouledError(.malformedFrame, "frame \(frame) (GAP): the sample index overflows")
            }
            // Nothing was lost and nothing is skipped: no reason to forget the past.
            if hasOrigin, next == assembler.endOfSamples { return }
            skip(to: next, lost: next &- (hasOrigin ? assembler.endOfSamples : header.sampleIndex))
        case .flush:
            owed.flushes.append(assembler.endOfSamples)
        case .end:
            owed.end = true
        case .message(let header, _):
            throw JouledError(.malformedFrame, "frame \(frame): \(header.type.name) is not for the daemon")
        }
    }

    /// Checks that a DATA frame continues where the last one ended; a jump forward is a gap.
    private func align(to index: UInt64) throws(JouledError) {
        guard index <= Self.lastIndex else {
            throw JouledError(.malformedFrame, "frame \(frame) (DATA): first sample index \(index) is over the limit of \(Self.lastIndex)")
        }
        guard hasOrigin else {
            hasOrigin = true
            restart(at: index)
            return
        }
        if index > assembler.endOfSamples { return skip(to: index, lost: index - assembler.endOfSamples) }
        guard index == assembler.endOfSamples else { throw backwards(index, "DATA") }
    }

    private func backwards(_ index: UInt64, _ type: String) -> JouledError {
        JouledError(.malformedFrame, "frame \(frame) (\(type)): first sample index \(index) goes back behind \(assembler.endOfSamples)")
    }

    private func restart(at index: UInt64) {
        assembler.restart(at: index)
        gateway?.keeper?.restarted(at: index)
        gateway?.say(.begins(at: index))
    }

    /// After lost samples windows begin anew: neither context nor state may span the hole.
    private func skip(to index: UInt64, lost: UInt64) {
        // The parser cannot stop here until the gate has spoken.
        answerWindows(waits: false)
        if phase == .receiving { tellFlushed(before: .max) }
        hasOrigin = true
        restart(at: index)
        resetState()
        statistics.lostSamples += lost
        tell("gap", "\(lost) samples lost; windows begin anew at sample \(index)", ["lost": JSONValue(lost), "at": JSONValue(index)])
    }

    /// Takes a piece of samples.
    private func take(_ bytes: UnsafeRawBufferPointer) throws(JouledError) {
        let values = decoder.samples(completedBy: bytes.count)
        var isFinite = true
        let factor = contract.format == .s16le ? contract.s16Scale * 32768 : 1
        assembler.appendValues(values) { target in
            _ = decoder.decode(bytes, into: target)
            if factor != 1 { for index in target.indices { target[index] *= factor } }
            // A NaN would stay in a recurrent state for ever.
            if contract.format == .f32le { isFinite = target.allSatisfy { $0.magnitude <= Self.largestSample } }
        }
        guard isFinite else {
            assembler.removeLast(values)
            throw JouledError(.malformedFrame, "frame \(frame) (DATA): a sample before index \(assembler.endOfSamples) is no finite number")
        }
        // What is taken while nothing is limited is no debt: or a recording pushed on external power would hold its stream
        // up for minutes once the battery has to last.
        if assignment.isPaced { pacer.take(values / contract.channels) }
    }
}
