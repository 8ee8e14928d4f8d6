import OnnxGraph
import Units

/// Static 8-bit quantization as QuantizeLinear/DequantizeLinear pairs (QDQ), which ONNX Runtime turns into integer
/// operators.
///
/// What it takes from experience with the runtime: the ReLU or the clip after a convolution is dropped and left to the clipping of
/// the 8-bit output; pooling keeps its input's scale; additions, pooling and leaky ReLU between integer operations are integer too,
/// so that a region has no holes; and where a region begins with a tensor that more than a convolution reads, an exact 1x1
/// identity convolution goes first, without which the runtime transposes every residual connection back and forth.
struct StaticPass {
    struct Settings {
        var unsignedActivations = true
        var weights = LinearQuantizer.Options()
        /// Operations that stay in float although all around them are integers.
        var skipped: Set<String> = []
        var perTensor: Set<String> = []
    }

    private var graph: Graph
    private var names: UniqueNames
    private var ranges: [String: ActivationRange]
    private let settings: Settings
    private var isQuantized: [Bool] = []

    /// Operations that can follow integer ones; their tensors' ranges are needed too.
    static let followers: Set<String> = ["Relu", "Clip", "LeakyRelu", "Add", "MaxPool", "Concat", "AveragePool"]
    /// What the range of the output in front of them can stand for.
    private static let clippers: Set<String> = ["Relu", "Clip"]
    private static let movers: Set<String> = ["Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten"]
    private static let scaleKeepers: Set<String> = Set(["MaxPool"]).union(movers)

    /// The tensors whose ranges `apply` may need: everything that selected operations and their followers read or write.
    static func tensors(_ graph: Graph, selected: Set<String>) -> [String] {
        let index = GraphIndex(graph)
        var list: [String] = []
        // Whatever a selected operation reads will be integer, so what follows from it can be too.
        let converted = Set(graph.node.filter { selected.contains($0.label) }.compactMap(\.input.first))
        for node in graph.node {
            let isSelected = selected.contains(node.label)
            guard isSelected || followers.contains(node.opType) || movers.contains(node.opType) else { continue }
            let data = ["Concat", "Add"].contains(node.opType) ? node.input : Array(node.input.prefix(node.opType == "MatMul" ? 2 : 1))
            let names = (data + node.output.prefix(1)).filter { !$0.isEmpty && index.initializer[$0] == nil }
            guard isSelected || data.allSatisfy({ isInteger($0, graph, index, selected, converted) }) else { continue }
            list += names
        }
        return Array(Set(list)).sorted()
    }

    /// Puts an identity convolution where an integer region would begin with something else.
    /// - Returns: names of the new operations, which are to be quantized like the region.
    static func addEntries(_ graph: inout Graph, selected: Set<String>, shapes: [String: [Int]]) -> [(node: String, tensor: String, source: String)] {
        let index = GraphIndex(graph)
        var names = UniqueNames(graph)
        var added: [(String, String, String)] = []
        // In execution order: what lies behind an entry is integer already and needs none.
        var converted: Set<String> = []
        let original = graph
        for tensor in original.node.filter({ selected.contains($0.label) }).compactMap(\.input.first) where !converted.contains(tensor) {
            guard let readers = index.consumers[tensor], readers.count > 1, !index.outputs.contains(tensor),
                readers.contains(where: { ["Add", "MaxPool"].contains(original.node[$0].opType) }),
                let shape = shapes[tensor], shape.count == 4, !isInteger(tensor, original, index, selected, converted)
            else { continue }
            converted.insert(tensor)
            let channels = shape[1]
            let weight = names.make(tensor + "_identity")
            let output = names.make(tensor + "_entry")
            let name = names.make(tensor + "_entry_conv")
            var values = [Float](repeating: 0, count: channels * channels)
            for channel in 0..<channels { values[channel * channels + channel] = 1 }
            graph.replaceReads(of: tensor, by: output)
            graph.initializer.append(Tensor(name: weight, dims: [channels, channels, 1, 1], floats: values))
            graph.node.append(Node("Conv", name: name, inputs: [tensor, weight], outputs: [output], attributes: [Attribute("kernel_shape", [1, 1])]))
            added.append((name, output, tensor))
        }
        return added
    }

