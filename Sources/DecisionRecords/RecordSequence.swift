import Decisions
import PowerPolicy
import Units

/// Whether records stand as they were written: in order, once, and all of them.
///
/// A record's number is that of its first change, and as many follow as streams changed, so that the next record's number is known.
/// Numbers begin anew where a daemon lost what it remembered; its time, which counts from the boot on, does not.
struct RecordSequence {
    /// One run of one daemon between boots: only its records have an order. A journal may hold several, one after another or mixed.
    struct Source: Hashable {
        private let fields: [String?]

        init(_ entry: JournalExport.Entry) {
            fields = ["_MACHINE_ID", "_BOOT_ID", "_SYSTEMD_INVOCATION_ID", "_PID"].map { entry[$0] }
        }
    }

    /// What came last.
    private struct Last {
        var number: Int
        var time: MonotonicTime
        /// The next record's number; nil: not known, because a record cannot be read.
        var next: Int?

        init(_ record: DecisionRecord) {
            number = record.number
            time = record.inputs.state.monotonic
            next = record.number + record.changes
        }
    }

    enum Finding: Equatable {
        /// Wrong order, or there already.
        case misplaced(String)
        /// Changes in between were not recorded, or not exported.
        case gap(String)
    }

    private var last: [Source: Last] = [:]
    private var seen: [Source: Set<Int>] = [:]

    /// Something that is no record stands where one should.
    mutating func takeUnreadable(of source: Source) { last[source]?.next = nil }

    mutating func take(_ record: DecisionRecord, of source: Source) -> Finding? {
        let time = record.inputs.state.monotonic
        let isNew = seen[source, default: []].insert(record.number).inserted
        guard let before = last[source] else {
            last[source] = Last(record)
            return nil
        }
        // What follows is held against the latest of all, else every record behind a misplaced one would be.
        guard time >= before.time, time > before.time || record.number > before.number else {
            return .misplaced(
                isNew ? "decision \(record.number) comes after \(before.number), which was made later" : "decision \(record.number) is there twice")
        }
        last[source] = Last(record)
        guard let next = before.next, record.number > next else { return nil }
        let missing = next == record.number - 1 ? "change \(next) is" : "changes \(next) to \(record.number - 1) are"
        return .gap("\(missing) not recorded: between decisions \(before.number) and \(record.number) something is missing")
    }
}

extension DecisionRecord {
    /// How many streams the decision changed.
    fileprivate var changes: Int {
        inputs.streams.count { stream in
            guard let choice = outcome.choices[stream.request.id] else { return false }
            return !stream.isPlaced || stream.current != choice
        }
    }
}
