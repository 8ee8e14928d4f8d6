import Glibc
import Units

/// A directory of bundles, `ROOT/NAME/VERSION/model.toml`, versions side by side.
///
/// Holds no state but the path: every call looks at the directory as it is then. Entries that begin with
/// a dot are skipped, so that a bundle can be prepared in the store and published by renaming it.
public struct ModelStore: Hashable, Sendable {
    /// Path of the store's directory.
    public let root: String

    public init(root: String) { self.root = root }

    /// What the store holds.
    public struct Listing: Sendable {
        /// Readable bundles, by name and then by version, oldest first.
        public var bundles: [ModelBundle]
        /// What could not be read. One broken bundle does not hide the others.
        public var faults: [Fault]

        /// The newest readable version of each model, by name.
        public var newest: [ModelBundle] {
            bundles.enumerated().filter { index, bundle in
                index + 1 == bundles.count || bundles[index + 1].manifest.name != bundle.manifest.name
            }.map(\.element)
        }
    }

    /// A place in the store that could not be read.
    public struct Fault: Error, Sendable {
        public var path: String
        public var error: JouledError
    }

    /// Reads every manifest in the store.
    /// - Throws: `unreadableModel` only if the store's own directory cannot be read.
    public func list() throws(JouledError) -> Listing {
        var listing = Listing(bundles: [], faults: [])
        for name in try entries(of: root) {
            let path = root + "/" + name
            guard isDirectory(path) else { continue }  // A README in the store harms nobody.
            do throws(JouledError) {
                for version in try versions(of: name) {
                    do throws(JouledError) {
                        listing.bundles.append(try bundle(name, version))
                    } catch {
                        listing.faults.append(Fault(path: "\(path)/\(version)", error: error))
                    }
                }
            } catch {
                listing.faults.append(Fault(path: path, error: error))
            }
        }
        return listing
    }

    /// The names of the models that have at least one version, sorted. Reads no manifest.
    /// - Throws: `unreadableModel` if the store's directory cannot be read.
    public func names() throws(JouledError) -> [String] {
        try entries(of: root).filter { name in
            guard Names.isName(name), let versions = try? versions(of: name) else { return false }
            return !versions.isEmpty
        }
    }

    /// One bundle: `version`, or the newest there is.
    ///
    /// A newest version that cannot be read is an error and no reason to serve an older one silently;
    /// `list().newest` gives the newest that can.
    /// - Throws: `unknownModel`, listing what exists; `misplacedModel`; the errors of `ModelBundle`.
    public func load(_ name: String, version: Int? = nil) throws(JouledError) -> ModelBundle {
        let names = try names()
        // Membership also keeps a client's "../../etc" from becoming a path.
        guard names.contains(name) else {
            let known = names.isEmpty ? "it is empty" : "there are: \(names.joined(separator: ", "))"
            throw JouledError(.unknownModel, "no model '\(name)' in \(root); \(known)")
        }
        let versions = try versions(of: name)
        guard let newest = versions.last, versions.contains(version ?? newest) else {
            throw JouledError(
                .unknownModel,
                "model '\(name)' has no version \(version ?? 0); there are: "
                    + versions.map(String.init).joined(separator: ", "))
        }
        return try bundle(name, version ?? newest)
    }

    private func bundle(_ name: String, _ version: Int) throws(JouledError) -> ModelBundle {
        let directory = "\(root)/\(name)/\(version)"
        let bundle = try ModelBundle(directory: directory)
        guard bundle.manifest.name == name, bundle.manifest.version == version else {
            throw JouledError(
                .misplacedModel,
                "\(directory)/\(ModelBundle.manifestName): says it is '\(bundle.manifest.name)' version"
                    + " \(bundle.manifest.version), but it lies in \(name)/\(version)")
        }
        return bundle
    }

    /// The versions of a model, ascending.
    private func versions(of name: String) throws(JouledError) -> [Int] {
        let path = root + "/" + name
        return try entries(of: path).compactMap { isDirectory(path + "/" + $0) ? Names.version($0) : nil }.sorted()
    }

    /// A directory itself, not a symbolic link to one.
    private func isDirectory(_ path: String) -> Bool {
        var status = stat()
        return lstat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFDIR
    }

    /// The entries that are not hidden, sorted by bytes.
    private func entries(of path: String) throws(JouledError) -> [String] {
        guard let names = DirectoryTree.names(in: path) else {
            throw JouledError(.unreadableModel, "\(path): \(String(cString: strerror(errno)))")
        }
        return names.filter { !$0.hasPrefix(".") }
    }
}
