import OnnxGraph
import Units

/// Writes convolutions over few positions as matrix products.
///
/// ONNX Runtime multiplies kernels [channels out, channels in x taps] by patches [channels in x taps, positions]. Its inner loop is 16 positions
/// wide, so a window of 4 wastes three quarters of it; taps on padding and positions that a later Slice drops are computed as well. As patches
/// [positions, taps x channels in] by weights [taps x channels in, channels out] the wide axis is the channels, the weights are packed once, and
/// a batch of windows is one product. Of silero-vad's 77 us in float 42 are left (back to back; 2 shared cores).
///
/// Values between such convolutions are kept in rows: [windows, positions, channels] instead of [windows, channels, positions]. What works
/// value by value follows, and a Transpose stands only where something else reads.
struct ShortConvolutions {
    /// Positions up to which ONNX Runtime's inner loop is at most half full.
    static let mostPositions = 8

    private var graph: Graph
    private var names: UniqueNames
    private let facts: [String: TensorFact]
    private let index: GraphIndex
    private var nodes: [Node] = []
    /// The tensor in rows, by the tensor [windows, channels, positions] that it stands for.
    private var rows: [String: String] = [:]
    /// What Transpose would write, had it to do anything.
    private var aliases: [String: String] = [:]
    /// Patches by what they are taken from, shared between convolutions.
    private var patches: [String: String] = [:]
    /// What Slices write whose work the convolution before them does.
    private var done: Set<String> = []
    private var rewritten: [String] = []

    /// - Returns: labels of the convolutions that are products now; empty: the model is as it was.
    /// - Throws: what shape inference throws; `.unreadableGraph` for weights that do not fit their shape.
    static func rewrite(_ model: inout OnnxModel) throws(JouledError) -> [String] {
        var source = model
        source.graph.node = try GraphCheck.sorted(model.graph, path: model.path)
        try splitAtChannels(&source.graph)
        var pass = ShortConvolutions(
            graph: source.graph, names: UniqueNames(source.graph), facts: try ShapeInference.infer(source, usingDeclarations: true), index: GraphIndex(source.graph))
        for node in source.graph.node { try pass.visit(node) }
        guard !pass.rewritten.isEmpty else { return [] }
        pass.graph.node = pass.nodes
        pass.graph.removeDead()
        model.graph = pass.graph
        return pass.rewritten
    }

    private init(graph: Graph, names: UniqueNames, facts: [String: TensorFact], index: GraphIndex) {
        (self.graph, self.names, self.facts, self.index) = (graph, names, facts, index)
    }

    // MARK: - Nodes

    private mutating func visit(_ original: Node) throws(JouledError) {
        if let output = original.output.first, done.contains(output) { return }
        var node = original
        for position in node.input.indices { node.input[position] = aliases[node.input[position]] ?? node.input[position] }
        if try convolution(node) || follow(node) || dropTranspose(node) { return }
        nodes.append(node)
    }

    /// A Transpose back from rows to rows does nothing.
    private mutating func dropTranspose(_ node: Node) -> Bool {
        guard node.opType == "Transpose", node.integers("perm") == [0, 2, 1], let source = node.input.first, let held = rows[source], let output = node.output.first,
            !index.outputs.contains(output), !isReadByGraphs(output)
        else { return false }
        aliases[output] = held
        return true
    }

    private static let valueByValue: Set<String> = [
        "Relu", "Sigmoid", "Tanh", "Sqrt", "LeakyRelu", "Elu", "Abs", "Exp", "Log", "Neg", "Erf", "HardSigmoid", "HardSwish", "Softplus", "Clip", "Add", "Sub", "Mul", "Div", "Pow", "Max", "Min",
    ]

    /// The same operation on rows, where all that it reads is in rows or a single constant.
    private mutating func follow(_ node: Node) -> Bool {
        guard node.domain.isEmpty, Self.valueByValue.contains(node.opType), node.output.count == 1 else { return false }
        let read = node.input.filter { !$0.isEmpty }
        let held = read.filter { rows[$0] != nil }
        guard !held.isEmpty, read.allSatisfy({ rows[$0] != nil || isSingle($0) }),
            Set(held.map { facts[$0]?.fixedShape }).count == 1
        else { return false }
        var item = node
        for position in item.input.indices { item.input[position] = rows[item.input[position]] ?? item.input[position] }
        write(item, for: node.output[0])
        return true
    }