    /// Whether a tensor comes from a selected operation, through followers.
    private static func isInteger(
        _ tensor: String, _ graph: Graph, _ index: GraphIndex, _ selected: Set<String>, _ converted: Set<String>
    ) -> Bool {
        if converted.contains(tensor) { return true }
        guard let producer = index.producer[tensor] else { return false }
        let node = graph.node[producer]
        if selected.contains(node.label) { return true }
        guard followers.contains(node.opType) || movers.contains(node.opType) else { return false }
        let data = node.input.filter { index.initializer[$0] == nil && !$0.isEmpty }
        return !data.isEmpty && data.allSatisfy { isInteger($0, graph, index, selected, converted) }
    }

    /// - Throws: `.unsupportedGraph` where a range is missing; `.invalidGraph` for a graph without an order.
    static func apply(
        _ model: OnnxModel, selected: Set<String>, ranges: [String: ActivationRange], settings: Settings
    ) throws(JouledError) -> Graph {
        var graph = model.graph
        graph.node = try GraphCheck.sorted(graph, path: model.path)
        var pass = StaticPass(graph: graph, names: UniqueNames(graph), ranges: ranges, settings: settings)
        pass.mark(selected)
        pass.dropClippersAfterInteger()
        try pass.rewrite(model.path)
        var result = pass.graph
        result.node = try GraphCheck.sorted(result, path: model.path)
        result.removeDead()
        return result
    }

    private init(graph: Graph, names: UniqueNames, ranges: [String: ActivationRange], settings: Settings) {
        self.graph = graph
        self.names = names
        self.ranges = ranges
        self.settings = settings
    }

    private mutating func mark(_ selected: Set<String>) {
        let index = GraphIndex(graph)
        isQuantized = [Bool](repeating: false, count: graph.node.count)
        for (number, node) in graph.node.enumerated() {
            if selected.contains(node.label) {
                isQuantized[number] = true
                continue
            }
            guard !settings.skipped.contains(node.label), Self.followers.contains(node.opType) || Self.movers.contains(node.opType) else { continue }
            let data = ["Add", "Concat"].contains(node.opType) ? node.input : Array(node.input.prefix(1))
            let isInteger = data.allSatisfy { name in index.producer[name].map { isQuantized[$0] } ?? false }
            guard isInteger else { continue }
            if Self.movers.contains(node.opType) {
                // Worth it only on the way to another integer operation.
                let readers = index.consumers[node.output[0]] ?? []
                guard readers.contains(where: { selected.contains(graph.node[$0].label) }) else { continue }
            }
            if Self.clippers.contains(node.opType) {
                // Pooling and what only moves values have the scale of their input, which cannot clip for them.
                guard index.consumers[node.input[0]]?.count == 1, !index.outputs.contains(node.input[0]), bounds(node, index) != nil,
                    let producer = index.producer[node.input[0]], !Self.scaleKeepers.contains(graph.node[producer].opType)
                else { continue }
            }
            isQuantized[number] = true
        }
    }

    /// What a ReLU or a clip leaves of all values; nil if only the run knows.
    private func bounds(_ node: Node, _ index: GraphIndex) -> ClosedRange<Float>? {
        guard node.opType == "Clip" else { return 0...Float.infinity }
        var bounds: [Float] = [-.infinity, .infinity]
        for (position, name) in node.input.dropFirst().prefix(2).enumerated() where !name.isEmpty {
            guard let at = index.initializer[name], let value = try? graph.initializer[at].floats().first else { return nil }
            bounds[position] = value
        }
        return bounds[0] < bounds[1] && bounds[0] <= 0 && bounds[1] >= 0 ? bounds[0]...bounds[1] : nil
    }

