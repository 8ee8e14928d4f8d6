import OnnxGraph
import Units

/// Writes weights as indices into tables of a few values: Gather(table, indices).
enum PaletteWriter {
    static func write(
        _ pass: inout WeightPass, _ weight: String, _ original: [Float], _ shape: [Int], _ axis: Int?, _ settings: OperatorRecipe, _ importance: [Float]?
    ) throws(JouledError) -> String? {
        let k = 1 << settings.bits
        // Groups are of output channels; where those are not contiguous the weight is stored transposed.
        let view = axis.map { ChannelView(shape: shape, axis: $0) }
        let isGrouped = settings.granularity == .group || settings.granularity == .channel && settings.channelScale
        let transposed = (isGrouped || settings.channelScale) && view.map { $0.outer > 1 } == true && shape.count == 2
        var values = transposed ? transpose(original, rows: shape[0], columns: shape[1]) : original
        var weights = importance.map { transposed ? transpose($0, rows: shape[0], columns: shape[1]) : $0 }
        let stored = transposed ? [shape[1], shape[0]] : shape
        let channels = view.flatMap { $0.outer == 1 || transposed ? $0.channels : nil }

        var scales: [Float]?
        if settings.channelScale, let channels {
            let length = values.count / channels
            scales = (0..<channels).map { c in values[c * length..<(c + 1) * length].reduce(0) { max($0, $1.magnitude) } }.map { $0 > 0 ? $0 : 1 }
            for index in values.indices { values[index] /= scales![index / length] }  // set above
            // An error in a channel counts by the square of what it is multiplied with.
            let squares = values.indices.map { i in scales![i / length] * scales![i / length] }
            weights = weights.map { zip($0, squares).map { $0 * $1 } } ?? squares
        }
        var groups = 1
        if settings.granularity == .group, let channels {
            guard channels % settings.groupSize == 0 else {
                return try fallback(&pass, weight, original, shape, axis, settings, importance, "its \(channels) output channels are no multiple of \(settings.groupSize)")
            }
            groups = channels / settings.groupSize
        }
        let length = values.count / groups
        var table: [Float] = []
        var indices: [UInt8] = []
        var note: String?
        for group in 0..<groups {
            let part = Array(values[group * length..<(group + 1) * length])
            let partWeights = weights.map { Array($0[group * length..<(group + 1) * length]) }
            let centres: [Float]
            switch settings.method {
            case .kmeans:
                let solution = OptimalPalette.solve(part, weights: partWeights, k: k)
                if !solution.exact { note = "'\(weight)' has more than \(OptimalPalette.exactLimit) distinct values: neighbours were merged before k-means" }
                centres = solution.centres
            case .uniform: centres = uniform(part, k)
            case .unique:
                let distinct = Set(part).sorted()
                guard distinct.count <= k else {
                    throw JouledError(.invalidRecipe, "tensor '\(weight)' has \(distinct.count) distinct values; a 'unique' palette of \(settings.bits) bits holds \(k)")
                }
                centres = distinct
            }
            indices += OptimalPalette.assign(part, centres: centres)
            table += centres + [Float](repeating: 0, count: k - centres.count)
        }
        let widths: [Int: [Int]] = [1: [1], 2: [2], 3: [2, 1], 4: [4], 6: [4, 2], 8: [8]]
        var index = pass.unpack(weight, indices, widths: widths[settings.bits] ?? [8])
        index = pass.emit("Cast", [index], [Attribute("to", 6)])
        if groups > 1 {
            let rows = pass.emit("Reshape", [index, pass.shapeConstant([groups, length])])
            let offsets = pass.add(Tensor(name: pass.unique(weight + "_offsets"), dims: [groups, 1], int32s: (0..<groups).map { Int32($0 * k) }))
            index = pass.emit("Add", [rows, offsets])
        }
        let lookup = pass.add(Tensor(name: pass.unique(weight + "_palette"), dims: [table.count], floats: table))
        var result = pass.emit("Gather", [lookup, index])
        if let scales {
            let rows = pass.emit("Reshape", [result, pass.shapeConstant([scales.count, values.count / scales.count])])
            let factors = pass.add(Tensor(name: pass.unique(weight + "_scale"), dims: [scales.count, 1], floats: scales))
            result = pass.emit("Mul", [rows, factors])
        }
        if transposed {
            let rows = pass.emit("Reshape", [result, pass.shapeConstant(stored)])
            pass.emit("Transpose", [rows], as: weight, [Attribute("perm", [1, 0])])
        } else {
            pass.finish(result, weight, shape, count: values.count)
        }
        return note
    }

    private static func fallback(
        _ pass: inout WeightPass, _ weight: String, _ values: [Float], _ shape: [Int], _ axis: Int?, _ settings: OperatorRecipe,
        _ importance: [Float]?, _ why: String
    ) throws(JouledError) -> String? {
        var simpler = settings
        simpler.granularity = .tensor
        _ = try write(&pass, weight, values, shape, axis, simpler, importance)
        return "'\(weight)': \(why): one palette for the tensor instead"
    }

    /// k equal steps from the least to the largest value, both included.
    static func uniform(_ values: [Float], _ k: Int) -> [Float] {
        guard let low = values.min(), let high = values.max(), high > low, k > 1 else { return [values.reduce(0, +) / Float(max(1, values.count))] }
        return (0..<k).map { low + (high - low) * Float($0) / Float(k - 1) }
    }

    static func transpose(_ values: [Float], rows: Int, columns: Int) -> [Float] {
        [Float](unsafeUninitializedCapacity: values.count) { buffer, filled in
            for row in 0..<rows { for column in 0..<columns { buffer[column * rows + row] = values[row * columns + column] } }
            filled = values.count
        }
    }
}
