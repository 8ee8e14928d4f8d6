import Units

/// Who writes and who reads each tensor of a graph, subgraphs' reading included.
public struct GraphIndex: Sendable {
    /// Node index by the tensor that it writes.
    public private(set) var producer: [String: Int] = [:]
    /// Node indices by the tensor that they read, in order; a node that reads it twice is listed once.
    public private(set) var consumers: [String: [Int]] = [:]
    /// Initializer index by name.
    public private(set) var initializer: [String: Int] = [:]
    public private(set) var outputs: Set<String> = []

    public init(_ graph: Graph) {
        for (index, node) in graph.node.enumerated() {
            for output in node.output where !output.isEmpty { producer[output] = index }
            var names = node.input
            for attribute in node.attribute {
                for inner in (attribute.hasG ? [attribute.g] : []) + attribute.graphs { names += GraphCheck.freeNames(of: inner) }
            }
            for name in Set(names) where !name.isEmpty { consumers[name, default: []].append(index) }
        }
        for (index, tensor) in graph.initializer.enumerated() { initializer[tensor.name] = index }
        outputs = Set(graph.output.map(\.name))
    }
}

/// Hands out names that no node, tensor or subgraph of a model uses.
public struct UniqueNames: Sendable {
    private var used: Set<String> = []

    public init(_ graph: Graph) {
        var names: Set<String> = []
        graph.forEachGraph { inner in
            for node in inner.node {
                names.insert(node.name)
                names.formUnion(node.output)
                names.formUnion(node.input)
            }
            names.formUnion(inner.initializer.map(\.name))
            names.formUnion(inner.input.map(\.name))
            names.formUnion(inner.output.map(\.name))
        }
        used = names
    }

    /// `wanted`, or it with the first free number behind it.
    public mutating func make(_ wanted: String) -> String {
        var name = wanted
        var number = 2
        while !used.insert(name).inserted {
            name = "\(wanted)_\(number)"
            number += 1
        }
        return name
    }
}

extension Graph {
    /// Turns Constant nodes that hold a tensor into initializers, so that weights are found in one place.
    public mutating func liftConstants() {
        let graphOutputs = Set(output.map(\.name))
        var kept: [Node] = []
        kept.reserveCapacity(node.count)
        for item in node {
            guard item.opType == "Constant", item.domain.isEmpty, let name = item.output.first, !graphOutputs.contains(name),
                var tensor = Self.constant(item)
            else {
                kept.append(item)
                continue
            }
            tensor.name = name
            initializer.append(tensor)
        }
        node = kept
    }

    private static func constant(_ node: Node) -> Tensor? {
        guard node.attribute.count == 1, let value = node.attribute.first else { return nil }
        switch value.name {
        case "value": return value.t
        case "value_int": return Tensor(name: "", dims: [], int64s: [value.i])
        case "value_ints": return Tensor(name: "", dims: [value.ints.count], int64s: value.ints)
        case "value_float": return Tensor(name: "", dims: [], floats: [value.f])
        case "value_floats": return Tensor(name: "", dims: [value.floats.count], floats: value.floats)
        default: return nil
        }
    }

    /// Removes nodes whose results nothing reads and initializers that nothing reads.
    /// - Returns: how many nodes and initializers went.
    @discardableResult
    public mutating func removeDead() -> (nodes: Int, initializers: Int) {
        let (nodes, weights) = (node.count, initializer.count)
        let index = GraphIndex(self)
        var live = [Bool](repeating: false, count: node.count)
        var queue = output.compactMap { index.producer[$0.name] }
        var names = Set(output.map(\.name))
        while let item = queue.popLast() {
            guard !live[item] else { continue }
            live[item] = true
            var needed = node[item].input
            for attribute in node[item].attribute {
                for inner in (attribute.hasG ? [attribute.g] : []) + attribute.graphs { needed += GraphCheck.freeNames(of: inner) }
            }
            names.formUnion(needed)
            queue += needed.compactMap { index.producer[$0] }
        }
        node = node.indices.filter { live[$0] }.map { node[$0] }
        initializer.removeAll { !names.contains($0.name) }
        let written = names.union(node.flatMap(\.output))
        valueInfo.removeAll { !written.contains($0.name) }
        return (nodes - node.count, weights - initializer.count)
    }

    /// Lets every reader of `old`, in subgraphs too, read `new`.
    public mutating func replaceReads(of old: String, by new: String) {
        for index in node.indices {
            for position in node[index].input.indices where node[index].input[position] == old {
                node[index].input[position] = new
            }
            for attribute in node[index].attribute.indices {
                if node[index].attribute[attribute].hasG { node[index].attribute[attribute].g.replaceReads(of: old, by: new) }
                for inner in node[index].attribute[attribute].graphs.indices {
                    node[index].attribute[attribute].graphs[inner].replaceReads(of: old, by: new)
                }
            }
        }
    }
}
