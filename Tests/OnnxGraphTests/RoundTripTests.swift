import JouledTestKit
import OnnxGraph
import Testing
import Units

@Suite struct RoundTripTests {
    /// Nothing of a real model is lost: the same message, the same length, and the same bytes from then on.
    @Test(arguments: ReferenceModels.all) func isLossless(path: String) throws {
        let model = try OnnxModel.load(path)
        try GraphCheck.check(model)
        let bytes = try model.serialized()
        let again = try OnnxModel.parse(bytes, path: path)
        #expect(again.proto == model.proto)
        #expect(try again.serialized() == bytes)
        // The writer's own order of fields may be another one, but every field is there: reading both gives one message.
        let file = try BinaryFile.read(path)
        #expect(bytes.count == file.count)
        #expect(Self.fields(bytes) == Self.fields(file), "fields by number and length")
    }

    /// As external data and back: all weights are the same to the byte.
    @Test(arguments: ReferenceModels.all) func survivesExternalData(path: String) throws {
        let directory = TemporaryDirectory()
        var model = try OnnxModel.load(path)
        // Some writers say that data is where it is by default, which is what not saying it means.
        try model.proto.graph.updateEachGraph { graph in for index in graph.initializer.indices { graph.initializer[index].clearDataLocation() } }
        try model.save(to: directory("m.onnx"), externalData: true)
        var again = try OnnxModel.load(directory("m.onnx"))
        again.path = model.path
        #expect(again.proto == model.proto)
        // What comes back is whole without its data file.
        try again.save(to: directory("alone.onnx"))
        #expect(try OnnxModel.load(directory("alone.onnx")).proto == model.proto)
    }

    /// Number and length of the outermost fields, sorted: an independent look at the wire format.
    private static func fields(_ bytes: [UInt8]) -> [[Int]] {
        var (at, list) = (0, [[Int]]())
        func varint() -> Int {
            var (value, shift) = (0, 0)
            while at < bytes.count {
                let byte = bytes[at]
                at += 1
                value |= Int(byte & 0x7F) << shift
                shift += 7
                if byte < 0x80 { break }
            }
            return value
        }
        while at < bytes.count {
            let tag = varint()
            let length = tag & 7 == 2 ? varint() : 0
            if tag & 7 == 0 { _ = varint() }
            at += length
            list.append([tag, length])
        }
        return list.sorted { $0.lexicographicallyPrecedes($1) }
    }

    /// Cut at any place, a model is an error that names the file, or a model that a check refuses: never a trap, never a half one.
    @Test func truncatedAtEveryOffset() throws {
        let weights = Tensor(name: "w", dims: [16], floats: (0..<16).map { Float($0) })
        var branch = Graph()
        branch.node = [Node("Relu", name: "inner", inputs: ["x"], outputs: ["r"])]
        branch.output = [ModelFixture.input("r", [1, 4])]
        let whole = ModelFixture.model(
            nodes: [
                Node("Add", name: "a", inputs: ["x", "w"], outputs: ["h"], attributes: [Attribute("axes", [1, 2, 300])]),
                Node("If", name: "if", inputs: ["h"], outputs: ["y"], attributes: [Attribute("then_branch", branch), Attribute("else_branch", branch)]),
            ], initializers: [weights])
        let bytes = try whole.serialized()
        for length in bytes.indices {
            do throws(JouledError) {
                let model = try OnnxModel.parse(Array(bytes[..<length]), path: "cut.onnx")
                // A cut between two outer fields leaves a valid message without what follows: here the operator sets.
                let isWhole = (try? GraphCheck.check(model)) != nil && model.opset == 17
                #expect(!isWhole, "\(length) of \(bytes.count) bytes pass for a whole model")
            } catch {
                #expect(error.code == .unreadableGraph && error.message.contains("cut.onnx"), "\(length) bytes: \(error)")
            }
        }
        #expect(try OnnxModel.parse(bytes, path: "whole.onnx").proto == whole.proto)
    }
}
