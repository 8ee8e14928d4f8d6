import Glibc
import InferenceRuntime
import JouledTestKit
import ModelStore
import OnnxGraph
import Testing
import Units

@testable import Quantizer

@Suite struct MixedSearchTests {
    /// The ranking is what each operation alone does, and what is chosen holds the limits and is the cheapest that does.
    @Test(arguments: seeds(2)) func choosesTheCheapestThatHolds(seed: UInt64) throws {
        guard let runtime = RuntimeFixture.runtime else { return }
        var source = RuntimeFixture.residualNetwork(seed: seed)
        var random = SeededGenerator(seed: seed)
        // Operations need more than 2048 weights to be looked at: 16 x 64 x 1 x 3 and 64 x 16 x 1 x 3.
        func tensor(_ name: String, _ dims: [Int], _ scale: Float) -> Tensor {
            Tensor(name: name, dims: dims, floats: (0..<dims.reduce(1, *)).map { _ in Float.random(in: -scale...scale, using: &random) })
        }
        source.graph.node = [
            RuntimeFixture.node("Conv", "a", ["x", "a.w"], "t", [Attribute("pads", [0, 1, 0, 1])]), RuntimeFixture.node("Relu", "r", ["t"], "u"),
            RuntimeFixture.node("Conv", "b", ["u", "b.w"], "v", [Attribute("pads", [0, 1, 0, 1])]), RuntimeFixture.node("Flatten", "f", ["v"], "w"),
            RuntimeFixture.node("Gemm", "c", ["w", "c.w"], "y"),
        ]
        source.graph.initializer = [tensor("a.w", [192, 4, 1, 3], 0.5), tensor("b.w", [8, 192, 1, 3], 0.1), tensor("c.w", [256, 9], 0.2)]
        source.graph.output = [RuntimeFixture.info("y", [1, 9])]
        let data = try RuntimeFixture.dataset([4, 1, 32], seed: seed)
        let limits = ValidationLimits(p99ErrorMax: 0.08)
        var quantizer = try ModelQuantizer(source, calibrator: Calibrator(runtime: runtime, dataset: data))
        var search = MixedSearch(source: source, dataset: data, runtime: runtime, limits: limits)
        (search.rounds, search.coalesce, search.cadence) = (3, 1, Seconds(milliseconds: 1))
        var recipe = Recipe(.int8)
        recipe.weightThreshold = 2048
        let result = try search.run(&quantizer, recipe)
        #expect(Set(result.ranking.map(\.operation)) == ["a", "b", "c"])
        #expect(result.ranking.map(\.use) == result.ranking.map(\.use).sorted())
        let validator = try Validator(reference: source, dataset: data, runtime: runtime)
        for item in result.ranking {
            var alone = Recipe(.skip)
            alone.names[item.operation] = { var settings = OperatorRecipe(); settings.scheme = item.scheme; return settings }()
            var own = try ModelQuantizer(source, calibrator: Calibrator(runtime: runtime, dataset: data))
            let report = try validator.validate(own.quantize(alone).model, seams: false)
            #expect((limits.use(of: report) - item.use).magnitude < 0.05 * max(1, item.use), "\(item.operation), seed \(seed)")
        }
        let chosen = try #require(result.candidates.first { $0.name == result.chosen })
        #expect(chosen.holds)
        let holding = result.candidates.filter(\.holds)
        let cheapest = try #require(holding.min { $0.cpu < $1.cpu })
        #expect(chosen.isAsCheap(as: cheapest), "the cheapest, or one that the measurement cannot tell from it: seed \(seed)")
        #expect(result.candidates.contains { $0.name == "float" } && result.candidates.contains { $0.name == "all fp16" } && result.candidates.contains { $0.name == "all int8" })
        #expect(limits.broken(by: try validator.validate(result.outcome.model)).isEmpty)
        #expect(result.lines.contains("Chosen: \(result.chosen)"))
    }
}

@Suite struct SeamTests {
    private func silero() throws -> (OnnxModel, Dataset)? {
        guard let path = ReferenceModels.silero.first(where: { $0.hasSuffix("16k_sequence.onnx") }) else { return nil }
        var random = SeededGenerator(seed: 3)
        let values = (0..<240 * 576).map { index in Float.random(in: -1...1, using: &random) * (index / 5760 % 2 == 0 ? 0.3 : 0.01) }
        return (try OnnxModel.load(path), try Dataset(path: "d", arrays: [
            "input": NumpyArray(shape: [240, 576], values: .float(values)), "sequence": NumpyArray(shape: [240], values: .integer((0..<240).map { $0 < 100 ? 0 : 1 })),
        ]))
    }

