import InferenceRuntime
import JouledTestKit
import ModelStore
import OnnxGraph
import Testing
import Units

@testable import Quantizer

@Suite(.enabled(if: RuntimeFixture.runtime != nil, "needs setup/setup.sh")) struct BuildTests {
    /// Two matrices of 256 KiB: large enough to be read where they lie.
    private func network(seed: UInt64) -> OnnxModel {
        var random = SeededGenerator(seed: seed)
        var model = RuntimeFixture.residualNetwork(seed: seed)
        model.graph.input = [RuntimeFixture.info("x", [1, 256])]
        model.graph.output = [RuntimeFixture.info("y", [1, 256])]
        model.graph.node = [
            Node("MatMul", name: "m", inputs: ["x", "w"], outputs: ["h"]), Node("MatMul", name: "n", inputs: ["h", "v"], outputs: ["z"]),
            Node("Softmax", name: "s", inputs: ["z"], outputs: ["y"]),
        ]
        model.graph.initializer = ["w", "v"].map { name in
            Tensor(name: name, dims: [256, 256], floats: (0..<65536).map { _ in Float.random(in: -0.1...0.1, using: &random) })
        }
        return model
    }

    @Test(arguments: seeds(3)) func weightsReadWhereTheyLieGiveTheSameStatistics(seed: UInt64) throws {
        let runtime = try #require(RuntimeFixture.runtime)
        let data = try RuntimeFixture.dataset([256], seed: seed)
        var model = network(seed: seed)
        let found = try #require(try Calibrator(runtime: runtime, dataset: data).statistics(of: ["h"], in: model)["h"])
        model.graph.output.append(RuntimeFixture.info("h", [1, 256]))
        let plain = try SequenceRunner(session: InferenceSession(runtime: runtime, model: model.serialized(), path: "plain"), dataset: data)
        var expected: [Float] = []
        try plain.run(outputs: ["h"]) { _, values throws(JouledError) in expected += values[0].floats }
        #expect(found.count == expected.count, "seed \(seed)")
        #expect((found.minimum - (expected.min() ?? 0)).magnitude < 1e-5, "seed \(seed)")
        #expect((found.maximum - (expected.max() ?? 0)).magnitude < 1e-5, "seed \(seed)")
    }

    @Test func givingTheFloatWeightsUpChangesNothingButAnotherRecipe() throws {
        let runtime = try #require(RuntimeFixture.runtime)
        let calibrator = try Calibrator(runtime: runtime, dataset: RuntimeFixture.dataset([4, 1, 32], seed: 1))
        var recipe = Recipe(.int8)
        recipe.weightThreshold = 64
        var kept = try ModelQuantizer(RuntimeFixture.residualNetwork(seed: 1), calibrator: calibrator)
        var spent = kept
        spent.keepsSource = false
        #expect(try spent.quantize(recipe).model.serialized() == kept.quantize(recipe).model.serialized())
        #expect(throws: JouledError(.invalidRecipe, "")) { try spent.quantize(recipe) }
    }

    /// Contract, data and recipe of `network` in a directory; the recipe's path.
    private func recipe(_ directory: TemporaryDirectory, _ more: String, fewest: Int) throws -> String {
        directory.write("float.onnx", try network(seed: 2).serialized())
        for (name, seed) in [("calibration", UInt64(3)), ("selection", 4), ("evaluation", 5)] {
            var random = SeededGenerator(seed: seed)
            var header = "{'descr': '<f4', 'fortran_order': False, 'shape': (120, 256), }"
            header += String(repeating: " ", count: 117 - header.utf8.count) + "\n"
            let values = (0..<120 * 256).map { _ in Float.random(in: -1...1, using: &random) }
            directory.write(name + ".npy", [0x93] + Array("NUMPY".utf8) + [1, 0, 118, 0] + Array(header.utf8) + values.withUnsafeBytes { [UInt8]($0) })
        }
        directory.write(
            "contract.toml",
            """
            format = 1
            name = "tiny"
            summary = "a test"
            licence = "MIT"
            source = "none"
            task = "test"
            [signal]
            kind = "ecg"
            sample_rate_hz = 100
            channels = 1
            s16_scale = 0.001
            unit = "mV"
            [window]
            samples = 256
            hop = 256
            context = 0
            tail = "drop"
            normalize = "none"
            [input]
            name = "x"
            shape = [1, 256]
            [[output]]
            name = "y"
            labels = [\((0..<256).map { "\"c\($0)\"" }.joined(separator: ", "))]
            shape = [1, 256]
            [latency]
            tolerance = "3s"
            [thresholds]
            agreement_min = 0.5
            p99_error_max = 0.05
            """)
        directory.write(
            "recipe.toml",
            """
            source = "float.onnx"
            contract = "contract.toml"
            calibration = "calibration.npy"
            selection = "selection.npy"
            evaluation = "evaluation.npy"
            fewest_variants = \(fewest)
            [[variant]]
            id = "bytes"
            scheme = "int8-weights"
            \(more)
            """)
        return directory("recipe.toml")
    }

    @Test func aVariantThatIsTheSameFileAsAnotherIsLeftOut() throws {
        let runtime = try #require(RuntimeFixture.runtime)
        let directory = TemporaryDirectory()
        let twin = "[[variant]]\nid = \"twin\"\nscheme = \"int8-weights\"\n[[variant]]\nid = \"half\"\nscheme = \"fp16\"\n"
        var builder = ModelBuilder(recipe: try BuildRecipe(path: try recipe(directory, twin, fewest: 2)), runtime: runtime)
        builder.rounds = 3
        let outcome = try builder.build(into: ModelStore(root: directory("store"))) { _ in }
        #expect(outcome.bundle.manifest.variants.map(\.name) == ["fp32", "bytes", "half"])
        #expect(outcome.attempts.first { $0.id == "twin" }?.problems == ["is the same file as 'bytes'"])
    }

    @Test func aTwinDoesNotCountAmongTheVariantsThatAreNeeded() throws {
        let runtime = try #require(RuntimeFixture.runtime)
        let directory = TemporaryDirectory()
        let path = try recipe(directory, "[[variant]]\nid = \"twin\"\nscheme = \"int8-weights\"\n", fewest: 2)
        let error = #expect(throws: JouledError.self) {
            try ModelBuilder(recipe: BuildRecipe(path: path), runtime: runtime).build(into: ModelStore(root: directory("store"))) { _ in }
        }
        #expect(error?.message.contains("twin: is the same file as 'bytes'") == true)
        #expect(TemporaryDirectory.names(in: directory("store")).isEmpty)
    }
}
