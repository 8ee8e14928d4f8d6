import ConfigDocument
import Testing
import Units

@testable import ModelStore

@Suite struct ManifestTests {
    private func read(_ text: String) throws(JouledError) -> ModelManifest {
        try ModelManifest(reading: ConfigDocument(file: "model.toml", text: text))
    }

    @Test func aWholeManifestIsRead() throws {
        let manifest = try read(Fixture.manifest())
        #expect(manifest.signal.kind == .audio)
        #expect(manifest.signal.s16Scale == Float(1) / 32768)
        #expect(manifest.window.length == 576)
        #expect(manifest.window.tail == .pad)
        #expect(manifest.windowPeriod == Seconds(0.016))
        #expect(manifest.states.map(\.count) == [128])
        #expect(manifest.outputs.map(\.labels) == [["yes", "no"]])
        #expect(manifest.latencyTolerance == Seconds(0.25))
        #expect(manifest.cadences.map(\.multiple) == [1, 2])
        #expect(manifest.variants.map(\.name) == ["fp32", "int8"])
        #expect(manifest.baseline.name == "fp32")
        #expect(manifest.thresholds.aucLossMax == nil)
    }

    @Test func aVariantThatBreaksItsThresholdsIsNotUsable() throws {
        let manifest = try read(Fixture.manifest())
        #expect(manifest.usableVariants.map(\.name) == ["fp32"])
        #expect(
            manifest.brokenThresholds(of: manifest.variants[1])
                == ["agreement 0.9700 is below 0.9850", "p99 error 0.2000 is above 0.1500"])
    }

    @Test func aDeclaredThresholdThatWasNotMeasuredIsBroken() throws {
        let text = try Fixture.manifest().replacing(first: "p99_error_max = 0.15", with: "p99_error_max = 0.15\nauc_loss_max = 0.005")
        #expect(try read(text).usableVariants.isEmpty)
    }

    @Test func anUnknownVariantIsAnsweredWithThoseThatExist() throws {
        let manifest = try read(Fixture.manifest())
        #expect(try manifest.variant("int8").bytes == 10)
        let failure = try error { () throws(JouledError) in _ = try manifest.variant("int4") }
        #expect(failure.code == .unknownVariant)
        #expect(failure.message == "model 'tiny' has no variant 'int4'; there are: fp32, int8")
    }

    @Test func aTypedKeyIsNamedWithFileAndLine() throws {
        let text = try Fixture.manifest().replacing(first: "sample_rate_hz =", with: "sample_rate =")
        let failure = try error { () throws(JouledError) in _ = try read(text) }
        #expect(failure.code == .unknownKey)
        #expect(failure.message == "model.toml:\(try text.line(of: "sample_rate =")): key 'signal.sample_rate': unknown key; did you mean 'sample_rate_hz' (required, an integer)?")

        let extra = try Fixture.manifest().replacing(first: "context = 64", with: "context = 64\ncontexts = 64")
        let second = try error { () throws(JouledError) in _ = try read(extra) }
        #expect(second.code == .unknownKey)
        #expect(second.message.hasPrefix("model.toml:\(try extra.line(of: "contexts")): key 'window.contexts'"))
    }

    /// (text that is replaced, what it becomes, the key that the error names)
    @Test(arguments: [
        ("format = 1", "format = 2", "format"),
        (#"name = "tiny""#, #"name = "../tiny""#, "name"),
        (#"name = "tiny""#, #"name = "Tiny""#, "name"),
        ("version = 1", "version = 0", "version"),
        (#"kind = "audio""#, #"kind = "video""#, "signal.kind"),
        ("sample_rate_hz = 16000", "sample_rate_hz = -1", "signal.sample_rate_hz"),
        ("channels = 1", "channels = 0", "signal.channels"),
        ("s16_scale = 3.0517578125e-05", "s16_scale = 0", "signal.s16_scale"),
        ("hop = 256", "hop = 513", "window.hop"),
        ("hop = 256", "hop = 0", "window.hop"),
        ("context = 64", "context = -1", "window.context"),
        ("context = 64", "context = 65", "input.shape"),
        (#"tail = "pad""#, #"tail = "keep""#, "window.tail"),
        (#"normalize = "none""#, #"normalize = "min""#, "window.normalize"),
        ("shape = [1, 576]", "shape = [1, 0]", "input.shape[1]"),
        ("shape = [1, 576]", "shape = [16777216, 16777216, 16777216]", "input.shape"),
        (#"input = "h""#, #"input = "input""#, "state[0].input"),
        (#"labels = ["yes", "no"]"#, #"label = "yes""#, "output[0].label"),
        (#"labels = ["yes", "no"]"#, #"labels = ["yes", "yes"]"#, "output[0].labels"),
        (#"labels = ["yes", "no"]"#, "", "output[0].label"),
        (#"tolerance = "250ms""#, #"tolerance = "soon""#, "latency.tolerance"),
        ("multiple = 1", "multiple = 3", "cadence"),
        ("multiple = 1", "multiple = 2", "cadence[1].multiple"),
        (#"name = "int8""#, #"name = "fp32""#, "variant[1].name"),
        (#"file = "fp32.onnx""#, #"file = "../fp32.onnx""#, "variant[0].file"),
        (#"file = "fp32.onnx""#, #"file = "/etc/passwd""#, "variant[0].file"),
        (#"file = "fp32.onnx""#, #"file = "..""#, "variant[0].file"),
        (#"file = "fp32.onnx""#, #"file = """#, "variant[0].file"),
        ("sha256 = \"", "sha256 = \"F", "variant[0].sha256"),
        ("quality = 0.97", "quality = 1.5", "variant[1].quality"),
        ("quality = 0.97", "quality = 0.97\nwindows_per_run = 0", "variant[1].windows_per_run"),
        ("quality = 0.97", "quality = 0.97\nwindows_per_run = 65", "variant[1].windows_per_run"),
        ("agreement = 0.97", "agreement = nan", "variant[1].validation.agreement"),
    ])
    func aWrongValueIsNamed(old: String, new: String, key: String) throws {
        let text = try Fixture.manifest().replacing(first: old, with: new)
        let failure = try error { () throws(JouledError) in _ = try read(text) }
        #expect(failure.message.contains("key '\(key)'"), "\(failure.message)")
        #expect(failure.message.hasPrefix("model.toml:"), "\(failure.message)")
    }

    @Test func aGateIsReadWrittenAndChecked() throws {
        #expect(try read(Fixture.manifest()).gate == nil)
        func with(_ lines: String) throws -> String { try Fixture.manifest().replacing(first: "[[cadence]]", with: "[gate]\n\(lines)\n[[cadence]]") }
        let plain = try read(with("model = \"silero-vad\""))
        #expect(plain.gate == .init(model: "silero-vad", output: nil, threshold: 0.5, preroll: Seconds(0.2), hold: Seconds(0.5)))
        // Without state, what later windows see needs no run of its own: 64 samples of context and 256 of overlap are 20 ms.
        let stateless = try Fixture.manifest().replacing(first: "[[state]]\ninput = \"h\"\noutput = \"hn\"\nshape = [1, 1, 128]\n", with: "")
        #expect(try abs(read(stateless).defaultPreroll.value - 0.18) < 1e-9)
        #expect(try read(stateless.replacing(first: "[[cadence]]", with: "[gate]\nmodel = \"m\"\n[[cadence]]")).gate?.preroll == read(stateless).defaultPreroll)
        let whole = try read(with("model = \"silero-vad\"\noutput = \"speech probability\"\nthreshold = 0.7\npreroll = \"100ms\"\nhold = 2.5"))
        #expect(whole.gate == .init(model: "silero-vad", output: "speech probability", threshold: 0.7, preroll: Seconds(0.1), hold: Seconds(2.5)))
        for manifest in [plain, whole] { #expect(try read(manifest.text) == manifest) }
        for (lines, key) in [
            ("output = \"x\"", "gate.model"), ("model = \"A b\"", "gate.model"), ("model = \"m\"\nthreshold = \"x\"", "gate.threshold"),
            ("model = \"m\"\npreroll = \"11s\"", "gate.preroll"), ("model = \"m\"\nhold = -1", "gate.hold"), ("model = \"m\"\nlabel = \"x\"", "gate.label"),
            ("model = \"tiny\"", "gate"),
        ] {
            let text = try with(lines)
            let failure = try error { () throws(JouledError) in _ = try read(text) }
            #expect(failure.message.hasPrefix("model.toml:") && failure.message.contains("key '\(key)'"), "\(failure.message)")
        }
    }

    @Test func aTruncatedManifestNeverPassesNorTraps() throws {
        let text = Fixture.manifest()
        let bytes = Array(text.utf8)
        // Cutting off the second variant at its header leaves a whole manifest; anything before does not.
        let whole = try text.line(of: #"name = "int8""#) - 1
        let end = text.split(separator: "\n", omittingEmptySubsequences: false).prefix(whole - 1).map { $0.utf8.count + 1 }.reduce(0, +)
        let lastValue = end - "p99_error = 0.0\n".utf8.count
        for length in 0..<lastValue {
            let part = String(decoding: bytes[..<length], as: UTF8.self)
            #expect(throws: JouledError.self, "cut at byte \(length)") { try read(part) }
        }
        #expect(try read(String(decoding: bytes[..<end], as: UTF8.self)).variants.count == 1)
    }
}