    private func isSingle(_ name: String) -> Bool { index.initializer[name].map { graph.initializer[$0].count == 1 && graph.initializer[$0].dims.count <= 3 } ?? false }

    /// Inner graphs read by name, which an alias would not reach.
    private func isReadByGraphs(_ name: String) -> Bool { index.consumers[name]?.contains { !graph.node[$0].input.contains(name) } ?? false }

    /// Appends `node` with its result in rows, and a Transpose for readers of `output`; dead ones are removed in the end.
    private mutating func write(_ node: Node, for output: String) {
        let held = names.make(output + "_rows")
        rows[output] = held
        var item = node
        item.output = [held]
        nodes.append(item)
        nodes.append(Node("Transpose", name: names.make(output + "_columns"), inputs: [held], outputs: [output], attributes: [Attribute("perm", [0, 2, 1])]))
    }

    private mutating func add(_ type: String, _ label: String, _ inputs: [String], _ attributes: [Attribute] = []) -> String {
        let output = names.make(label + ":out")
        nodes.append(Node(type, name: names.make(label), inputs: inputs, outputs: [output], attributes: attributes))
        return output
    }

    private mutating func constant(_ label: String, _ dims: [Int], _ values: [Int]) -> String {
        let name = names.make(label)
        graph.initializer.append(Tensor(name: name, dims: dims, int64s: values.map(Int64.init)))
        return name
    }

    private mutating func constant(_ label: String, _ dims: [Int], _ values: [Float]) -> String {
        let name = names.make(label)
        graph.initializer.append(Tensor(name: name, dims: dims, floats: values))
        return name
    }

    // MARK: - Convolutions

    private mutating func convolution(_ node: Node) throws(JouledError) -> Bool {
        guard let shape = facts[node.input.first ?? ""]?.fixedShape, let geometry = try Geometry(node, input: shape, weights: weights(node)), geometry.positions > 0 else { return false }
        // A Slice that all readers agree on says which positions count.
        var positions = 0..<geometry.positions
        var output = node.output[0]
        var slices: [Node] = []
        if let kept = try keptPositions(of: output, count: geometry.positions) { (positions, output, slices) = (kept.range, kept.nodes[0].output[0], kept.nodes) }
        guard positions.count <= Self.mostPositions else { return false }
        var product = node
        product.opType = "MatMul"
        product.attribute = []
        let weights = geometry.weights
        if let signal = try signal(behind: node.input[0], geometry, positions) {
            let mirrored = MirroredKernels(weights.values, count: geometry.channelsOut)
            if let mirrored {
                let ahead = gather(node.label, signal.name, signal.taps.map { row in mirrored.pairs.map { row[$0.tap] } })
                let behind = gather(node.label, signal.name, signal.taps.map { row in mirrored.pairs.map { row[$0.mirror] } })
                let folded = add(mirrored.isOdd ? "Sub" : "Add", node.label + "/folded", [ahead, behind])
                product.input = [folded, constant(node.label + "/weights", [mirrored.pairs.count, geometry.channelsOut], mirrored.weights)]
            } else {
                let patch = gather(node.label, signal.name, signal.taps)
                product.input = [patch, constant(node.label + "/weights", [geometry.taps, geometry.channelsOut], geometry.rowWeights(of: Array(0..<geometry.taps)))]
            }
        } else {
            let (patch, taps) = patch(node.label, rowVersion(of: node.input[0], label: node.label), geometry, positions)
            product.input = [patch, constant(node.label + "/weights", [taps.count * geometry.channelsIn, geometry.channelsOut], geometry.rowWeights(of: taps))]
        }
        if node.input.count > 2, !node.input[2].isEmpty {
            let value = names.make(node.label + ":product")
            product.output = [value]
            nodes.append(product)
            write(Node("Add", name: names.make(node.label + "/bias"), inputs: [value, node.input[2]], outputs: []), for: output)
        } else {
            write(product, for: output)
        }
        for slice in slices {
            done.insert(slice.output[0])
            // Further Slices of the same range write the same.
            if slice.output[0] != output, let held = rows[output] {
                rows[slice.output[0]] = held
                nodes.append(Node("Transpose", name: names.make(slice.output[0] + "_columns"), inputs: [held], outputs: [slice.output[0]], attributes: [Attribute("perm", [0, 2, 1])]))
            }
        }
        rewritten.append(node.label)
        return true
    }

