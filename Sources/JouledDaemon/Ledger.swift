import ModelStore
import StreamSessions
import Units

/// Where the energy went: windows and joules by stream and variant, over restarts.
struct Ledger: Sendable {
    struct Entry: Sendable, Equatable {
        var stream: UInt64
        var name: String
        var model: String
        var variant: String
        var windows: Int
        var joules: Joules
        var isOpen: Bool
    }

    /// Closed entries kept one by one; older ones are added up per model and variant under stream 0.
    static let closedLimit = 256

    private(set) var closed: [Entry] = []
    private(set) var open: [UInt64: [Entry]] = [:]
    private var spent: [String: UnitWork] = [:]
    private var counted: [UInt64: [UnitWork]] = [:]

    init() {}

    /// Goes on with what an earlier process counted, its streams added up per model and variant.
    init(earlier entries: [Entry]) {
        for entry in entries {
            var closed = entry
            closed.isOpen = false
            fold(closed)
        }
    }

    var entries: [Entry] { closed + open.keys.sorted().flatMap { open[$0] ?? [] } }
    var totalJoules: Joules { entries.reduce(.zero) { $0 + $1.joules } }

    /// Takes the present figures of open streams.
    mutating func update(_ reports: [UInt64: StreamStatistics], _ streams: [UInt64: OpenStream]) {
        for (id, statistics) in reports {
            guard let stream = streams[id] else { continue }
            count(stream, statistics, isOpen: true)
        }
    }

    /// Takes the final figures of a stream.
    mutating func close(_ stream: OpenStream, _ statistics: StreamStatistics, at now: MonotonicTime) {
        count(stream, statistics, isOpen: false)
        closed += open.removeValue(forKey: stream.id) ?? []
        counted[stream.id] = nil
        // Sums stay: there are no more of them than variants of models.
        while closed.count > Self.closedLimit, let oldest = closed.firstIndex(where: { $0.stream != 0 }) {
            fold(closed.remove(at: oldest))
        }
    }

    /// What was done since the last call, by unit.
    mutating func takeSpent() -> [UnitWork] {
        defer { spent = [:] }
        return spent.keys.sorted().compactMap { spent[$0] }
    }

    private mutating func count(_ stream: OpenStream, _ statistics: StreamStatistics, isOpen: Bool) {
        open[stream.id] = zip(stream.variantNames, zip(statistics.windows, statistics.joules)).compactMap { variant, figures in
            guard figures.0 > 0 else { return nil }
            return Entry(
                stream: stream.id, name: stream.displayName, model: stream.model.bundle.manifest.name, variant: variant,
                windows: figures.0, joules: figures.1, isOpen: isOpen)
        }
        for work in statistics.work {
            let news = work.since(counted[stream.id]?.first { $0.unit == work.unit })
            spent[work.unit, default: UnitWork(unit: work.unit)] += news
        }
        counted[stream.id] = statistics.work
    }

    private mutating func fold(_ entry: Entry) {
        let index = closed.lastIndex { $0.stream == 0 && $0.model == entry.model && $0.variant == entry.variant }
        guard let index else {
            var sum = entry
            sum.stream = 0
            sum.name = "earlier streams"
            closed.append(sum)
            return
        }
        closed[index].windows += entry.windows
        closed[index].joules += entry.joules
    }
}
