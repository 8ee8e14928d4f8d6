import ConfigDocument
import Glibc
import JouledTestKit
import Testing
import Units

@testable import ModelStore

@Suite struct PublishingTests {
    /// A manifest of two variants that fit `files`.
    private func bundle(named name: String = "tiny") throws -> (manifest: ModelManifest, files: [String: [UInt8]]) {
        var manifest = try ModelManifest(reading: ConfigDocument(file: "m", text: Fixture.manifest(name: name)))
        let contents = ["fp32": Fixture.weights, "int8": Array(Fixture.weights.prefix(1000))]
        manifest.variants = manifest.variants.map { old in
            ModelManifest.Variant(
                named: old.name, scheme: old.scheme, content: contents[old.name] ?? [], validation: .init(on: "d", agreement: 1, p99Error: 0, meanError: nil, aucLoss: 0.001))
        }
        return (manifest, ["fp32.onnx": contents["fp32"] ?? [], "int8.onnx": contents["int8"] ?? [], "report.html": Array("<p>".utf8)])
    }

    private func names(_ directory: String) -> [String] {
        guard let stream = opendir(directory) else { return ["(missing)"] }
        defer { closedir(stream) }
        var names: [String] = []
        while let entry = readdir(stream) {
            let name = withUnsafeBytes(of: &entry.pointee.d_name) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
            if name != ".", name != ".." { names.append(name) }
        }
        return names.sorted()
    }

    @Test func publishesWholeAndCountsUp() throws {
        let temporary = try TemporaryStore()
        let (manifest, files) = try bundle()
        for version in 1...3 {
            let published = try temporary.store.publish(manifest, files: files)
            #expect(published.manifest.version == version)
            for variant in published.manifest.variants { try published.verify(variant) }
            var expected = manifest
            expected.version = version
            #expect(published.manifest == expected)
            #expect(names("\(temporary.root)/tiny/\(version)") == ["fp32.onnx", "int8.onnx", "model.toml", "report.html"])
        }
        #expect(names("\(temporary.root)/tiny") == ["1", "2", "3"])
    }

    /// The disk is full at any of the writes: the error names the file and the reason, and nothing is left, not even an
    /// empty directory of the model or, where it was made for this, of the store.
    @Test(arguments: 0..<4, [true, false]) func noSpaceLeavesNothing(failing: Int, isFirst: Bool) throws {
        let temporary = try TemporaryStore()
        let store = ModelStore(root: temporary.root + "/store")
        let (manifest, files) = try bundle()
        if !isFirst { _ = try store.publish(manifest, files: files) }
        var written = 0
        let failure = try error { () throws(JouledError) in
            _ = try store.publish(manifest, files: files) { bytes, path throws(JouledError) in
                defer { written += 1 }
                // As much as there is room for has been written when the system says no.
                let descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0o644)
                defer { close(descriptor) }
                let part = written == failing ? bytes.prefix(bytes.count / 2) : bytes[...]
                _ = part.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
                if written == failing { throw JouledError(.unwritableFile, "\(path): cannot be written: \(String(cString: strerror(ENOSPC)))") }
            }
        }
        #expect(failure.code == .unwritableFile && failure.message.contains("No space left on device"))
        #expect(written == failing + 1)
        #expect(names(temporary.root) == (isFirst ? [] : ["store"]))
        if !isFirst {
            #expect(names(temporary.root + "/store/tiny") == ["1"])
            #expect(try store.publish(manifest, files: files).manifest.version == 2)
        }
    }

    /// A write that lied, or a variant that is not among the files: found before anybody can see the bundle.
    @Test func whatDoesNotFitTheManifestIsNotPublished() throws {
        let temporary = try TemporaryStore()
        var (manifest, files) = try bundle()
        files["int8.onnx"]?[500] ^= 1
        #expect(try error { () throws(JouledError) in _ = try temporary.store.publish(manifest, files: files) }.code == .wrongDigest)
        files["int8.onnx"] = nil
        #expect(try error { () throws(JouledError) in _ = try temporary.store.publish(manifest, files: files) }.message.contains("int8.onnx"))
        files["../escape"] = [1]
        manifest.variants.removeLast()
        #expect(try error { () throws(JouledError) in _ = try temporary.store.publish(manifest, files: files) }.message.contains("plain file name"))
        #expect(names(temporary.root) == [])
    }

    @Test func removesOneVersion() throws {
        let temporary = try TemporaryStore()
        let (manifest, files) = try bundle()
        _ = try temporary.store.publish(manifest, files: files)
        _ = try temporary.store.publish(manifest, files: files)
        try temporary.store.remove("tiny", version: 1)
        #expect(names(temporary.root + "/tiny") == ["2"])
        #expect(try error { () throws(JouledError) in try temporary.store.remove("tiny", version: 1) }.code == .unknownModel)
        // A number that was used once is not used again while a later version is there.
        #expect(try temporary.store.publish(manifest, files: files).manifest.version == 3)
    }

    /// Written and read again a manifest is the same, whatever is in its texts.
    @Test(arguments: seeds(20)) func textIsLossless(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        var manifest = try bundle().manifest
        let alphabet: [Character] = ["a", "\"", "\\", "\n", "\t", "\u{7F}", "\u{1}", "ä", "🎈", "#", "'", "=", "]"]
        func text() -> String { "x" + String((0..<8).map { _ in alphabet.randomElement(using: &random) ?? "a" }) }
        manifest.summary = text()
        manifest.licence = text()
        manifest.source = text()
        manifest.outputs[0].labels = [text(), "other"]
        manifest.thresholds.aucLossMax = Bool.random(using: &random) ? Double.random(in: 0...1, using: &random) : nil
        manifest.signal.s16Scale = Float.random(in: 1e-9...1, using: &random)
        manifest.latencyTolerance = Seconds(Double.random(in: 0.001...10, using: &random))
        for index in manifest.variants.indices {
            manifest.variants[index].windowsPerRun = Int.random(in: 1...64, using: &random)
            manifest.variants[index].validation.data = text()
            manifest.variants[index].validation.p99Error = Double.random(in: 0...1, using: &random)
            manifest.variants[index].validation.meanError = Bool.random(using: &random) ? Double.random(in: 0...1, using: &random) : nil
        }
        #expect(try ModelManifest(reading: ConfigDocument(file: "again", text: manifest.text)) == manifest, "seed \(seed)")
    }

    @Test func aContractIsAManifestWithoutVariants() throws {
        let temporary = try TemporaryStore()
        let whole = Fixture.manifest()
        try temporary.write(temporary.root + "/whole.toml", Array(whole.utf8))
        #expect(try ModelManifest(file: temporary.root + "/whole.toml").variants.count == 2)
        let lines = whole.split(separator: "\n", omittingEmptySubsequences: false)
        let contract = lines[..<(try #require(lines.firstIndex(of: "[[cadence]]")))].filter { !$0.hasPrefix("version") }.joined(separator: "\n") + "\n"
        try temporary.write(temporary.root + "/contract.toml", Array(contract.utf8))
        #expect(try ModelManifest(file: temporary.root + "/contract.toml").variants.isEmpty)
    }
}