    /// The producer writes the ReLU's or the clip's output: quantized to its range, it clips by itself.
    private mutating func dropClippersAfterInteger() {
        let index = GraphIndex(graph)
        var dropped: Set<Int> = []
        for (number, node) in graph.node.enumerated() where Self.clippers.contains(node.opType) && isQuantized[number] {
            guard let producer = index.producer[node.input[0]], let bounds = bounds(node, index) else { continue }
            graph.node[producer].output[0] = node.output[0]
            if let range = ranges[node.output[0]] {
                ranges[node.output[0]]?.lower = node.opType == "Relu" ? 0 : max(range.lower, bounds.lowerBound)
                ranges[node.output[0]]?.upper = min(range.upper, bounds.upperBound)
            }
            dropped.insert(number)
        }
        let kept = graph.node.indices.filter { !dropped.contains($0) }
        isQuantized = kept.map { isQuantized[$0] }
        graph.node = kept.map { graph.node[$0] }
    }

    private struct Parameters {
        var scale: Float
        var zero: Int
        var scaleName: String
        var zeroName: String
    }

    private mutating func rewrite(_ path: String) throws(JouledError) {
        let index = GraphIndex(graph)
        var parameters: [String: Parameters] = [:]
        // In execution order, so that what keeps a scale finds it.
        var tensors: [(name: String, isProduced: Bool)] = []
        for (number, node) in graph.node.enumerated() where isQuantized[number] {
            let isMover = Self.movers.contains(node.opType)
            let dataInputs = ["Add", "Concat"].contains(node.opType) ? node.input : Array(node.input.prefix(node.opType == "MatMul" ? 2 : 1))
            for name in (isMover ? Array(node.input.prefix(1)) : dataInputs) where index.initializer[name] == nil && parameters[name] == nil {
                parameters[name] = try make(name, path)
                tensors.append((name, false))
            }
            guard let output = node.output.first, parameters[output] == nil else { continue }
            parameters[output] = Self.scaleKeepers.contains(node.opType) ? parameters[node.input[0]] : try make(output, path)
            tensors.append((output, true))
        }
        var readInstead: [String: String] = [:]
        var extra: [Node] = []
        for (name, isProduced) in tensors {
            guard let item = parameters[name] else { continue }
            let isOutput = index.outputs.contains(name)
            let dequantized = isProduced && isOutput ? name : names.make(name + "_dq")
            var source = name
            if isProduced && isOutput {
                // The graph's output keeps its name: it is what the last DequantizeLinear writes.
                source = names.make(name + "_raw")
                if let producer = index.producer[name] { graph.node[producer].output[0] = source }
            }
            let quantized = names.make(name + "_q")
            extra.append(Node("QuantizeLinear", name: names.make(name + "_QuantizeLinear"), inputs: [source, item.scaleName, item.zeroName], outputs: [quantized]))
            extra.append(Node("DequantizeLinear", name: names.make(name + "_DequantizeLinear"), inputs: [quantized, item.scaleName, item.zeroName], outputs: [dequantized]))
            readInstead[name] = dequantized
            guard dequantized != name else { continue }
            // Of a float tensor only the integer operations read the quantized copy; of an integer one all do.
            for reader in index.consumers[name] ?? [] where isProduced || isQuantized[reader] {
                for position in graph.node[reader].input.indices where graph.node[reader].input[position] == name {
                    graph.node[reader].input[position] = dequantized
                }
            }
        }
        for number in graph.node.indices where isQuantized[number] && ["Conv", "Gemm", "MatMul"].contains(graph.node[number].opType) {
            try weights(number, index, parameters, readInstead, &extra)
        }
        graph.node += extra
    }

    private mutating func make(_ tensor: String, _ path: String) throws(JouledError) -> Parameters {
        guard let range = ranges[tensor] else {
            throw JouledError(.unsupportedGraph, "\(path): tensor '\(tensor)' was not calibrated")
        }
        let width = max(range.upper - range.lower, 1e-12)
        let scale = max(width / 255, .leastNormalMagnitude)
        let step = min(255, max(0, Int((-range.lower / scale).rounded(.toNearestOrEven))))
        let zero = settings.unsignedActivations ? step : step - 128
        let scaleName = names.make(tensor + "_scale")
        let zeroName = names.make(tensor + "_zero_point")
        graph.initializer.append(Tensor(name: scaleName, dims: [], floats: [scale]))
        graph.initializer.append(Tensor(name: zeroName, type: settings.unsignedActivations ? .uint8 : .int8, dims: [], bytes: [UInt8(truncatingIfNeeded: zero)]))
        return Parameters(scale: scale, zero: zero, scaleName: scaleName, zeroName: zeroName)
    }

