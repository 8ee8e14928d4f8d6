import ConfigDocument
import JouledTestKit
import Testing
import Units

@testable import Quantizer

@Suite struct DataTests {
    private func dataset(_ values: [Float], windows: Int) throws -> Dataset {
        try Dataset(path: "d.npz", arrays: ["x": NumpyArray(shape: [windows, values.count / windows], values: .float(values))])
    }

    @Test func refusesNaNAndConstants() {
        let nan = #expect(throws: JouledError.self) { try dataset([1, 2, 3, .nan, 5, 6], windows: 3) }
        #expect(nan?.message == "d.npz: array 'x' has nan in window 1")
        let constant = #expect(throws: JouledError.self) { try dataset([2, 2, 2, 2], windows: 2) }
        #expect(constant?.message.contains("constant") == true)
    }

    @Test func lengthsMustAgree() {
        let error = #expect(throws: JouledError.self) {
            try Dataset(path: "d.npz", arrays: [
                "x": NumpyArray(shape: [3, 1], values: .float([1, 2, 3])), "labels": NumpyArray(shape: [2], values: .integer([0, 1])),
            ])
        }
        #expect(error?.code == .unusableData)
    }

    /// The archives are those of the fuzzer.
    @Test func archivesAreReadAndImpossibleOnesRefused() throws {
        let folder = RuntimeFixture.root + "/Tests/Fuzz/Corpus/npz/"
        for name in ["stored", "deflated", "zip64"] {
            let arrays = try NumpyFile.load(folder + name + ".npz")
            #expect(arrays["x"]?.shape == [2, 3] && arrays["x"]?.floats == [0, 1, 2, 3, 4, 5] && arrays["labels"]?.integers == [0, 1], "\(name)")
        }
        for name in ["negative-entries.npz", "far-directory.npz", "far-record.npz", "negative-record.npz", "shape.npy"] {
            let error = #expect(throws: JouledError.self) { try NumpyFile.load(folder + name) }
            #expect(error?.code == .unusableData && error?.message.contains(name) == true, "\(name): \(String(describing: error))")
        }
    }

    @Test func sequencesStartWhereTheNumberChanges() throws {
        let data = try Dataset(path: "d", arrays: [
            "x": NumpyArray(shape: [5, 1], values: .float([1, 2, 3, 4, 5])), "sequence": NumpyArray(shape: [5], values: .integer([0, 0, 1, 1, 0])),
        ])
        #expect(data.sequenceStarts == [0, 2, 4])
    }

    @Test func unknownRecipeKeyNamesLineAndKey() throws {
        let document = try ConfigDocument(file: "r.toml", text: "[global]\nscheme = \"int8\"\nbitz = 4\n")
        let error = #expect(throws: JouledError.self) { try Recipe(reading: document) }
        #expect(error?.message.contains("r.toml:3") == true && error?.message.contains("bitz") == true)
    }

    @Test(arguments: seeds(3)) func inflatesStoredBlocksAndRefusesDamage(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        let content = random.bytes(300)
        let block: [UInt8] = [1, 0x2C, 0x01, 0xD3, 0xFE] + content
        #expect(try Inflate.inflate(block[...], size: 300) == content)
        #expect(throws: Inflate.Corrupt.self) { try Inflate.inflate(block[..<100], size: 300) }
        // Damage is an error or other bytes, never a trap.
        for _ in 0..<300 { _ = try? Inflate.inflate(random.bytes(60)[...], size: 200) }
    }

    /// What zlib makes of "abc" x 10: a fixed block with a length-distance pair.
    @Test func inflatesFixedBlocks() throws {
        #expect(try Inflate.inflate([0x4B, 0x4C, 0x4A, 0x4E, 0xC4, 0x8D, 0x00][...], size: 30) == Array(String(repeating: "abc", count: 10).utf8))
    }

    @Test func histogramKeepsCountsWhenItDoubles() {
        var statistics = ActivationStatistics()
        for scale in [0.1, 1, 3, 50] as [Float] { statistics.add((0..<100).map { scale * Float($0 - 50) / 50 }, shape: [1, 4, 25]) }
        #expect(statistics.bins.reduce(0, +) == 400)
        #expect(statistics.minimum == -50 && statistics.maximum == 49)
        var recipe = CalibrationRecipe()
        recipe.method = .minMax
        #expect(ActivationRange(statistics, recipe) == { var r = ActivationRange(statistics, recipe); (r.lower, r.upper) = (-50, 49); return r }())
        recipe.method = .percentile
        recipe.percentile = 90
        let clipped = ActivationRange(statistics, recipe)
        #expect(clipped.upper < 49 && clipped.upper > 10 && clipped.lower > -50 && clipped.lower < -10)
    }

    /// Against the definition: the share of pairs in which the positive one is ahead, ties counting half.
    @Test(arguments: seeds(10)) func aucMatchesPairCounting(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        let scores = (0..<60).map { _ in Float(Int.random(in: 0...20, using: &random)) }
        let positive = (0..<60).map { _ in Bool.random(using: &random) }
        var (ahead, pairs) = (0.0, 0.0)
        for i in scores.indices where positive[i] {
            for j in scores.indices where !positive[j] {
                pairs += 1
                ahead += scores[i] > scores[j] ? 1 : (scores[i] == scores[j] ? 0.5 : 0)
            }
        }
        let auc = Validator.auc(scores, positive)
        #expect(pairs == 0 ? auc == nil : ((auc ?? -1) - ahead / pairs).magnitude < 1e-9, "seed \(seed)")
    }
}
