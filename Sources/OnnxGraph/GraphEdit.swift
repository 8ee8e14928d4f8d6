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
            let names = node.input + node.subgraphs.flatMap(GraphCheck.freeNames)
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
    /// Turns Constant nodes that hold a tensor into initializers, in subgraphs too, so that weights are found in one place.
    public mutating func liftConstants() {
        let graphOutputs = Set(output.map(\.name))
        var kept: [Node] = []
        kept.reserveCapacity(node.count)
        for var item in node {
            if item.opType == "Constant", item.domain.isEmpty, let name = item.output.first, !graphOutputs.contains(name), var tensor = item.constantTensor {
                tensor.name = name
                initializer.append(tensor)
            } else {
                item.updateSubgraphs { $0.liftConstants() }
                kept.append(item)
            }
        }
        node = kept
    }

    /// Removes nodes whose results nothing reads and initializers that nothing reads, in subgraphs too.
    /// - Returns: how many nodes and initializers went.
    @discardableResult
    public mutating func removeDead() -> (nodes: Int, initializers: Int) {
        var gone = (nodes: 0, initializers: 0)
        // From the inside out: what a subgraph no longer reads may be dead outside of it.
        for index in node.indices {
            node[index].updateSubgraphs { inner in
                let removed = inner.removeDead()
                gone = (gone.nodes + removed.nodes, gone.initializers + removed.initializers)
            }
        }
        let (nodes, weights) = (node.count, initializer.count)
        let index = GraphIndex(self)
        var live = [Bool](repeating: false, count: node.count)
        var queue = output.compactMap { index.producer[$0.name] }
        var names = Set(output.map(\.name))
        while let item = queue.popLast() {
            guard !live[item] else { continue }
            live[item] = true
            let needed = node[item].input + node[item].subgraphs.flatMap(GraphCheck.freeNames)
            names.formUnion(needed)
            queue += needed.compactMap { index.producer[$0] }
        }
        node = node.indices.filter { live[$0] }.map { node[$0] }
        initializer.removeAll { !names.contains($0.name) }
        let written = names.union(node.flatMap(\.output))
        valueInfo.removeAll { !written.contains($0.name) }
        return (gone.nodes + nodes - node.count, gone.initializers + weights - initializer.count)
    }

    /// Lets every reader of `old`, in subgraphs too, read `new`.
    public mutating func replaceReads(of old: String, by new: String) {
        for index in node.indices { node[index].rename([old: new], outputs: false) }
    }

    /// Names that the graph itself gives to tensors.
    var boundNames: Set<String> {
        var names = Set(input.map(\.name)).union(initializer.map(\.name)).union(sparseInitializer.map(\.values.name))
        for item in node { names.formUnion(item.output) }
        return names
    }
}

extension Node {
    /// Replaces names of tensors in the inputs, in what subgraphs read from outside, and with `outputs` in the outputs.
    mutating func rename(_ names: [String: String], outputs: Bool) {
        for index in input.indices { if let new = names[input[index]] { input[index] = new } }
        if outputs { for index in output.indices { if let new = names[output[index]] { output[index] = new } } }
        updateSubgraphs { inner in
            // A name that the subgraph binds itself is another tensor there.
            let bound = inner.boundNames
            let free = names.filter { !bound.contains($0.key) }
            guard !free.isEmpty else { return }
            for index in inner.node.indices { inner.node[index].rename(free, outputs: false) }
            for index in inner.output.indices { if let new = free[inner.output[index].name] { inner.output[index].name = new } }
        }
    }
}
