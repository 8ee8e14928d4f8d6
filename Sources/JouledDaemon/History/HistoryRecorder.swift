import Units

/// Makes a history out of the ticks that take place anyway: no timer and no wake-up of its own.
///
/// A stretch ends with the first tick that comes a minute after its begin. Records wait in memory until so many of them, or so old ones, are
/// there that writing them is worth touching the flash for.
struct HistoryRecorder: Sendable {
    /// The shortest stretch.
    static let stretch = Seconds(60)
    /// Records wait no longer than this, and are lost with a crash.
    static let patience = Seconds(600)
    /// Nor do more than so many wait.
    static let pendingLimit = 256

    /// What a tick knows.
    struct Moment {
        var point: HistoryPoint
        /// Windows and joules so far, by stream and variant.
        var ledger: [Ledger.Entry]
        /// Wake-ups so far and present quality of open streams.
        var streams: [UInt64: (wakes: Int, quality: Double)]
    }

    private struct Key: Hashable {
        var stream: UInt64
        var variant: String
    }

    private var begun: MonotonicTime?
    private var counted: [Key: (windows: Int, joules: Joules)] = [:]
    private var wakes: [UInt64: Int] = [:]
    private(set) var pending: [HistoryRecord] = []
    private var oldest: MonotonicTime?

    init() {}

    /// Whether `observe` would end a stretch at `now`, so that gathering a moment is worth it.
    func isDue(at now: MonotonicTime) -> Bool { begun.map { now.since($0) >= Self.stretch } ?? true }

    /// Ends the stretch with this moment; the first one only begins.
    mutating func observe(_ moment: Moment, at now: MonotonicTime) {
        var point = moment.point
        var shares: [HistoryShare] = []
        var newlyCounted: [Key: (windows: Int, joules: Joules)] = [:]
        var told: Set<UInt64> = []
        // Stream 0 is the sum of what earlier processes did.
        for entry in moment.ledger where entry.stream != 0 {
            let key = Key(stream: entry.stream, variant: entry.variant)
            newlyCounted[key] = (entry.windows, entry.joules)
            let before = counted[key] ?? (0, .zero)
            guard entry.windows > before.windows else { continue }
            let isFirst = told.insert(entry.stream).inserted
            shares.append(
                HistoryShare(
                    stream: entry.stream, name: entry.name, model: entry.model, variant: entry.variant, windows: entry.windows - before.windows,
                    joules: entry.joules - before.joules, wakes: isFirst ? max(0, (moment.streams[entry.stream]?.wakes ?? 0) - (wakes[entry.stream] ?? 0)) : 0,
                    quality: moment.streams[entry.stream]?.quality ?? 0))
        }
        counted = newlyCounted
        wakes = moment.streams.mapValues(\.wakes)
        defer { begun = now }
        guard let begun else { return }
        point.span = now.since(begun)
        point.shares = shares
        add(.point(point), at: now)
    }

    /// Keeps a change of plan.
    mutating func add(_ record: HistoryRecord, at now: MonotonicTime) {
        if pending.isEmpty { oldest = now }
        pending.append(record)
        // Flapping must not fill memory; the journal has what is dropped here.
        if pending.count > 4 * Self.pendingLimit { pending.removeFirst() }
    }

    /// The records to write now; none while waiting is better.
    mutating func take(at now: MonotonicTime, all: Bool = false) -> [HistoryRecord] {
        guard all || pending.count >= Self.pendingLimit || oldest.map({ now.since($0) >= Self.patience }) ?? false else { return [] }
        defer { (pending, oldest) = ([], nil) }
        return pending
    }
}
