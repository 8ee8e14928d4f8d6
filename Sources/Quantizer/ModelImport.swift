import InferenceRuntime
import ModelStore
import OnnxGraph
import Units

/// Prepares a model for streaming: fixed dimensions, inputs turned into constants, branches and shape arithmetic resolved,
/// constants folded, dead nodes gone.
///
/// What follows from sizes is resolved here (`ShapeFolding`); the folding of weights is left to ONNX Runtime's own basic
/// level, which keeps the graph portable and knows every operator's meaning. The result is compared with the original by
/// whoever calls (`model validate`).
public enum ModelImport {
    public struct Outcome: Sendable {
        public var model: OnnxModel
        /// Sentences on what changed and what stays dynamic.
        public var notes: [String]
        /// Tensors whose sizes depend on the data, with what is known of their shape (`[1, ?, 128]`).
        public var dynamic: [(tensor: String, shape: String)]
    }

    /// - Parameters:
    ///   - dimensions: sizes by dimension name, or `input.axis`; `fixAll` makes every other open one 1.
    ///   - constants: values by the name of an input of one value.
    ///   - contract: what a stream will feed: gives the sizes that `dimensions` does not, and is checked against the model.
    /// - Throws: `.unsupportedGraph` for an operator set below 13, unknown names, and a model that the contract does not
    ///   suit; `.impossibleShape` for sizes that the model cannot have, naming the flag that gives others; what ONNX Runtime
    ///   says where it cannot load the model.
    public static func run(
        _ source: OnnxModel, dimensions: [String: Int], constants: [String: Double], fixAll: Bool, contract: ModelManifest? = nil, runtime: OnnxRuntime
    ) throws(JouledError) -> Outcome {
        try GraphCheck.check(source)
        guard source.opset >= 13 else { throw JouledError(.unsupportedGraph, "\(source.path): operator set \(source.opset) is not supported; 13 or later is needed") }
        var model = source
        var notes: [String] = []
        for (name, value) in constants.sorted(by: { $0.key < $1.key }) { try fix(&model, name, value, &notes) }
        let sizes = try InputSizes(model, dimensions: dimensions, contract: contract, fixAll: fixAll)
        let before = model.graph.node.count
        let folding = try sizes.fix(&model, &notes)
        // Output shapes follow from the inputs'; stale ones would contradict them.
        for index in model.graph.output.indices {
            for axis in model.graph.output[index].type.tensorType.shape.dim.indices {
                if case .dimValue? = model.graph.output[index].type.tensorType.shape.dim[axis].value { continue }
                model.graph.output[index].type.tensorType.shape.dim[axis].value = nil
            }
        }
        if !folding.branches.isEmpty { notes.append("\(folding.branches.count) If replaced by the branch that is taken: \(folding.branches.joined(separator: ", "))") }
        model = try folded(model, runtime)
        model.proto.graph.liftConstants()
        let dead = model.proto.graph.removeDead()
        notes.append("\(before) operations before, \(model.graph.node.count) after folding")
        if dead.initializers > 0 { notes.append("\(dead.initializers) unread weights removed") }
        try fixOutputs(&model, runtime)
        if let contract { try InputSizes.check(model, contract) }
        let dynamic = try dynamicTensors(model, &notes)
        return Outcome(model: model, notes: notes, dynamic: dynamic)
    }

