import Units

/// Products, reductions and recurrent layers.
enum MatrixRules {
    /// Facts of the node's outputs; nil where it is no operation of these.
    static func facts(_ call: ShapeCall) throws(JouledError) -> [TensorFact]? {
        switch call.node.opType {
        case "MatMul": return [TensorFact(call.type, try product(call, call.shape(0), call.shape(1)))]
        case "MatMulInteger": return [TensorFact(ElementType.int32.rawValue, try product(call, call.shape(0), call.shape(1)))]
        case "QLinearMatMul": return [TensorFact(call.input(7).elementType, try product(call, call.shape(0), call.shape(3)))]
        case "MatMulNBits":
            guard let shape = call.shape(0), let columns = call.node.integer("N") else { return [TensorFact(call.type)] }
            return [TensorFact(call.type, shape.dropLast() + [columns])]
        case "Gemm", "FusedGemm": return try gemm(call)
        case "LSTM", "GRU", "RNN", "DynamicQuantizeLSTM": return try recurrent(call)
        case "Einsum": return try einsum(call)
        case "Det": return [TensorFact(call.type, call.shape(0).map { Array($0.dropLast(2)) })]
        case "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum", "ReduceSumSquare":
            return try reduce(call)
        case "ArgMax", "ArgMin":
            guard let shape = call.shape(0) else { return [TensorFact(ElementType.int64.rawValue)] }
            let axis = try call.axis(call.node.integer("axis") ?? 0, rank: shape.count)
            return [TensorFact(ElementType.int64.rawValue, without(shape, [axis], keeping: (call.node.integer("keepdims") ?? 1) != 0))]
        default: return nil
        }
    }

    private static func without(_ shape: [Int?], _ axes: Set<Int>, keeping: Bool) -> [Int?] {
        shape.indices.compactMap { axes.contains($0) ? (keeping ? .some(1) : nil) : .some(shape[$0]) }
    }

    private static func reduce(_ call: ShapeCall) throws(JouledError) -> [TensorFact] {
        guard let shape = call.shape(0) else { return [TensorFact(call.type)] }
        let keeping = (call.node.integer("keepdims") ?? 1) != 0
        var axes = Set(shape.indices)
        switch call.integers("axes", orInput: 1) {
        case .some(.some(let list)) where !list.isEmpty: axes = try call.axes(list, rank: shape.count)
        case .some(.none): return [TensorFact(call.type, keeping ? shape.map { _ in nil } : nil)]
        default: if (call.node.integer("noop_with_empty_axes") ?? 0) != 0 { return [call.input(0)] }
        }
        return [TensorFact(call.type, without(shape, axes, keeping: keeping), integers: total(call, axes))]
    }

    /// Sums and products of whole integer vectors: element counts.
    private static func total(_ call: ShapeCall, _ axes: Set<Int>) -> [Int?]? {
        guard let values = call.input(0).fixedIntegers, let rank = call.input(0).rank, axes.count == rank, let first = values.first else { return nil }
        switch call.node.opType {
        case "ReduceProd": return [values.reduce(1, TensorFact.saturatingProduct)]
        case "ReduceSum": return [values.reduce(0, &+)]
        case "ReduceMax": return [values.reduce(first, max)]
        case "ReduceMin": return [values.reduce(first, min)]
        default: return nil
        }
    }

    private static func product(_ call: ShapeCall, _ left: [Int?]?, _ right: [Int?]?) throws(JouledError) -> [Int?]? {
        guard let left, let right else { return nil }
        guard let inner = left.last, let last = right.last else { throw call.failure("multiplies a single value; both inputs need an axis") }
        let (a, b) = (left.count == 1 ? [1] + left : left, right.count == 1 ? right + [1] : right)
        if let k = inner, let other = b[b.count - 2], k != other {
            throw call.failure("multiplies \(ShapeCall.text(left)) by \(ShapeCall.text(right)): \(k) columns, but \(other) rows")
        }
        var result = try call.broadcast([Array(a.dropLast(2)), Array(b.dropLast(2))]) ?? []
        if left.count > 1 { result.append(a[a.count - 2]) }
        if right.count > 1 { result.append(last) }
        return result
    }

