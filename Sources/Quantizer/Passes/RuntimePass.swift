import OnnxGraph
import Units

/// Replaces operations by ONNX Runtime's own ones with quantized weights: 8-bit with activations ranged at each run
/// (DynamicQuantizeLSTM, DynamicQuantizeMatMul) and 4-bit matrices (MatMulNBits).
struct RuntimePass {
    private var graph: Graph
    private var names: UniqueNames
    private var used = false

    static func apply(_ model: inout OnnxModel, _ entries: [Assignment.Entry]) throws(JouledError) {
        var pass = RuntimePass(graph: model.graph, names: UniqueNames(model.graph))
        for entry in entries {
            guard let number = pass.graph.node.firstIndex(where: { $0.label == entry.node }) else { continue }
            switch (entry.settings.scheme, entry.type) {
            case (.int8Dynamic, "LSTM"): try pass.lstm(number)
            case (.int8Dynamic, _): try pass.dynamicMatrix(number, perTensor: entry.settings.granularity == .tensor)
            case (.int4, "MatMul"), (.int4, "Gemm"): try pass.blockMatrix(number, entry.settings)
            default: break
            }
        }
        pass.graph.removeDead()
        model.graph = pass.graph
        if pass.used { model.importOpset(microsoftDomain, version: 1) }
    }

    /// Whether `int4` gives this operation a kernel of its own instead of unpacking its weights at load.
    static func hasBlockKernel(_ entry: Assignment.Entry) -> Bool { entry.settings.scheme == .int4 && ["MatMul", "Gemm"].contains(entry.type) }

    private func tensor(_ name: String) -> Tensor? { graph.initializer.first { $0.name == name } }

    private mutating func add(_ tensor: Tensor) -> String {
        graph.initializer.append(tensor)
        return tensor.name
    }

    /// W [directions, 4 x hidden, input] becomes int8 [directions, input, 4 x hidden] with a scale per row of W; R alike.
    private mutating func lstm(_ number: Int) throws(JouledError) {
        let node = graph.node[number]
        var stored: [(String, String, String)] = []
        for position in [1, 2] {
            guard let tensor = tensor(node.input[position]), tensor.dims.count == 3 else { return }
            let shape = tensor.shape
            let (directions, rows, columns) = (shape[0], shape[1], shape[2])
            let view = ChannelView(shape: [directions * rows, columns], axis: 0)
            let weights = LinearQuantizer.quantize(try tensor.floats(), view: view)
            var turned = [UInt8](repeating: 0, count: weights.values.count)
            for direction in 0..<directions {
                let base = direction * rows * columns
                for row in 0..<rows { for column in 0..<columns { turned[base + column * rows + row] = weights.values[base + row * columns + column] } }
            }
            stored.append((
                add(Tensor(name: names.make(tensor.name + "_quantized"), type: .int8, dims: [directions, columns, rows], bytes: turned)),
                add(Tensor(name: names.make(tensor.name + "_scale"), dims: [directions, rows], floats: weights.scales)),
                add(Tensor(name: names.make(tensor.name + "_zero_point"), type: .int8, dims: [directions, rows], bytes: weights.zeroPoints))
            ))
        }
        func optional(_ position: Int) -> String { position < node.input.count ? node.input[position] : "" }
        var replacement = node
        replacement.opType = "DynamicQuantizeLSTM"
        replacement.domain = microsoftDomain
        replacement.input = [node.input[0], stored[0].0, stored[1].0] + (3...7).map(optional) + [stored[0].1, stored[0].2, stored[1].1, stored[1].2]
        replacement.attribute.removeAll { $0.name == "layout" }
        graph.node[number] = replacement
        used = true
    }

    /// The weights of a MatMul or Gemm as [inputs, outputs], if they are a matrix of constants on the right.
    private func matrix(_ node: Node) throws(JouledError) -> (values: [Float], rows: Int, columns: Int, name: String)? {
        guard node.input.count > 1, let tensor = tensor(node.input[1]), tensor.dims.count == 2 else { return nil }
        let shape = tensor.shape
        let values = try tensor.floats()
        guard node.opType == "Gemm", (node.integer("transB") ?? 0) != 0 else { return (values, shape[0], shape[1], tensor.name) }
        return (PaletteWriter.transpose(values, rows: shape[0], columns: shape[1]), shape[1], shape[0], tensor.name)
    }

