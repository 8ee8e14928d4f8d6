import Units

/// Replaces what follows from sizes alone: branches of If whose condition is known, and shape arithmetic, by its result.
public struct ShapeFolding {
    /// What was done.
    public struct Outcome: Sendable {
        /// Labels of the If nodes that were replaced by one of their branches.
        public var branches: [String] = []
        /// Nodes that were replaced by their values.
        public var constants = 0
    }

    private let inference: ShapeInference
    private var outcome = Outcome()
    private var names: UniqueNames
    /// How often a name is given in the whole model: siblings may share one as long as they are in different scopes.
    private var definitions: [String: Int] = [:]

    /// Folds the model in place; dead nodes are removed.
    /// - Throws: `.impossibleShape` naming the node whose inputs cannot be; `.invalidGraph` for a cycle.
    public static func fold(_ model: inout OnnxModel) throws(JouledError) -> Outcome {
        var folding = ShapeFolding(model)
        var facts: [String: TensorFact] = [:]
        var graph = model.graph
        graph.node = try GraphCheck.sorted(graph, path: model.path)
        try folding.fold(&graph, &facts)
        graph.removeDead()
        model.graph = graph
        return folding.outcome
    }

    private init(_ model: OnnxModel) {
        inference = ShapeInference(opset: model.opset, path: model.path)
        names = UniqueNames(model.graph)
        var counts: [String: Int] = [:]
        model.graph.forEachGraph { graph in
            for name in graph.boundNames { counts[name, default: 0] += 1 }
            for node in graph.node where !node.name.isEmpty { counts["node " + node.name, default: 0] += 1 }
        }
        definitions = counts
    }

    private mutating func fold(_ graph: inout Graph, _ facts: inout [String: TensorFact]) throws(JouledError) {
        ShapeInference.bind(graph, &facts)
        let results = Set(graph.output.map(\.name))
        var waiting = Array(graph.node.reversed())
        var kept: [Node] = []
        while var node = waiting.popLast() {
            if node.opType == "If", ShapeInference.isStandard(node), let branch = ShapeInference.branch(node, facts) {
                outcome.branches.append(node.label)
                let inlined = try inline(branch, for: node)
                for tensor in inlined.initializers { facts[tensor.name] = TensorFact(tensor) }
                graph.initializer += inlined.initializers
                waiting += inlined.nodes.reversed()
                continue
            }
            try foldInside(&node, facts)
            let outputs = try inference.outputs(of: node, facts)
            for (name, fact) in zip(node.output, outputs) where !name.isEmpty { facts[name] = fact }
            if node.opType != "Constant", let values = Self.values(node, outputs), results.isDisjoint(with: node.output) {
                graph.initializer += values
                outcome.constants += 1
            } else {
                kept.append(node)
            }
        }
        graph.node = kept
    }

    private static func values(_ node: Node, _ facts: [TensorFact]) -> [Tensor]? {
        var tensors: [Tensor] = []
        for (name, fact) in zip(node.output, facts) where !name.isEmpty {
            guard let tensor = fact.tensor(named: name) else { return nil }
            tensors.append(tensor)
        }
        return tensors.isEmpty ? nil : tensors
    }

    /// Folds in branches and bodies that stay.
    private mutating func foldInside(_ node: inout Node, _ facts: [String: TensorFact]) throws(JouledError) {
        guard ["If", "Loop", "Scan"].contains(node.opType), ShapeInference.isStandard(node) else { return }
        var copy = self
        let changed: Node? = {
            var changed = node
            do throws(JouledError) {
                try changed.updateSubgraphs { inner throws(JouledError) in
                    var known = facts
                    // What a body gets may differ from iteration to iteration.
                    for input in inner.input { known[input.name] = .unknown }
                    inner.node = try GraphCheck.sortedInner(inner, path: inference.path)
                    try copy.fold(&inner, &known)
                }
                return changed
            } catch {
                // A branch that cannot be is perhaps never taken: it stays as it is.
                return nil
            }
        }()
        guard let changed else { return }
        (self, node) = (copy, changed)
    }

    /// A branch's nodes and initializers under names of the graph that they come to stand in.
    private mutating func inline(_ branch: Graph, for node: Node) throws(JouledError) -> (nodes: [Node], initializers: [Tensor]) {
        var map: [String: String] = [:]
        for name in branch.boundNames.sorted() where !name.isEmpty && (definitions[name] ?? 0) > 1 { map[name] = names.make(name) }
        var nodes = try GraphCheck.sortedInner(branch, path: inference.path)
        let written = Set(nodes.flatMap(\.output))
        var copies: [Node] = []
        var given: Set<String> = []
        for (inner, outer) in zip(branch.output.map(\.name), node.output) where !outer.isEmpty {
            if written.contains(inner), given.insert(inner).inserted {
                map[inner] = outer
            } else {
                // From an initializer, from outside of the branch, or a second output of the same value.
                copies.append(Node("Identity", name: names.make(outer + "_copy"), inputs: [inner], outputs: [outer]))
            }
        }
        for index in nodes.indices {
            nodes[index].rename(map, outputs: true)
            if (definitions["node " + nodes[index].name] ?? 0) > 1 { nodes[index].name = names.make(nodes[index].name) }
        }
        for index in copies.indices { copies[index].rename(map, outputs: false) }
        let initializers = branch.initializer.map { tensor in
            var tensor = tensor
            tensor.name = map[tensor.name] ?? tensor.name
            return tensor
        }
        return (nodes + copies, initializers)
    }
}
