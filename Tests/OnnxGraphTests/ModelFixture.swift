import Glibc
import OnnxGraph
import Units

/// Small models, built in memory.
enum ModelFixture {
    static func input(_ name: String, _ shape: [Int]) -> Onnx_ValueInfoProto {
        var info = Onnx_ValueInfoProto()
        info.name = name
        info.type.tensorType.elemType = ElementType.float.rawValue
        info.type.tensorType.shape.dim = shape.map { size in
            var dimension = Onnx_TensorShapeProto.Dimension()
            dimension.value = .dimValue(Int64(size))
            return dimension
        }
        return info
    }

    static func model(nodes: [Node], inputs: [String] = ["x"], outputs: [String] = ["y"], initializers: [Tensor] = [], opset: Int = 17) -> OnnxModel {
        var proto = Onnx_ModelProto()
        proto.irVersion = 8
        proto.graph.name = "test"
        proto.graph.node = nodes
        proto.graph.input = inputs.map { input($0, [1, 4]) }
        proto.graph.output = outputs.map { input($0, [1, 4]) }
        proto.graph.initializer = initializers
        var model = OnnxModel(path: "test.onnx", proto: proto)
        model.importOpset("", version: opset)
        return model
    }

    /// A directory of the test's own, removed by the caller.
    static func directory() -> String {
        var template = Array("/tmp/jouled-graph-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { return "/tmp" }
        return String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    /// Files below `.deps`, if set-up has been run.
    static func available(_ paths: [String]) -> [String] {
        let root = "\(#filePath)".split(separator: "/").dropLast(3).reduce("") { $0 + "/" + $1 }
        return paths.map { root + "/.deps/" + $0 }.filter { access($0, R_OK) == 0 }
    }
}
