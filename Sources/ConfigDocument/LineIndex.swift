/// The line of every key of a TOML text, found by scanning it.
///
/// The TOML parser gives places only for syntax errors. This scanner need not judge the text, only find
/// where keys and array elements begin; on anything it does not understand it moves on, and a key it missed
/// takes its table's line. It runs before the parser for the few things that the parser cannot take: `defect`.
struct LineIndex {
    struct Place: Equatable {
        /// Counted from 1.
        var line: Int
        /// Rank in the text, to list keys in the operator's order.
        var order: Int
    }

    private var places: [String: Place] = [:]
    /// The first thing on which toml++ 3.2 ends the process instead of giving an error, because it asserts (in release builds even
    /// assumes) what it has not looked at: a header that begins with what no key can begin with, as in `[é]`, and `}` for an
    /// array's element.
    private(set) var defect: (line: Int, column: Int, what: String)?
    /// Arrays and inline tables around the present place; toml++ refuses more than 256.
    private var depth = 0
    /// Number of tables so far in each array of tables, by its resolved path.
    private var tableCounts: [String: Int] = [:]
    private let bytes: [UInt8]
    private var position = 0
    private var line = 1

    init(_ text: String) {
        bytes = Array(text.utf8)
        if bytes.starts(with: [0xEF, 0xBB, 0xBF]) { position = 3 }
        scan()
    }

    func place(of path: String) -> Place? { places[path] }

    private mutating func note(_ path: String, _ at: Int) {
        // The first mention stands: `[a.b]` before `[a]` already created `a`.
        if places[path] == nil { places[path] = Place(line: at, order: places.count) }
    }

    private var current: UInt8? { position < bytes.count ? bytes[position] : nil }
    private func at(_ offset: Int, _ byte: Unicode.Scalar) -> Bool {
        position + offset < bytes.count && bytes[position + offset] == UInt8(ascii: byte)
    }
    private mutating func advance() {
        if position < bytes.count {
            if bytes[position] == UInt8(ascii: "\n") { line += 1 }
            position += 1
        }
    }

    private mutating func skipBlanks() {
        while at(0, " ") || at(0, "\t") { advance() }
    }
    private mutating func skipToLineEnd() {
        while let byte = current, byte != UInt8(ascii: "\n") { advance() }
    }
    /// Whitespace, newlines and comments.
    private mutating func skipFiller() {
        while let byte = current {
            if byte == UInt8(ascii: "#") {
                skipToLineEnd()
            } else if byte == UInt8(ascii: " ") || (0x09...0x0D).contains(byte) {
                advance()
            } else {
                return
            }
        }
    }

    private mutating func scan() {
        var prefix = ""
        while true {
            skipFiller()
            guard current != nil else { return }
            if at(0, "[") {
                prefix = header()
            } else {
                keyValue(prefix: prefix)
            }
        }
    }

    /// `[a.b]` or `[[a.b]]`: returns the path of the table it opens.
    private mutating func header() -> String {
        let begin = line
        let isArray = at(1, "[")
        advance()
        if isArray { advance() }
        skipBlanks()
        if let byte = current, !Self.canBeginKey(byte) { refuse("a table's name begins with a letter, a digit, '_', '-' or a quote") }
        let keys = dottedKey()
        var path = ""
        for (depth, key) in keys.enumerated() {
            path = join(path, key)
            note(path, begin)
            if isArray, depth == keys.count - 1 {
                let count = tableCounts[path, default: 0]
                tableCounts[path] = count + 1
                path += "[\(count)]"
                places[path] = Place(line: begin, order: places.count)
            } else if let count = tableCounts[path] {
                // A header inside an array of tables speaks of its newest element.
                path += "[\(count - 1)]"
            }
        }
        if !isArray {
            // A table's own header is the best line for it, even when a child came first.
            places[path]?.line = begin
        }
        skipToLineEnd()
        return path
    }

    private mutating func refuse(_ what: String) {
        guard defect == nil else { return }
        defect = (line, position - (bytes[..<position].lastIndex(of: UInt8(ascii: "\n")) ?? -1), what)
    }

