import ConfigDocument
import Crypto
import Glibc
import Units

extension ModelStore {
    /// The SHA-256 of bytes, as manifests write it.
    public static func digest(_ bytes: [UInt8]) -> String { hexadecimal(SHA256.hash(data: bytes)) }

    /// Publishes a bundle as the model's next version: whole or not at all.
    ///
    /// Everything is written and synced in a hidden directory beside the versions, read back and verified, and then
    /// renamed. Whatever goes wrong before, the store is as it was.
    /// - Parameters:
    ///   - manifest: its version is replaced by the next free one.
    ///   - files: content by plain file name; those that the manifest's variants name must be among them.
    /// - Returns: the bundle as published.
    /// - Throws: `.unwritableFile` naming the path and the system's reason (a full disk is one); the errors of reading a bundle.
    public func publish(_ manifest: ModelManifest, files: [String: [UInt8]]) throws(JouledError) -> ModelBundle {
        try publish(manifest, files: files, write: Self.write)
    }

    /// - Parameter write: writes bytes to a path and syncs them; tests have others that fail.
    func publish(
        _ manifest: ModelManifest, files: [String: [UInt8]], write: ([UInt8], String) throws(JouledError) -> Void
    ) throws(JouledError) -> ModelBundle {
        let parent = root + "/" + manifest.name
        var made: [String] = []
        for path in [root, parent] {
            if mkdir(path, 0o755) == 0 { made.append(path) } else if errno != EEXIST { throw Self.failure(path) }
        }
        let staging = "\(parent)/.publishing-\(getpid())"
        DirectoryTree.remove(staging)
        do throws(JouledError) {
            guard mkdir(staging, 0o755) == 0 else { throw Self.failure(staging) }
            var numbered = manifest
            numbered.version = try nextVersion(of: manifest.name)
            for (name, bytes) in files.sorted(by: { $0.key < $1.key }) {
                guard Names.isPlainFile(name) else { throw JouledError(.unwritableFile, "'\(name)' is not a plain file name") }
                try write(bytes, staging + "/" + name)
            }
            try write(Array(numbered.text.utf8), staging + "/" + ModelBundle.manifestName)
            let staged = try ModelBundle(directory: staging)
            for variant in staged.manifest.variants { try staged.verify(variant) }
            // Another publisher may take the number meanwhile: rename onto a directory that is not empty fails, and the next is tried.
            while rename(staging, "\(parent)/\(numbered.version)") != 0 {
                guard errno == ENOTEMPTY || errno == EEXIST else { throw Self.failure("\(parent)/\(numbered.version)") }
                numbered.version += 1
                try write(Array(numbered.text.utf8), staging + "/" + ModelBundle.manifestName)
            }
            let directory = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
            if directory >= 0 {
                fsync(directory)
                close(directory)
            }
            return try load(manifest.name, version: numbered.version)
        } catch {
            DirectoryTree.remove(staging)
            // Directories that were made for this go with it, unless somebody else has put something there.
            for path in made.reversed() { rmdir(path) }
            throw error
        }
    }

    /// Removes one version of a model. It is renamed out of sight first, so that nobody meets half a bundle.
    /// - Throws: `.unknownModel` if there is no such version; `.unwritableFile` where it cannot be removed.
    public func remove(_ name: String, version: Int) throws(JouledError) {
        let directory = "\(root)/\(name)/\(version)"
        guard Names.isName(name), access(directory, F_OK) == 0 else {
            throw JouledError(.unknownModel, "model '\(name)' has no version \(version) in \(root)")
        }
        let hidden = "\(root)/\(name)/.removing-\(getpid())-\(version)"
        guard rename(directory, hidden) == 0 else { throw Self.failure(directory) }
        DirectoryTree.remove(hidden)
    }

    private func nextVersion(of name: String) throws(JouledError) -> Int {
        guard let names = DirectoryTree.names(in: root + "/" + name) else { throw Self.failure(root + "/" + name) }
        return names.reduce(0) { max($0, Names.version($1) ?? 0) } + 1
    }

    private static func failure(_ path: String) -> JouledError {
        JouledError(.unwritableFile, "\(path): cannot be written: \(String(cString: strerror(errno)))")
    }

    private static func write(_ bytes: [UInt8], to path: String) throws(JouledError) {
        let descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0o644)
        guard descriptor >= 0 else { throw failure(path) }
        defer { close(descriptor) }
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
            if count < 0 && errno == EINTR { continue }
            guard count > 0 else { throw failure(path) }
            rest = rest.dropFirst(count)
        }
        guard fsync(descriptor) == 0 else { throw failure(path) }
    }
}
