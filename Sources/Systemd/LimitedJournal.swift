import Synchronization
import Units

/// A journal that no kind of event can flood: a token bucket for each MESSAGE_ID.
///
/// So many entries of a kind are written at once, then a few a minute; how many were held back is told with a later entry of the kind,
/// at most once a minute, or by `flush`. Critical entries are always written. Nothing wakes up for it.
public final class LimitedJournal: JournalSink {
    /// How much may be written of each kind.
    public struct Limit: Sendable {
        /// Entries that may come at once.
        public var burst: Double
        /// Entries a second in the long run.
        public var rate: Double
        /// Least time between two entries that tell what was held back.
        public var summaryInterval: Seconds

        /// Room for every stream of a full daemon to be placed twice over; then 12 a minute.
        public init(burst: Double = 128, rate: Double = 0.2, summaryInterval: Seconds = Seconds(60)) {
            self.burst = burst
            self.rate = rate
            self.summaryInterval = summaryInterval
        }
    }

    /// The kind of the entries that tell what was held back.
    public static let suppressedID = "5c1f0b6a7a3e4d0f9a5be2d8a1c40e11"

    private struct Bucket {
        var tokens: Double
        var filledAt: MonotonicTime
        var suppressed = 0
        var toldAt: MonotonicTime
        /// The first words of what was held back, for people.
        var example = ""
    }

    private let sink: any JournalSink
    private let clocks: any Clocks
    private let limit: Limit
    private let buckets = Mutex<[String: Bucket]>([:])

    /// - Parameter sink: where entries go.
    public init(_ sink: any JournalSink, limit: Limit = Limit(), clocks: any Clocks = SystemClocks()) {
        self.sink = sink
        self.limit = limit
        self.clocks = clocks
    }

    public func send(_ record: JournalRecord) {
        guard record.priority > .critical else { return sink.send(record) }
        let now = clocks.monotonic()
        // Entries without an id are one kind for each place that they come from.
        let kind = record.messageID ?? "\(record.file):\(record.line)"
        let (passes, summary) = buckets.withLock { buckets in
            var bucket = buckets[kind] ?? Bucket(tokens: limit.burst, filledAt: now, toldAt: now)
            bucket.tokens = min(limit.burst, bucket.tokens + max(0, now.since(bucket.filledAt).value) * limit.rate)
            bucket.filledAt = now
            defer { buckets[kind] = bucket }
            guard bucket.tokens >= 1 else {
                if bucket.suppressed == 0 { bucket.example = record.message }
                bucket.suppressed += 1
                return (false, nil as JournalRecord?)
            }
            bucket.tokens -= 1
            guard bucket.suppressed > 0, now.since(bucket.toldAt) >= limit.summaryInterval else { return (true, nil) }
            return (true, Self.summary(kind, &bucket, at: now))
        }
        if let summary { sink.send(summary) }
        if passes { sink.send(record) }
    }

    /// Tells what is still held back. To be called at the end of the process.
    public func flush() {
        let now = clocks.monotonic()
        let summaries = buckets.withLock { buckets in
            buckets.keys.sorted().compactMap { kind -> JournalRecord? in
                guard var bucket = buckets[kind], bucket.suppressed > 0 else { return nil }
                defer { buckets[kind] = bucket }
                return Self.summary(kind, &bucket, at: now)
            }
        }
        for summary in summaries { sink.send(summary) }
    }

    private static func summary(_ kind: String, _ bucket: inout Bucket, at now: MonotonicTime) -> JournalRecord {
        defer {
            bucket.suppressed = 0
            bucket.toldAt = now
        }
        return JournalRecord(
            .warning, "\(bucket.suppressed) entries of one kind were held back, the first: \(bucket.example)", messageID: suppressedID,
            fields: [.init("JOULED_SUPPRESSED", "\(bucket.suppressed)"), .init("JOULED_SUPPRESSED_KIND", kind)])
    }
}
