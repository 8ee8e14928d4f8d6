import Glibc
import InferenceRuntime
import JouledTestKit
import OnnxGraph
import Units

@testable import Quantizer

/// ONNX Runtime from set-up, and small models with data to run on it.
enum RuntimeFixture {
    static let root = "\(#filePath)".split(separator: "/").dropLast(3).reduce("") { $0 + "/" + $1 }

    /// nil where set-up has not been run: tests that need it are then skipped by name.
    static let runtime: OnnxRuntime? = {
        OnnxRuntime.disableTelemetry()
        return try? OnnxRuntime(libraryPath: root + "/.deps/lib/libonnxruntime.so.1.32.0")
    }()

    static func info(_ name: String, _ shape: [Int]) -> Onnx_ValueInfoProto {
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

    static func node(_ type: String, _ name: String, _ inputs: [String], _ output: String, _ attributes: [Attribute] = []) -> Node {
        Node(type, name: name, inputs: inputs, outputs: [output], attributes: attributes)
    }

    /// Conv-ReLU, a residual block with pooling, then Gemm: what the static pass has rules for.
    static func residualNetwork(seed: UInt64) -> OnnxModel {
        var random = SeededGenerator(seed: seed)
        func tensor(_ name: String, _ dims: [Int], _ scale: Float) -> Tensor {
            Tensor(name: name, dims: dims, floats: (0..<dims.reduce(1, *)).map { _ in Float.random(in: -scale...scale, using: &random) })
        }
        func convolution(_ name: String, _ input: String, _ output: String) -> Node {
            Node("Conv", name: name, inputs: [input, name + ".w", name + ".b"], outputs: [output], attributes: [Attribute("kernel_shape", [1, 3]), Attribute("pads", [0, 1, 0, 1])])
        }
        var proto = Onnx_ModelProto()
        proto.irVersion = 8
        proto.graph.name = "residual"
        proto.graph.input = [info("x", [1, 4, 1, 32])]
        proto.graph.output = [info("y", [1, 5])]
        proto.graph.node = [
            convolution("c0", "x", "t0"), Node("Relu", name: "r0", inputs: ["t0"], outputs: ["u0"]),
            convolution("c1", "u0", "t1"), Node("Relu", name: "r1", inputs: ["t1"], outputs: ["u1"]),
            convolution("c2", "u1", "t2"), Node("Add", name: "sum", inputs: ["t2", "u0"], outputs: ["t3"]),
            Node("Relu", name: "r3", inputs: ["t3"], outputs: ["u3"]),
            Node("MaxPool", name: "pool", inputs: ["u3"], outputs: ["p"], attributes: [Attribute("kernel_shape", [1, 2]), Attribute("strides", [1, 2])]),
            Node("Flatten", name: "flat", inputs: ["p"], outputs: ["f"], attributes: [Attribute("axis", 1)]),
            Node("Gemm", name: "head", inputs: ["f", "head.w", "head.b"], outputs: ["y"]),
        ]
        proto.graph.initializer = [
            tensor("c0.w", [16, 4, 1, 3], 0.5), tensor("c0.b", [16], 0.2), tensor("c1.w", [16, 16, 1, 3], 0.3), tensor("c1.b", [16], 0.2),
            tensor("c2.w", [16, 16, 1, 3], 0.3), tensor("c2.b", [16], 0.2), tensor("head.w", [256, 5], 0.2), tensor("head.b", [5], 0.1),
        ]
        var model = OnnxModel(path: "residual.onnx", proto: proto)
        model.importOpset("", version: 17)
        return model
    }

    static func dataset(_ shape: [Int], windows: Int = 120, seed: UInt64, name: String = "x") throws -> Dataset {
        var random = SeededGenerator(seed: seed)
        let values = (0..<windows * shape.reduce(1, *)).map { _ in Float.random(in: -1...1, using: &random) }
        return try Dataset(path: "test.npz", arrays: [name: NumpyArray(shape: [windows] + shape, values: .float(values))])
    }
}
