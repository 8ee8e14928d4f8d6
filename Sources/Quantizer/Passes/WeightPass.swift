import OnnxGraph
import Units

/// Stores weights in fewer bits and lets a few nodes make float weights of them again.
///
/// The nodes write the weight's own name, so that nothing that reads it changes. They use operators of opset 13 only:
/// sub-byte values are unpacked with BitShift and Mod. ONNX Runtime folds all but DequantizeLinear at load: such a model
/// is small on disk and in transit, and as fast and as large in memory as float.
struct WeightPass {
    private var graph: Graph
    private var names: UniqueNames
    private var prologue: [Node] = []
    /// Small constants by type, shape and content: tensors share them.
    private var constants: [String: String] = [:]

    /// Rewrites the weights of every entry whose scheme is a weight-only one.
    /// - Returns: the graph, and a note per tensor that could not have the granularity asked for.
    static func apply(_ graph: Graph, _ entries: [Assignment.Entry], importance: [String: [Float]] = [:]) throws(JouledError) -> (Graph, [String]) {
        var pass = WeightPass(graph: graph, names: UniqueNames(graph))
        var notes: [String] = []
        var done: Set<String> = []
        for entry in entries {
            guard [.fp16, .int8Weights, .int4, .palette].contains(entry.settings.scheme) else { continue }
            guard let node = graph.node.first(where: { $0.label == entry.node }) else { continue }
            for weight in entry.weights where done.insert(weight).inserted {
                if let note = try pass.rewrite(weight, node, entry.settings, importance[weight]) { notes.append(note) }
            }
        }
        pass.graph.node.insert(contentsOf: pass.prologue, at: 0)
        return (pass.graph, notes)
    }

    private mutating func rewrite(_ weight: String, _ node: Node, _ settings: OperatorRecipe, _ importance: [Float]?) throws(JouledError) -> String? {
        guard let index = graph.initializer.firstIndex(where: { $0.name == weight }) else { return nil }
        let tensor = graph.initializer[index]
        let values = try tensor.floats()
        graph.initializer.remove(at: index)
        // Old models list weights among the inputs too; now a node writes them.
        graph.input.removeAll { $0.name == weight }
        let shape = tensor.shape
        let input = node.input.firstIndex(of: weight) ?? 1
        let axis = Assignment.channelAxis(node, input: input, rank: shape.count)
        switch settings.scheme {
        case .fp16:
            let halves = values.map(Half.bits)
            let stored = add(Tensor(name: names.make(weight + "_fp16"), type: .float16, dims: shape, bytes: halves.withUnsafeBytes { [UInt8]($0) }))
            emit("Cast", [stored], as: weight, [Attribute("to", 1)])
        case .int8Weights: return linear(weight, values, shape, axis, settings)
        case .int4: blocks(weight, values, shape, rowLength: Self.rowLength(shape, axis), settings)
        default: return try PaletteWriter.write(&self, weight, values, shape, axis, settings, importance)
        }
        return nil
    }

    /// Values that follow one another within an output channel, where channels are contiguous; else the last axis.
    static func rowLength(_ shape: [Int], _ axis: Int?) -> Int {
        guard let axis, shape[..<axis].reduce(1, *) == 1 else { return max(1, shape.last ?? 1) }
        return max(1, shape[(axis + 1)...].reduce(1, *))
    }

    private mutating func linear(_ weight: String, _ values: [Float], _ shape: [Int], _ axis: Int?, _ settings: OperatorRecipe) -> String? {
        var options = LinearQuantizer.Options()
        options.symmetric = settings.symmetric
        let isBlock = settings.granularity == .block
        let divides = values.count % settings.blockSize == 0
        if isBlock, divides {
            let view = ChannelView(shape: [values.count / settings.blockSize, settings.blockSize], axis: 0)
            let integers = dequantize(weight + "_blocks", LinearQuantizer.quantize(values, view: view, options: options), [view.channels, settings.blockSize], 0)
            emit("Reshape", [integers, shapeConstant(shape)], as: weight)
            return nil
        }
        let view = ChannelView(shape: shape, axis: settings.granularity == .tensor ? nil : axis)
        _ = dequantize(weight, LinearQuantizer.quantize(values, view: view, options: options), shape, settings.granularity == .tensor ? nil : axis, exactName: true)
        return isBlock ? "'\(weight)' has \(values.count) values, no multiple of the block of \(settings.blockSize): one scale per channel instead" : nil
    }

    private mutating func dequantize(_ name: String, _ weights: LinearWeights, _ shape: [Int], _ axis: Int?, exactName: Bool = false) -> String {
        let type: ElementType = weights.signed ? .int8 : .uint8
        let stored = add(Tensor(name: names.make(name + "_quantized"), type: type, dims: shape, bytes: weights.values))
        let scaleShape = axis == nil ? [] : [weights.scales.count]
        let scale = add(Tensor(name: names.make(name + "_scale"), dims: scaleShape, floats: weights.scales))
        var inputs = [stored, scale]
        if weights.zeroPoints.contains(where: { $0 != 0 }) {
            inputs.append(add(Tensor(name: names.make(name + "_zero_point"), type: type, dims: scaleShape, bytes: weights.zeroPoints)))
        }
        let output = exactName ? name : names.make(name)
        emit("DequantizeLinear", inputs, as: output, axis.map { [Attribute("axis", $0)] } ?? [])
        return output
    }

