import InferenceRuntime
import JouledTestKit
import OnnxGraph
import Testing
import Units

@testable import Quantizer

@Suite(.enabled(if: RuntimeFixture.runtime != nil, "needs setup/setup.sh")) struct SchemeTests {
    private func noise(
        _ recipe: Recipe, seed: UInt64, of source: OnnxModel? = nil, _ check: (OnnxModel) -> Void = { _ in }
    ) throws -> Double {
        let runtime = try #require(RuntimeFixture.runtime)
        let source = source ?? RuntimeFixture.residualNetwork(seed: seed)
        let calibrator = try Calibrator(runtime: runtime, dataset: RuntimeFixture.dataset([4, 1, 32], seed: seed))
        var quantizer = try ModelQuantizer(source, calibrator: calibrator)
        let outcome = try quantizer.quantize(recipe)
        check(outcome.model)
        let held = try RuntimeFixture.dataset([4, 1, 32], windows: 40, seed: seed &+ 99)
        return try Validator(reference: source, dataset: held, runtime: runtime).validate(outcome.model).outputs[0].signalToNoise
    }

    /// Every scheme computes what the float model does, with the noise that its bits allow.
    @Test(arguments: [
        (Scheme.fp16, 60.0), (.int8, 26), (.int8Weights, 38), (.int4, 14), (.palette, 16),
    ], seeds(3))
    func computesTheSame(scheme: (Scheme, Double), seed: UInt64) throws {
        var recipe = Recipe(scheme.0)
        recipe.weightThreshold = 64
        let decibels = try noise(recipe, seed: seed)
        #expect(decibels > scheme.1, "seed \(seed): \(decibels) dB")
    }

    @Test(arguments: [1, 2, 3, 4, 6, 8], [OperatorRecipe.Granularity.tensor, .group]) func palettesOfAllWidths(bits: Int, granularity: OperatorRecipe.Granularity) throws {
        for channelScale in [false, true] {
            var recipe = Recipe(.palette)
            recipe.weightThreshold = 64
            recipe.global.bits = bits
            recipe.global.granularity = granularity
            recipe.global.groupSize = 8
            recipe.global.channelScale = channelScale
            let decibels = try noise(recipe, seed: 5)
            #expect(decibels > Double(bits) * 4.5 - 4, "\(bits) bits: \(decibels) dB")
        }
    }

    @Test(arguments: [CalibrationRecipe.Method.minMax, .percentile, .mse], [CalibrationRecipe.Activations.unsigned, .signed])
    func staticForms(method: CalibrationRecipe.Method, activations: CalibrationRecipe.Activations) throws {
        var recipe = Recipe(.int8)
        recipe.weightThreshold = 64
        recipe.calibration.method = method
        recipe.calibration.activations = activations
        #expect(try noise(recipe, seed: 3) > 26)
    }

    /// The rules of the static pass, as they show in the graph.
    @Test func staticRegionHasNoHoles() throws {
        var recipe = Recipe(.int8)
        recipe.weightThreshold = 400  // c0 has 192 weights and stays float
        _ = try noise(recipe, seed: 1) { model in
            let types = Dictionary(grouping: model.graph.node, by: \.opType).mapValues(\.count)
            #expect(types["Relu"] == 1, "only c0's is left; the others are clipping")
            #expect(types["Conv"] == 4, "three and the identity that begins the region")
            let pool = model.graph.node.first { $0.opType == "MaxPool" }
            let writer = model.graph.node.first { $0.output.first == pool?.input[0] }
            let reader = model.graph.node.first { $0.input.first == pool?.output[0] }
            #expect(writer?.opType == "DequantizeLinear" && reader?.opType == "QuantizeLinear")
            #expect(writer?.input[1] == reader?.input[1], "pooling keeps its scale")
        }
    }

    /// What writes and what reads the operations of a type, sorted.
    private func neighbours(of type: String, in graph: Graph) -> [String] {
        var found: [String] = []
        for node in graph.node where node.opType == type {
            for other in graph.node where other.output == node.input || other.input.first == node.output[0] { found.append(other.opType) }
        }
        return found.sorted()
    }

    /// A clip is the range that a convolution writes, and the leaky ReLU behind it is integer.
    @Test(arguments: seeds(3)) func clipsAndLeakyReLUsLeaveNoHoles(seed: UInt64) throws {
        var recipe = Recipe(.int8)
        recipe.weightThreshold = 64
        var source = RuntimeFixture.residualNetwork(seed: seed)
        let place = try #require(source.graph.node.firstIndex { $0.name == "r1" })
        source.graph.node[place] = Node("Clip", name: "clip", inputs: ["t1", "low", "high"], outputs: ["v1"])
        source.graph.node.append(Node("LeakyRelu", name: "leaky", inputs: ["v1"], outputs: ["u1"]))
        source.graph.initializer += [Tensor(name: "low", dims: [], floats: [-0.3]), Tensor(name: "high", dims: [], floats: [0.5])]
        let decibels = try noise(recipe, seed: seed, of: source) { model in
            #expect(neighbours(of: "Clip", in: model.graph).isEmpty)
            #expect(neighbours(of: "LeakyRelu", in: model.graph) == ["DequantizeLinear", "QuantizeLinear"])
        }
        #expect(decibels > 26, "seed \(seed): \(decibels) dB")
    }

    /// Pooling has the scale of its input: a ReLU behind it cannot be left to a range.
    @Test(arguments: seeds(3)) func aReLUBehindPoolingStays(seed: UInt64) throws {
        var recipe = Recipe(.int8)
        recipe.weightThreshold = 64
        var source = RuntimeFixture.residualNetwork(seed: seed)
        let place = try #require(source.graph.node.firstIndex { $0.name == "r1" })
        source.graph.node[place].input = ["w1"]
        source.graph.node.append(
            Node("MaxPool", name: "wide", inputs: ["t1"], outputs: ["w1"], attributes: [Attribute("kernel_shape", [1, 1])]))
        let decibels = try noise(recipe, seed: seed, of: source) { model in
            #expect(model.graph.node.contains { $0.name == "r1" })
        }
        #expect(decibels > 26, "seed \(seed): \(decibels) dB")
    }

    /// A quantizer that made one recipe's model can be searched with: statistics of one recipe do not cover the others.
    @Test func searchAfterAPlainRecipe() throws {
        let runtime = try #require(RuntimeFixture.runtime)
        let source = RuntimeFixture.residualNetwork(seed: 4)
        let data = try RuntimeFixture.dataset([4, 1, 32], seed: 4)
        var quantizer = try ModelQuantizer(source, calibrator: Calibrator(runtime: runtime, dataset: data))
        var recipe = Recipe(.int8)
        recipe.weightThreshold = 64
        recipe.names["c1"] = OperatorRecipe()
        _ = try quantizer.quantize(recipe)
        recipe.names = [:]
        quantizer.keepsStatistics = true
        #expect(try quantizer.quantize(recipe).assignment.entries.filter { $0.settings.scheme == .int8 }.count == 4)
    }

    @Test func skippedOperationStaysFloat() throws {
        var recipe = Recipe(.int8)
        recipe.weightThreshold = 64
        recipe.names["c1"] = OperatorRecipe()
        _ = try noise(recipe, seed: 2) { model in
            #expect(model.graph.initializer.contains { $0.name == "c1.w" && $0.elementType == .float })
            #expect(!model.graph.initializer.contains { $0.name == "c2.w" })
        }
    }

    @Test(arguments: seeds(3)) func matricesOfTheRuntime(seed: UInt64) throws {
        let runtime = try #require(RuntimeFixture.runtime)
        var random = SeededGenerator(seed: seed)
        var source = RuntimeFixture.residualNetwork(seed: seed)
        source.graph.input = [RuntimeFixture.info("x", [1, 96])]
        source.graph.output = [RuntimeFixture.info("y", [1, 40])]
        source.graph.node = [
            Node("MatMul", name: "m", inputs: ["x", "w"], outputs: ["h"]),
            Node("Gemm", name: "g", inputs: ["h", "v", "b"], outputs: ["y"], attributes: [Attribute("transB", 1)]),
        ]
        source.graph.initializer = [("w", [96, 64]), ("v", [40, 64]), ("b", [40])].map { name, dims in
            Tensor(name: name, dims: dims, floats: (0..<dims.reduce(1, *)).map { _ in Float.random(in: -1...1, using: &random) })
        }
        let data = try RuntimeFixture.dataset([96], seed: seed)
        let validator = try Validator(reference: source, dataset: data, runtime: runtime)
        for (scheme, symmetric, least) in [(Scheme.int4, true, 15.0), (.int4, false, 16), (.int8Dynamic, true, 33), (.int8Weights, true, 38)] {
            var recipe = Recipe(scheme)
            recipe.global.symmetric = symmetric
            var quantizer = try ModelQuantizer(source)
            let decibels = try validator.validate(quantizer.quantize(recipe).model).outputs[0].signalToNoise
            #expect(decibels > least, "\(scheme), symmetric \(symmetric), seed \(seed): \(decibels) dB")
        }
    }
}