    /// All ordered pairs; switching to an equal model shows nothing, and float to variant is what `validate` finds.
    @Test func everyPairIsLookedAt() throws {
        guard let runtime = RuntimeFixture.runtime, let (model, data) = try silero() else { return }
        let validator = try Validator(reference: model, dataset: data, runtime: runtime)
        var quantizer = try ModelQuantizer(model)
        let variant = try quantizer.quantize(Recipe(.int8Dynamic)).model
        let seams = try validator.seams(among: [("fp32", model), ("copy", model), ("int8", variant)])
        #expect(Set(seams.map(\.direction)) == ["fp32 to copy", "fp32 to int8", "copy to fp32", "copy to int8", "int8 to fp32", "int8 to copy"])
        func of(_ direction: String) -> ValidationReport.Seam? { seams.first { $0.direction == direction } }
        #expect(of("fp32 to copy")?.maximumByWindow.allSatisfy { $0 == 0 } == true)
        let report = try validator.validate(variant)
        #expect(of("fp32 to int8")?.maximumByWindow == report.seams[0].maximumByWindow)
        #expect(of("int8 to fp32")?.maximumByWindow == report.seams[1].maximumByWindow)
        #expect((of("fp32 to int8")?.maximumByWindow.max() ?? 0) > 0)
        // Two sequences of 100 and 140 windows: eight eighths of each, from their starts.
        #expect(report.growth.count == 8 && report.growth.allSatisfy { $0 > 0 })
    }
}

@Suite struct BuildingPipelineTests {
    private func write(_ directory: TemporaryDirectory, windows: Int, extra: String = "") throws {
        try RuntimeFixture.residualNetwork(seed: 1).save(to: directory("m.onnx"))
        directory.write(
            "c.toml",
            """
            format = 1
            name = "tiny"
            summary = "s"
            licence = "MIT"
            source = "s"
            task = "t"
            signal = { kind = "audio", sample_rate_hz = 1000, channels = 1, s16_scale = 1.0, unit = "u" }
            window = { samples = 128, hop = 128, context = 0, tail = "drop", normalize = "none" }
            input = { name = "x", shape = [1, 4, 1, 32] }
            latency = { tolerance = "1s" }
            thresholds = { agreement_min = 0.5, p99_error_max = 0.5 }
            output = [{ name = "y", shape = [1, 5], labels = ["a", "b", "c", "d", "e"] }]
            """)
        // One recording of noise, as CSV, cut into windows by the contract.
        var random = SeededGenerator(seed: 1)
        for name in ["cal", "eval"] { directory.write("\(name).csv", (0..<windows * 128).map { _ in "\(Float.random(in: -1...1, using: &random))\n" }.joined()) }
        directory.write(
            "r.toml",
            """
            source = "m.onnx"
            contract = "c.toml"
            calibration = "cal.csv"
            evaluation = "eval.csv"
            out_of_distribution = ["eval.csv"]
            allow_few = true
            \(extra)
            [[variant]]
            id = "int8"
            scheme = "int8"
            weight_threshold = 64

            """)
    }

    @Test func wholePipelineFromARecording() throws {
        guard let runtime = RuntimeFixture.runtime else { return }
        let directory = TemporaryDirectory()
        try write(directory, windows: 60)
        var builder = ModelBuilder(recipe: try BuildRecipe(path: directory("r.toml")), runtime: runtime)
        builder.rounds = 3
        let outcome = try builder.build(into: ModelStore(root: directory("store"))) { _ in }
        #expect(outcome.bundle.manifest.variants.map(\.name) == ["fp32", "int8"])
        // What was calibrated on too little says so wherever it goes.
        #expect(outcome.bundle.manifest.variants.map { $0.validation.data.contains("60 windows only") } == [false, true])
        #expect(try ModelBundle(directory: directory("store/tiny/1")).manifest == outcome.bundle.manifest)
        let report = directory.text(of: "store/tiny/1/report.json")
        #expect(report.contains("\"near_duplicates\"") && report.contains("\"few\":true") && report.contains("\"tensor\":\"x\""))
        #expect(directory.text(of: "store/tiny/1/report.html").contains("Calibration data"))
    }

    @Test func tooFewWindowsAndUnknownKeys() throws {
        guard let runtime = RuntimeFixture.runtime else { return }
        let directory = TemporaryDirectory()
        try write(directory, windows: 60, extra: "fewest_variant = 3")
        let unknown = #expect(throws: JouledError.self) { try BuildRecipe(path: directory("r.toml")) }
        #expect(unknown?.message.contains("r.toml:7") == true && unknown?.message.contains("fewest_variant") == true, "\(unknown?.message ?? "")")
        try write(directory, windows: 60)
        directory.write("r.toml", directory.text(of: "r.toml").split(separator: "\n").filter { $0 != "allow_few = true" }.joined(separator: "\n") + "\n")
        let few = #expect(throws: JouledError.self) {
            try ModelBuilder(recipe: BuildRecipe(path: directory("r.toml")), runtime: runtime).build(into: ModelStore(root: directory("store"))) { _ in }
        }
        #expect(few?.message.contains("60 windows are too few") == true)
        #expect(access(directory("store"), F_OK) != 0, "nothing half-published")
    }
}
