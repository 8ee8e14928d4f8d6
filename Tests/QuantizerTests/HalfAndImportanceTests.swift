import InferenceRuntime
import JouledTestKit
import OnnxGraph
import Testing
import Units

@testable import Quantizer

@Suite struct ImportanceTests {
    /// y = x W (32 x 24), x of very different loudness by channel, and as in trained networks small weights for the loud ones.
    private func matrix(seed: UInt64) throws -> (model: OnnxModel, data: Dataset) {
        var random = SeededGenerator(seed: seed)
        var model = RuntimeFixture.residualNetwork(seed: seed)
        model.graph.input = [RuntimeFixture.info("x", [1, 32])]
        model.graph.output = [RuntimeFixture.info("y", [1, 24])]
        model.graph.node = [Node("MatMul", name: "m", inputs: ["x", "w"], outputs: ["y"])]
        model.graph.initializer = [Tensor(name: "w", dims: [32, 24], floats: (0..<32 * 24).map { Float.random(in: -1...1, using: &random) * ($0 / 24 < 4 ? 0.1 : 1) })]
        let values = (0..<150 * 32).map { index in Float.random(in: -1...1, using: &random) * (index % 32 < 4 ? 8 : 0.2) }
        return (model, try Dataset(path: "d", arrays: ["x": NumpyArray(shape: [150, 32], values: .float(values))]))
    }

    @Test(arguments: seeds(3)) func isTheMeanSquareOfTheActivation(seed: UInt64) throws {
        guard let runtime = RuntimeFixture.runtime else { return }
        let (model, data) = try matrix(seed: seed)
        let calibrator = try Calibrator(runtime: runtime, dataset: data)
        let entries = try Assignment(model, { var r = Recipe(.palette); r.weightThreshold = 0; return r }()).entries
        let importance = try #require(Importance.measure(model, entries, calibrator)["w"])
        let values = try #require(data.arrays["x"]?.floats)
        for k in 0..<32 {
            let mean = (0..<150).reduce(0.0) { $0 + Double(values[$1 * 32 + k]) * Double(values[$1 * 32 + k]) } / 150
            for n in 0..<24 { #expect((Double(importance[k * 24 + n]) / mean - 1).magnitude < 1e-5, "seed \(seed)") }
        }
    }

    /// Grouped convolution: weight [o, i, k] is multiplied with channel group(o) x 2 + i.
    @Test func groupsReadTheirOwnChannels() throws {
        guard let runtime = RuntimeFixture.runtime else { return }
        var model = RuntimeFixture.residualNetwork(seed: 1)
        model.graph.input = [RuntimeFixture.info("x", [1, 4, 16])]
        model.graph.output = [RuntimeFixture.info("y", [1, 6, 14])]
        model.graph.node = [Node("Conv", name: "c", inputs: ["x", "w"], outputs: ["y"], attributes: [Attribute("group", 2)])]
        model.graph.initializer = [Tensor(name: "w", dims: [6, 2, 3], floats: (0..<36).map { Float($0) / 36 })]
        var random = SeededGenerator(seed: 1)
        let loudness: [Float] = [1, 2, 4, 8]
        let values = (0..<120 * 64).map { Float.random(in: 0.9...1, using: &random) * loudness[$0 / 16 % 4] }
        let data = try Dataset(path: "d", arrays: ["x": NumpyArray(shape: [120, 4, 16], values: .float(values))])
        let entries = try Assignment(model, { var r = Recipe(.palette); r.weightThreshold = 0; return r }()).entries
        let importance = try #require(Importance.measure(model, entries, Calibrator(runtime: runtime, dataset: data))["w"])
        for output in 0..<6 {
            for input in 0..<2 {
                let expected = loudness[output / 3 * 2 + input]
                for k in 0..<3 {
                    let ratio = importance[(output * 2 + input) * 3 + k].squareRoot() / expected
                    #expect(ratio > 0.9 && ratio <= 1, "\(output) \(input) \(k): \(ratio)")
                }
            }
        }
    }

    @Test(arguments: seeds(5), [2, 3]) func weightedPalettesHaveLessNoiseBehindThem(seed: UInt64, bits: Int) throws {
        guard let runtime = RuntimeFixture.runtime else { return }
        let (model, data) = try matrix(seed: seed)
        let validator = try Validator(reference: model, dataset: data, runtime: runtime)
        func noise(_ weighted: Bool) throws -> Double {
            var recipe = Recipe(.palette)
            recipe.weightThreshold = 0
            recipe.global.bits = bits
            recipe.global.granularity = .tensor
            recipe.global.activationWeighted = weighted
            var quantizer = try ModelQuantizer(model, calibrator: Calibrator(runtime: runtime, dataset: data))
            return try validator.validate(quantizer.quantize(recipe).model).outputs[0].signalToNoise
        }
        #expect(try noise(true) > noise(false) + 3, "seed \(seed)")
    }

    @Test func needsCalibrationData() throws {
        var recipe = Recipe(.palette)
        recipe.global.activationWeighted = true
        recipe.weightThreshold = 0
        var quantizer = try ModelQuantizer(RuntimeFixture.residualNetwork(seed: 1))
        let error = #expect(throws: JouledError.self) { try quantizer.quantize(recipe) }
        #expect(error?.message.contains("--calibration") == true)
    }
}

@Suite struct HalfTests {
    private func outcome(_ source: OnnxModel, _ runtime: OnnxRuntime, calibrated: Bool = true, seed: UInt64 = 1) throws -> ModelQuantizer.Outcome {
        var recipe = Recipe(.fp16Compute)
        recipe.weightThreshold = 0
        let calibrator = calibrated ? try Calibrator(runtime: runtime, dataset: RuntimeFixture.dataset([4, 1, 32], seed: seed)) : nil
        var quantizer = try ModelQuantizer(source, calibrator: calibrator)
        return try quantizer.quantize(recipe)
    }

