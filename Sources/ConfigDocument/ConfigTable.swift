import Units

/// A table being read. Asking for a key marks it as known; `finish()` then throws on the keys that
/// nobody asked for, so that a typing error in an operator's file is never silently ignored.
///
/// A reader's scratch pad, not a value to keep: read it, `finish()` it, drop it.
public final class ConfigTable {
    /// The table's whole path, e.g. `models.silero-vad`; empty for the document itself.
    public let path: String
    /// The file's name, as errors give it.
    public let file: String
    /// The line of the table's header, counted from 1.
    public let line: Int
    private let entries: [(key: String, node: ConfigNode)]
    private let positions: [String: Int]
    private var asked: [String] = []
    private var children: [(key: String, tables: [ConfigTable])] = []

    init(file: String, path: String, line: Int, entries: [(key: String, node: ConfigNode)]) {
        self.file = file
        self.path = path
        self.line = line
        self.entries = entries
        self.positions = Dictionary(
            entries.enumerated().map { ($1.key, $0) }, uniquingKeysWith: { first, _ in first })
    }

    /// The keys present, in the order of the file. Does not mark them as known.
    public var keys: [String] { entries.map(\.key) }

    /// Whether `key` is present. Marks it as known.
    public func contains(_ key: String) -> Bool { node(key) != nil }

    /// The line of `key`, or of the table where the key is absent; counted from 1.
    public func line(of key: String) -> Int { positions[key].map { entries[$0].node.line } ?? line }

    /// The file that wrote `key`, a drop-in maybe, or the table's where the key is absent.
    private func file(of key: String) -> String { positions[key].map { entries[$0].node.file } ?? file }

    /// An error about `key`: `FILE:LINE: key 'path.key': message`.
    ///
    /// An absent key takes the line of its table's header.
    public func error(_ key: String, _ message: String, code: JouledError.Code = .invalidValue) -> JouledError {
        let absent = path.isEmpty ? ConfigPath.text(key) : path + "." + ConfigPath.text(key)
        // What lies over a table may have been written elsewhere, under a path of its own.
        let inner = positions[key].map { entries[$0].node.path } ?? absent
        return JouledError(code, "\(file(of: key)):\(line(of: key)): key '\(inner)': \(message)")
    }

    /// The required table `key`.
    /// - Throws: `missingKey`, or `invalidValue` when it is no table.
    public func table(_ key: String) throws(JouledError) -> ConfigTable {
        guard let table = try optionalTable(key) else { throw missing(key, "a table") }
        return table
    }

    /// The table `key`, or nil when absent.
    /// - Throws: `invalidValue` when it is no table.
    public func optionalTable(_ key: String) throws(JouledError) -> ConfigTable? {
        guard let node = node(key) else { return nil }
        guard case .table = node.value else { throw wrongKind(node, "a table") }
        return child(key, [node])[0]
    }

    /// The array of tables `key` (`[[key]]`), empty when absent.
    /// - Throws: `invalidValue` when it is anything else.
    public func tables(_ key: String) throws(JouledError) -> [ConfigTable] {
        guard let node = node(key) else { return [] }
        guard case .array(let elements) = node.value else {
            throw wrongKind(node, "an array of tables ([[\(node.path)]])")
        }
        for element in elements {
            guard case .table = element.value else { throw wrongKind(element, "a table") }
        }
        return child(key, elements)
    }

    /// Declares the reading complete, here and in every table that was handed out from here.
    /// - Throws: `unknownKey` for the first key, in the order of the file, that nobody asked for, with
    ///   the known key that it most resembles.
    public func finish() throws(JouledError) {
        for entry in entries where !asked.contains(entry.key) {
            let known = asked.sorted()
            let hint =
                Spelling.closest(to: entry.key, among: known).map { "; did you mean '\($0)'?" }
                ?? (known.isEmpty ? "" : "; known here: \(known.joined(separator: ", "))")
            throw error(entry.key, "unknown key\(hint)", code: .unknownKey)
        }
        for child in children {
            for table in child.tables { try table.finish() }
        }
    }

    // MARK: - For the typed readers

    /// The value of `key`, which from now on is known.
    func node(_ key: String) -> ConfigNode? {
        if !asked.contains(key) { asked.append(key) }
        return positions[key].map { entries[$0].node }
    }

    /// A required key that is not there; if one that nobody knows looks like it, that one is at fault.
    func missing(_ key: String, _ expected: String) -> JouledError {
        let strangers = entries.map(\.key).filter { !asked.contains($0) }
        if let misspelt = Spelling.closest(to: key, among: strangers) {
            return error(misspelt, "unknown key; did you mean '\(key)' (required, \(expected))?", code: .unknownKey)
        }
        return error(key, "required (\(expected)), but missing", code: .missingKey)
    }

    func wrongKind(_ node: ConfigNode, _ expected: String) -> JouledError {
        invalid(node, "expected \(expected), found \(node.kind)")
    }

    func invalid(_ node: ConfigNode, _ message: String) -> JouledError {
        JouledError(.invalidValue, "\(node.file):\(node.line): key '\(node.path)': \(message)")
    }

    /// One ConfigTable per table however often it is asked for, so that all askers share one record.
    private func child(_ key: String, _ nodes: [ConfigNode]) -> [ConfigTable] {
        if let known = children.first(where: { $0.key == key }) { return known.tables }
        let tables = nodes.map { ConfigTable(file: $0.file, path: $0.path, line: $0.line, entries: $0.entries) }
        children.append((key, tables))
        return tables
    }
}

/// Guessing what a misspelt key was meant to be.
enum Spelling {
    /// The candidate nearest to `word`, if one is near enough to be what was meant.
    static func closest(to word: String, among candidates: [String]) -> String? {
        let ranked = candidates.map { ($0, distance(Array(word.utf8), Array($0.utf8))) }
        guard let best = ranked.min(by: { $0.1 < $1.1 }) else { return nil }
        return best.1 <= max(1, max(word.utf8.count, best.0.utf8.count) / 3) ? best.0 : nil
    }

    /// Edits (insert, delete, replace, swap of neighbours) from one word to the other: the optimal
    /// string alignment distance.
    static func distance(_ left: [UInt8], _ right: [UInt8]) -> Int {
        var older: [Int] = []
        var previous = Array(0...right.count)
        for i in left.indices {
            var row = [i + 1]
            for j in right.indices {
                var cost = min(row[j], previous[j + 1]) + 1
                cost = min(cost, previous[j] + (left[i] == right[j] ? 0 : 1))
                if i > 0, j > 0, left[i] == right[j - 1], left[i - 1] == right[j] {
                    cost = min(cost, older[j - 1] + 1)
                }
                row.append(cost)
            }
            older = previous
            previous = row
        }
        return previous[right.count]
    }
}
