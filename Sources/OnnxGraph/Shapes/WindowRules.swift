import Units

/// Convolutions and pooling.
enum WindowRules {
    /// Facts of the node's outputs; nil where it is no operation of these.
    static func facts(_ call: ShapeCall) throws(JouledError) -> [TensorFact]? {
        switch call.node.opType {
        case "Conv": return [TensorFact(call.type, try convolution(call, call.shape(0), call.shape(1)))]
        case "FusedConv": return [TensorFact(call.type, try convolution(call, call.shape(0), call.shape(1)))]
        case "ConvInteger": return [TensorFact(ElementType.int32.rawValue, try convolution(call, call.shape(0), call.shape(1)))]
        case "QLinearConv": return [TensorFact(call.input(7).elementType, try convolution(call, call.shape(0), call.shape(3)))]
        case "ConvTranspose": return try transposed(call)
        case "MaxPool":
            let shape = try pooled(call)
            return [TensorFact(call.type, shape), TensorFact(ElementType.int64.rawValue, shape)]
        case "AveragePool": return [TensorFact(call.type, try pooled(call))]
        case "LpPool": return [TensorFact(call.type, try pooled(call))]
        case "GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool": return try global(call)
        default: return nil
        }
    }

    private static func global(_ call: ShapeCall) throws(JouledError) -> [TensorFact] {
        [TensorFact(call.type, call.shape(0).map { $0.enumerated().map { $0.offset < 2 ? $0.element : 1 } })]
    }

    private static func convolution(_ call: ShapeCall, _ input: [Int?]?, _ weights: [Int?]?) throws(JouledError) -> [Int?]? {
        guard let input else { return nil }
        guard input.count >= 3 else { throw call.failure("its input has rank \(input.count), at least 3 is needed") }
        guard let weights else { return [input[0], nil] + input[2...].map { _ in nil } }
        guard weights.count == input.count else { throw call.failure("its input has rank \(input.count), its weights have \(weights.count)") }
        if let channels = input[1], let expected = weights[1], channels != expected * (call.node.integer("group") ?? 1) {
            throw call.failure("its input has \(channels) channels, its weights \(ShapeCall.text(weights)) are for \(expected * (call.node.integer("group") ?? 1))")
        }
        let kernel = call.node.integers("kernel_shape").map { $0.map { Optional($0) } } ?? Array(weights[2...])
        return [input[0], weights[0]] + (try slide(call, Array(input[2...]), kernel))
    }

    private static func pooled(_ call: ShapeCall) throws(JouledError) -> [Int?]? {
        guard let input = call.shape(0), let kernel = call.node.integers("kernel_shape") else { return nil }
        guard input.count == kernel.count + 2 else { throw call.failure("its kernel has \(kernel.count) axes, its input rank \(input.count)") }
        return Array(input[..<2]) + (try slide(call, Array(input[2...]), kernel.map { Optional($0) }))
    }

    /// Number of places that a window takes along each axis.
    private static func slide(_ call: ShapeCall, _ sizes: [Int?], _ kernel: [Int?]) throws(JouledError) -> [Int?] {
        let ones = sizes.map { _ in 1 }
        let strides = call.node.integers("strides") ?? ones
        let dilations = call.node.integers("dilations") ?? ones
        let pads = call.node.integers("pads") ?? ones.map { _ in 0 } + ones.map { _ in 0 }
        let mode = call.node.text("auto_pad") ?? "NOTSET"
        let isCeiling = (call.node.integer("ceil_mode") ?? 0) != 0
        guard kernel.count == sizes.count, strides.count == sizes.count, dilations.count == sizes.count, pads.count == 2 * sizes.count, strides.allSatisfy({ $0 > 0 }) else {
            throw call.failure("kernel, strides, dilations and pads do not have \(sizes.count) axes")
        }
        var result: [Int?] = []
        for axis in sizes.indices {
            guard let size = sizes[axis], let length = kernel[axis] else {
                result.append(nil)
                continue
            }
            let reach = dilations[axis] * (length - 1) + 1
            if mode.hasPrefix("SAME") {
                result.append((size + strides[axis] - 1) / strides[axis])
                continue
            }
            let padded = size + (mode == "VALID" ? 0 : pads[axis] + pads[axis + sizes.count])
            guard padded >= reach else {
                throw call.failure("its window covers \(reach) values on axis \(axis + 2), but there are \(size)\(padded == size ? "" : " and \(padded - size) of padding")")
            }
            var count = (padded - reach + (isCeiling ? strides[axis] - 1 : 0)) / strides[axis] + 1
            // A window that would begin in the padding behind the input is left out.
            if isCeiling, (count - 1) * strides[axis] >= size + (mode == "VALID" ? 0 : pads[axis]) { count -= 1 }
            result.append(count)
        }
        return result
    }

    private static func transposed(_ call: ShapeCall) throws(JouledError) -> [TensorFact] {
        guard let input = call.shape(0), let weights = call.shape(1), weights.count == input.count, input.count >= 3 else { return [TensorFact(call.type)] }
        let channels = weights[1].map { $0 * (call.node.integer("group") ?? 1) }
        let axes = input.count - 2
        let ones = [Int](repeating: 1, count: axes)
        let zeros = [Int](repeating: 0, count: axes)
        let kernel = call.node.integers("kernel_shape").map { $0.map { Optional($0) } } ?? Array(weights[2...])
        let (strides, dilations) = (call.node.integers("strides") ?? ones, call.node.integers("dilations") ?? ones)
        let (extra, pads) = (call.node.integers("output_padding") ?? zeros, call.node.integers("pads") ?? zeros + zeros)
        guard kernel.count == axes, strides.count == axes, dilations.count == axes, extra.count == axes, pads.count == 2 * axes else {
            throw call.failure("kernel, strides, dilations and pads do not have \(axes) axes")
        }
        let mode = call.node.text("auto_pad") ?? "NOTSET"
        let declared = call.node.integers("output_shape")
        let sizes: [Int?] = (0..<axes).map { axis in
            if let declared, declared.count >= axes { return declared[declared.count - axes + axis] }
            guard let size = input[axis + 2] else { return nil }
            if mode.hasPrefix("SAME") { return size * strides[axis] }
            guard let length = kernel[axis] else { return nil }
            return strides[axis] * (size - 1) + extra[axis] + dilations[axis] * (length - 1) + 1 - (mode == "VALID" ? 0 : pads[axis] + pads[axis + axes])
        }
        return [TensorFact(call.type, [input[0], channels] + sizes)]
    }
}
