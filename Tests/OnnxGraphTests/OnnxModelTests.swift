import Glibc
import JouledTestKit
import OnnxGraph
import Testing
import Units

@Suite struct OnnxModelTests {
    @Test func keepsUnknownFields() throws {
        // Field 20 (training_info) is not in our schema: tag 20, wire type 2, three bytes.
        var bytes = try ModelFixture.model(nodes: [Node("Relu", name: "r", inputs: ["x"], outputs: ["y"])]).serialized()
        bytes += [0xA2, 0x01, 0x03, 0x0A, 0x01, 0x00]
        let again = try OnnxModel.parse(bytes, path: "t").serialized()
        #expect(again.count == bytes.count)
        #expect(Array(again.suffix(6)) == [0xA2, 0x01, 0x03, 0x0A, 0x01, 0x00])
    }

    @Test(arguments: seeds(4)) func truncationIsAnError(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        let weights = Tensor(name: "w", dims: [64], floats: (0..<64).map { Float($0) })
        let bytes = try ModelFixture.model(nodes: [Node("Add", name: "a", inputs: ["x", "w"], outputs: ["y"])], initializers: [weights]).serialized()
        for _ in 0..<50 {
            let length = Int.random(in: 0..<bytes.count, using: &random)
            // A cut between two fields of the model leaves a valid message; then a later check must catch it.
            do {
                let model = try OnnxModel.parse(Array(bytes[..<length]), path: "cut.onnx")
                #expect(throws: JouledError.self, "length \(length), seed \(seed)") {
                    try GraphCheck.check(model)
                    guard model.opset == 17 else { throw JouledError(.unreadableGraph, "no opset") }
                }
            } catch {
                #expect(error.code == .unreadableGraph)
                #expect(error.message.contains("cut.onnx"))
            }
        }
    }

    @Test(arguments: seeds(4)) func randomBytesNeverTrap(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        let valid = try ModelFixture.model(nodes: [Node("Relu", name: "r", inputs: ["x"], outputs: ["y"])]).serialized()
        for _ in 0..<300 {
            var bytes = valid
            for _ in 0..<3 { bytes[Int.random(in: bytes.indices, using: &random)] = UInt8.random(in: 0...255, using: &random) }
            if let model = try? OnnxModel.parse(bytes, path: "t") { try? GraphCheck.check(model) }
        }
    }

    @Test func externalDataRoundTrip() throws {
        let directory = ModelFixture.directory()
        defer { for name in ["m.onnx", "m.onnx.data"] { unlink(directory + "/" + name) }; rmdir(directory) }
        let weights = Tensor(name: "w", dims: [1, 512], floats: (0..<512).map { Float($0) })
        let model = ModelFixture.model(nodes: [Node("Add", name: "a", inputs: ["x", "w"], outputs: ["y"])], initializers: [weights])
        try model.save(to: directory + "/m.onnx", externalData: true)
        #expect(access(directory + "/m.onnx.data", R_OK) == 0)
        let again = try OnnxModel.load(directory + "/m.onnx")
        #expect(try again.graph.initializer[0].floats() == weights.floats())
        // Cut the data: the error names the tensor.
        truncate(directory + "/m.onnx.data", 100)
        let error = #expect(throws: JouledError.self) { try OnnxModel.load(directory + "/m.onnx") }
        #expect(error?.message.contains("'w'") == true)
    }

    @Test func externalDataStaysInItsDirectory() throws {
        let directory = ModelFixture.directory()
        defer { unlink(directory + "/m.onnx"); rmdir(directory) }
        var tensor = Tensor(name: "w", dims: [4], floats: [1, 2, 3, 4])
        tensor.clearRawData()
        tensor.dataLocation = .external
        var entry = Onnx_StringStringEntryProto()
        entry.key = "location"
        entry.value = "../../etc/passwd"
        tensor.externalData = [entry]
        try ModelFixture.model(nodes: [], inputs: ["y"], initializers: [tensor]).save(to: directory + "/m.onnx")
        let error = #expect(throws: JouledError.self) { try OnnxModel.load(directory + "/m.onnx") }
        #expect(error?.message.contains("outside") == true)
    }

    @Test(arguments: ModelFixture.available([
        "raw/silero_vad_16k_sequence.onnx", "bundles/silero-vad/1/fp32.onnx", "bundles/silero-vad/1/int8-lstm.onnx", "bundles/ecg-rhythm/1/fp32.onnx",
        "bundles/ecg-rhythm/1/int8.onnx",
    ]))
    func realModelsRoundTrip(path: String) throws {
        let model = try OnnxModel.load(path)
        try GraphCheck.check(model)
        let bytes = try model.serialized()
        // Field order may differ from the writer's, but nothing may be lost: reading again gives an equal message.
        #expect(bytes.count == (try BinaryFile.read(path)).count)
        #expect(try OnnxModel.parse(bytes, path: path).proto == model.proto)
    }

    @Test func halfPrecisionRoundsToNearestEven() {
        for bits in UInt16.min...UInt16.max where bits & 0x7C00 != 0x7C00 { #expect(Half.bits(Half.float(bits)) == bits) }
        #expect(Half.bits(65504) == 0x7BFF)
        #expect(Half.bits(65520) == 0x7C00)
        #expect(Half.bits(1 + 1 / 2048) == 0x3C00)
        #expect(Half.bits(1 + 3 / 2048) == 0x3C02)
        #expect(Half.bits(1e-8) == 0)
        #expect(Half.float(0x0001) == 5.960464477539063e-08)
        #expect(Half.float(Half.bits(.nan)).isNaN)
    }
}