    private func weights(_ node: Node) throws(JouledError) -> (shape: [Int], values: [Float])? {
        guard node.input.count >= 2, let at = index.initializer[node.input[1]], graph.initializer[at].elementType == .float else { return nil }
        return (graph.initializer[at].shape, try graph.initializer[at].floats())
    }

    /// The range of positions that is all that anything reads of `name`, with the Slices that take it.
    private func keptPositions(of name: String, count: Int) throws(JouledError) -> (range: Range<Int>, nodes: [Node])? {
        guard !index.outputs.contains(name), let readers = index.consumers[name], !readers.isEmpty else { return nil }
        var range: Range<Int>?
        for reader in readers {
            guard let slice = try Self.slice(graph.node[reader], of: name, graph, index), slice.axis == 2, let kept = slice.range(of: count), !kept.isEmpty, range == nil || range == kept else { return nil }
            range = kept
        }
        return range.map { ($0, readers.map { graph.node[$0] }) }
    }

    /// `name` as [windows, positions, channels].
    private mutating func rowVersion(of name: String, label: String) -> String {
        if let held = rows[name] { return held }
        var (source, order) = (name, [0, 2, 1])
        if let writer = index.producer[name].map({ graph.node[$0] }), writer.opType == "Transpose", let given = writer.integers("perm"), given.count == 3 {
            (source, order) = (aliases[writer.input[0]] ?? writer.input[0], [given[0], given[2], given[1]])
        }
        let held = order == [0, 1, 2] ? source : add("Transpose", label + "/rows", [source], [Attribute("perm", order)])
        rows[name] = held
        return held
    }

    /// Patches [windows, positions, taps x channels] of rows, with the taps that are on values at some position.
    private mutating func patch(_ label: String, _ source: String, _ geometry: Geometry, _ positions: Range<Int>) -> (name: String, taps: [Int]) {
        let length = geometry.length
        let taps = (0..<geometry.taps).filter { tap in positions.contains { (0..<length).contains(geometry.sample($0, tap)) } }
        let samples = positions.map { position in taps.map { geometry.sample(position, $0) } }
        let width = taps.count * geometry.channelsIn
        let flat = samples.flatMap { $0 }
        // One tap at every position, or positions that tile the input, need no copy; neither has the number of positions in it where it is one tap.
        if taps.count == 1, flat == Array(0..<length) { return (source, taps) }
        let least = min(0, flat.min() ?? 0)
        let most = max(length - 1, flat.max() ?? 0)
        var (padded, start) = (source, 0)
        if least < 0 || most >= length {
            padded = add("Pad", label + "/padded", [source, constant(label + "/pads", [6], [0, -least, 0, 0, most - length + 1, 0])])
            start = least
        }
        let shape = constant(label + "/patch_shape", [3], [0, positions.count, width])
        let isTiling = flat == Array(start...most)
        let gathered = isTiling ? padded : add("Gather", label + "/patches", [padded, constant(label + "/samples", [positions.count, taps.count], flat.map { $0 - start })], [Attribute("axis", 1)])
        return (add("Reshape", label + "/patch_rows", [gathered, shape]), taps)
    }

