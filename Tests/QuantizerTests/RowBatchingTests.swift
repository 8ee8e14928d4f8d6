import ConfigDocument
import Glibc
import InferenceRuntime
import JouledTestKit
import ModelStore
import OnnxGraph
import Testing
import Units

@testable import Quantizer

@Suite struct RowBatchingTests {
    private static let deps = RuntimeFixture.root + "/.deps"
    private static var isReady: Bool { RuntimeFixture.runtime != nil && access(deps + "/windows/speech-evaluation.npz", R_OK) == 0 }

    /// Of `RuntimeFixture.residualNetwork`.
    private static let contract = """
        format = 1
        name = "residual"
        summary = "A test"
        licence = "none"
        source = "here"
        task = "test"
        [signal]
        kind = "motion"
        sample_rate_hz = 100
        channels = 4
        s16_scale = 1.0
        unit = "g"
        [window]
        samples = 32
        hop = 32
        context = 0
        tail = "drop"
        normalize = "none"
        [input]
        name = "x"
        shape = [1, 4, 1, 32]
        [[output]]
        name = "y"
        labels = ["a", "b", "c", "d", "e"]
        shape = [1, 5]
        [latency]
        tolerance = "1s"
        [thresholds]
        agreement_min = 0.9
        p99_error_max = 0.1
        """

    private func silero() throws -> (batching: RowBatching, runtime: OnnxRuntime, contract: ModelManifest) {
        let runtime = try #require(RuntimeFixture.runtime)
        let file = RuntimeFixture.root + "/setup/models/silero-vad.contract.toml"
        let text = String(decoding: try #require(TemporaryDirectory.contents(of: file)), as: UTF8.self)
        let contract = try ModelManifest(contract: ConfigDocument(file: file, text: text))
        let data = try Dataset(path: Self.deps + "/windows/speech-evaluation.npz")
        return (RowBatching(runtime: runtime, contract: contract, dataset: data), runtime, contract)
    }

    @Test(.enabled(if: isReady, "run setup/setup.sh")) func sileroTakesManyWindowsWithTheSameResults() throws {
        let (batching, runtime, contract) = try silero()
        let source = try OnnxModel.load(Self.deps + "/raw/silero_vad_16k_sequence.onnx")
        let fixed = try ModelImport.run(source, dimensions: [:], constants: [:], fixAll: true, contract: contract, runtime: runtime).model
        let (opened, reason) = try batching.open(fixed)
        let result = try #require(opened, "\(reason)")
        #expect(result.rows == RowBatching.mostRows)
        // What was opened is a model like the other for whoever gives it one window.
        let report = try Validator(reference: fixed, dataset: batching.dataset, runtime: runtime)
            .validate(OnnxModel.parse(result.bytes, path: "opened"), seams: false)
        #expect(report.p99Error == 0)
        let session = try InferenceSession(runtime: runtime, model: result.bytes, path: "opened")
        #expect(session.inputs[0].shape == [-1, 576])
    }

    /// Its ranges come from all rows together, so a window's result would depend on its neighbours.
    @Test(.enabled(if: isReady, "run setup/setup.sh")) func dynamicQuantizationStaysWithOneWindow() throws {
        let (batching, _, _) = try silero()
        let path = Self.deps + "/bundles/silero-vad/1/int8-lstm.onnx"
        guard access(path, R_OK) == 0 else { return }
        let (opened, reason) = try batching.open(OnnxModel.load(path))
        #expect(opened == nil)
        #expect(reason.contains("differs among others"), "\(reason)")
    }

    @Test func aBatchFoldedIntoTheGraphIsFoundOut() throws {
        guard let runtime = RuntimeFixture.runtime else { return }
        var model = RuntimeFixture.residualNetwork(seed: 1)
        // What a careless exporter does instead of Flatten.
        let flat = try #require(model.graph.node.firstIndex { $0.opType == "Flatten" })
        model.graph.node[flat] = RuntimeFixture.node("Reshape", "flat", [model.graph.node[flat].input[0], "size"], model.graph.node[flat].output[0])
        model.graph.initializer.append(Tensor(name: "size", dims: [2], int64s: [1, 256]))
        let contract = try ModelManifest(contract: ConfigDocument(file: "contract.toml", text: Self.contract))
        let batching = RowBatching(runtime: runtime, contract: contract, dataset: try RuntimeFixture.dataset([4, 1, 32], seed: 2))
        let (opened, reason) = try batching.open(model)
        #expect(opened == nil)
        #expect(reason.contains("made for one window"), "\(reason)")
    }

    @Test func wideActivationsLimitTheRows() throws {
        let model = RuntimeFixture.residualNetwork(seed: 3)
        // The widest: an Add of 16 x 32 values, three times.
        let bytes = 3 * 16 * 32 * MemoryLayout<Float>.size
        #expect(try RowBatching.rows(fitting: model) == min(RowBatching.mostRows, RowBatching.activationBytes / bytes))
    }
}
