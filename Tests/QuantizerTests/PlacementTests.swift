import InferenceRuntime
import JouledTestKit
import OnnxGraph
import Testing
import Units

@testable import Quantizer

@Suite struct PlacementTests {
    private func quantized(_ source: OnnxModel, _ runtime: OnnxRuntime, skip: String? = nil) throws -> OnnxModel {
        var recipe = Recipe(.int8)
        recipe.weightThreshold = 64
        if let skip { recipe.names[skip] = OperatorRecipe() }
        var quantizer = try ModelQuantizer(source, calibrator: Calibrator(runtime: runtime, dataset: RuntimeFixture.dataset([4, 1, 32], seed: 1)))
        return try quantizer.quantize(recipe).model
    }

    /// What the profile says against what the passes are there for: every convolution is an integer kernel on the processor.
    @Test func integerKernelsAreSeen() throws {
        guard let runtime = RuntimeFixture.runtime else { return }
        let source = RuntimeFixture.residualNetwork(seed: 1)
        let (before, after) = (try Placement(source, runtime), try Placement(quantized(source, runtime), runtime))
        #expect(before.operations.filter { $0.kernel.hasSuffix("Conv") }.compactMap(\.origin) == ["c0", "c1", "c2"])
        #expect(!before.operations.contains(where: \.isInteger) && before.transfers == 0)
        let convolutions = after.operations.filter { $0.kernel == "QLinearConv" }
        #expect(Set(convolutions.compactMap(\.origin)).isSuperset(of: ["c0", "c1", "c2"]))
        #expect(convolutions.allSatisfy { $0.isInteger && $0.provider == "CPUExecutionProvider" && $0.types.first == "uint8" })
        #expect(after.conversions > before.conversions)
        let change = PlacementChange(before: before, after: after)
        #expect(["c0", "c1", "c2"].allSatisfy { name in change.changes.contains { $0.hasPrefix("\(name):") && $0.contains("QLinearConv") } })
        #expect(PlacementChange(before: before, after: before).warnings.isEmpty)
    }

    @Test func floatOperationsHaveAReason() throws {
        guard let runtime = RuntimeFixture.runtime else { return }
        let source = RuntimeFixture.residualNetwork(seed: 1)
        #expect(try Inspection(source, runtime: runtime).findings.isEmpty)
        let findings = try Inspection(quantized(source, runtime, skip: "head"), runtime: runtime).findings
        #expect(findings.contains { $0.hasPrefix("'head' runs in float") && $0.contains("its weights are float") }, "\(findings)")
        // Between quantized tensors ONNX Runtime quantizes float weights by itself, and that must not go unsaid.
        let inside = try Inspection(quantized(source, runtime, skip: "c1"), runtime: runtime).findings
        #expect(inside.contains { $0.hasPrefix("'c1' has float weights in the file, but runs as QLinearConv") }, "\(inside)")
        #expect(!findings.contains { $0.hasPrefix("'c2'") })
        // One pair taken away: the integer kernel goes, and the reason is the input alone.
        var broken = try quantized(source, runtime)
        let index = GraphIndex(broken.graph)
        let at = try #require(broken.graph.node.firstIndex { $0.name == "c2" })
        let dequantize = try #require(index.producer[broken.graph.node[at].input[0]])
        let quantize = try #require(index.producer[broken.graph.node[dequantize].input[0]])
        broken.graph.node[at].input[0] = broken.graph.node[quantize].input[0]
        let reasons = try Inspection(broken, runtime: runtime).findings
        #expect(reasons.contains { $0.hasPrefix("'c2' runs in float") && $0.contains("its input is float") }, "\(reasons)")
    }

    @Test func worseUnitsAreWarnedOf() {
        func placement(_ kernel: String, _ provider: String, _ microseconds: Double, more: [Placement.Operation] = []) -> Placement {
            Placement(operations: [
                Placement.Operation(
                    name: "conv_token_3", origin: "conv", kernel: kernel, provider: provider, types: [], time: Seconds(microseconds * 1e-6), isConversion: false, isTransfer: false, isInteger: false)
            ] + more)
        }
        let accelerated = placement("Conv", "OpenVINOExecutionProvider", 20)
        let copy = Placement.Operation(
            name: "Memcpy", origin: nil, kernel: "MemcpyToHost", provider: "CPUExecutionProvider", types: [], time: Seconds(5e-6), isConversion: false, isTransfer: true, isInteger: false)
        let moved = PlacementChange(before: accelerated, after: placement("QLinearConv", "CPUExecutionProvider", 200, more: [copy]))
        #expect(moved.warnings.contains { $0.contains("'conv' moved from OpenVINOExecutionProvider to the processor") })
        #expect(moved.warnings.contains { $0.contains("1 more transfers") })
        #expect(moved.warnings.contains { $0.contains("takes longer as QLinearConv") })
        #expect(PlacementChange(before: accelerated, after: placement("QLinearConv", "OpenVINOExecutionProvider", 10)).warnings.isEmpty)
    }

    @Test(arguments: [
        ("c1_token_12", "QLinearConv", "c1"), ("c1/Fusion/", "Conv", "c1"), ("u1_nchwc", "Conv", "c1"), ("t2_nchwc", "Conv", "c2"), ("p_nchwc", "MaxPool", "pool"),
        ("c9_token_1", "Conv", nil), ("u1_nchwc", "Gemm", nil),
    ] as [(String, String, String?)])
    func originsOfFusions(name: String, kernel: String, origin: String?) {
        #expect(Origins(RuntimeFixture.residualNetwork(seed: 1)).origin(of: name, kernel: kernel) == origin)
    }
}
