/// Slices and transposes of the small integer tensors that shapes are computed in.
enum Strided {
    struct Cut {
        var start = 0
        var step = 1
        /// nil: as many as there are.
        var count: Int?
    }

    /// - Parameter cuts: one per axis; nil where it is not known.
    static func slice(_ input: TensorFact, _ cuts: [Cut?]) -> [Int?]? {
        guard let shape = input.fixedShape, let values = input.integers, !cuts.contains(where: { $0 == nil }) else { return nil }
        let parts = zip(cuts.compactMap { $0 }, shape).map { Cut(start: $0.start, step: $0.step, count: $0.count ?? $1) }
        return gather(values, sizes: parts.map { $0.count ?? 0 }, offset: zip(parts, strides(shape)).reduce(0) { $0 + $1.0.start * $1.1 }, strides: zip(parts, strides(shape)).map { cut, stride in (cut.count ?? 0) > 1 ? cut.step * stride : 0 })
    }

    static func transpose(_ input: TensorFact, _ order: [Int]) -> [Int?]? {
        guard let shape = input.fixedShape, let values = input.integers else { return nil }
        let own = strides(shape)
        return gather(values, sizes: order.map { shape[$0] }, offset: 0, strides: order.map { own[$0] })
    }

    private static func strides(_ shape: [Int]) -> [Int] {
        var result = [Int](repeating: 1, count: shape.count)
        for axis in shape.indices.dropLast().reversed() { result[axis] = result[axis + 1] * shape[axis + 1] }
        return result
    }

    private static func gather(_ values: [Int?], sizes: [Int], offset: Int, strides: [Int]) -> [Int?]? {
        var positions = sizes.contains(0) ? [] : [offset]
        for (size, stride) in zip(sizes, strides) { positions = positions.flatMap { start in (0..<size).map { start + $0 * stride } } }
        guard positions.count <= TensorFact.mostValues, positions.allSatisfy(values.indices.contains) else { return nil }
        return positions.map { values[$0] }
    }
}