    private func bias(_ node: Node, columns: Int) -> String? {
        guard node.opType == "Gemm", node.input.count > 2, !node.input[2].isEmpty, let tensor = tensor(node.input[2]), tensor.count == columns,
            tensor.dims.count == 1
        else { return nil }
        return tensor.name
    }

    private mutating func dynamicMatrix(_ number: Int, perTensor: Bool) throws(JouledError) {
        let node = graph.node[number]
        guard let matrix = try matrix(node) else { return }
        let weights = LinearQuantizer.quantize(matrix.values, view: ChannelView(shape: [matrix.rows, matrix.columns], axis: perTensor ? nil : 1))
        let stored = add(Tensor(name: names.make(matrix.name + "_quantized"), type: .int8, dims: [matrix.rows, matrix.columns], bytes: weights.values))
        let shape = perTensor ? [] : [matrix.columns]
        let scale = add(Tensor(name: names.make(matrix.name + "_scale"), dims: shape, floats: weights.scales))
        let zero = add(Tensor(name: names.make(matrix.name + "_zero_point"), type: .int8, dims: shape, bytes: weights.zeroPoints))
        replace(number, "DynamicQuantizeMatMul", [node.input[0], stored, scale, zero], columns: matrix.columns, [])
    }

    private mutating func blockMatrix(_ number: Int, _ settings: OperatorRecipe) throws(JouledError) {
        let node = graph.node[number]
        guard let matrix = try matrix(node) else { return }
        let (rows, columns, block) = (matrix.rows, matrix.columns, settings.blockSize)
        let blocks = (rows + block - 1) / block
        // The runtime wants [outputs][blocks][bytes], the last block padded.
        let turned = PaletteWriter.transpose(matrix.values, rows: rows, columns: columns)
        let quantized = BlockQuantizer.quantize(turned, rowLength: rows, block: block, bits: 4, symmetric: settings.symmetric)
        var bytes = [UInt8](repeating: 0, count: columns * blocks * block / 2)
        for column in 0..<columns {
            for row in 0..<rows {
                let at = (column * blocks * block + row) / 2
                bytes[at] |= quantized.values[column * rows + row] << UInt8(row % 2 * 4)
            }
        }
        var inputs = [
            node.input[0],
            add(Tensor(name: names.make(matrix.name + "_blocks"), dims: [columns, blocks, block / 2], uint8s: bytes)),
            add(Tensor(name: names.make(matrix.name + "_scales"), dims: [columns * blocks], floats: quantized.scales)),
        ]
        if !settings.symmetric {
            let rowBytes = (blocks + 1) / 2
            var zeros = [UInt8](repeating: 0, count: columns * rowBytes)
            for column in 0..<columns {
                for index in 0..<blocks { zeros[column * rowBytes + index / 2] |= quantized.zeroPoints[column * blocks + index] << UInt8(index % 2 * 4) }
            }
            inputs.append(add(Tensor(name: names.make(matrix.name + "_zero_points"), dims: [columns * rowBytes], uint8s: zeros)))
        }
        let attributes = [
            Attribute("K", rows), Attribute("N", columns), Attribute("bits", 4), Attribute("block_size", block),
            // 8-bit activations inside the kernel: 2.5 times faster than float ones, and finer than the weights.
            Attribute("accuracy_level", 4),
        ]
        replace(number, "MatMulNBits", inputs, columns: columns, attributes)
    }

    /// Puts the runtime's operation in the node's place; a Gemm's bias is added behind it.
    private mutating func replace(_ number: Int, _ type: String, _ inputs: [String], columns: Int, _ attributes: [Attribute]) {
        let node = graph.node[number]
        var replacement = Node(type, name: node.name, inputs: inputs, outputs: node.output, domain: microsoftDomain, attributes: attributes)
        used = true
        guard node.opType == "Gemm", node.input.count > 2, !node.input[2].isEmpty else {
            graph.node[number] = replacement
            return
        }
        if type == "DynamicQuantizeMatMul", let bias = bias(node, columns: columns) {
            replacement.input.append(bias)
            graph.node[number] = replacement
            return
        }
        let product = names.make(node.output[0] + "_product")
        replacement.output = [product]
        graph.node[number] = replacement
        graph.node.insert(Node("Add", name: names.make(node.label + "_bias"), inputs: [product, node.input[2]], outputs: node.output), at: number + 1)
    }

    private init(graph: Graph, names: UniqueNames) {
        self.graph = graph
        self.names = names
    }
}
