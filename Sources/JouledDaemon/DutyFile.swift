import Decisions
import Glibc
import Systemd
import Units

/// The file that keeps over restarts how much of the time streams are awake behind their gates.
struct DutyFile: Sendable {
    /// A power cut loses no more of what was learned.
    static let saveInterval = Seconds(600)

    let path: String
    var duties = GateDuties()
    private var saved = GateDuties()
    private var savedAt: MonotonicTime?
    private var hasFailed = false

    init(path: String) { self.path = path }

    /// Reads what was learned before; a damaged file is told and learning begins anew.
    mutating func load(_ journal: any JournalSink) {
        guard access(path, F_OK) == 0 else { return }
        do throws(JouledError) {
            duties = try GateDuties(persistentText: String(decoding: try StateFile.bytes(path), as: UTF8.self), name: path)
            saved = duties
        } catch {
            journal.send(JournalRecord(.warning, "What was learned of gates is lost, learning begins anew: \(error)", messageID: MessageID.stateProblem))
        }
    }

    /// Writes what was learned, if it changed and was not written lately.
    mutating func saveIfDue(at now: MonotonicTime, _ journal: any JournalSink) {
        let since = savedAt ?? now
        savedAt = since
        guard now.since(since) >= Self.saveInterval else { return }
        savedAt = now
        save(journal)
    }

    /// Writes what was learned, if it changed. A disk that cannot be written is told once, until it can again.
    mutating func save(_ journal: any JournalSink) {
        guard duties != saved else { return }
        do throws(JouledError) {
            try AtomicFile.write(duties.persistentText, to: path, isDurable: false)
            (saved, hasFailed) = (duties, false)
        } catch {
            if !hasFailed { journal.send(JournalRecord(.warning, "What was learned of gates is not kept: \(error)", messageID: MessageID.stateProblem)) }
            hasFailed = true
        }
    }
}