    /// A signal [windows, samples] that a convolution of one channel reads through Unsqueeze and perhaps a reflecting Pad, with the sample that
    /// each tap is on at each position; nil where there is none, or a tap is on padding with zeros.
    private func signal(behind name: String, _ geometry: Geometry, _ positions: Range<Int>) throws(JouledError) -> (name: String, taps: [[Int]])? {
        guard geometry.channelsIn == 1, let writer = index.producer[name].map({ graph.node[$0] }), writer.opType == "Unsqueeze", try integers(writer, 1) == [1],
            var shape = facts[writer.input[0]]?.fixedShape, shape.count == 2
        else { return nil }
        var source = writer.input[0]
        var samples = Array(0..<shape[1])
        if let pad = index.producer[source].map({ graph.node[$0] }), pad.opType == "Pad", let mode = pad.text("mode"), mode == "reflect" || mode == "edge",
            let amounts = try integers(pad, 1), amounts.count == 4, amounts[0] == 0, amounts[2] == 0, amounts[1] >= 0, amounts[3] >= 0,
            pad.input.count < 4 || pad.input[3].isEmpty, let inner = facts[pad.input[0]]?.fixedShape, inner.count == 2, mode == "edge" || max(amounts[1], amounts[3]) < inner[1]
        {
            let last = inner[1] - 1
            samples = (-amounts[1]..<inner[1] + amounts[3]).map { at in
                if mode == "edge" { return min(max(at, 0), last) }
                return at < 0 ? -at : at > last ? 2 * last - at : at
            }
            (source, shape) = (pad.input[0], inner)
        }
        var taps: [[Int]] = []
        for position in positions {
            let row = (0..<geometry.taps).map { geometry.sample(position, $0) }
            guard row.allSatisfy(samples.indices.contains) else { return nil }
            taps.append(row.map { samples[$0] })
        }
        return (aliases[source] ?? source, taps)
    }

    private func integers(_ node: Node, _ position: Int) throws(JouledError) -> [Int]? {
        guard position < node.input.count, let at = index.initializer[node.input[position]] else { return nil }
        return try graph.initializer[at].integers()
    }

    private mutating func gather(_ label: String, _ source: String, _ taps: [[Int]]) -> String {
        let flat = taps.flatMap { $0 }
        let key = "\(source) \(taps.count) \(flat)"
        if let known = patches[key] { return known }
        let samples = constant(label + "/samples", [taps.count, taps.first?.count ?? 0], flat)
        let name = add("Gather", label + "/patches", [source, samples], [Attribute("axis", 1)])
        patches[key] = name
        return name
    }
}

// MARK: - Slices of channels

extension ShortConvolutions {
    /// A Slice of one axis with steps of one.
    struct ConstantSlice {
        var axis: Int
        var start: Int
        var end: Int

        /// The positions that it keeps of `count`.
        func range(of count: Int) -> Range<Int>? {
            func clamped(_ value: Int) -> Int { min(max(value < 0 ? value + count : value, 0), count) }
            let (first, last) = (clamped(start), clamped(end))
            return first <= last ? first..<last : nil
        }
    }

    static func slice(_ node: Node, of name: String, _ graph: Graph, _ index: GraphIndex) throws(JouledError) -> ConstantSlice? {
        guard node.opType == "Slice", node.domain.isEmpty, node.input.first == name, node.input.count >= 4, !node.input.dropFirst().contains(name) else { return nil }
        var values: [Int] = []
        for input in node.input.dropFirst() {
            guard let at = index.initializer[input], graph.initializer[at].count == 1 else { return nil }
            values.append(try graph.initializer[at].integers()[0])
        }
        guard values.count < 4 || values[3] == 1 else { return nil }
        return ConstantSlice(axis: values[2] < 0 ? values[2] + 3 : values[2], start: values[0], end: values[1])
    }

