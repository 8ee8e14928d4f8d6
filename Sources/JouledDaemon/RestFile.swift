import Decisions
import Glibc
import PowerPolicy
import Systemd
import Units

/// The file that keeps over restarts what was seen of the rest of the device: base load, sun and charger by time of day.
struct RestFile: Sendable {
    /// A power cut loses no more of what was seen.
    static let saveInterval = Seconds(600)
    /// So long a clock may be behind before what the file has is too old anyway.
    static let clockPatience = Seconds(2 * 86400)

    let path: String
    private var savedAt: MonotonicTime?
    private var hasFailed = false
    /// What the file has may be of a time that is yet to come by a clock that is not set; since when that was seen.
    private var ahead: (of: WallTime, since: MonotonicTime)?

    init(path: String) { self.path = path }

    /// Reads what was seen before; a damaged file is told and learning begins anew.
    mutating func load(_ journal: any JournalSink, at wall: WallTime) -> RestForecaster? {
        guard access(path, F_OK) == 0 else { return nil }
        do throws(JouledError) {
            let known = try RestForecaster(persistentText: String(decoding: try StateFile.bytes(path), as: UTF8.self), name: path, at: wall)
            ahead = known.ahead.map { ($0, SystemClocks().monotonic()) }
            return known
        } catch {
            journal.send(
                JournalRecord(
                    .warning, "What was seen of base load, sun and charger is lost, learning begins anew: \(error)", messageID: MessageID.stateProblem))
            return nil
        }
    }

    /// Writes what was seen, if it was not written lately.
    mutating func saveIfDue(_ engine: DecisionEngine, _ clocks: SystemClocks, _ journal: any JournalSink) {
        let now = clocks.monotonic()
        let since = savedAt ?? now
        savedAt = since
        guard now.since(since) >= Self.saveInterval else { return }
        savedAt = now
        save(engine, clocks, journal)
    }

    /// Writes what was seen, unless the clock is behind what the file says: it is yet to be set, and would date all wrongly. After
    /// days it was the file's that was wrong. A disk that cannot be written is told once, until it can again.
    mutating func save(_ engine: DecisionEngine, _ clocks: SystemClocks, _ journal: any JournalSink) {
        let wall = clocks.wall()
        if let ahead, wall < ahead.of, clocks.monotonic().since(ahead.since) < Self.clockPatience { return }
        ahead = nil
        guard let text = engine.restText(at: wall, utcOffset: .local(at: wall)) else { return }
        do throws(JouledError) {
            try AtomicFile.write(text, to: path, isDurable: false)
            hasFailed = false
        } catch {
            if !hasFailed {
                journal.send(JournalRecord(.warning, "What was seen of base load, sun and charger is not kept: \(error)", messageID: MessageID.stateProblem))
            }
            hasFailed = true
        }
    }
}
