/// Small text files of what was learned: a header, lines, and a checksum of all before it in the last line.
public enum SealedLines {
    /// Why a file cannot be such a text, and on which line, counted from 1.
    public struct Damage: Error, Equatable {
        public var line: Int
        public var what: String
    }

    /// `text`, whose first line is the header and whose last one ends, with its checksum.
    public static func seal(_ text: String) -> String { text + "checksum \(Checksum.text(of: text.utf8))\n" }

    /// The lines between header and checksum, each with its number in the file.
    /// - Parameter header: what the first line must be.
    public static func open(_ text: String, header: String) throws(Damage) -> [(number: Int, line: String)] {
        var lines = text.utf8.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false).map { String(Substring($0)) }
        guard lines.last == "" else { throw Damage(line: lines.count, what: "is cut off") }
        lines.removeLast()
        guard let seal = lines.last, seal.hasPrefix("checksum ") else { throw Damage(line: max(1, lines.count), what: "has no checksum") }
        let body = lines.dropLast().map { $0 + "\n" }.joined()
        guard seal == "checksum \(Checksum.text(of: body.utf8))" else { throw Damage(line: lines.count, what: "the checksum does not match") }
        guard lines[0] == header else { throw Damage(line: 1, what: "is not of version \(header.split(separator: " ").last ?? "1")") }
        return lines.enumerated().dropFirst().dropLast().map { ($0.offset + 1, $0.element) }
    }
}
