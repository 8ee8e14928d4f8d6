import Glibc
import Synchronization
import TOMLKit
import Units

extension JouledError.Code {
    /// The text is not TOML.
    public static let configSyntax = JouledError.Code("config.syntax")
    /// A key that nothing reads: most often a typing error.
    public static let unknownKey = JouledError.Code("config.unknown-key")
    /// A required key is absent.
    public static let missingKey = JouledError.Code("config.missing-key")
    /// A value of the wrong type or outside its range.
    public static let invalidValue = JouledError.Code("config.invalid-value")
    /// The file is missing, unreadable, too large, or not text.
    public static let unreadableFile = JouledError.Code("config.unreadable-file")
}

/// An operator's TOML file, parsed once into a value, with the line of every key.
///
/// Every error that reading it can give begins with `FILE:LINE:` and names the key's whole path.
public struct ConfigDocument: Sendable {
    /// The name that errors give to the document: its path, as the operator wrote it.
    public let file: String
    let node: ConfigNode

    /// The largest file that `load` accepts, in bytes. Operator files are a few kilobytes; the
    /// limit keeps a wrong path (a model, a device) from filling memory.
    public static let sizeLimit = 1 << 20

    /// Parses `text`.
    ///
    /// The same text under the same name is not parsed again: TOMLKit never frees what it parsed, so that a daemon which reads
    /// a manifest with every stream would grow by it.
    /// - Parameter file: the name to use in errors.
    /// - Throws: `configSyntax` as `FILE:LINE:COLUMN: what is wrong`.
    public init(file: String, text: String) throws(JouledError) {
        if let known = Self.parsed.withLock({ $0[file] }), known.text == text {
            self = try known.result.get()
            return
        }
        let result = Result { () throws(JouledError) in try ConfigDocument(parsing: text, file: file) }
        Self.parsed.withLock { known in
            // Far more files than a daemon has: none of them is worth keeping then.
            if known.count >= 256 { known.removeAll() }
            known[file] = (text, result)
        }
        self = try result.get()
    }

    private static let parsed = Mutex<[String: (text: String, result: Result<ConfigDocument, JouledError>)]>([:])

    private init(parsing text: String, file: String) throws(JouledError) {
        // The parser takes a C string, so text behind a NUL would be dropped without a word.
        if let nul = text.utf8.firstIndex(of: 0) {
            let line = text.utf8[..<nul].reduce(1) { $0 + ($1 == UInt8(ascii: "\n") ? 1 : 0) }
            throw JouledError(.configSyntax, "\(file):\(line): a NUL byte does not belong in a text file")
        }
        let index = LineIndex(text)
        if let defect = index.defect { throw JouledError(.configSyntax, "\(file):\(defect.line):\(defect.column): \(defect.what)") }
        let table: TOMLTable
        do {
            table = try TOMLTable(string: text)
        } catch let error as TOMLParseError {
            let at = error.source.begin
            throw JouledError(.configSyntax, "\(file):\(at.line):\(at.column): \(error.description)")
        } catch {
            throw JouledError(.configSyntax, "\(file):1:1: \(error)")
        }
        self.file = file
        self.node = try ConfigNode(table, index: index, file: file)
    }

    /// Reads and parses the file at `path`.
    /// - Throws: `unreadableFile` when there is no such file, it cannot be read, is not a regular
    ///   file, is larger than `sizeLimit` or is not UTF-8; `configSyntax` as `init` does.
    public static func load(_ path: String) throws(JouledError) -> ConfigDocument {
        try ConfigDocument(file: path, text: TextFile.read(path, limit: sizeLimit))
    }

    init(file: String, node: ConfigNode) {
        self.file = file
        self.node = node
    }

    /// The document's top table, with no key asked for yet.
    ///
    /// Each call begins a new reading, with its own record of which keys were asked for.
    public var root: ConfigTable { ConfigTable(file: file, path: "", line: 1, entries: node.entries) }
}
