import Glibc
import Units

// Drop-ins, as systemd has them: what lies in FILE.d/*.toml is laid over FILE in the order of names.
extension ConfigDocument {
    /// Keys of the top table that an overlay makes void, because what it says takes their place.
    /// - Parameters:
    ///   - base: the document below.
    ///   - overlay: what is laid over it.
    public typealias Superseding = (_ base: ConfigTable, _ overlay: ConfigTable) -> Set<String>

    /// The drop-ins of the file at `path`, in the order in which they count: `PATH.d/*.toml` by name, those without hidden ones.
    ///
    /// A link to /dev/null masks nothing here, for there is only one directory; it is passed over.
    public static func dropIns(of path: String) -> [String] {
        let names = (DirectoryTree.names(in: path + ".d") ?? []).filter { $0.hasSuffix(".toml") && !$0.hasPrefix(".") }
        return names.map { "\(path).d/\($0)" }.filter { file in
            var target = stat()
            return stat(file, &target) != 0 || target.st_mode & S_IFMT != S_IFCHR
        }
    }

    /// Reads the file at `path` with its drop-ins laid over it: tables are merged, the last word on any other key counts, arrays
    /// are replaced. Errors name the file that wrote the key.
    /// - Parameters:
    ///   - allowsMissing: whether the file itself may be absent; drop-ins then stand alone.
    ///   - superseding: what an overlay makes void.
    /// - Throws: what `load` throws, for any of the files.
    public static func loadWithDropIns(
        _ path: String, allowsMissing: Bool = false, superseding: Superseding = { _, _ in [] }
    ) throws(JouledError) -> ConfigDocument {
        var document: ConfigDocument
        if allowsMissing, access(path, F_OK) != 0 {
            document = ConfigDocument(file: path, node: ConfigNode(emptyFile: path))
        } else {
            document = try load(path)
        }
        for file in dropIns(of: path) { document = document.overlaid(by: try load(file), superseding: superseding) }
        return document
    }

    /// This document with `other` laid over it.
    public func overlaid(by other: ConfigDocument, superseding: Superseding = { _, _ in [] }) -> ConfigDocument {
        let void = superseding(root, other.root)
        return ConfigDocument(file: file, node: node.without(void).overlaid(by: other.node))
    }

    /// The document without some keys of its top table.
    public func without(_ keys: Set<String>) -> ConfigDocument { ConfigDocument(file: file, node: node.without(keys)) }
}

extension ConfigTable {
    /// The table `key` as a document of its own, whose errors name the place in this file; nil when absent.
    ///
    /// Paths in its errors are those of the whole file. All its keys count as known here.
    /// - Throws: `invalidValue` when it is no table.
    public func optionalDocument(_ key: String) throws(JouledError) -> ConfigDocument? {
        guard let node = node(key) else { return nil }
        guard case .table = node.value else { throw wrongKind(node, "a table") }
        return ConfigDocument(file: node.file, node: node)
    }
}
