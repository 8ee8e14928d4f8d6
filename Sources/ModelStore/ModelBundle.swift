import ConfigDocument
import Crypto
import Glibc
import Units

/// A directory with a `model.toml` and the variant files that it names.
public struct ModelBundle: Hashable, Sendable {
    /// The manifest's file name.
    public static let manifestName = "model.toml"

    /// Path of the bundle's directory.
    public let directory: String
    public let manifest: ModelManifest

    /// Reads the manifest in `directory`. Variant files are not touched: see `verify` and `contents`.
    ///
    /// - Throws: `unreadableModel` if there is no readable manifest; what `ModelManifest.init(reading:)`
    ///   throws if it is wrong.
    public init(directory: String) throws(JouledError) {
        let file = try BundleFile(directory: directory, name: Self.manifestName)
        let bytes = try file.contents(limit: ConfigDocument.sizeLimit)
        guard let text = String(validating: bytes, as: UTF8.self) else {
            throw JouledError(.unreadableModel, "\(file.path): not valid UTF-8")
        }
        self.directory = directory
        self.manifest = try ModelManifest(reading: ConfigDocument(file: file.path, text: text))
    }

    /// Path of the measurements of this bundle on this device, beside the manifest; see `DeviceProfile`.
    public var profilePath: String { directory + "/profile.toml" }

    /// Path of the variant's file.
    public func path(of variant: ModelManifest.Variant) -> String { directory + "/" + variant.file }

    /// Compares the variant's file with the manifest's digest, reading it piece by piece.
    ///
    /// - Throws: `wrongDigest`, naming the file, the expected and the actual digest; `unreadableModel` if
    ///   the file is missing, a symbolic link, or not a regular file.
    public func verify(_ variant: ModelManifest.Variant) throws(JouledError) {
        let file = try BundleFile(directory: directory, name: variant.file)
        var digest = SHA256()
        var size = 0
        try file.forEachChunk { chunk throws(JouledError) in
            digest.update(bufferPointer: chunk)
            size += chunk.count
        }
        try Self.compare(digest.finalize(), size: size, with: variant, path: file.path)
    }

    /// The variant's file, read once and verified: what is returned is what was compared, even if the
    /// file changes meanwhile.
    ///
    /// - Throws: as `verify` does.
    public func contents(of variant: ModelManifest.Variant) throws(JouledError) -> [UInt8] {
        let file = try BundleFile(directory: directory, name: variant.file)
        var digest = SHA256()
        var bytes: [UInt8] = []
        // A file that is too large fails after at most one chunk too many instead of filling memory.
        bytes.reserveCapacity(min(file.size, variant.bytes))
        var size = 0
        try file.forEachChunk { chunk throws(JouledError) in
            digest.update(bufferPointer: chunk)
            size += chunk.count
            if size <= variant.bytes { bytes.append(contentsOf: chunk) }
        }
        try Self.compare(digest.finalize(), size: size, with: variant, path: file.path)
        return bytes
    }

    private static func compare(
        _ digest: SHA256.Digest, size: Int, with variant: ModelManifest.Variant, path: String
    ) throws(JouledError) {
        let actual = hexadecimal(digest)
        guard actual == variant.sha256, size == variant.bytes else {
            let sizes = size == variant.bytes ? "" : " (\(size) bytes instead of \(variant.bytes))"
            throw JouledError(
                .wrongDigest, "\(path): expected sha256 \(variant.sha256), found \(actual)\(sizes)")
        }
    }
}
