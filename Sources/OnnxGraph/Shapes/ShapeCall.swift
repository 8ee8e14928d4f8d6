import Units

/// One node with what is known of its inputs: what a shape rule looks at.
struct ShapeCall {
    let node: Node
    /// By position; nil for an input that is left out.
    let inputs: [TensorFact?]
    let opset: Int
    let path: String

    func input(_ index: Int) -> TensorFact { index < inputs.count ? inputs[index] ?? .unknown : .unknown }
    func has(_ index: Int) -> Bool { index < inputs.count && inputs[index] != nil }
    func shape(_ index: Int) -> [Int?]? { input(index).shape }
    var type: Int32 { input(0).elementType }

    func failure(_ what: String) -> JouledError {
        JouledError(.impossibleShape, "\(path): node '\(node.label)' (\(node.opType)): \(what)")
    }

    /// Integers from an attribute or, as later operator sets have it, from an input.
    /// - Returns: nil where they are absent; `.some(nil)` where they are there, but not known.
    func integers(_ attribute: String, orInput index: Int) -> [Int]?? {
        if let values = node.integers(attribute) { return .some(values) }
        guard has(index) else { return nil }
        return .some(input(index).fixedIntegers)
    }

    /// An axis counted from the front.
    /// - Throws: `.impossibleShape` for one that the rank does not have.
    func axis(_ axis: Int, rank: Int) throws(JouledError) -> Int {
        let positive = axis < 0 ? axis + rank : axis
        guard (0..<max(1, rank)).contains(positive) else { throw failure("axis \(axis) does not exist in rank \(rank)") }
        return positive
    }

    func axes(_ list: [Int], rank: Int) throws(JouledError) -> Set<Int> {
        var result: Set<Int> = []
        for item in list { result.insert(try axis(item, rank: rank)) }
        return result
    }

    /// The shape of an elementwise operation on all inputs, by numpy's rules.
    func broadcast(_ shapes: [[Int?]?]) throws(JouledError) -> [Int?]? {
        var known: [[Int?]] = []
        for shape in shapes {
            guard let shape else { return nil }
            known.append(shape)
        }
        let rank = known.map(\.count).max() ?? 0
        var result: [Int?] = []
        for position in 0..<rank {
            var size: Int? = 1
            for shape in known {
                let at = position - (rank - shape.count)
                guard at >= 0, shape[at] != 1 else { continue }
                // An open size is 1 or agrees with the others, so that a known one other than 1 wins.
                guard let theirs = shape[at] else {
                    if size == 1 { size = nil }
                    continue
                }
                if let size, size != 1, size != theirs {
                    throw failure("its inputs of shapes \(shapes.compactMap { $0.map(ShapeCall.text) }.joined(separator: " and ")) do not fit together")
                }
                size = theirs
            }
            result.append(size)
        }
        return result
    }

    static func text(_ shape: [Int?]) -> String { "[" + shape.map { $0.map(String.init) ?? "?" }.joined(separator: ", ") + "]" }
}

extension JouledError.Code {
    /// Sizes that an operation cannot have.
    public static let impossibleShape = Self("graph.impossible-shape")
}
