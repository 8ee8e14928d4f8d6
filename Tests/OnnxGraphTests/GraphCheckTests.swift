import JouledTestKit
import OnnxGraph
import Testing
import Units

@Suite struct GraphCheckTests {
    @Test func danglingInput() {
        let model = ModelFixture.model(nodes: [Node("Add", name: "sum", inputs: ["x", "ghost"], outputs: ["y"])])
        let error = #expect(throws: JouledError.self) { try GraphCheck.check(model) }
        #expect(error?.message == "test.onnx: node 'sum' (Add) reads 'ghost', which nothing writes: a dangling input")
    }

    @Test func cycleNamesANodeOnIt() {
        let model = ModelFixture.model(nodes: [
            Node("Add", name: "a", inputs: ["x", "c"], outputs: ["b"]), Node("Relu", name: "r", inputs: ["b"], outputs: ["c"]),
            Node("Relu", name: "after", inputs: ["c"], outputs: ["y"]),
        ])
        let error = #expect(throws: JouledError.self) { try GraphCheck.check(model) }
        #expect(error?.message.contains("cycle") == true)
        #expect(error?.message.contains("'a'") == true || error?.message.contains("'r'") == true)
    }

    @Test func writtenTwiceAndMissingOutput() {
        let twice = ModelFixture.model(nodes: [Node("Relu", name: "a", inputs: ["x"], outputs: ["y"]), Node("Relu", name: "b", inputs: ["x"], outputs: ["y"])])
        #expect(throws: JouledError.self) { try GraphCheck.check(twice) }
        let missing = ModelFixture.model(nodes: [Node("Relu", name: "a", inputs: ["x"], outputs: ["z"])])
        #expect(throws: JouledError.self) { try GraphCheck.check(missing) }
    }

    @Test func subgraphReadsOuterValues() throws {
        var inner = Graph()
        inner.node = [Node("Relu", name: "inner", inputs: ["early"], outputs: ["out"])]
        inner.output = [ModelFixture.input("out", [1, 4])]
        var branch = Attribute()
        branch.name = "then_branch"
        branch.type = .graph
        branch.g = inner
        let choose = Node("If", name: "if", inputs: ["x"], outputs: ["y"], attributes: [branch])
        // The If comes first in the file, but reads 'early' through its branch: it must be sorted behind.
        let model = ModelFixture.model(nodes: [choose, Node("Relu", name: "pre", inputs: ["x"], outputs: ["early"])])
        #expect(try GraphCheck.sorted(model.graph, path: "t").map(\.name) == ["pre", "if"])
        var broken = model
        broken.proto.graph.node.removeLast()
        let error = #expect(throws: JouledError.self) { try GraphCheck.check(broken) }
        #expect(error?.message.contains("'early'") == true)
        var kept = model.graph
        kept.removeDead()
        #expect(kept.node.count == 2)
    }

    /// Any order of a valid graph's nodes is sorted into one in which everything is written before it is read.
    @Test(arguments: seeds(20)) func sortsShuffledGraphs(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        let count = Int.random(in: 2...30, using: &random)
        var nodes: [Node] = []
        for index in 0..<count {
            let sources = (0..<Int.random(in: 1...3, using: &random)).map { _ in
                index == 0 ? "x" : (Bool.random(using: &random) ? "x" : "t\(Int.random(in: 0..<index, using: &random))")
            }
            nodes.append(Node("Sum", name: "n\(index)", inputs: sources, outputs: [index == count - 1 ? "y" : "t\(index)"]))
        }
        let model = ModelFixture.model(nodes: nodes.shuffled(using: &random))
        var written: Set<String> = ["x"]
        for node in try GraphCheck.sorted(model.graph, path: "t") {
            #expect(node.input.allSatisfy(written.contains), "seed \(seed)")
            written.formUnion(node.output)
        }
        #expect(written.count == count + 1)
    }

    @Test func removesDeadNodesAndLiftsConstants() {
        var value = Attribute()
        value.name = "value"
        value.type = .tensor
        value.t = Tensor(name: "", dims: [1, 4], floats: [1, 2, 3, 4])
        var model = ModelFixture.model(
            nodes: [
                Node("Constant", name: "c", inputs: [], outputs: ["k"], attributes: [value]), Node("Add", name: "a", inputs: ["x", "k"], outputs: ["y"]),
                Node("Relu", name: "dead", inputs: ["x"], outputs: ["unread"]),
            ], initializers: [Tensor(name: "unused", dims: [1], floats: [1])])
        model.proto.graph.liftConstants()
        #expect(model.graph.initializer.map(\.name) == ["unused", "k"])
        let removed = model.proto.graph.removeDead()
        #expect(removed.nodes == 1 && removed.initializers == 1)
        #expect(model.graph.node.map(\.name) == ["a"])
    }

    @Test func namesAreUnique() {
        let model = ModelFixture.model(nodes: [Node("Relu", name: "w", inputs: ["x"], outputs: ["w_2"])])
        var names = UniqueNames(model.graph)
        #expect(names.make("w") == "w_3")
        #expect(names.make("w") == "w_4")
        #expect(names.make("free") == "free")
    }
}
