import Units
import Wire

/// What `journalctl` prints with `-o export` or `-o json`, entry by entry.
///
/// Both forms are described by systemd (JOURNAL_EXPORT_FORMATS). Of each entry only text fields are kept.
public struct JournalExport {
    public struct Entry: Sendable, Equatable {
        /// The first value of each field.
        public var fields: [String: String]
        /// Fields that are there, but without their value: `-o json` leaves out what is long, unless told `--all`.
        public var omitted: Set<String> = []
        /// Where the entry begins, counted from 1.
        public var line: Int

        public subscript(name: String) -> String? { fields[name] }
    }

    private let bytes: ArraySlice<UInt8>
    private let name: String
    private var position: Int
    private var line = 1
    private let isJSON: Bool

    /// - Parameters:
    ///   - bytes: all of the output.
    ///   - name: what to call it in errors.
    public init(_ bytes: [UInt8], name: String) {
        self.bytes = bytes[...]
        self.name = name
        position = 0
        isJSON = bytes.first { !Self.isSpace($0) } == UInt8(ascii: "{")
    }

    private static func isSpace(_ byte: UInt8) -> Bool { byte == 0x20 || (0x09...0x0D).contains(byte) }

    private func error(_ what: String, at line: Int? = nil) -> JouledError {
        JouledError(.malformedJournal, "\(name):\(line ?? self.line): \(what)")
    }

    /// The next entry; nil at the end.
    /// - Throws: `.malformedJournal`, naming the line.
    public mutating func next() throws(JouledError) -> Entry? {
        isJSON ? try nextJSON() : try nextExport()
    }

    /// The bytes up to the next newline or the end, which is then behind.
    private mutating func takeLine() -> ArraySlice<UInt8>? {
        guard position < bytes.endIndex else { return nil }
        let end = bytes[position...].firstIndex(of: UInt8(ascii: "\n")) ?? bytes.endIndex
        defer {
            position = min(end + 1, bytes.endIndex)
            line += 1
        }
        return bytes[position..<end]
    }

    // MARK: -o json

    private mutating func nextJSON() throws(JouledError) -> Entry? {
        while let text = takeLine() {
            guard !text.allSatisfy(Self.isSpace) else { continue }
            var entry = Entry(fields: [:], line: line - 1)
            let value: JSONValue
            do throws(JouledError) {
                value = try JSONValue(parsing: text)
            } catch {
                throw self.error("\(error)", at: entry.line)
            }
            guard let object = value.objectValue else { throw error("is no journal entry", at: entry.line) }
            for member in object.members {
                switch member.value {
                case .string(let text): entry.fields[member.key] = text
                case .null: entry.omitted.insert(member.key)
                // Several values of one field, or bytes that are no text.
                case .array(let values): if let text = values.first?.stringValue { entry.fields[member.key] = text }
                default: break
                }
            }
            return entry
        }
        return nil
    }

    // MARK: -o export

    private mutating func nextExport() throws(JouledError) -> Entry? {
        var entry: Entry?
        while position < bytes.endIndex {
            let at = line
            guard let text = takeLine() else { break }
            if text.isEmpty {
                if let entry { return entry }
                continue
            }
            if entry == nil { entry = Entry(fields: [:], line: at) }
            let key: String
            let value: ArraySlice<UInt8>
            if let equals = text.firstIndex(of: UInt8(ascii: "=")) {
                key = String(decoding: text[..<equals], as: UTF8.self)
                value = text[(equals + 1)...]
            } else {
                key = String(decoding: text, as: UTF8.self)
                value = try takeBinary(of: key, at: at)
            }
            guard !key.isEmpty, key.utf8.allSatisfy(Self.isFieldName) else {
                throw error("is no field of a journal entry; journalctl -o export or -o json writes what is read here", at: at)
            }
            if entry?.fields[key] == nil, let text = String(validating: value, as: UTF8.self) { entry?.fields[key] = text }
        }
        return entry
    }

    private static func isFieldName(_ byte: UInt8) -> Bool {
        (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(byte) || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) || byte == UInt8(ascii: "_")
    }

    /// A value with newlines in it: its length in 8 bytes, little-endian, then the value and a newline.
    private mutating func takeBinary(of key: String, at line: Int) throws(JouledError) -> ArraySlice<UInt8> {
        guard bytes.endIndex - position >= 8 else { throw error("'\(key)' is cut off", at: line) }
        let size = (0..<8).reduce(UInt64(0)) { $0 | UInt64(bytes[position + $1]) << UInt64(8 * $1) }
        position += 8
        guard size < UInt64(bytes.endIndex - position) else { throw error("'\(key)' is cut off, or no field of a journal entry", at: line) }
        let value = bytes[position..<position + Int(size)]
        position += Int(size) + 1
        self.line += 1 + value.count { $0 == UInt8(ascii: "\n") }
        return value
    }

    // MARK: Writing

    /// An entry in the export form.
    public static func text(of fields: [(name: String, value: String)]) -> [UInt8] {
        var bytes: [UInt8] = []
        for field in fields {
            bytes += field.name.utf8
            if field.value.utf8.contains(UInt8(ascii: "\n")) {
                bytes.append(UInt8(ascii: "\n"))
                let size = UInt64(field.value.utf8.count)
                bytes += (0..<8).map { UInt8(truncatingIfNeeded: size >> UInt64(8 * $0)) }
            } else {
                bytes.append(UInt8(ascii: "="))
            }
            bytes += field.value.utf8
            bytes.append(UInt8(ascii: "\n"))
        }
        return bytes + [UInt8(ascii: "\n")]
    }
}

extension JouledError.Code {
    /// A text is not what journalctl writes.
    public static let malformedJournal = Self("replay.malformed-journal")
}