    /// With calibration data the whole network moves: one cast in, one out.
    @Test(arguments: seeds(3)) func castsOnlyAtTheBorders(seed: UInt64) throws {
        guard let runtime = RuntimeFixture.runtime else { return }
        let source = RuntimeFixture.residualNetwork(seed: seed)
        let model = try outcome(source, runtime, seed: seed).model
        #expect(model.graph.node.filter { $0.opType == "Cast" }.count == 2)
        #expect(!model.graph.initializer.contains { $0.elementType == .float })
        #expect(model.graph.input[0].elementType == 1 && model.graph.output[0].elementType == 1)
        let report = try Validator(reference: source, dataset: RuntimeFixture.dataset([4, 1, 32], seed: seed + 1), runtime: runtime).validate(model)
        #expect(report.outputs[0].signalToNoise > 50 && report.outputs[0].signalToNoise < 90, "float16 has 11 bits: \(report.outputs[0].signalToNoise) dB")
        // Without data, Add may overflow and stays in float: more borders, the same answers.
        let blind = try outcome(source, runtime, calibrated: false)
        #expect(blind.model.graph.node.filter { $0.opType == "Cast" }.count > 2)
        #expect(blind.notes.contains { $0.contains("only weights were checked") })
        #expect(try Validator(reference: source, dataset: RuntimeFixture.dataset([4, 1, 32], seed: seed + 1), runtime: runtime).validate(blind.model).outputs[0].signalToNoise > 50)
    }

    @Test func whatOverflowsStaysFloat() throws {
        guard let runtime = RuntimeFixture.runtime else { return }
        var loudWeights = RuntimeFixture.residualNetwork(seed: 1)
        let at = try #require(loudWeights.graph.initializer.firstIndex { $0.name == "c1.w" })
        loudWeights.graph.initializer[at] = Tensor(name: "c1.w", dims: [16, 16, 1, 3], floats: [Float](repeating: 70000, count: 768))
        let entry = try #require(outcome(loudWeights, runtime, calibrated: false).assignment.entries.first { $0.node == "c1" })
        #expect(entry.settings.scheme == .skip && entry.reason?.contains("70000") == true)
        // Weights that fit, but what they give does not: only data tells.
        var loud = RuntimeFixture.residualNetwork(seed: 1)
        loud.graph.initializer[at] = Tensor(name: "c1.w", dims: [16, 16, 1, 3], floats: [Float](repeating: 20000, count: 768))
        let result = try outcome(loud, runtime)
        let reasons = Dictionary(uniqueKeysWithValues: result.assignment.entries.map { ($0.node, $0.reason) })
        #expect(reasons["c1"]??.contains("on the calibration data") == true && reasons["c0"]! == nil)  // every operation has an entry
        let rows = try Validator(reference: loud, dataset: RuntimeFixture.dataset([4, 1, 32], seed: 2), runtime: runtime).validate(result.model)
        #expect(rows.outputs[0].signalToNoise > 40, "finite and right")
    }

    /// State that starts at zero and has no array of its own does not look as if it overflowed.
    @Test func recurrentLayersMoveToo() throws {
        guard let runtime = RuntimeFixture.runtime, let path = ReferenceModels.silero.first(where: { $0.hasSuffix("16k_sequence.onnx") }) else { return }
        let source = try ModelImport.run(OnnxModel.load(path), dimensions: [:], constants: [:], fixAll: true, runtime: runtime).model
        let data = try RuntimeFixture.dataset([576], seed: 1, name: "input")
        var quantizer = try ModelQuantizer(source, calibrator: Calibrator(runtime: runtime, dataset: data))
        let outcome = try quantizer.quantize(Recipe(.fp16Compute))
        #expect(outcome.assignment.entries.first { $0.type == "LSTM" }?.settings.scheme == .fp16Compute)
        #expect(try Validator(reference: source, dataset: data, runtime: runtime).validate(outcome.model).maximumError < 0.05)
    }
}
