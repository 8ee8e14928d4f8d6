import Units

/// Names that the daemon writes into the journal and a replay looks for. Stable for ever.
public enum JournalFields {
    /// What a decision was made from; see `DecisionRecord`.
    public static let inputs = "JOULED_INPUTS"
    /// Number of the first change of plan that a decision made, in its entry and in those of all its changes.
    public static let plan = "JOULED_PLAN"
    public static let stream = "JOULED_STREAM"
    /// MESSAGE_ID of entries with a decision's inputs.
    public static let inputsMessage = "5c1f0b6a7a3e4d0f9a5be2d8a1c40e0e"
    /// MESSAGE_ID of a stream's end.
    public static let closedMessage = "5c1f0b6a7a3e4d0f9a5be2d8a1c40e04"
}

/// What of a journal a replay needs.
public enum RecordedEvent: Sendable {
    case decision(DecisionRecord)
    /// A stream ended.
    case closed(stream: UInt64, at: MonotonicTime)
    /// The device was started anew: monotonic times begin again, and all streams are new.
    case booted
}

/// Reads the events out of a journal.
public struct RecordedEvents {
    private var journal: JournalExport
    private let name: String
    private var boot: String?

    public init(_ bytes: [UInt8], name: String) {
        journal = JournalExport(bytes, name: name)
        self.name = name
    }

    /// All events in order; what is wrong with records that cannot be read, stand in the wrong order or twice, and where some are missing, each
    /// naming the line.
    /// - Throws: `.malformedJournal` if it is no journal.
    public mutating func all() throws(JouledError) -> (events: [RecordedEvent], problems: [String], gaps: [String]) {
        var events: [RecordedEvent] = []
        var problems: [String] = []
        var gaps: [String] = []
        var sequence = RecordSequence()
        while let entry = try journal.next() {
            if let id = entry["_BOOT_ID"] {
                if let boot, boot != id { events.append(.booted) }
                boot = id
            }
            let source = RecordSequence.Source(entry)
            if let text = entry[JournalFields.inputs] {
                do throws(JouledError) {
                    let record = try DecisionRecord(text: text)
                    events.append(.decision(record))
                    switch sequence.take(record, of: source) {
                    case .misplaced(let what): problems.append("\(name):\(entry.line): \(what)")
                    case .gap(let what): gaps.append("\(name):\(entry.line): \(what)")
                    case nil: break
                    }
                } catch {
                    sequence.takeUnreadable(of: source)
                    problems.append("\(name):\(entry.line): \(error)")
                }
            } else if entry.omitted.contains(JournalFields.inputs) {
                sequence.takeUnreadable(of: source)
                problems.append("\(name):\(entry.line): \(JournalFields.inputs) was left out for its length; use journalctl -o export, or -o json --all")
            } else if entry["MESSAGE_ID"] == JournalFields.closedMessage, let stream = entry[JournalFields.stream].flatMap({ UInt64($0) }),
                let time = entry["__MONOTONIC_TIMESTAMP"].flatMap({ UInt64($0) }), time < UInt64.max / 1000
            {
                events.append(.closed(stream: stream, at: MonotonicTime(nanoseconds: time * 1000)))
            }
        }
        return (events, problems, gaps)
    }
}
