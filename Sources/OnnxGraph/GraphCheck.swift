import Units

/// Structural checks of a graph and its subgraphs.
public enum GraphCheck {
    /// Checks names, inputs and order; nodes may come in any order that some order of execution satisfies.
    /// - Throws: `.invalidGraph` naming file, node and tensor: a value written twice, an input that nothing writes,
    ///   a cycle (with the nodes on it), an output that nothing writes.
    public static func check(_ model: OnnxModel) throws(JouledError) {
        let defined = Set(model.graph.input.map(\.name)).union(model.graph.initializer.map(\.name))
        _ = try order(model.graph, outer: [], defined: defined, model.path)
    }

    /// The graph's nodes in an order in which each runs after what it reads; the given order where that is one.
    public static func sorted(_ graph: Graph, path: String) throws(JouledError) -> [Node] {
        let defined = Set(graph.input.map(\.name)).union(graph.initializer.map(\.name))
        return try order(graph, outer: [], defined: defined, path).map { graph.node[$0] }
    }

    /// As `sorted`, for a subgraph, which may read what the graphs around it write.
    static func sortedInner(_ graph: Graph, path: String) throws(JouledError) -> [Node] {
        let defined = Set(graph.input.map(\.name)).union(graph.initializer.map(\.name))
        return try order(graph, outer: Set(freeNames(of: graph)), defined: defined, path).map { graph.node[$0] }
    }

    private static func order(
        _ graph: Graph, outer: Set<String>, defined: Set<String>, _ path: String
    ) throws(JouledError) -> [Int] {
        func invalid(_ what: String) -> JouledError { JouledError(.invalidGraph, "\(path): \(what)") }
        var producer: [String: Int] = [:]
        for (index, node) in graph.node.enumerated() {
            for output in node.output where !output.isEmpty {
                if let other = producer[output] {
                    throw invalid("tensor '\(output)' is written by both node '\(graph.node[other].label)' and node '\(node.label)'")
                }
                if defined.contains(output) { throw invalid("tensor '\(output)' of node '\(node.label)' is a graph input or initializer already") }
                producer[output] = index
            }
        }
        let sparse = Set(graph.sparseInitializer.map(\.values.name))
        let known = outer.union(defined).union(sparse)
        let all = known.union(producer.keys)
        var waiting = [Int](repeating: 0, count: graph.node.count)
        var readers: [[Int]] = Array(repeating: [], count: graph.node.count)
        for (index, node) in graph.node.enumerated() {
            var needed = node.input
            for inner in node.subgraphs {
                let own = Set(inner.input.map(\.name)).union(inner.initializer.map(\.name))
                _ = try order(inner, outer: all, defined: own, path)
                needed += freeNames(of: inner)
            }
            for name in Set(needed) where !name.isEmpty && !known.contains(name) {
                guard let source = producer[name] else {
                    throw invalid("node '\(node.label)' (\(node.opType)) reads '\(name)', which nothing writes: a dangling input")
                }
                readers[source].append(index)
                waiting[index] += 1
            }
        }
        for output in graph.output where !all.contains(output.name) {
            throw invalid("graph output '\(output.name)' is written by no node")
        }
        var ready = waiting.indices.filter { waiting[$0] == 0 }
        var result: [Int] = []
        result.reserveCapacity(ready.count)
        var position = 0
        while position < ready.count {
            let index = ready[position]
            position += 1
            result.append(index)
            for reader in readers[index] {
                waiting[reader] -= 1
                if waiting[reader] == 0 { ready.append(reader) }
            }
        }
        guard result.count == graph.node.count else {
            let stuck = waiting.indices.filter { waiting[$0] > 0 }
            throw invalid("the graph has a cycle through node '\(onCycle(stuck, graph, producer))'")
        }
        // Keep the file's order when it is valid, so that a round trip changes nothing.
        let inOrder = readers.enumerated().allSatisfy { source, list in list.allSatisfy { $0 > source } }
        return inOrder ? Array(graph.node.indices) : result
    }

    /// Walks backwards from a node that never became ready until one repeats: that one lies on a cycle.
    private static func onCycle(_ stuck: [Int], _ graph: Graph, _ producer: [String: Int]) -> String {
        let members = Set(stuck)
        guard var index = stuck.first else { return "?" }
        var seen: Set<Int> = []
        while seen.insert(index).inserted {
            guard let next = graph.node[index].input.lazy.compactMap({ producer[$0] }).first(where: members.contains) else { break }
            index = next
        }
        return graph.node[index].label
    }

    /// Names that a subgraph takes from the graphs around it.
    static func freeNames(of graph: Graph) -> [String] {
        let bound = graph.boundNames
        var free: [String] = []
        for node in graph.node {
            free += node.input.filter { !$0.isEmpty && !bound.contains($0) }
            free += node.subgraphs.flatMap(freeNames).filter { !bound.contains($0) }
        }
        free += graph.output.map(\.name).filter { !bound.contains($0) }
        return free
    }
}
