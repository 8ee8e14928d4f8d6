import CSystemd
import Glibc
import Synchronization
import Units

/// Severity as syslog and the journal number it.
public enum JournalPriority: Int, Sendable, Comparable {
    case critical = 2, error = 3, warning = 4, notice = 5, info = 6, debug = 7
    public static func < (left: Self, right: Self) -> Bool { left.rawValue < right.rawValue }
}

/// One entry: a message for people and fields for machines.
public struct JournalRecord: Sendable, Equatable {
    /// 128-bit id of the kind of event, 32 lower-case hex digits; entries of one kind share it.
    public var messageID: String?
    public var priority: JournalPriority
    public var message: String
    /// Further fields in order, e.g. `("JOULED_STREAM", "3")`. Names are upper case and start with `JOULED_`.
    public var fields: [Field]
    public var file: String
    public var line: Int

    public struct Field: Sendable, Equatable {
        public var name: String
        public var value: String
        public init(_ name: String, _ value: String) {
            self.name = name
            self.value = value
        }
    }

    public init(
        _ priority: JournalPriority, _ message: String, messageID: String? = nil, fields: [Field] = [],
        file: String = #fileID, line: Int = #line
    ) {
        self.messageID = messageID
        self.priority = priority
        self.message = message
        self.fields = fields
        self.file = file
        self.line = line
    }

    /// The value of the first field named `name`.
    public subscript(name: String) -> String? { fields.first { $0.name == name }?.value }

    /// One readable line: `<5>message {JOULED_A=1 JOULED_B=two words}`; the `<5>` is how systemd reads priorities
    /// from a service's standard error.
    public func line(withPriority: Bool) -> String {
        var text = withPriority ? "<\(priority.rawValue)>" : ""
        text += message.replacingNewlines()
        if !fields.isEmpty {
            let pairs = fields.map { "\($0.name)=\($0.value.contains(" ") ? "\"\($0.value)\"" : $0.value)" }
            text += " {" + pairs.joined(separator: " ").replacingNewlines() + "}"
        }
        return text
    }
}

/// Where records go.
public protocol JournalSink: Sendable {
    func send(_ record: JournalRecord)
}

/// The journal of this machine; where there is none, standard error, one line a record.
public struct SystemJournal: JournalSink {
    private let hasJournal: Bool
    private let minimum: JournalPriority

    /// - Parameters:
    ///   - minimum: less severe records are dropped on standard error; the journal always gets all.
    ///   - forceStandardError: for a daemon run by hand, whose user watches the terminal.
    public init(minimum: JournalPriority = .info, forceStandardError: Bool = false) {
        self.minimum = minimum
        hasJournal = !forceStandardError && access("/run/systemd/journal/socket", W_OK) == 0
    }

    public func send(_ record: JournalRecord) {
        if hasJournal && Self.sendToJournal(record) { return }
        guard record.priority <= minimum else { return }
        // Under systemd standard error is a journal stream; elsewhere the prefix would be noise.
        let text = record.line(withPriority: getenv("JOURNAL_STREAM") != nil) + "\n"
        var bytes = Array(text.utf8)[...]
        while !bytes.isEmpty {
            let written = bytes.withUnsafeBytes { Glibc.write(STDERR_FILENO, $0.baseAddress, $0.count) }
            if written < 0 && errno == EINTR { continue }
            guard written > 0 else { return }
            bytes = bytes.dropFirst(written)
        }
    }

    private static func sendToJournal(_ record: JournalRecord) -> Bool {
        var texts = [
            "MESSAGE=" + record.message, "PRIORITY=\(record.priority.rawValue)", "SYSLOG_IDENTIFIER=jouled",
            "CODE_FILE=" + record.file, "CODE_LINE=\(record.line)",
        ]
        if let id = record.messageID { texts.append("MESSAGE_ID=" + id) }
        texts += record.fields.map { "\($0.name)=\($0.value)" }
        // One buffer for all fields: pointers into it stay valid for the one call below.
        var bytes: [UInt8] = []
        var ranges: [Range<Int>] = []
        for text in texts {
            let start = bytes.count
            bytes += text.utf8
            ranges.append(start..<bytes.count)
        }
        return bytes.withUnsafeMutableBytes { buffer in
            guard let base = buffer.baseAddress else { return false }
            let vectors = ranges.map { iovec(iov_base: base + $0.lowerBound, iov_len: $0.count) }
            return sd_journal_sendv(vectors, Int32(vectors.count)) >= 0
        }
    }
}

extension String {
    fileprivate func replacingNewlines() -> String {
        contains("\n") ? String(map { $0 == "\n" ? " " : $0 }) : self
    }
}
