import InferenceRuntime
import JouledTestKit
import ModelStore
import OnnxGraph
import Testing
import Units

@testable import Quantizer

@Suite struct ImportTests {
    private static let rate: [String: Double] = ["sr": 16000]

    /// silero-vad as it ships, for both rates and with an If around everything: after import no If is left, one window of
    /// 576 values goes in, and 100 windows with state carried give the same probabilities.
    @Test(arguments: [("silero_vad.onnx", "input.1"), ("silero_vad_16k_op15.onnx", "sequence"), ("silero_vad_op18_ifless.onnx", "sequence")])
    func resolvesBranchesOfSilero(file: String, dimension: String) throws {
        guard let runtime = RuntimeFixture.runtime, let path = ReferenceModels.silero.first(where: { $0.hasSuffix("/" + file) }) else { return }
        let source = try OnnxModel.load(path)
        let outcome = try ModelImport.run(source, dimensions: [dimension: 576], constants: Self.rate, fixAll: true, runtime: runtime)
        #expect(outcome.dynamic.isEmpty)
        outcome.model.graph.forEachGraph { graph in #expect(!graph.node.contains { $0.opType == "If" }) }
        let (before, after) = (try InferenceSession(runtime: runtime, model: source.serialized(), path: path), try InferenceSession(runtime: runtime, model: outcome.model.serialized(), path: path))
        #expect(after.inputs.map(\.shape) == [[1, 576], [2, 1, 128]])
        #expect(after.outputs.map(\.shape) == [[1, 1], [2, 1, 128]])
        var random = SeededGenerator(seed: 1)
        var states = [[Float]](repeating: [Float](repeating: 0, count: 256), count: 2)
        for window in 0..<100 {
            let samples = TensorValue(shape: [1, 576], values: .float((0..<576).map { _ in Float.random(in: -0.3...0.3, using: &random) }))
            let rate = TensorValue(shape: [], values: .int64([16000]))
            func inputs(_ index: Int) -> [(String, TensorValue)] { [("input", samples), ("state", TensorValue(shape: [2, 1, 128], values: .float(states[index])))] }
            let a = try before.run(inputs(0) + [("sr", rate)], outputs: ["output", "stateN"])
            let b = try after.run(inputs(1), outputs: ["output", "stateN"])
            #expect(a.map(\.floats) == b.map(\.floats), "window \(window)")
            states = [a[1].floats, b[1].floats]
        }
    }

    /// A size that nothing gives is no guess that fails in the runtime, but an error that tells the flag and what fits.
    @Test func openSizeTellsTheFlag() throws {
        guard let runtime = RuntimeFixture.runtime else { return }
        for (file, flag) in [("silero_vad.onnx", "--dim input.1=SIZE"), ("silero_vad_16k_op15.onnx", "--dim sequence=SIZE")] {
            guard let path = ReferenceModels.silero.first(where: { $0.hasSuffix("/" + file) }) else { return }
            let source = try OnnxModel.load(path)
            let error = #expect(throws: JouledError.self) { try ModelImport.run(source, dimensions: [:], constants: Self.rate, fixAll: true, runtime: runtime) }
            #expect(error?.code == .impossibleShape)
            #expect(error?.message.contains(flag) == true && error?.message.contains("sizes from 192 to 703 fit") == true, "\(error?.message ?? "")")
            // Both ends of that range are true, and so are their neighbours outside.
            for (size, fits) in [(191, false), (192, true), (703, true), (704, false)] {
                let dimension = flag.split(separator: " ")[1].split(separator: "=")[0]
                let imported = try? ModelImport.run(source, dimensions: [String(dimension): size], constants: Self.rate, fixAll: true, runtime: runtime)
                #expect((imported != nil) == fits, "\(file) with \(size)")
            }
        }
    }

    private func contract(input: String = "input", state: String = "[2, 1, 128]", output: (String, String) = ("[1, 1]", "label = \"p\"")) throws -> ModelManifest {
        let directory = TemporaryDirectory()
        directory.write(
            "model.toml",
            """
            format = 1
            name = "vad"
            summary = "s"
            licence = "MIT"
            source = "s"
            task = "vad"
            signal = { kind = "audio", sample_rate_hz = 16000, channels = 1, s16_scale = 3e-5, unit = "full-scale" }
            window = { samples = 512, hop = 512, context = 64, tail = "pad", normalize = "none" }
            input = { name = "\(input)", shape = [1, 576] }
            latency = { tolerance = "250ms" }
            thresholds = { agreement_min = 0.9, p99_error_max = 0.1 }
            [[state]]
            input = "state"
            output = "stateN"
            shape = \(state)
            [[output]]
            name = "output"
            shape = \(output.0)
            \(output.1)
            """)
        return try ModelManifest(file: directory("model.toml"))
    }

    /// The contract gives every size, and contradictions are told by name.
    @Test func contractGivesTheSizes() throws {
        guard let runtime = RuntimeFixture.runtime, let path = ReferenceModels.silero.first(where: { $0.hasSuffix("/silero_vad.onnx") }) else { return }
        let source = try OnnxModel.load(path)
        func imported(_ constants: [String: Double], _ contract: ModelManifest) throws(JouledError) -> OnnxModel {
            try ModelImport.run(source, dimensions: [:], constants: constants, fixAll: true, contract: contract, runtime: runtime).model
        }
        #expect(try imported(Self.rate, contract()).graph.input.map(\.shape) == [[1, 576], [2, 1, 128]])
        let forgotten = #expect(throws: JouledError.self) { try imported([:], contract()) }
        #expect(forgotten?.message.contains("--constant sr=VALUE") == true)
        let renamed = #expect(throws: JouledError.self) { try imported(Self.rate, contract(input: "audio")) }
        #expect(renamed?.message.contains("'audio'") == true)
        let otherState = #expect(throws: JouledError.self) { try imported(Self.rate, contract(state: "[2, 1, 64]")) }
        #expect(otherState?.message.contains("'state'") == true && otherState?.message.contains("[2, 1, 64]") == true)
        let otherOutput = #expect(throws: JouledError.self) { try imported(Self.rate, contract(output: ("[1, 2]", "labels = [\"p\", \"q\"]"))) }
        #expect(otherOutput?.message.contains("'output'") == true)
    }

    /// What depends on the data is named, with the operation that it begins at.
    @Test func dynamicTensorsAreNamed() throws {
        guard let runtime = RuntimeFixture.runtime else { return }
        var model = RuntimeFixture.residualNetwork(seed: 1)
        model.graph.node = [
            Node("NonZero", name: "where", inputs: ["x"], outputs: ["places"]), Node("Transpose", name: "turn", inputs: ["places"], outputs: ["rows"]),
            Node("Cast", name: "out", inputs: ["rows"], outputs: ["y"], attributes: [Attribute("to", 1)]),
        ]
        model.graph.initializer = []
        model.graph.output[0].type.tensorType.clearShape()
        let outcome = try ModelImport.run(model, dimensions: [:], constants: [:], fixAll: true, runtime: runtime)
        #expect(outcome.dynamic.map(\.tensor) == ["places", "rows", "y"] && outcome.dynamic.map(\.shape) == ["[4, ?]", "[?, 4]", "[?, 4]"])
        #expect(outcome.notes.contains { $0.contains("'places'") && $0.contains("NonZero 'where'") })
        #expect(outcome.notes.contains { $0.contains("2 more tensors") })
    }

    @Test func oldOperatorSetIsRefused() throws {
        guard let runtime = RuntimeFixture.runtime else { return }
        var old = RuntimeFixture.residualNetwork(seed: 1)
        old.proto.opsetImport[0].version = 11
        let error = #expect(throws: JouledError.self) { try ModelImport.run(old, dimensions: [:], constants: [:], fixAll: true, runtime: runtime) }
        #expect(error?.code == .unsupportedGraph && error?.message.contains("operator set 11") == true)
    }

    /// Every model at hand loads in ONNX Runtime after it was read and written here, in one file and with external data.
    @Test(arguments: ReferenceModels.all) func writtenModelsLoad(path: String) throws {
        guard let runtime = RuntimeFixture.runtime else { return }
        let directory = TemporaryDirectory()
        let model = try OnnxModel.load(path)
        try model.save(to: directory("one.onnx"))
        try model.save(to: directory("two.onnx"), externalData: true)
        var settings = LoadSettings()
        settings.entries["session.model_external_initializers_file_folder_path"] = directory.path
        func problem(_ file: String) -> String? {
            do throws(JouledError) {
                // As files, not as messages read back: the runtime finds the external data by itself.
                _ = try InferenceSession(runtime: runtime, model: BinaryFile.read(file), path: "m", settings: settings)
                return nil
            } catch { return error.message }
        }
        // scikit-learn's classifier gives a sequence of maps, which no stream can use: before as after.
        for file in ["one.onnx", "two.onnx"] { #expect(problem(directory(file)) == problem(path)) }
        #expect(problem(path) == nil || path.hasSuffix("logreg_iris.onnx"))
    }
}
