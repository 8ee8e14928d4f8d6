import Units

/// Operations that move values about: their sizes follow from other sizes and from the values of shape tensors.
enum LayoutRules {
    private static let int64 = ElementType.int64.rawValue

    /// Facts of the node's outputs; nil where it is no operation of these.
    static func facts(_ call: ShapeCall) throws(JouledError) -> [TensorFact]? {
        switch call.node.opType {
        case "Shape":
            guard let shape = call.shape(0) else { return [TensorFact(int64, [nil])] }
            func bound(_ name: String, _ fallback: Int) -> Int {
                let value = call.node.integer(name) ?? fallback
                return min(shape.count, max(0, value < 0 ? value + shape.count : value))
            }
            let (start, end) = (bound("start", 0), bound("end", shape.count))
            return [.vector(start < end ? Array(shape[start..<end]) : [])]
        case "Size": return [TensorFact(int64, [], integers: [call.input(0).count])]
        case "Reshape": return try reshape(call)
        case "Flatten":
            guard let shape = call.shape(0) else { return [TensorFact(call.type, [nil, nil])] }
            let given = call.node.integer("axis") ?? 1
            let axis = given == shape.count ? given : try call.axis(given, rank: shape.count)
            return [TensorFact(call.type, [product(shape[..<min(axis, shape.count)]), product(shape[min(axis, shape.count)...])])]
        case "Squeeze": return try squeeze(call)
        case "Unsqueeze":
            guard let shape = call.shape(0), let axes = (call.integers("axes", orInput: 1) ?? nil) else { return [TensorFact(call.type)] }
            let rank = shape.count + axes.count
            let inserted = try call.axes(axes, rank: rank)
            guard inserted.count == axes.count else { throw call.failure("names an axis twice") }
            var rest = shape[...]
            let result: [Int?] = (0..<rank).map { inserted.contains($0) ? 1 : rest.removeFirst() }
            return [TensorFact(call.type, result, integers: call.input(0).integers)]
        case "Transpose":
            guard let shape = call.shape(0) else { return [TensorFact(call.type)] }
            let order = call.node.integers("perm") ?? Array(shape.indices.reversed())
            guard order.sorted() == Array(shape.indices) else { throw call.failure("perm \(order) is no order of \(shape.count) axes") }
            let result = order.map { shape[$0] }
            return [TensorFact(call.type, result, integers: Strided.transpose(call.input(0), order))]
        case "Concat": return try concat(call)
        case "Split": return try split(call)
        case "Slice": return try slice(call)
        case "Gather":
            guard let data = call.shape(0), let indices = call.shape(1) else { return [TensorFact(call.type)] }
            let axis = try call.axis(call.node.integer("axis") ?? 0, rank: data.count)
            let shape = Array(data[..<axis]) + indices + data[(axis + 1)...]
            var values: [Int?]?
            if data.count == 1, let source = call.input(0).integers, let wanted = call.input(1).fixedIntegers {
                values = wanted.map { index in
                    let at = index < 0 ? index + source.count : index
                    return source.indices.contains(at) ? source[at] : nil
                }
            }
            return [TensorFact(call.type, shape, integers: values)]
        case "GatherElements": return [TensorFact(call.type, call.shape(1))]
        case "GatherND":
            let batch = call.node.integer("batch_dims") ?? 0
            guard let data = call.shape(0), let indices = call.shape(1), let last = indices.last ?? nil, batch + last <= data.count else { return [TensorFact(call.type)] }
            return [TensorFact(call.type, indices.dropLast() + data[(batch + last)...])]
        case "Pad": return try pad(call)
        case "Expand":
            guard let target = call.input(1).integers else { return [TensorFact(call.type)] }
            let shape = try call.broadcast([call.shape(0), target])
            // An open size that is expanded to 1 keeps its size.
            return [TensorFact(call.type, shape)]
        case "Tile":
            guard let shape = call.shape(0) else { return [TensorFact(call.type)] }
            guard let repeats = call.input(1).integers, repeats.count == shape.count else { return [TensorFact(call.type, shape.map { _ in nil })] }
            return [TensorFact(call.type, zip(shape, repeats).map(multiplied))]
        case "ConstantOfShape":
            let value = call.node.attribute("value")?.t
            let type = value?.dataType ?? ElementType.float.rawValue
            guard let shape = call.input(0).integers else {
                let rank = call.shape(0)?.first ?? nil
                return [TensorFact(type, rank.map { [Int?](repeating: nil, count: min($0, 16)) })]
            }
            var fact = TensorFact(type, shape)
            if let count = fact.count, count <= TensorFact.mostValues, let value {
                fact.integers = TensorFact(value).integers?.first.map { [Int?](repeating: $0, count: count) }
            }
            return [fact]
        case "Range":
            guard let start = call.input(0).fixedIntegers?.first, let limit = call.input(1).fixedIntegers?.first, let step = call.input(2).fixedIntegers?.first, step != 0
            else { return [TensorFact(call.type, [nil])] }
            let count = max(0, step > 0 ? (limit - start + step - 1) / step : (start - limit - step - 1) / -step)
            return [TensorFact(call.type, [count], integers: count <= TensorFact.mostValues ? (0..<count).map { start + $0 * step } : nil)]
        case "DepthToSpace":
            guard let shape = call.shape(0), shape.count == 4, let block = call.node.integer("blocksize"), block > 0 else { return [TensorFact(call.type)] }
            return [TensorFact(call.type, [shape[0], shape[1].map { $0 / (block * block) }, shape[2].map { $0 * block }, shape[3].map { $0 * block }])]
        case "SpaceToDepth":
            guard let shape = call.shape(0), shape.count == 4, let block = call.node.integer("blocksize"), block > 0 else { return [TensorFact(call.type)] }
            return [TensorFact(call.type, [shape[0], shape[1].map { $0 * block * block }, shape[2].map { $0 / block }, shape[3].map { $0 / block }])]
        case "OneHot":
            guard let indices = call.shape(0) else { return [TensorFact(call.input(2).elementType)] }
            let axis = try call.axis(call.node.integer("axis") ?? -1, rank: indices.count + 1)
            var shape = indices
            shape.insert(call.input(1).fixedIntegers?.first, at: axis)
            return [TensorFact(call.input(2).elementType, shape)]
        case "NonZero": return [TensorFact(int64, [call.shape(0).map { max(1, $0.count) }, nil])]
        case "Resize":
            guard let shape = call.shape(0) else { return [TensorFact(call.type)] }
            let wanted = call.has(3) ? call.input(3).integers : nil
            guard call.node.attribute("axes") == nil, call.node.text("keep_aspect_ratio_policy") ?? "stretch" == "stretch", let wanted, wanted.count == shape.count
            else { return [TensorFact(call.type, shape.map { _ in nil })] }
            return [TensorFact(call.type, wanted)]
        case "Upsample": return [TensorFact(call.type, call.shape(0)?.map { _ in nil })]
        case "EyeLike": return [TensorFact(Int32(call.node.integer("dtype") ?? Int(call.type)), call.shape(0))]
        case "RandomNormalLike": return [TensorFact(Int32(call.node.integer("dtype") ?? Int(call.type)), call.shape(0))]
        case "RandomUniformLike": return [TensorFact(Int32(call.node.integer("dtype") ?? Int(call.type)), call.shape(0))]
        case "Bernoulli": return [TensorFact(Int32(call.node.integer("dtype") ?? Int(call.type)), call.shape(0))]
        case "Compress":
            guard call.node.attribute("axis") != nil else { return [TensorFact(call.type, [nil])] }
            guard var shape = call.shape(0) else { return [TensorFact(call.type)] }
            shape[try call.axis(call.node.integer("axis") ?? 0, rank: shape.count)] = nil
            return [TensorFact(call.type, shape)]
        case "TopK":
            guard var shape = call.shape(0) else { return [TensorFact(call.type), TensorFact(int64)] }
            shape[try call.axis(call.node.integer("axis") ?? -1, rank: shape.count)] = call.has(1) ? call.input(1).fixedIntegers?.first : call.node.integer("k")
            return [TensorFact(call.type, shape), TensorFact(int64, shape)]
        default: return nil
        }
    }

