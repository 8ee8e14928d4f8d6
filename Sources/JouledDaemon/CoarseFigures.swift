import StreamSessions
import Units

/// What a user may know of what others' streams spend.
///
/// Fine energy counters are a side channel: they tell when a room has speech in it. So others' figures are renewed once a
/// minute at most, in whole joules and thousands of windows.
struct CoarseFigures: Sendable {
    static let interval = Seconds(60)
    static let grain = Joules(1)
    static let windowGrain = 1000

    private(set) var entries: [Ledger.Entry] = []
    private var streams: [UInt64: (windows: Int, joules: Joules)] = [:]
    private var takenAt: MonotonicTime?

    /// Takes the figures anew, if those that are known are old enough. Streams that came since are not known yet.
    mutating func refresh(_ open: [UInt64: OpenStream], _ ledger: Ledger, at now: MonotonicTime) {
        guard takenAt.map({ now.since($0) >= Self.interval }) ?? true else { return }
        takenAt = now
        streams = open.mapValues { (Self.coarse($0.statistics.totalWindows), Self.coarse($0.statistics.totalJoules)) }
        entries = ledger.entries.map { entry in
            var entry = entry
            entry.windows = Self.coarse(entry.windows)
            entry.joules = Self.coarse(entry.joules)
            return entry
        }
    }

    func figures(of stream: UInt64) -> (Int, Joules) { streams[stream].map { ($0.windows, $0.joules) } ?? (0, .zero) }

    /// To ten milliwatts: what all streams together draw is averaged over a poll already.
    static func round(_ power: Watts) -> Watts { Watts((power.value * 100).rounded() / 100) }

    private static func coarse(_ windows: Int) -> Int { windows / windowGrain * windowGrain }
    private static func coarse(_ joules: Joules) -> Joules { Joules((joules / grain).rounded(.down)) }
}