    private static func gemm(_ call: ShapeCall) throws(JouledError) -> [TensorFact] {
        guard let a = call.shape(0), let b = call.shape(1) else { return [TensorFact(call.type, [nil, nil])] }
        guard a.count == 2, b.count == 2 else { throw call.failure("its inputs have ranks \(a.count) and \(b.count), 2 is needed") }
        let (left, right) = ((call.node.integer("transA") ?? 0) != 0 ? [a[1], a[0]] : a, (call.node.integer("transB") ?? 0) != 0 ? [b[1], b[0]] : b)
        if let k = left[1], let other = right[0], k != other { throw call.failure("multiplies \(ShapeCall.text(left)) by \(ShapeCall.text(right)): \(k) columns, but \(other) rows") }
        return [TensorFact(call.type, [left[0], right[1]])]
    }

    /// X is [time, batch, input], or with layout 1 [batch, time, input]; Y, Y_h and for LSTM Y_c.
    private static func recurrent(_ call: ShapeCall) throws(JouledError) -> [TensorFact] {
        let directions = call.node.text("direction") == "bidirectional" ? 2 : 1
        let hidden = call.node.integer("hidden_size") ?? call.shape(2)?.last ?? nil
        guard let x = call.shape(0) else { return [TensorFact(call.type)] }
        guard x.count == 3 else { throw call.failure("its input has rank \(x.count), 3 is needed") }
        let isBatchFirst = (call.node.integer("layout") ?? 0) != 0
        // Dynamically quantized weights are kept transposed.
        if call.node.opType != "DynamicQuantizeLSTM", let width = x[2], let weights = call.shape(1), weights.count == 3, let expected = weights[2], width != expected {
            throw call.failure("its input has \(width) values per step, its weights are for \(expected)")
        }
        let (time, batch) = isBatchFirst ? (x[1], x[0]) : (x[0], x[1])
        let all: [Int?] = isBatchFirst ? [batch, time, directions, hidden] : [time, directions, batch, hidden]
        let last: [Int?] = isBatchFirst ? [batch, directions, hidden] : [directions, batch, hidden]
        return [TensorFact(call.type, all), TensorFact(call.type, last), TensorFact(call.type, last)]
    }

    private static func einsum(_ call: ShapeCall) throws(JouledError) -> [TensorFact] {
        let equation = (call.node.text("equation") ?? "").filter { $0 != " " }
        guard !equation.contains("."), let arrow = equation.firstIndex(of: "-") else { return [TensorFact(call.type)] }
        var sizes: [Character: Int] = [:]
        for (index, term) in equation[..<arrow].split(separator: ",", omittingEmptySubsequences: false).enumerated() {
            guard let shape = call.shape(index) else { continue }
            guard shape.count == term.count else { throw call.failure("'\(term)' does not describe \(ShapeCall.text(shape))") }
            for (letter, size) in zip(term, shape) {
                guard let size, size != 1 || sizes[letter] == nil else { continue }
                if let other = sizes[letter], other != size, other != 1 { throw call.failure("'\(letter)' is both \(other) and \(size)") }
                sizes[letter] = size
            }
        }
        return [TensorFact(call.type, equation[arrow...].dropFirst(2).map { sizes[$0] })]
    }

    /// Of the `ai.onnx.ml` domain, which scikit-learn's models are written in: rows in, rows out.
    static func classicalFacts(_ call: ShapeCall) -> [TensorFact]? {
        let rows: Int? = call.shape(0).flatMap { $0.count > 1 ? $0[0] : 1 }
        let float = ElementType.float.rawValue
        switch call.node.opType {
        case "Scaler", "Normalizer", "Imputer", "Binarizer": return [TensorFact(call.node.opType == "Scaler" || call.node.opType == "Normalizer" ? float : call.type, call.shape(0))]
        case "LinearRegressor", "TreeEnsembleRegressor", "SVMRegressor":
            return [TensorFact(float, [rows, call.node.integer("n_targets") ?? call.node.integer("targets") ?? 1])]
        case "LinearClassifier", "TreeEnsembleClassifier", "SVMClassifier":
            let numbers = call.node.attribute("classlabels_int64s") ?? call.node.attribute("classlabels_ints")
            let texts = call.node.attribute("classlabels_strings")
            let classes = max(numbers?.ints.count ?? 0, texts?.strings.count ?? 0)
            return [TensorFact((numbers?.ints.count ?? 0) > 0 ? ElementType.int64.rawValue : 8, [rows]), TensorFact(float, [rows, classes > 0 ? classes : nil])]
        case "ArrayFeatureExtractor":
            guard let shape = call.shape(0), let count = call.input(1).count else { return [TensorFact(call.type)] }
            return [TensorFact(call.type, shape.count > 1 ? shape.dropLast() + [count] : [1, count])]
        default: return nil
        }
    }
}
