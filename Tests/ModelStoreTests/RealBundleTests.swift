import Glibc
import ModelStore
import Testing
import Units

/// The bundles of `make bundles`; skipped where there are none.
@Suite(.enabled(if: RealBundles.root != nil, "make bundles has not been run"))
struct RealBundleTests {
    private func store() throws -> ModelStore { ModelStore(root: try #require(RealBundles.root)) }

    @Test func everyModelIsWhole() throws {
        let listing = try store().list()
        #expect(listing.faults.isEmpty)
        #expect(listing.newest.map(\.manifest.name) == ["ecg-rhythm", "keyword", "ppg-peaks", "silero-vad"])
        for bundle in listing.bundles {
            for variant in bundle.manifest.variants { try bundle.verify(variant) }
        }
    }

    @Test(arguments: ["ecg-rhythm", "keyword", "silero-vad"])
    func eachModelHasABaselineAndThreeMoreThatHoldTheirThresholds(name: String) throws {
        let manifest = try store().load(name).manifest
        #expect(manifest.baseline.quality == 1)
        #expect(manifest.usableVariants.count >= 4)
        #expect(manifest.usableVariants == manifest.variants)
        #expect(manifest.cadences.map(\.multiple) == [1, 2, 4])
    }

    /// Of so small a network only float variants hold, and a rate has no decision that could be held over windows.
    @Test func thePulseHasTwoVariantsAndOneCadence() throws {
        let manifest = try store().load("ppg-peaks").manifest
        #expect(manifest.usableVariants.map(\.name) == ["fp32", "fp16"])
        #expect(manifest.cadences.map(\.multiple) == [1])
    }

    @Test func theSignalContractIsTheModels() throws {
        let speech = try store().load("silero-vad").manifest
        #expect(speech.signal.sampleRate == 16000)
        #expect(speech.window.length == 576)
        #expect(speech.states.map(\.input) == ["h", "c"])
        #expect(speech.windowPeriod == Seconds(0.032))
        let heart = try store().load("ecg-rhythm").manifest
        #expect(heart.window.normalization == .subtractMinimum)
        #expect(heart.window.tail == .drop)
        #expect(heart.outputs.first?.labels.count == 4)
        #expect(heart.windowPeriod == Seconds(1))
        let words = try store().load("keyword").manifest
        #expect(words.states.isEmpty)
        #expect(words.window.length == 18912)
        #expect(words.windowPeriod == Seconds(0.08))
        #expect(words.outputs.first?.labels.first == "none")
        let pulse = try store().load("ppg-peaks").manifest
        #expect(pulse.signal.kind == .ppg)
        #expect(pulse.window.normalization == .standard)
        #expect(pulse.windowPeriod == Seconds(5))
    }
}

enum RealBundles {
    /// `bundles` of `JOULED_DEPS`, or of `.deps` in a directory above this file.
    static let root: String? = {
        if let deps = getenv("JOULED_DEPS") { return existing(String(cString: deps) + "/bundles") }
        var path = Substring(#filePath)
        while let slash = path.lastIndex(of: "/") {
            path = path[..<slash]
            if let found = existing(path + "/.deps/bundles") { return found }
        }
        return nil
    }()

    private static func existing(_ path: String) -> String? { access(path, R_OK | X_OK) == 0 ? path : nil }
}