    /// Weights to 8 bits, the bias to 32 bits with scale = input scale x weight scale, as integer arithmetic needs it.
    private mutating func weights(
        _ number: Int, _ index: GraphIndex, _ parameters: [String: Parameters], _ readInstead: [String: String], _ extra: inout [Node]
    ) throws(JouledError) {
        let node = graph.node[number]
        guard node.input.count > 1, let position = index.initializer[node.input[1]] else { return }
        let tensor = graph.initializer[position]
        let rank = tensor.dims.count
        let isPerTensor = settings.perTensor.contains(node.label)
        // Per-channel 8-bit matrices of rank above 2 have no integer kernel.
        let axis = isPerTensor || (node.opType == "MatMul" && rank != 2) ? nil : Assignment.channelAxis(node, input: 1, rank: rank)
        let view = ChannelView(shape: tensor.shape, axis: axis)
        // The input is by now the dequantized tensor: its parameters are those of the tensor that it stands for.
        let inputName = readInstead.first { $0.value == node.input[0] }?.key ?? node.input[0]
        let inputScale = parameters[inputName]?.scale ?? 1
        var bias: [Float] = []
        if node.input.count > 2, !node.input[2].isEmpty, let at = index.initializer[node.input[2]] { bias = try graph.initializer[at].floats() }
        var options = settings.weights
        if !bias.isEmpty {
            let peak = bias.map { $0.magnitude / (inputScale * Float(1 << 30)) }
            options.leastScales = view.channels == bias.count ? peak : [peak.max() ?? 0]
        }
        let quantized = LinearQuantizer.quantize(try tensor.floats(), view: view, options: options)
        let scaleShape = axis == nil ? [] : [quantized.scales.count]
        let axisAttribute = axis.map { [Attribute("axis", $0)] } ?? []
        let type: ElementType = quantized.signed ? .int8 : .uint8
        let base = names.make(tensor.name + "_quantized")
        graph.initializer.append(Tensor(name: base, type: type, dims: tensor.shape, bytes: quantized.values))
        let scaleName = names.make(tensor.name + "_scale")
        graph.initializer.append(Tensor(name: scaleName, dims: scaleShape, floats: quantized.scales))
        let zeroName = names.make(tensor.name + "_zero_point")
        graph.initializer.append(Tensor(name: zeroName, type: type, dims: scaleShape, bytes: quantized.zeroPoints))
        let output = names.make(tensor.name + "_dq")
        extra.append(Node("DequantizeLinear", name: names.make(output + "_node"), inputs: [base, scaleName, zeroName], outputs: [output], attributes: axisAttribute))
        graph.node[number].input[1] = output
        guard !bias.isEmpty, node.opType != "MatMul" else { return }
        let scales = quantized.scales.map { $0 * inputScale }
        let perChannel = scales.count > 1
        let integers = bias.indices.map { Int32(max(-2e9, min(2e9, (bias[$0] / scales[perChannel ? $0 : 0]).rounded(.toNearestOrEven)))) }
        let biasName = names.make(node.input[2] + "_quantized")
        graph.initializer.append(Tensor(name: biasName, dims: [bias.count], int32s: integers))
        let biasScale = names.make(node.input[2] + "_scale")
        graph.initializer.append(Tensor(name: biasScale, dims: perChannel ? [scales.count] : [], floats: scales))
        let biasOutput = names.make(node.input[2] + "_dq")
        extra.append(Node("DequantizeLinear", name: names.make(biasOutput + "_node"), inputs: [biasName, biasScale], outputs: [biasOutput], attributes: perChannel ? [Attribute("axis", 0)] : []))
        graph.node[number].input[2] = biasOutput
    }
}