    static func product(_ sizes: some Sequence<Int?>) -> Int? {
        var result = 1
        for size in sizes {
            guard let size else { return nil }
            result = TensorFact.saturatingProduct(result, size)
        }
        return result
    }

    private static func multiplied(_ a: Int?, _ b: Int?) -> Int? {
        guard let a, let b else { return a == 0 || b == 0 ? 0 : nil }
        return TensorFact.saturatingProduct(a, b)
    }

    private static func reshape(_ call: ShapeCall) throws(JouledError) -> [TensorFact] {
        guard var target = call.has(1) ? call.input(1).integers : call.node.integers("shape") else {
            let rank = call.shape(1)?.first ?? nil
            return [TensorFact(call.type, rank.map { [Int?](repeating: nil, count: min($0, 16)) })]
        }
        let input = call.shape(0)
        if (call.node.integer("allowzero") ?? 0) == 0 {
            for axis in target.indices where target[axis] == 0 { target[axis] = input.flatMap { axis < $0.count ? $0[axis] : nil } }
        }
        let wild = target.indices.filter { target[$0] == -1 }
        guard wild.count <= 1 else { throw call.failure("its shape has -1 more than once") }
        let rest = product(target.enumerated().filter { !wild.contains($0.offset) }.map(\.element))
        let count = call.input(0).count
        if let at = wild.first {
            target[at] = nil
            if let count, let rest, rest > 0 {
                guard count % rest == 0 else { throw call.failure("\(count) values of shape \(ShapeCall.text(input ?? [])) do not divide into \(rest)") }
                target[at] = count / rest
            }
        } else if let count, let rest, count != rest {
            throw call.failure("\(count) values of shape \(ShapeCall.text(input ?? [])) do not fill shape \(ShapeCall.text(target))")
        } else if let count {
            // One open size follows from the others.
            let open = target.indices.filter { target[$0] == nil }
            if open.count == 1, let others = product(target.compactMap { $0 }.map { Optional($0) }), others > 0, count % others == 0 { target[open[0]] = count / others }
        }
        return [TensorFact(call.type, target, integers: call.input(0).integers)]
    }

