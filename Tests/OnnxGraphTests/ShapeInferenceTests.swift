import JouledTestKit
import OnnxGraph
import Testing
import Units

@Suite struct ShapeInferenceTests {
    /// Against the true results of the onnx package's own operator tests: what is said must be so.
    @Test func neverContradictsTheOperatorsResults() throws {
        let directory = TemporaryDirectory()
        guard let truth = ReferenceModels.shapes(["operators", directory.path]) else { return }
        #expect(truth.count > 1500)
        var (exact, handled) = (0, 0)
        for item in truth {
            let model = try OnnxModel.load(item.file)
            try GraphCheck.check(model)
            // By bytes, as some hold NaN, which is no equal of itself.
            #expect(try OnnxModel.parse(model.serialized(), path: item.file).serialized() == model.serialized())
            let node = model.graph.node.map(\.opType).joined(separator: "+")
            let facts: [String: TensorFact]
            do { facts = try ShapeInference.infer(model) } catch {
                Issue.record("\(node) in \(item.file): \(error)")
                continue
            }
            let fact = facts[item.tensor] ?? .unknown
            if fact.elementType != 0 { #expect(fact.elementType == item.type, "\(node), \(item.tensor) in \(item.file)") }
            guard let shape = fact.shape else { continue }
            handled += 1
            let fits = shape.count == item.sizes.count && zip(shape, item.sizes).allSatisfy { $0 == nil || $0 == $1 }
            #expect(fits, "\(node) in \(item.file): \(fact.shapeText ?? "") but \(item.sizes)")
            if fact.fixedShape != nil { exact += 1 }
        }
        // Operators that no streaming model has stay unknown; those that are known should be known well.
        #expect(handled > truth.count * 6 / 10, "\(handled) of \(truth.count)")
        #expect(exact > handled * 9 / 10, "\(exact) of \(handled)")
        print("\(handled) of \(truth.count) results have a shape, \(exact) of them a fixed one")
    }

    /// Against onnx.shape_inference on whole models, as they are and with fixed sizes: never less, never otherwise.
    @Test func knowsWhatTheReferenceKnows() throws {
        guard let reference = ReferenceModels.shapes(["models"] + ReferenceModels.all) else { return }
        for (file, items) in Dictionary(grouping: reference, by: \.file) {
            var model = try OnnxModel.load(file)
            model.graph.valueInfo = []
            let facts = try ShapeInference.infer(model, usingDeclarations: true)
            for item in items {
                guard let fact = facts[item.tensor] else { continue }
                guard let shape = fact.shape, shape.count == item.sizes.count else {
                    Issue.record("\(item.tensor) of \(file): \(fact.shapeText ?? "unknown") but \(item.sizes)")
                    continue
                }
                for (mine, theirs) in zip(shape, item.sizes) where theirs != nil { #expect(mine == theirs, "\(item.tensor) of \(file): \(shape) but \(item.sizes)") }
            }
        }
    }

    @Test func shapeArithmeticReachesReshape() throws {
        // y = Reshape(x, Concat(Shape(x)[0:1], [-1])) with x [?, 3, 4]
        let axis = Tensor(name: "one", dims: [1], int64s: [1])
        var model = ModelFixture.model(
            nodes: [
                Node("Shape", name: "s", inputs: ["x"], outputs: ["shape"]), Node("Slice", name: "cut", inputs: ["shape", "zero", "one"], outputs: ["batch"]),
                Node("Concat", name: "join", inputs: ["batch", "rest"], outputs: ["target"], attributes: [Attribute("axis", 0)]),
                Node("Reshape", name: "flat", inputs: ["x", "target"], outputs: ["y"]),
            ], initializers: [Tensor(name: "zero", dims: [1], int64s: [0]), axis, Tensor(name: "rest", dims: [1], int64s: [12])])
        model.graph.input = [ModelFixture.input("x", [2, 3, 4])]
        model.graph.input[0].type.tensorType.shape.dim[0].value = nil
        #expect(try ShapeInference.infer(model)["y"]?.shape == [nil, 12])
        #expect(try ShapeInference.infer(model)["target"]?.integers == [nil, 12])
        model.graph.input = [ModelFixture.input("x", [2, 3, 4])]
        #expect(try ShapeInference.infer(model)["y"]?.fixedShape == [2, 12])
    }

    @Test(arguments: [
        ("MatMul", [2, 3], [4, 5]), ("Add", [2, 3], [4, 3]), ("Conv", [1, 3, 8], [4, 2, 3]), ("Conv", [1, 3, 2], [4, 3, 3]), ("Gemm", [2, 3], [4, 3]),
        ("Concat", [2, 3], [3, 3, 1]), ("Squeeze", [2, 3], []), ("LSTM", [1, 8], [1, 32, 8]),
    ]) func impossibleShapesNameTheNode(type: String, first: [Int], second: [Int]) throws {
        var model = ModelFixture.model(nodes: [Node(type, name: "it", inputs: ["x", "b"], outputs: ["y"])], initializers: [Tensor(name: "b", dims: second, floats: [Float](repeating: 0, count: second.reduce(1, *)))])
        if type == "Squeeze" { model.graph.initializer = [Tensor(name: "b", dims: [1], int64s: [0])] }
        model.graph.input = [ModelFixture.input("x", first)]
        let error = #expect(throws: JouledError.self) { try ShapeInference.infer(model) }
        #expect(error?.code == .impossibleShape)
        #expect(error?.message.hasPrefix("test.onnx: node 'it' (\(type)):") == true)
    }

    /// A loop that lengthens what it carries leaves that axis open, but keeps the others.
    @Test func loopsKeepWhatIsInvariant() throws {
        var body = Graph()
        body.input = [ModelFixture.input("i", []), ModelFixture.input("c", []), ModelFixture.input("h", [1, 1])]
        body.node = [
            Node("Identity", name: "go", inputs: ["c"], outputs: ["c2"]), Node("Concat", name: "grow", inputs: ["h", "h"], outputs: ["h2"], attributes: [Attribute("axis", 1)]),
            Node("Relu", name: "each", inputs: ["x"], outputs: ["scanned"]),
        ]
        body.output = [ModelFixture.input("c2", []), ModelFixture.input("h2", []), ModelFixture.input("scanned", [])]
        let model = ModelFixture.model(
            nodes: [Node("Loop", name: "loop", inputs: ["n", "", "x"], outputs: ["final", "y"], attributes: [Attribute("body", body)])],
            initializers: [Tensor(name: "n", dims: [], int64s: [3])])
        let facts = try ShapeInference.infer(model)
        #expect(facts["final"]?.shape == [1, nil])
        #expect(facts["y"]?.shape == [nil, 1, 4])
    }
}

@Suite struct ShapeFoldingTests {
    /// then: y = x + w, w of the branch itself; else: y = outer. Both branches have a node 'n' and a tensor 'r'.
    private func choice(_ condition: Bool?, nested: Bool = false) -> OnnxModel {
        var taken = Graph()
        taken.initializer = [Tensor(name: "w", dims: [4], floats: [1, 2, 3, 4])]
        taken.node = [Node("Add", name: "n", inputs: ["outer", "w"], outputs: ["r"])]
        taken.output = [ModelFixture.input("r", [1, 4])]
        var other = Graph()
        other.node = [Node("Relu", name: "n", inputs: ["outer"], outputs: ["r"])]
        other.output = [ModelFixture.input("r", [1, 4])]
        if nested { taken = wrapped(taken, other) }
        let choose = Node("If", name: "if", inputs: ["c"], outputs: ["y"], attributes: [Attribute("then_branch", taken), Attribute("else_branch", other)])
        let pre = Node("Neg", name: "pre", inputs: ["x"], outputs: ["outer"])
        var model = ModelFixture.model(nodes: [pre, choose], initializers: [])
        if let condition { model.graph.initializer = [Tensor(name: "c", type: .bool, dims: [], bytes: [condition ? 1 : 0])] } else {
            var input = ModelFixture.input("c", [])
            input.type.tensorType.elemType = ElementType.bool.rawValue
            model.graph.input.append(input)
        }
        return model
    }

    /// A branch that chooses by the rank of what it reads.
    private func wrapped(_ inner: Graph, _ other: Graph) -> Graph {
        var graph = Graph()
        graph.node = [
            Node("Shape", name: "shape", inputs: ["outer"], outputs: ["s"]), Node("Size", name: "size", inputs: ["s"], outputs: ["rank"]),
            Node("Equal", name: "eq", inputs: ["rank", "two"], outputs: ["is2"]),
            Node("If", name: "inner", inputs: ["is2"], outputs: ["z"], attributes: [Attribute("then_branch", inner), Attribute("else_branch", other)]),
        ]
        graph.initializer = [Tensor(name: "two", dims: [], int64s: [2])]
        graph.output = [ModelFixture.input("z", [1, 4])]
        return graph
    }

    @Test(arguments: [true, false], [true, false]) func takesTheBranch(condition: Bool, nested: Bool) throws {
        var model = choice(condition, nested: nested)
        let outcome = try ShapeFolding.fold(&model)
        try GraphCheck.check(model)
        #expect(outcome.branches == (condition && nested ? ["if", "inner"] : ["if"]))
        #expect(model.graph.node.map(\.opType) == ["Neg", condition ? "Add" : "Relu"])
        #expect(model.graph.node.last?.output == ["y"] && model.graph.node.last?.input.first == "outer")
        #expect(model.graph.initializer.count == (condition ? 1 : 0))
    }

    @Test func unknownConditionStaysButIsFoldedInside() throws {
        var model = choice(nil, nested: true)
        let outcome = try ShapeFolding.fold(&model)
        try GraphCheck.check(model)
        #expect(outcome.branches == ["inner"])
        #expect(model.graph.node.map(\.opType) == ["Neg", "If"])
        #expect(model.graph.node[1].subgraphs.map { $0.node.map(\.opType) } == [["Add"], ["Relu"]])
    }

    /// Names of two inlined branches and of what is already there never meet.
    @Test(arguments: seeds(10)) func namesStayUnique(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        var model = choice(true)
        var last = "y"
        let branches = model.graph.node[1].attribute
        for index in 0..<Int.random(in: 1...4, using: &random) {
            model.graph.node.append(Node("If", name: "if", inputs: ["c"], outputs: ["y\(index)"], attributes: Bool.random(using: &random) ? branches : branches.reversed()))
            model.graph.node.append(Node("Add", name: "n", inputs: [last, "y\(index)"], outputs: ["sum\(index)"]))
            last = "sum\(index)"
        }
        model.graph.output = [ModelFixture.input(last, [1, 4])]
        _ = try ShapeFolding.fold(&model)
        try GraphCheck.check(model)
        #expect(!model.graph.node.contains { $0.opType == "If" })
        let names = model.graph.initializer.map(\.name)
        #expect(Set(names).count == names.count, "seed \(seed)")
    }

    @Test func deadNodesInBranchesGo() throws {
        var model = choice(nil)
        try model.proto.graph.updateEachGraph { graph in
            if graph.output.first?.name == "r" { graph.node.append(Node("Exp", name: "dead", inputs: ["onlyForIt"], outputs: ["nowhere"])) }
        }
        model.graph.node.insert(Node("Abs", name: "feedsDead", inputs: ["x"], outputs: ["onlyForIt"]), at: 0)
        try GraphCheck.check(model)
        let removed = model.proto.graph.removeDead()
        #expect(removed.nodes == 3)
        #expect(model.graph.node.map(\.opType) == ["Neg", "If"])
    }
}
