import PowerPolicy
import Systemd
import Units

/// The file that keeps the charging habit over restarts.
struct HabitFile: Sendable {
    let path: String
    private var saved: ChargeHabit?
    private var hasFailed = false

    init(path: String) { self.path = path }

    /// What was learned before; nil if nothing, or if the file is damaged, which is told.
    mutating func load(_ journal: any JournalSink) -> ChargeHabit? {
        guard let bytes = try? StateFile.bytes(path) else { return nil }
        do throws(JouledError) {
            let habit = try ChargeHabit(persistentText: String(decoding: bytes, as: UTF8.self), name: path)
            saved = habit
            return habit
        } catch {
            journal.send(JournalRecord(.warning, "Charging habits are learned anew: \(error)", messageID: MessageID.stateProblem))
            return nil
        }
    }

    /// Writes the habit if a charge was added to it: some times a day.
    mutating func save(_ habit: ChargeHabit, _ journal: any JournalSink) {
        guard habit.since != nil, habit.plugs != saved?.plugs || saved == nil else { return }
        saved = habit
        do throws(JouledError) {
            try AtomicFile.write(habit.persistentText, to: path, isDurable: false)
            hasFailed = false
        } catch {
            if !hasFailed { journal.send(JournalRecord(.warning, "Charging habits cannot be kept: \(error)", messageID: MessageID.stateProblem)) }
            hasFailed = true
        }
    }
}
