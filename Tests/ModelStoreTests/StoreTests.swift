import ConfigDocument
import Glibc
import ModelStore
import Testing
import Units

@Suite struct StoreTests {
    @Test func theRightFilePasses() throws {
        let temporary = try TemporaryStore()
        try temporary.add()
        let bundle = try temporary.store.load("tiny")
        let variant = try bundle.manifest.variant("fp32")
        try bundle.verify(variant)
        #expect(try bundle.contents(of: variant) == Fixture.weights)
        #expect(bundle.path(of: variant) == "\(temporary.root)/tiny/1/fp32.onnx")
    }

    @Test func aChangedByteIsAWrongDigest() throws {
        let temporary = try TemporaryStore()
        var weights = Fixture.weights
        weights[weights.count / 2] ^= 1
        let directory = try temporary.add(weights: weights)
        let bundle = try temporary.store.load("tiny")
        let variant = bundle.manifest.baseline
        let failure = try error { () throws(JouledError) in try bundle.verify(variant) }
        #expect(failure.code == .wrongDigest)
        #expect(failure.message.hasPrefix("\(directory)/fp32.onnx: expected sha256 \(Fixture.digest), found "))
        #expect(!failure.message.hasSuffix(Fixture.digest))
        #expect(throws: failure) { try bundle.contents(of: variant) }
    }

    @Test func aTruncatedFileIsNamedWithBothSizes() throws {
        let temporary = try TemporaryStore()
        try temporary.add(weights: Array(Fixture.weights.dropLast()))
        let bundle = try temporary.store.load("tiny")
        let failure = try error { () throws(JouledError) in try bundle.verify(bundle.manifest.baseline) }
        #expect(failure.message.hasSuffix("(300000 bytes instead of 300001)"))
    }

    @Test func aMissingFileIsNamed() throws {
        let temporary = try TemporaryStore()
        let directory = try temporary.add(weights: nil)
        let bundle = try temporary.store.load("tiny")
        let failure = try error { () throws(JouledError) in try bundle.verify(bundle.manifest.baseline) }
        #expect(failure.code == .unreadableModel)
        #expect(failure.message == "\(directory)/fp32.onnx: No such file or directory")
    }

    @Test func aSymbolicLinkIsNotFollowed() throws {
        let temporary = try TemporaryStore()
        let directory = try temporary.add(weights: nil)
        try temporary.write(temporary.root + "/outside", Fixture.weights)
        #expect(symlink(temporary.root + "/outside", directory + "/fp32.onnx") == 0)
        let bundle = try temporary.store.load("tiny")
        let failure = try error { () throws(JouledError) in try bundle.verify(bundle.manifest.baseline) }
        #expect(failure.code == .unreadableModel)
        #expect(failure.message.contains("symbolic link"))

        #expect(rename(directory + "/model.toml", temporary.root + "/moved") == 0)
        #expect(symlink(temporary.root + "/moved", directory + "/model.toml") == 0)
        #expect(throws: JouledError(.unreadableModel, "")) { try temporary.store.load("tiny") }
    }

    @Test func aFIFOInTheFilesPlaceDoesNotHang() throws {
        let temporary = try TemporaryStore()
        let directory = try temporary.add(weights: nil)
        #expect(mkfifo(directory + "/fp32.onnx", 0o600) == 0)
        let bundle = try temporary.store.load("tiny")
        #expect(throws: JouledError(.unreadableModel, "")) { try bundle.verify(bundle.manifest.baseline) }
    }

    @Test func theNewestVersionIsByNumberNotByText() throws {
        let temporary = try TemporaryStore()
        for version in [2, 10, 9] { try temporary.add(version: version) }
        #expect(try temporary.store.load("tiny").manifest.version == 10)
        #expect(try temporary.store.load("tiny", version: 2).manifest.version == 2)
        #expect(try temporary.store.list().bundles.map(\.manifest.version) == [2, 9, 10])
        #expect(try temporary.store.list().newest.map(\.manifest.version) == [10])
        let failure = try error { () throws(JouledError) in _ = try temporary.store.load("tiny", version: 3) }
        #expect(failure.message == "model 'tiny' has no version 3; there are: 2, 9, 10")
    }

    @Test(arguments: ["no-such", "", "..", "../tiny", "tiny/1", "/etc"])
    func anUnknownModelIsAnsweredWithThoseThatExist(name: String) throws {
        let temporary = try TemporaryStore()
        try temporary.add("tiny")
        try temporary.add("other")
        let failure = try error { () throws(JouledError) in _ = try temporary.store.load(name) }
        #expect(failure.code == .unknownModel)
        #expect(failure.message == "no model '\(name)' in \(temporary.root); there are: other, tiny")
    }

    @Test func oneBrokenBundleDoesNotHideTheOthers() throws {
        let temporary = try TemporaryStore()
        try temporary.add("good")
        try temporary.add("good", version: 2, manifest: "format = 1\n")
        try temporary.add("misplaced", manifest: Fixture.manifest(name: "another"))
        try temporary.add("typo", manifest: Fixture.manifest(name: "typo").replacing(first: "unit =", with: "units ="))
        try temporary.add(".preparing")
        try temporary.write(temporary.root + "/README", [])
        let listing = try temporary.store.list()
        #expect(listing.bundles.map(\.directory) == ["\(temporary.root)/good/1"])
        #expect(listing.newest.map(\.manifest.version) == [1])
        #expect(listing.faults.map(\.path) == ["good/2", "misplaced/1", "typo/1"].map { "\(temporary.root)/\($0)" })
        #expect(listing.faults.map(\.error.code) == [.missingKey, .misplacedModel, .unknownKey])
        #expect(listing.faults.allSatisfy { $0.error.message.hasPrefix($0.path + "/model.toml:") })
        #expect(try temporary.store.names() == ["good", "misplaced", "typo"])
    }

    @Test func aMissingStoreIsNamed() throws {
        let store = ModelStore(root: "/nonexistent/store")
        let failure = try error { () throws(JouledError) in _ = try store.list() }
        #expect(failure.code == .unreadableModel)
        #expect(failure.message == "/nonexistent/store: No such file or directory")
    }

    @Test func anEmptyDirectoryIsNoModel() throws {
        let temporary = try TemporaryStore()
        mkdir(temporary.root + "/hollow", 0o755)
        let failure = try error { () throws(JouledError) in _ = try temporary.store.load("hollow") }
        #expect(failure.message == "no model 'hollow' in \(temporary.root); it is empty")
    }
}