    private static func squeeze(_ call: ShapeCall) throws(JouledError) -> [TensorFact] {
        guard let shape = call.shape(0) else { return [TensorFact(call.type)] }
        var gone: Set<Int>
        switch call.integers("axes", orInput: 1) {
        case .none:
            guard !shape.contains(nil) else { return [TensorFact(call.type)] }
            gone = Set(shape.indices.filter { shape[$0] == 1 })
        case .some(.none): return [TensorFact(call.type)]
        case .some(.some(let axes)):
            gone = try call.axes(axes, rank: shape.count)
            for axis in gone {
                if let size = shape[axis], size != 1 { throw call.failure("axis \(axis) has size \(size) in \(ShapeCall.text(shape)), only 1 can be squeezed out") }
            }
        }
        return [TensorFact(call.type, shape.indices.filter { !gone.contains($0) }.map { shape[$0] }, integers: call.input(0).integers)]
    }

    private static func concat(_ call: ShapeCall) throws(JouledError) -> [TensorFact] {
        let shapes = call.inputs.indices.map(call.shape)
        guard let first = shapes.compactMap({ $0 }).first else { return [TensorFact(call.type)] }
        let axis = try call.axis(call.node.integer("axis") ?? 0, rank: first.count)
        var result = first
        var along: Int? = 0
        for shape in shapes {
            guard let shape else {
                along = nil
                continue
            }
            guard shape.count == first.count else { throw call.failure("its inputs have ranks \(first.count) and \(shape.count)") }
            for index in shape.indices where index != axis {
                if let mine = result[index], let theirs = shape[index], mine != theirs {
                    throw call.failure("its inputs have sizes \(mine) and \(theirs) on axis \(index)")
                }
                result[index] = result[index] ?? shape[index]
            }
            along = along.flatMap { sum in shape[axis].map { sum + $0 } }
        }
        result[axis] = along
        var values: [Int?]? = []
        if first.count == 1 {
            for index in call.inputs.indices {
                // A part of known length but unknown content leaves holes, not nothing.
                let part = call.input(index).integers ?? (shapes[index]?[0]).map { [Int?](repeating: nil, count: min($0, TensorFact.mostValues)) }
                values = values.flatMap { list in part.map { list + $0 } }
            }
        }
        return [TensorFact(call.type, result, integers: first.count == 1 && (values?.count ?? .max) <= TensorFact.mostValues ? values : nil)]
    }