    /// A convolution of which only Slices of channels are read becomes one for each of them: what a Fourier transform's real and
    /// imaginary halves are, whose kernels are mirrored in themselves.
    static func splitAtChannels(_ graph: inout Graph) throws(JouledError) {
        let index = GraphIndex(graph)
        var names = UniqueNames(graph)
        var replaced: [Int: [Node]] = [:]
        var gone: Set<Int> = []
        for (number, node) in graph.node.enumerated() where node.opType == "Conv" && node.domain.isEmpty && (node.integer("group") ?? 1) == 1 {
            guard let output = node.output.first, !index.outputs.contains(output), let readers = index.consumers[output], readers.count > 1,
                node.input.count >= 2, let at = index.initializer[node.input[1]], graph.initializer[at].elementType == .float
            else { continue }
            let weights = graph.initializer[at]
            guard weights.dims.count == 3, let channels = weights.shape.first, channels > 0 else { continue }
            var ranges: [Range<Int>] = []
            for reader in readers {
                guard let slice = try slice(graph.node[reader], of: output, graph, index), slice.axis == 1, let range = slice.range(of: channels), !range.isEmpty else { break }
                ranges.append(range)
            }
            guard ranges.count == readers.count, let values = try? weights.floats() else { continue }
            var bias: [Float]?
            if node.input.count > 2, !node.input[2].isEmpty {
                guard let at = index.initializer[node.input[2]], let floats = try? graph.initializer[at].floats(), floats.count == channels else { continue }
                bias = floats
            }
            let each = values.count / channels
            replaced[number] = []
            for (part, (reader, range)) in zip(readers, ranges).enumerated() {
                var item = node
                item.name = part == 0 ? node.name : names.make(node.label + "_part")
                item.output = graph.node[reader].output
                let name = names.make(node.input[1] + "_part")
                graph.initializer.append(Tensor(name: name, dims: [range.count] + weights.shape.dropFirst(), floats: Array(values[range.lowerBound * each..<range.upperBound * each])))
                item.input[1] = name
                if let bias {
                    let name = names.make(node.input[2] + "_part")
                    graph.initializer.append(Tensor(name: name, dims: [range.count], floats: Array(bias[range])))
                    item.input[2] = name
                }
                replaced[number]?.append(item)
                gone.insert(reader)
            }
        }
        guard !replaced.isEmpty else { return }
        graph.node = graph.node.enumerated().flatMap { number, node in replaced[number] ?? (gone.contains(number) ? [] : [node]) }
    }
}

// MARK: - Geometry

/// What a convolution over one axis reads at each position.
private struct Geometry {
    var channelsIn: Int
    var channelsOut: Int
    var length: Int
    var taps: Int
    var positions: Int
    private var stride: Int
    private var dilation: Int
    private var padding: Int
    /// [channels out, channels in, taps]
    var weights: (shape: [Int], values: [Float])

    /// nil where it is none, or one that is not covered: groups, several axes, automatic padding.
    init?(_ node: Node, input: [Int], weights: (shape: [Int], values: [Float])?) {
        guard node.opType == "Conv", node.domain.isEmpty, node.output.count == 1, input.count == 3, let weights, weights.shape.count == 3, (node.integer("group") ?? 1) == 1,
            (node.text("auto_pad") ?? "NOTSET") == "NOTSET", input[1] == weights.shape[1], weights.values.allSatisfy(\.isFinite)
        else { return nil }
        channelsIn = input[1]
        channelsOut = weights.shape[0]
        length = input[2]
        taps = weights.shape[2]
        stride = node.integers("strides")?.first ?? 1
        dilation = node.integers("dilations")?.first ?? 1
        let pads = node.integers("pads") ?? [0, 0]
        guard channelsIn > 0, channelsOut > 0, length > 0, taps > 0, stride > 0, dilation > 0, pads.count == 2, pads.allSatisfy({ $0 >= 0 && $0 < 1 << 20 }), taps < 1 << 20, dilation < 1 << 20 else { return nil }
        padding = pads[0]
        let room = length + pads[0] + pads[1] - dilation * (taps - 1) - 1
        guard room >= 0 else { return nil }
        positions = room / stride + 1
        self.weights = weights
    }

    /// The sample that a tap is on; below zero or from `length` on: padding.
    func sample(_ position: Int, _ tap: Int) -> Int { position * stride - padding + tap * dilation }

    /// Weights [taps x channels in, channels out] of the given taps.
    func rowWeights(of chosen: [Int]) -> [Float] {
        var result = [Float](repeating: 0, count: chosen.count * channelsIn * channelsOut)
        var at = 0
        for tap in chosen {
            for channel in 0..<channelsIn {
                for output in 0..<channelsOut {
                    result[at] = weights.values[(output * channelsIn + channel) * taps + tap]
                    at += 1
                }
            }
        }
        return result
    }
}
