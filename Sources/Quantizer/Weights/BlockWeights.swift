/// 4-bit (or 8-bit) weights with one scale and zero point per block of consecutive values.
struct BlockWeights {
    /// Unsigned steps, one per value.
    var values: [UInt8]
    var scales: [Float]
    var zeroPoints: [UInt8]
}

enum BlockQuantizer {
    /// Quantizes rows of `rowLength` values, each cut into blocks of `block` (the last one shorter).
    ///
    /// Each block's range is shrunk over a grid of steps and the one with the least squared error kept, among the
    /// plain min-max range too: the error is never above round-to-nearest's.
    static func quantize(_ weights: [Float], rowLength: Int, block: Int, bits: Int, symmetric: Bool) -> BlockWeights {
        let top = Float((1 << bits) - 1)
        let middle = Float(1 << (bits - 1))
        let blocksPerRow = (rowLength + block - 1) / block
        let rows = weights.count / max(1, rowLength)
        var result = BlockWeights(
            values: [UInt8](repeating: 0, count: weights.count),
            scales: [Float](repeating: 1, count: rows * blocksPerRow),
            zeroPoints: [UInt8](repeating: UInt8(middle), count: rows * blocksPerRow))
        // 8 bits leave nothing to gain from clipping.
        let shrinks: [Float] = bits >= 8 ? [1] : [1, 0.97, 0.94, 0.91, 0.88, 0.85, 0.82, 0.79, 0.75, 0.7]
        weights.withUnsafeBufferPointer { source in
            for row in 0..<rows {
                for index in 0..<blocksPerRow {
                    let start = row * rowLength + index * block
                    let end = min(start + block, (row + 1) * rowLength)
                    var (least, most): (Float, Float) = (0, 0)
                    for position in start..<end {
                        least = min(least, source[position])
                        most = max(most, source[position])
                    }
                    guard most > least else { continue }
                    var candidates: [(scale: Float, zero: Float)] = []
                    for shrink in shrinks {
                        if symmetric {
                            // The side with the larger magnitude gets the extra negative step.
                            let peak = (-least > most ? least : most) * shrink
                            candidates.append((-peak / middle, middle))
                            candidates.append((max(-least, most) * shrink / (middle - 1), middle))
                        } else {
                            let scale = (most - least) * shrink / top
                            candidates.append((scale, min(top, max(0, (-least * shrink / scale).rounded(.toNearestOrEven)))))
                        }
                    }
                    var best = (error: Float.infinity, scale: Float(1), zero: middle)
                    for (scale, zero) in candidates {
                        let inverse = 1 / scale
                        var error: Float = 0
                        for position in start..<end {
                            let step = min(top, max(0, (source[position] * inverse).rounded(.toNearestOrEven) + zero))
                            let difference = source[position] - (step - zero) * scale
                            error += difference * difference
                        }
                        if error < best.error { best = (error, scale, zero) }
                    }
                    let inverse = 1 / best.scale
                    for position in start..<end {
                        result.values[position] = UInt8(min(top, max(0, (source[position] * inverse).rounded(.toNearestOrEven) + best.zero)))
                    }
                    result.scales[row * blocksPerRow + index] = best.scale
                    result.zeroPoints[row * blocksPerRow + index] = UInt8(best.zero)
                }
            }
        }
        return result
    }
}

/// Small unsigned integers side by side in bytes, the first in the lowest bits.
enum BitPacking {
    /// - Parameter width: 1, 2, 4 or 8 bits; every value must fit.
    static func pack(_ values: [UInt8], width: Int) -> [UInt8] {
        guard width < 8 else { return values }
        let lanes = 8 / width
        var bytes = [UInt8](repeating: 0, count: (values.count + lanes - 1) / lanes)
        for (index, value) in values.enumerated() { bytes[index / lanes] |= value << UInt8(index % lanes * width) }
        return bytes
    }
}
