import Crypto
import Glibc
import ModelStore
import Testing
import Units

/// A store in a temporary directory, removed at the end of the test.
final class TemporaryStore {
    let root: String
    var store: ModelStore { ModelStore(root: root) }

    init() throws {
        var template = Array("/tmp/jouled-store-XXXXXX".utf8CString)
        try #require(mkdtemp(&template) != nil)
        root = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    deinit { DirectoryTree.remove(root) }

    /// Writes a bundle and returns its directory.
    @discardableResult
    func add(
        _ name: String = "tiny", version: Int = 1, manifest: String? = nil, weights: [UInt8]? = Fixture.weights
    ) throws -> String {
        let directory = "\(root)/\(name)/\(version)"
        mkdir("\(root)/\(name)", 0o755)
        mkdir(directory, 0o755)
        try write(directory + "/model.toml", Array((manifest ?? Fixture.manifest(name: name, version: version)).utf8))
        if let weights { try write(directory + "/fp32.onnx", weights) }
        return directory
    }

    func write(_ path: String, _ bytes: [UInt8]) throws {
        let file = try #require(fopen(path, "w"))
        defer { fclose(file) }
        #expect(fwrite(bytes, 1, bytes.count, file) == bytes.count)
    }
}

enum Fixture {
    /// Larger than one read, and no multiple of it.
    static let weights: [UInt8] = (0..<300_001).map { UInt8(truncatingIfNeeded: $0 &* 7) }
    static let digest = SHA256.hash(data: weights).map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()

    static func manifest(name: String = "tiny", version: Int = 1) -> String {
        """
        format = 1
        name = "\(name)"
        version = \(version)
        summary = "A test"
        licence = "MIT"
        source = "nowhere"
        task = "voice-activity"
        [signal]
        kind = "audio"
        sample_rate_hz = 16000
        channels = 1
        s16_scale = 3.0517578125e-05
        unit = "full-scale"
        [window]
        samples = 512
        hop = 256
        context = 64
        tail = "pad"
        normalize = "none"
        [input]
        name = "input"
        shape = [1, 576]
        [[state]]
        input = "h"
        output = "hn"
        shape = [1, 1, 128]
        [[output]]
        name = "probabilities"
        labels = ["yes", "no"]
        shape = [1, 2]
        [latency]
        tolerance = "250ms"
        [thresholds]
        agreement_min = 0.985
        p99_error_max = 0.15
        [[cadence]]
        multiple = 2
        quality = 0.9
        [[cadence]]
        multiple = 1
        quality = 1.0
        [[variant]]
        name = "fp32"
        scheme = "fp32"
        file = "fp32.onnx"
        bytes = \(weights.count)
        sha256 = "\(digest)"
        quality = 1.0
        [variant.validation]
        data = "a file"
        agreement = 1.0
        p99_error = 0.0
        [[variant]]
        name = "int8"
        scheme = "static int8"
        file = "int8.onnx"
        bytes = 10
        sha256 = "\(digest)"
        quality = 0.97
        [variant.validation]
        data = "a file"
        agreement = 0.97
        p99_error = 0.2

        """
    }
}

/// The error that `body` throws.
func error(_ body: () throws(JouledError) -> Void) throws -> JouledError {
    do throws(JouledError) {
        try body()
    } catch {
        return error
    }
    Issue.record("nothing was thrown")
    throw CancellationError()
}

extension String {
    /// The text with the first occurrence of `old` replaced; fails the test if there is none.
    func replacing(first old: String, with new: String) throws -> String {
        let bytes = Array(utf8)
        let pattern = Array(old.utf8)
        let at = try #require((0...(bytes.count - pattern.count)).first { bytes[$0...].starts(with: pattern) })
        return String(decoding: bytes[..<at] + Array(new.utf8) + bytes[(at + pattern.count)...], as: UTF8.self)
    }

    /// Number of the first line that contains `text`, from 1.
    func line(of text: String) throws -> Int {
        let lines = split(separator: "\n", omittingEmptySubsequences: false)
        return 1 + (try #require(lines.firstIndex { $0.contains(text) }))
    }
}