    /// What stays dynamic, with the operations that it begins at.
    private static func dynamicTensors(_ model: OnnxModel, _ notes: inout [String]) throws(JouledError) -> [(tensor: String, shape: String)] {
        for input in model.graph.input where !input.openDimensions.isEmpty {
            notes.append("input '\(input.name)' stays dynamic in \(input.openDimensions.map { $0.name.isEmpty ? "axis \($0.axis)" : $0.name }.joined(separator: ", "))")
        }
        for node in model.graph.node where ["If", "Loop", "Scan"].contains(node.opType) { notes.append("\(node.opType) '\(node.label)' stays dynamic") }
        let facts = try ShapeInference.infer(model, usingDeclarations: true)
        func isFixed(_ name: String) -> Bool { name.isEmpty || facts[name]?.fixedShape != nil }
        var list: [(tensor: String, shape: String)] = []
        var followers = 0
        for node in model.graph.node {
            for name in node.output where !isFixed(name) {
                let shape = facts[name]?.shapeText ?? "[...]"
                list.append((name, shape))
                if facts[name]?.shape == nil, node.subgraphs.isEmpty, node.input.allSatisfy(isFixed) {
                    notes.append("tensor '\(name)': its sizes are not known, as there is no rule for \(node.opType) ('\(node.label)')")
                } else if node.input.allSatisfy({ isFixed($0) || model.graph.input.map(\.name).contains($0) }) {
                    notes.append("tensor '\(name)' \(shape) stays dynamic: written by \(node.opType) '\(node.label)'")
                } else {
                    followers += 1
                }
            }
        }
        if followers > 0 { notes.append("\(followers) more tensors stay dynamic because of these") }
        return list
    }

    private static func fix(_ model: inout OnnxModel, _ name: String, _ value: Double, _ notes: inout [String]) throws(JouledError) {
        guard let index = model.graph.input.firstIndex(where: { $0.name == name }) else {
            throw JouledError(.unsupportedGraph, "\(model.path): no input '\(name)' to make constant; there are: \(model.graph.input.map(\.name).joined(separator: ", "))")
        }
        let input = model.graph.input[index]
        let dims = (input.shape ?? []).map { $0 ?? 1 }
        let count = dims.reduce(1, *)
        let tensor: Tensor
        switch ElementType(rawValue: input.elementType) {
        case .int64: tensor = Tensor(name: name, dims: dims, int64s: [Int64](repeating: Int64(value), count: count))
        case .int32: tensor = Tensor(name: name, dims: dims, int32s: [Int32](repeating: Int32(value), count: count))
        case .float: tensor = Tensor(name: name, dims: dims, floats: [Float](repeating: Float(value), count: count))
        default: throw JouledError(.unsupportedGraph, "\(model.path): input '\(name)' has element type \(input.elementType), which cannot be made constant")
        }
        model.proto.graph.input.remove(at: index)
        model.proto.graph.initializer.append(tensor)
        notes.append("input '\(name)' is the constant \(value)")
    }

    private static func folded(_ model: OnnxModel, _ runtime: OnnxRuntime) throws(JouledError) -> OnnxModel {
        let file = try TemporaryFile("import")
        defer { file.remove() }
        var settings = LoadSettings()
        settings.optimization = 1
        settings.optimizedModelPath = file.path
        // What the session's caching of weights would put in is of no use in a file.
        settings.entries["session.disable_prepacking"] = "1"
        _ = try InferenceSession(runtime: runtime, model: model.serialized(), path: model.path, settings: settings)
        var result = try OnnxModel.load(file.path)
        result.path = model.path
        // The runtime declares every domain that it knows; keep those that are used.
        var used: Set<String> = []
        result.graph.forEachGraph { graph in used.formUnion(graph.node.map { $0.domain == "ai.onnx" ? "" : $0.domain }) }
        used.insert("")
        result.proto.opsetImport.removeAll { !used.contains($0.domain == "ai.onnx" ? "" : $0.domain) }
        result.proto.irVersion = model.proto.irVersion
        return result
    }

    /// Writes the shapes that the loaded model has, or that follow by inference, into the outputs' declarations.
    private static func fixOutputs(_ model: inout OnnxModel, _ runtime: OnnxRuntime) throws(JouledError) {
        let facts = try ShapeInference.infer(model)
        let session = try InferenceSession(runtime: runtime, model: model.serialized(), path: model.path)
        for index in model.graph.output.indices {
            guard let spec = session.outputs.first(where: { $0.name == model.graph.output[index].name }) else { continue }
            let sizes = spec.shape.contains(-1) ? facts[spec.name]?.fixedShape : spec.shape
            guard let sizes else { continue }
            var shape = Onnx_TensorShapeProto()
            shape.dim = sizes.map { size in
                var dimension = Onnx_TensorShapeProto.Dimension()
                dimension.value = .dimValue(Int64(size))
                return dimension
            }
            model.proto.graph.output[index].type.tensorType.shape = shape
        }
    }
}