    private static func split(_ call: ShapeCall) throws(JouledError) -> [TensorFact] {
        let outputs = call.node.output.count
        guard let shape = call.shape(0) else { return [TensorFact](repeating: TensorFact(call.type), count: outputs) }
        let axis = try call.axis(call.node.integer("axis") ?? 0, rank: shape.count)
        var sizes = [Int?](repeating: nil, count: outputs)
        switch call.integers("split", orInput: 1) {
        case .some(.some(let parts)):
            guard parts.count == outputs else { throw call.failure("splits into \(parts.count) parts, but has \(outputs) outputs") }
            if let size = shape[axis], parts.reduce(0, +) != size { throw call.failure("parts \(parts) do not add up to \(size)") }
            sizes = parts
        case .some(.none): break
        case .none:
            if let size = shape[axis] {
                let each = (size + outputs - 1) / outputs
                sizes = (0..<outputs).map { max(0, min(each, size - $0 * each)) }
            }
        }
        return sizes.map { size in
            var part = shape
            part[axis] = size
            return TensorFact(call.type, part)
        }
    }

    private static func slice(_ call: ShapeCall) throws(JouledError) -> [TensorFact] {
        guard let shape = call.shape(0) else { return [TensorFact(call.type)] }
        func parts(_ name: String, _ index: Int) -> [Int?]?? {
            if let values = call.node.integers(name) { return .some(values) }
            return call.has(index) ? .some(call.input(index).integers) : nil
        }
        guard case .some(.some(let starts)) = parts("starts", 1), case .some(.some(let ends)) = parts("ends", 2), starts.count == ends.count else {
            return [TensorFact(call.type, shape.map { _ in nil })]
        }
        var axes = Array(starts.indices)
        if case .some(let given) = call.integers("axes", orInput: 3) {
            guard let given, given.count == starts.count else { return [TensorFact(call.type, shape.map { _ in nil })] }
            axes = []
            for item in given { axes.append(try call.axis(item, rank: shape.count)) }
        }
        var steps = [Int?](repeating: 1, count: starts.count)
        if call.has(4) { steps = call.input(4).integers ?? starts.map { _ in nil } }
        var result = shape
        var cuts = shape.map { _ in Strided.Cut() } as [Strided.Cut?]
        for (index, axis) in axes.enumerated() where shape.indices.contains(axis) {
            guard let size = shape[axis], let start = starts[index], let end = ends[index], index < steps.count, let step = steps[index], step != 0 else {
                (result[axis], cuts[axis]) = (nil, nil)
                continue
            }
            func clamp(_ value: Int, _ low: Int, _ high: Int) -> Int { min(high, max(low, value < 0 ? value + size : value)) }
            let from = step > 0 ? clamp(start, 0, size) : clamp(start, 0, size - 1)
            // Backwards, ONNX Runtime takes the largest integers for "up to the first", which the standard leaves open.
            let isUnbounded = end == .max || end == Int(Int32.max)
            let to = step > 0 ? clamp(end, 0, size) : (isUnbounded ? -1 : clamp(end, -1, size - 1))
            // Steps may be as long as integers are: divide before adding.
            let span = step > 0 ? to - from : from - to
            let count = span <= 0 ? 0 : 1 + (span - 1) / (step == .min ? .max : abs(step))
            result[axis] = count
            cuts[axis] = Strided.Cut(start: from, step: step, count: count)
        }
        return [TensorFact(call.type, result, integers: Strided.slice(call.input(0), cuts))]
    }

    private static func pad(_ call: ShapeCall) throws(JouledError) -> [TensorFact] {
        guard let shape = call.shape(0) else { return [TensorFact(call.type)] }
        guard case .some(.some(let pads)) = call.integers("pads", orInput: 1) else { return [TensorFact(call.type, shape.map { _ in nil })] }
        var axes = Array(shape.indices)
        if call.has(3) {
            guard let given = call.input(3).fixedIntegers else { return [TensorFact(call.type, shape.map { _ in nil })] }
            axes = []
            for item in given { axes.append(try call.axis(item, rank: shape.count)) }
        }
        guard pads.count == 2 * axes.count else { throw call.failure("has \(pads.count) pads for \(axes.count) axes") }
        let reflects = call.node.text("mode") == "reflect"
        var result = shape
        for (index, axis) in axes.enumerated() {
            let (before, after) = (pads[index], pads[index + axes.count])
            guard let size = shape[axis] else { continue }
            if reflects, max(before, after) >= size, max(before, after) > 0 {
                throw call.failure("reflects \(max(before, after)) values on axis \(axis), which needs more than that, but it has size \(size)")
            }
            guard size + before + after >= 0 else { throw call.failure("cuts more off axis \(axis) than its \(size)") }
            result[axis] = size + before + after
        }
        return [TensorFact(call.type, result)]
    }
}