    private mutating func blocks(_ weight: String, _ values: [Float], _ shape: [Int], rowLength: Int, _ settings: OperatorRecipe) {
        let block = min(settings.blockSize, rowLength)
        // Rows that a block does not divide are cut elsewhere: blocks then run over the tensor as it lies in memory.
        let length = rowLength % block == 0 ? rowLength : values.count
        let padding = (block - length % block) % block
        let padded = values + [Float](repeating: 0, count: padding)
        let quantized = BlockQuantizer.quantize(padded, rowLength: length + padding, block: block, bits: 4, symmetric: settings.symmetric)
        let integers = unpack(weight, quantized.values, widths: [4])
        let steps = emit("Cast", [integers], [Attribute("to", 1)])
        let count = padded.count / block
        let rows = emit("Reshape", [steps, shapeConstant([count, block])])
        let zero = add(Tensor(name: names.make(weight + "_zero_point"), type: .uint8, dims: [count, 1], bytes: quantized.zeroPoints))
        let zeroFloat = emit("Cast", [zero], [Attribute("to", 1)])
        let centred = emit("Sub", [rows, zeroFloat])
        let halves = quantized.scales.map(Half.bits)
        // Scales in half precision, where they lie in its normal range: 4 bits have 12 % steps, so 0.05 % is nothing.
        let scale: String
        if quantized.scales.allSatisfy({ $0.magnitude > 6.2e-5 && $0.magnitude < 65000 }) {
            let stored = add(Tensor(name: names.make(weight + "_scale"), type: .float16, dims: [count, 1], bytes: halves.withUnsafeBytes { [UInt8]($0) }))
            scale = emit("Cast", [stored], [Attribute("to", 1)])
        } else {
            scale = add(Tensor(name: names.make(weight + "_scale"), dims: [count, 1], floats: quantized.scales))
        }
        let product = emit("Mul", [centred, scale])
        finish(product, weight, shape, count: padded.count)
    }

    // MARK: - For the writers of weights

    /// Unpacks small integers: a flat tensor of them, in the type that `widths` of one plane leave (uint8) or int32.
    mutating func unpack(_ name: String, _ values: [UInt8], widths: [Int]) -> String {
        var total: String?
        var shift = 0
        for width in widths {
            let mask = UInt8((1 << width) - 1)
            let plane = values.map { ($0 >> UInt8(shift)) & mask }
            let bytes = BitPacking.pack(plane, width: width)
            var part = add(Tensor(name: names.make("\(name)_bits\(shift)"), type: .uint8, dims: width < 8 ? [bytes.count, 1] : [bytes.count], bytes: bytes))
            if width < 8 {
                let lanes = (0..<8 / width).map { UInt8($0 * width) }
                let shifts = constant(Tensor(name: "shifts", dims: [1, lanes.count], uint8s: lanes))
                let spread = emit("BitShift", [part, shifts], [Attribute("direction", "RIGHT")])
                let modulus = constant(Tensor(name: "modulus", dims: [], uint8s: [UInt8(1 << width)]))
                part = emit("Reshape", [emit("Mod", [spread, modulus]), shapeConstant([-1])])
                if values.count % lanes.count != 0 {
                    let (from, to) = (shapeConstant([0]), shapeConstant([values.count]))
                    part = emit("Slice", [part, from, to])
                }
            }
            if widths.count > 1 {
                part = emit("Cast", [part], [Attribute("to", 6)])
                if shift > 0 {
                    let factor = constant(Tensor(name: "factor", dims: [], int32s: [Int32(1 << shift)]))
                    part = emit("Mul", [part, factor])
                }
            }
            total = total.map { emit("Add", [$0, part]) } ?? part
            shift += width
        }
        return total ?? ""
    }

    /// Cuts padding off and gives the weight its shape and name.
    mutating func finish(_ tensor: String, _ weight: String, _ shape: [Int], count: Int) {
        var source = tensor
        if count != shape.reduce(1, *) {
            let flat = emit("Reshape", [source, shapeConstant([-1])])
            source = emit("Slice", [flat, shapeConstant([0]), shapeConstant([shape.reduce(1, *)])])
        }
        emit("Reshape", [source, shapeConstant(shape)], as: weight)
    }

    mutating func add(_ tensor: Tensor) -> String {
        graph.initializer.append(tensor)
        return tensor.name
    }

    mutating func unique(_ name: String) -> String { names.make(name) }

    mutating func shapeConstant(_ shape: [Int]) -> String {
        constant(Tensor(name: "shape", dims: [shape.count], int64s: shape.map(Int64.init)))
    }

    private mutating func constant(_ tensor: Tensor) -> String {
        let key = "\(tensor.dataType) \(tensor.dims) \([UInt8](tensor.rawData))"
        if let known = constants[key] { return known }
        var named = tensor
        named.name = names.make(tensor.name)
        constants[key] = named.name
        return add(named)
    }

    @discardableResult
    mutating func emit(_ type: String, _ inputs: [String], as output: String, _ attributes: [Attribute] = []) -> String {
        prologue.append(Node(type, name: names.make(output + "_node"), inputs: inputs, outputs: [output], attributes: attributes))
        return output
    }

    mutating func emit(_ type: String, _ inputs: [String], _ attributes: [Attribute] = []) -> String {
        // Short, and the same for node and tensor: there are a dozen of these for each weight, and each name is in the file three times.
        let name = names.make(type)
        prologue.append(Node(type, name: name, inputs: inputs, outputs: [name], attributes: attributes))
        return name
    }

    private init(graph: Graph, names: UniqueNames) {
        self.graph = graph
        self.names = names
    }
}
