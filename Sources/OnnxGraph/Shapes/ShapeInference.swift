import Units

/// Sizes and types of a graph's tensors, as far as they follow from the inputs' declarations and the values of shape tensors.
///
/// Covers the operators that streaming models are made of (see the rules' files); what others write is unknown. Branches
/// of If with a known condition, bodies of Loop and Scan are walked too.
public struct ShapeInference {
    let opset: Int
    let path: String
    /// Also believe what the file declares of inner values, where nothing else is known.
    var usesDeclarations = false

    /// Facts of the main graph's tensors by name.
    /// - Parameter usingDeclarations: also believe the file's own value_info where nothing else is known.
    /// - Throws: `.impossibleShape` naming the node whose inputs cannot be; `.invalidGraph` for a cycle.
    public static func infer(_ model: OnnxModel, usingDeclarations: Bool = false) throws(JouledError) -> [String: TensorFact] {
        let inference = ShapeInference(opset: model.opset, path: model.path, usesDeclarations: usingDeclarations)
        var facts: [String: TensorFact] = [:]
        var sorted = model.graph
        sorted.node = try GraphCheck.sorted(model.graph, path: model.path)
        try inference.enter(sorted, &facts)
        return facts
    }

    /// Adds what is known of a graph's inputs, initializers and nodes.
    private func enter(_ graph: Graph, _ facts: inout [String: TensorFact]) throws(JouledError) {
        Self.bind(graph, &facts)
        let stated = usesDeclarations ? Self.declarations(graph) : [:]
        for node in graph.node {
            for (name, fact) in zip(node.output, try outputs(of: node, facts)) where !name.isEmpty { facts[name] = fact.refined(by: stated[name]) }
        }
    }

    static func bind(_ graph: Graph, _ facts: inout [String: TensorFact]) {
        for input in graph.input where facts[input.name] == nil { facts[input.name] = TensorFact(input) ?? .unknown }
        for tensor in graph.initializer { facts[tensor.name] = TensorFact(tensor) }
    }

    static func declarations(_ graph: Graph) -> [String: TensorFact] {
        var result: [String: TensorFact] = [:]
        for info in graph.valueInfo + graph.output { result[info.name] = TensorFact(info) }
        return result
    }

    /// One fact per output of the node.
    func outputs(of node: Node, _ facts: [String: TensorFact]) throws(JouledError) -> [TensorFact] {
        var result: [TensorFact]
        switch node.opType {
        case "If" where Self.isStandard(node): result = try branches(node, facts)
        case "Loop" where Self.isStandard(node): result = try loop(node, facts)
        case "Scan" where Self.isStandard(node): result = try scan(node, facts)
        case "Constant" where Self.isStandard(node): result = [node.constantTensor.map(TensorFact.init) ?? .unknown]
        default:
            let call = ShapeCall(node: node, inputs: node.input.map { $0.isEmpty ? nil : facts[$0] ?? .unknown }, opset: opset, path: path)
            guard Self.isStandard(node) || node.domain == microsoftDomain else {
                let known = node.domain == "ai.onnx.ml" ? MatrixRules.classicalFacts(call) : nil
                result = known ?? []
                break
            }
            var known = try ElementwiseRules.facts(call)
            if known == nil { known = try LayoutRules.facts(call) }
            if known == nil { known = try WindowRules.facts(call) }
            if known == nil { known = try MatrixRules.facts(call) }
            result = known ?? []
        }
        while result.count < node.output.count { result.append(.unknown) }
        for index in result.indices {
            // A rule may follow more than is known: values whose number does not fit are no values.
            if let values = result[index].integers, let count = result[index].count, values.count != count { result[index].integers = nil }
        }
        return result
    }

    static func isStandard(_ node: Node) -> Bool { node.domain.isEmpty || node.domain == "ai.onnx" }

    /// The branch that a known condition takes.
    static func branch(_ node: Node, _ facts: [String: TensorFact]) -> Graph? {
        guard let condition = node.input.first.flatMap({ facts[$0] })?.fixedIntegers?.first else { return nil }
        return node.attribute(condition != 0 ? "then_branch" : "else_branch")?.g
    }

    private func branches(_ node: Node, _ facts: [String: TensorFact]) throws(JouledError) -> [TensorFact] {
        if let graph = Self.branch(node, facts) { return try results(of: graph, facts) }
        // A branch that cannot be may be one that is never taken: then nothing is known, and nothing is wrong.
        let sides = ["then_branch", "else_branch"].compactMap { name in node.attribute(name).flatMap { try? results(of: $0.g, facts) } }
        guard sides.count == 2, sides[0].count == sides[1].count else { return [] }
        return zip(sides[0], sides[1]).map { $0.joined($1) }
    }

    private func results(of graph: Graph, _ outer: [String: TensorFact]) throws(JouledError) -> [TensorFact] {
        var facts = outer
        var sorted = graph
        sorted.node = try GraphCheck.sortedInner(graph, path: path)
        try enter(sorted, &facts)
        return graph.output.map { facts[$0.name] ?? .unknown }
    }

    /// The body's inputs: iteration, condition, carried values; its outputs: condition, carried values, scanned ones.
    private func loop(_ node: Node, _ facts: [String: TensorFact]) throws(JouledError) -> [TensorFact] {
        guard let body = node.attribute("body")?.g else { return [] }
        var carried = node.input.dropFirst(2).map { name in
            var fact = facts[name] ?? .unknown
            fact.integers = nil
            return fact
        }
        var outputs: [TensorFact] = []
        // What an iteration changes is open; twice more, as one change can lead to another.
        for _ in 0..<4 {
            var inner = facts
            let bound = [TensorFact(ElementType.int64.rawValue, []), TensorFact(ElementType.bool.rawValue, [])] + carried
            for (input, fact) in zip(body.input, bound) { inner[input.name] = fact }
            outputs = Array(try results(of: body, inner).dropFirst())
            let next = zip(carried, outputs).map { $0.joined($1) }
            if next == carried { break }
            carried = next
        }
        guard outputs.count >= carried.count else { return [] }
        return carried + outputs[carried.count...].map { TensorFact($0.elementType, $0.shape.map { [nil] + $0 }) }
    }

    private func scan(_ node: Node, _ facts: [String: TensorFact]) throws(JouledError) -> [TensorFact] {
        guard let body = node.attribute("body")?.g, let scanned = node.integer("num_scan_inputs"), opset >= 9, node.input.count >= scanned else { return [] }
        let states = node.input.count - scanned
        var inner = facts
        var length: Int?
        for (index, (input, name)) in zip(body.input, node.input).enumerated() {
            var fact = facts[name] ?? .unknown
            fact.integers = nil
            if index >= states, var shape = fact.shape {
                let axes = node.integers("scan_input_axes") ?? []
                let given = index - states < axes.count ? axes[index - states] : 0
                let axis = given < 0 ? given + shape.count : given
                guard shape.indices.contains(axis) else { return [] }
                let size = shape.remove(at: axis)
                length = length ?? size
                fact.shape = shape
            }
            inner[input.name] = fact
        }
        let outputs = try results(of: body, inner)
        guard outputs.count >= states else { return [] }
        let axes = node.integers("scan_output_axes") ?? []
        return Array(outputs[..<states]) + outputs[states...].enumerated().map { index, fact in
            guard var shape = fact.shape else { return fact }
            let given = index < axes.count ? axes[index] : 0
            shape.insert(length, at: min(shape.count, max(0, given < 0 ? given + shape.count + 1 : given)))
            return TensorFact(fact.elementType, shape)
        }
    }
}
