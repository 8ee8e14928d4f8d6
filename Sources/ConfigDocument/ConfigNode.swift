import TOMLKit
import Units

/// A TOML value as a Swift value, with the place where it was written.
struct ConfigNode: Sendable {
    enum Value: Sendable {
        case string(String)
        case integer(Int)
        case number(Double)
        case bool(Bool)
        case array([ConfigNode])
        case table([(key: String, node: ConfigNode)])
        /// A date or time, which no jouled file uses; kept so that the error can name it.
        case date
    }

    let value: Value
    /// Where in the document, e.g. `models."*".floor` or `option[2].joules`.
    let path: String
    /// The line that wrote it, counted from 1.
    let line: Int
    /// The file that wrote it: of one document, drop-ins may have written parts.
    let file: String

    /// The keys of a table in the order of the file; empty for anything else.
    var entries: [(key: String, node: ConfigNode)] {
        if case .table(let entries) = value { return entries }
        return []
    }

    /// The type of the value, with its article, for "expected X, found Y".
    var kind: String {
        switch value {
        case .string: "a string"
        case .integer: "an integer"
        case .number: "a number"
        case .bool: "a boolean"
        case .array: "an array"
        case .table: "a table"
        case .date: "a date or time"
        }
    }

    init(_ table: TOMLTable, index: LineIndex, file: String) throws(JouledError) {
        self.value = .table(try Self.entries(table, path: "", line: 1, index: index, file: file))
        self.path = ""
        self.line = 1
        self.file = file
    }

    private init(table entries: [(key: String, node: ConfigNode)], at place: ConfigNode) {
        value = .table(entries)
        path = place.path
        line = place.line
        file = place.file
    }

    /// An empty document.
    init(emptyFile file: String) {
        value = .table([])
        path = ""
        line = 1
        self.file = file
    }

    /// This with `other` laid over it: tables are merged key by key, anything else is replaced.
    func overlaid(by other: ConfigNode) -> ConfigNode {
        guard case .table(var entries) = value, case .table(let above) = other.value else { return other }
        for (key, node) in above {
            if let index = entries.firstIndex(where: { $0.key == key }) {
                entries[index].node = entries[index].node.overlaid(by: node)
            } else {
                entries.append((key, node))
            }
        }
        return ConfigNode(table: entries, at: self)
    }

    /// This table without `keys`.
    func without(_ keys: Set<String>) -> ConfigNode {
        ConfigNode(table: entries.filter { !keys.contains($0.key) }, at: self)
    }

    private init(_ toml: TOMLValue, path: String, line: Int, index: LineIndex, file: String) throws(JouledError) {
        self.value = try Self.value(toml, path: path, line: line, index: index, file: file)
        self.path = path
        self.line = line
        self.file = file
    }

    private static func entries(
        _ table: TOMLTable, path: String, line: Int, index: LineIndex, file: String
    ) throws(JouledError) -> [(key: String, node: ConfigNode)] {
        var entries: [(key: String, node: ConfigNode, order: Int)] = []
        for key in table.keys {
            let inner = path.isEmpty ? ConfigPath.text(key) : path + "." + ConfigPath.text(key)
            let place = index.place(of: inner) ?? LineIndex.Place(line: line, order: .max)
            guard let child = table[key] else {
                // The parser's C interface cuts a key at an escaped NUL; nothing sensible has one.
                throw JouledError(.configSyntax, "\(file):\(place.line): a key contains a NUL character")
            }
            let node = try ConfigNode(child.tomlValue, path: inner, line: place.line, index: index, file: file)
            entries.append((key, node, place.order))
        }
        entries.sort { ($0.order, $0.key) < ($1.order, $1.key) }
        return entries.map { ($0.key, $0.node) }
    }

    private static func value(
        _ toml: TOMLValue, path: String, line: Int, index: LineIndex, file: String
    ) throws(JouledError) -> Value {
        if let table = toml.table {
            return .table(try entries(table, path: path, line: line, index: index, file: file))
        }
        if let array = toml.array {
            var nodes: [ConfigNode] = []
            for position in 0..<array.count {
                let inner = "\(path)[\(position)]"
                let line = index.place(of: inner)?.line ?? line
                nodes.append(try ConfigNode(array[position].tomlValue, path: inner, line: line, index: index, file: file))
            }
            return .array(nodes)
        }
        if let text = toml.string { return .string(text) }
        if let integer = toml.int { return .integer(integer) }
        if let number = toml.double { return .number(number) }
        if let bool = toml.bool { return .bool(bool) }
        return .date
    }
}

/// How key paths are written in errors: as TOML would write them, with `[index]` for array elements.
enum ConfigPath {
    /// `key` bare where TOML allows it, else in quotes.
    static func text(_ key: String) -> String {
        let bare = !key.isEmpty && key.utf8.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"), UInt8(ascii: "-"):
                true
            default: false
            }
        }
        if bare { return key }
        return tomlString(key)
    }
}

/// `text` as a basic string of TOML, in quotes.
public func tomlString(_ text: String) -> String {
    var quoted = "\""
    for scalar in text.unicodeScalars {
        switch scalar {
        case "\"": quoted += "\\\""
        case "\\": quoted += "\\\\"
        case "\n": quoted += "\\n"
        case "\t": quoted += "\\t"
        case let other where other.value < 0x20 || other.value == 0x7F:
            let digits = String(other.value, radix: 16, uppercase: true)
            quoted += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
        default: quoted.unicodeScalars.append(scalar)
        }
    }
    return quoted + "\""
}