    /// True for bare keys, strings, and what toml++ itself refuses with an error: nothing, or the header's end.
    private static func canBeginKey(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "0")...UInt8(ascii: "9"): true
        case UInt8(ascii: "_"), UInt8(ascii: "-"), UInt8(ascii: "\""), UInt8(ascii: "'"), UInt8(ascii: "]"): true
        default: false
        }
    }

    /// `a.b = value`, at top level or in an inline table.
    private mutating func keyValue(prefix: String) {
        let begin = line
        let before = position
        let keys = dottedKey()
        var path = prefix
        for key in keys {
            path = join(path, key)
            note(path, begin)
        }
        skipBlanks()
        if at(0, "=") {
            advance()
            value(path: path)
        }
        if position == before { advance() }  // Never stand still on what is not a key.
    }

    private mutating func value(path: String) {
        skipBlanks()
        switch current {
        case UInt8(ascii: "\""), UInt8(ascii: "'"):
            _ = string()
        case UInt8(ascii: "["):
            advance()
            elements(until: "]") { scanner, number in
                if scanner.at(0, "}") { return scanner.refuse("'}' is no element of an array") }
                let element = "\(path)[\(number)]"
                scanner.note(element, scanner.line)
                scanner.value(path: element)
            }
        case UInt8(ascii: "{"):
            advance()
            elements(until: "}") { scanner, _ in scanner.keyValue(prefix: path) }
        default:
            while let byte = current, !Self.endsScalar(byte) { advance() }
        }
    }

    private mutating func elements(until end: Unicode.Scalar, _ element: (inout LineIndex, Int) -> Void) {
        var number = 0
        depth += 1
        defer { depth -= 1 }
        guard depth <= 256 else { return refuse("arrays and tables are nested more than 256 deep") }
        while true {
            skipFiller()
            if current == nil { return }
            if at(0, end) { return advance() }
            if at(0, ",") {
                advance()
                continue
            }
            let before = position
            element(&self, number)
            number += 1
            if position == before { advance() }
        }
    }

    private static func endsScalar(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: ","), UInt8(ascii: "]"), UInt8(ascii: "}"), UInt8(ascii: "#"), UInt8(ascii: "\n"): true
        default: false
        }
    }

    private mutating func dottedKey() -> [String] {
        var keys: [String] = []
        while true {
            skipBlanks()
            if at(0, "\"") || at(0, "'") {
                keys.append(string())
            } else {
                let begin = position
                while let byte = current, !Self.endsBareKey(byte) { advance() }
                guard position > begin else { return keys }
                keys.append(String(decoding: bytes[begin..<position], as: UTF8.self))
            }
            skipBlanks()
            guard at(0, ".") else { return keys }
            advance()
        }
    }

    private static func endsBareKey(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "."), UInt8(ascii: "="), UInt8(ascii: "]"), UInt8(ascii: "}"), UInt8(ascii: ","),
            UInt8(ascii: "#"), UInt8(ascii: " "), 0x09...0x0D:
            true
        default: false
        }
    }

    private func join(_ prefix: String, _ key: String) -> String {
        prefix.isEmpty ? ConfigPath.text(key) : prefix + "." + ConfigPath.text(key)
    }

    /// A string of any of TOML's four kinds; returns its text (escapes resolved where a key may have them).
    private mutating func string() -> String {
        let quote = bytes[position]
        let isBasic = quote == UInt8(ascii: "\"")
        func quotes(_ count: Int) -> Bool {
            position + count <= bytes.count && bytes[position..<position + count].allSatisfy { $0 == quote }
        }
        if quotes(3) {
            for _ in 0..<3 { advance() }
            while current != nil, !quotes(3) {
                if isBasic, at(0, "\\") { advance() }
                advance()
            }
            // Up to two quotes may stand directly before the closing three.
            var closing = 0
            while closing < 5, current == quote {
                advance()
                closing += 1
            }
            return ""
        }
        advance()
        var text: [UInt8] = []
        while let byte = current, byte != quote, byte != UInt8(ascii: "\n") {
            if isBasic, byte == UInt8(ascii: "\\") {
                advance()
                escape(into: &text)
            } else {
                text.append(byte)
                advance()
            }
        }
        advance()
        return String(decoding: text, as: UTF8.self)
    }

    private mutating func escape(into text: inout [UInt8]) {
        guard let byte = current else { return }
        advance()
        switch byte {
        case UInt8(ascii: "n"): text.append(0x0A)
        case UInt8(ascii: "t"): text.append(0x09)
        case UInt8(ascii: "r"): text.append(0x0D)
        case UInt8(ascii: "b"): text.append(0x08)
        case UInt8(ascii: "f"): text.append(0x0C)
        case UInt8(ascii: "u"), UInt8(ascii: "U"):
            let length = min(byte == UInt8(ascii: "u") ? 4 : 8, bytes.count - position)
            let digits = String(decoding: bytes[position..<position + length], as: UTF8.self)
            position += length
            if let code = UInt32(digits, radix: 16), let scalar = Unicode.Scalar(code) {
                text.append(contentsOf: Array(String(Character(scalar)).utf8))
            }
        default: text.append(byte)
        }
    }
}
