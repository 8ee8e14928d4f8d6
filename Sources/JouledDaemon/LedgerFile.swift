import Glibc
import Systemd
import Units
import Wire

/// Keeps the ledger over restarts, so that no counter ever goes backwards, and with it what decisions go on from.
///
/// What a client was told is written first, to a file that survives the end of the process but maybe not a power cut: in memory
/// as a service. Every ten minutes and at the end the other file is written to the disk for good. The newer one that is whole
/// counts.
package struct LedgerFile: Sendable {
    /// What survives.
    struct Content: Sendable, Equatable {
        var entries: [Ledger.Entry] = []
        /// Numbers that are not given twice.
        var nextStream: UInt64 = 1
        var decisions = 0
        /// What the next decisions go on from.
        var plan: PlanMemory?
    }

    static let durableInterval = Seconds(600)
    private let durablePath: String
    private let recentPath: String
    private var sequence: Int64 = 0
    private var durableAt: MonotonicTime?
    private var written: Content?
    private var durable: Content?
    private var hasFailed = false

    /// - Parameters:
    ///   - directory: of the file that survives a power cut.
    ///   - volatile: of the other.
    init(directory: String, volatile: String) {
        durablePath = directory + "/ledger"
        recentPath = volatile + "/ledger.recent"
    }

    /// Reads what an earlier process left; damaged files are reported and left out.
    mutating func load(_ journal: any JournalSink) -> Content {
        var newest = Content()
        for path in [durablePath, recentPath] where access(path, F_OK) == 0 {
            do throws(JouledError) {
                let (content, number) = try Content.parse(try StateFile.read(path), path)
                if number > sequence { (newest, sequence) = (content, number) }
            } catch {
                journal.send(JournalRecord(.warning, "A file of the energy ledger is left out: \(error)", messageID: MessageID.stateProblem))
            }
        }
        return newest
    }

    /// Checks a ledger's content, as a process that starts would.
    package static func check(_ text: String) throws(JouledError) { _ = try Content.parse(text, "ledger") }

    /// Writes the ledger if it changed, for good if that is due or asked for.
    mutating func write(_ content: Content, at now: MonotonicTime, isDurable asked: Bool = false, _ journal: any JournalSink) {
        if durableAt == nil { durableAt = now }
        let isDue = asked || durableAt.map { now.since($0) >= Self.durableInterval } ?? true
        guard content != written || (isDue && content != durable) else { return }
        sequence += 1
        do throws(JouledError) {
            try StateFile.write(content.text(sequence), to: isDue ? durablePath : recentPath, isDurable: isDue)
            written = content
            if isDue { (durableAt, durable) = (now, content) }
            hasFailed = false
        } catch {
            if !hasFailed { journal.send(JournalRecord(.warning, "The energy ledger is not kept: \(error)", messageID: MessageID.stateProblem)) }
            hasFailed = true
        }
    }
}

extension LedgerFile.Content {
    fileprivate func text(_ sequence: Int64) -> String {
        var object: JSONObject = [
            "sequence": .int(sequence), "nextStream": JSONValue(nextStream), "decisions": JSONValue(decisions),
            "entries": .array(entries.map { .object($0.json) }),
        ]
        if let plan { object["plan"] = .object(plan.json) }
        return object.description
    }

    fileprivate static func parse(_ text: String, _ path: String) throws(JouledError) -> (LedgerFile.Content, Int64) {
        let value = try JSONValue(parsing: text)
        guard let sequence = value["sequence"]?.intValue, let next = value["nextStream"]?.intValue, next > 0,
            let decisions = value["decisions"]?.intValue, decisions >= 0, let array = value["entries"]?.arrayValue
        else { throw JouledError(.stateFile, "\(path): it holds no ledger") }
        let entries = array.compactMap(Ledger.Entry.init)
        guard entries.count == array.count else { throw JouledError(.stateFile, "\(path): an entry of the ledger is not whole") }
        // A plan of another release is no reason to lose the ledger.
        let plan = value["plan"].flatMap(PlanMemory.init)
        return (LedgerFile.Content(entries: entries, nextStream: UInt64(next), decisions: Int(decisions), plan: plan), sequence)
    }
}

extension Ledger.Entry {
    /// As clients see it and as it is kept.
    var json: JSONObject {
        [
            "stream": JSONValue(stream), "name": .string(name), "model": .string(model), "variant": .string(variant),
            "windows": JSONValue(windows), "joules": .double(joules.value), "open": .bool(isOpen),
        ]
    }

    fileprivate init?(_ value: JSONValue) {
        guard let stream = value["stream"]?.intValue, stream >= 0, let name = value["name"]?.stringValue, let model = value["model"]?.stringValue,
            let variant = value["variant"]?.stringValue, let windows = value["windows"]?.intValue, windows >= 0,
            let joules = value["joules"]?.doubleValue, joules.isFinite, joules >= 0
        else { return nil }
        self.init(
            stream: UInt64(stream), name: name, model: model, variant: variant, windows: Int(windows), joules: Joules(joules), isOpen: false)
    }
}
