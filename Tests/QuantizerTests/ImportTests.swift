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

    /// Values of shape arithmetic against the kernels of ONNX Runtime, over the onnx package's operator tests.
    @Test func integersAreWhatTheRuntimeComputes() throws {
        guard let runtime = RuntimeFixture.runtime else { return }
        let directory = TemporaryDirectory()
        guard let cases = ReferenceModels.shapes(["operators", directory.path]) else { return }
        var (compared, types) = (0, Set<String>())
        for item in cases where [6, 7, 9].contains(item.type) {
            let model = try OnnxModel.load(item.file)
            guard let values = try ShapeInference.infer(model)[item.tensor]?.fixedIntegers, let type = model.graph.node.last?.opType else { continue }
            guard let session = try? InferenceSession(runtime: runtime, model: model.serialized(), path: item.file) else { continue }
            let inputs: [(String, TensorValue)] = session.inputs.map { ($0.name, TensorValue(shape: $0.shape.map { max(1, $0) }, values: .float([Float](repeating: 1, count: $0.elementCount)))) }
            guard session.inputs.allSatisfy({ $0.elementType == .float32 }), let result = try? session.run(inputs, outputs: [item.tensor])[0] else { continue }
            let truth: [Int]
            switch result.values {
            case .int64(let list): truth = list.map { Int($0) }
            case .bytes(6, let bytes): truth = bytes.withUnsafeBytes { raw in (0..<raw.count / 4).map { Int(raw.loadUnaligned(fromByteOffset: 4 * $0, as: Int32.self)) } }
            case .bytes(9, let bytes): truth = bytes.map { Int($0) }
            default: continue
            }
            #expect(values == truth, "\(type) in \(item.file)")
            compared += 1
            types.insert(type)
        }
        print("\(compared) integer results of \(types.count) operators agree with the runtime: \(types.sorted().joined(separator: " "))")
        #expect(compared > 30 && types.count > 10)
    }

    /// Random programs on integer tensors: what inference computes is what the runtime computes.
    @Test(arguments: seeds(60)) func integerProgramsAgreeWithTheRuntime(seed: UInt64) throws {
        guard let runtime = RuntimeFixture.runtime else { return }
        var random = SeededGenerator(seed: seed)
        var model = RuntimeFixture.residualNetwork(seed: 1)
        (model.graph.node, model.graph.input, model.graph.initializer) = ([], [], [])
        func constant(_ values: [Int], dims: [Int]? = nil) -> String {
            let name = "k\(model.graph.initializer.count)"
            model.graph.initializer.append(Tensor(name: name, dims: dims ?? [values.count], int64s: values.map(Int64.init)))
            return name
        }
        var shape = (0..<Int.random(in: 1...3, using: &random)).map { _ in Int.random(in: 1...4, using: &random) }
        var last = constant((0..<shape.reduce(1, *)).map { _ in Int.random(in: -9...9, using: &random) }, dims: shape)
        for step in 0..<6 {
            let axis = shape.isEmpty ? 0 : Int.random(in: 0..<shape.count, using: &random)
            let signed = Bool.random(using: &random) ? axis : axis - shape.count
            var node = Node("", name: "n\(step)", inputs: [last], outputs: ["v\(step)"])
            switch Int.random(in: 0..<9, using: &random) {
            case 0 where !shape.isEmpty:
                node.opType = "Slice"
                let step = [-3, -2, -1, 1, 2, 5].randomElement(using: &random) ?? 1
                let bounds = (0..<2).map { _ in [Int.random(in: -6...6, using: &random), .max, .min + 1].randomElement(using: &random) ?? 0 }
                node.input += [constant([bounds[0]]), constant([bounds[1]]), constant([signed]), constant([step])]
            case 1:
                node.opType = "Transpose"
                node.attribute = [Attribute("perm", Array(shape.indices).shuffled(using: &random))]
            case 2 where shape.count == 1:
                node.opType = "Gather"
                node.input.append(constant((0..<3).map { _ in Int.random(in: -shape[0]..<max(1, shape[0]), using: &random) }))
                if shape[0] == 0 { continue }
            case 3 where shape.count == 1:
                node.opType = "Concat"
                node.attribute = [Attribute("axis", 0)]
                node.input.append(constant([7, -7]))
            case 4:
                node.opType = "Unsqueeze"
                node.input.append(constant([Int.random(in: -shape.count - 1...shape.count, using: &random)]))
            case 5:
                node.opType = "Squeeze"
            case 6:
                node.opType = "Reshape"
                node.input.append(constant([-1]))
                if shape.contains(0) { continue }
            case 7:
                node.opType = ["Add", "Sub", "Mul", "Div", "Mod", "Min", "Max"].randomElement(using: &random) ?? "Add"
                let other = constant([[-4, -3, -1, 1, 2, 5].randomElement(using: &random) ?? 1], dims: Bool.random(using: &random) ? [] : [1])
                if Bool.random(using: &random), !["Div", "Mod"].contains(node.opType) { node.input.insert(other, at: 0) } else { node.input.append(other) }
            default:
                node.opType = ["Neg", "Abs", "Sign", "Identity"].randomElement(using: &random) ?? "Neg"
            }
            if node.opType.isEmpty { continue }
            model.graph.node.append(node)
            last = node.output[0]
            model.graph.output = []
            shape = try ShapeInference.infer(model)[last]?.fixedShape ?? []
        }
        guard !model.graph.node.isEmpty else { return }
        model.graph.output = [{ var info = Onnx_ValueInfoProto(); info.name = last; return info }()]
        let fact = try #require(ShapeInference.infer(model)[last])
        let session = try InferenceSession(runtime: runtime, model: model.serialized(), path: "program")
        let result = try session.run([], outputs: [last])[0]
        guard case .int64(let truth) = result.values else { return }
        let known = Dictionary(uniqueKeysWithValues: try model.graph.initializer.map { ($0.name, "\(try $0.integers())\($0.shape)") })
        let text = model.graph.node.map { "\($0.opType)(\($0.input.map { known[$0] ?? $0 }.joined(separator: ", ")))" }.joined(separator: " ")
        #expect(fact.fixedShape == result.shape, "\(text), seed \(seed)")
        #expect(fact.fixedIntegers == truth.map(Int.init), "\(text), seed \(seed)")
    }
}
