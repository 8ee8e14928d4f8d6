import Units

/// When samples arrived, as far as the reads of their socket tell: a client in real time had sent them at its own pace since the read
/// before, one that pushes a recording only just then.
struct ArrivalLog: Sendable {
    /// Reads kept; beyond that the latest are taken for one.
    static let limit = 64

    private struct Read: Sendable {
        /// One past the last sample that it took.
        var end: UInt64
        var time: MonotonicTime
        /// So long samples may have waited for it.
        var wait: Seconds
    }

    private var reads: [Read] = []
    /// Reads that are kept.
    var count: Int { reads.count }

    /// Takes a read of samples up to `end`.
    /// - Parameter wait: so long they may have been there before it.
    mutating func note(upTo end: UInt64, at time: MonotonicTime, wait: Seconds) {
        if let last = reads.last, last.end >= end { return }
        guard reads.count == Self.limit else { return reads.append(Read(end: end, time: time, wait: wait)) }
        // Taken for older than they are, so that nobody waits too long for them.
        reads[reads.count - 1].end = end
    }

    /// When the sample before `end` is taken to have arrived, and how long samples may wait for a read; nil if it has not arrived.
    func arrival(of end: UInt64, rateHz: Int) -> (time: MonotonicTime, wait: Seconds)? {
        guard let read = reads.first(where: { $0.end >= end }) else { return nil }
        let since = Seconds(Double(read.end - end) / Double(rateHz))
        return (read.time.advanced(by: -min(since, read.wait)), read.wait)
    }

    /// Samples before `start` are not asked for again.
    mutating func forget(before start: UInt64) {
        guard let first = reads.first, first.end <= start else { return }
        reads.removeAll { $0.end <= start }
    }

    /// All samples are another signal's from now on.
    mutating func forget() { reads = [] }
}