@Suite struct RecipeTests {
    @Test func sharedTensorConflictNamesBoth() throws {
        var model = RuntimeFixture.residualNetwork(seed: 1)
        model.proto.graph.node[4].input[1] = "c1.w"  // c2 reads c1's weights
        var recipe = Recipe(.int8Weights)
        recipe.weightThreshold = 0
        recipe.names["c2"] = OperatorRecipe()
        let error = #expect(throws: JouledError.self) { try Assignment(model, recipe) }
        #expect(error?.message.contains("'c1'") == true && error?.message.contains("'c2'") == true && error?.message.contains("'c1.w'") == true)
    }

    @Test func precedenceIsNameTypeGlobal() throws {
        var recipe = Recipe(.int8Weights)
        recipe.types["Conv"] = OperatorRecipe()
        recipe.types["Conv"]?.scheme = .fp16
        recipe.names["c1"] = OperatorRecipe()
        recipe.names["c1"]?.scheme = .palette
        recipe.weightThreshold = 0
        let entries = try Assignment(RuntimeFixture.residualNetwork(seed: 1), recipe).entries
        let schemes = Dictionary(uniqueKeysWithValues: entries.map { ($0.node, $0.settings.scheme) })
        #expect(schemes == ["c0": .fp16, "c1": .palette, "c2": .fp16, "head": .int8Weights])
    }

    @Test func unknownOperationIsAnError() {
        var recipe = Recipe(.fp16)
        recipe.names["nowhere"] = OperatorRecipe()
        let error = #expect(throws: JouledError.self) { try Assignment(RuntimeFixture.residualNetwork(seed: 1), recipe) }
        #expect(error?.message.contains("'nowhere'") == true)
    }

    @Test func oldOpsetAndQuantizedModelsAreRefused() {
        var old = RuntimeFixture.residualNetwork(seed: 1)
        old.proto.opsetImport[0].version = 11
        #expect(throws: JouledError.self) { try ModelQuantizer(old) }
        var done = RuntimeFixture.residualNetwork(seed: 1)
        done.proto.graph.node[1].opType = "QuantizeLinear"
        #expect(throws: JouledError.self) { try ModelQuantizer(done) }
    }
}
