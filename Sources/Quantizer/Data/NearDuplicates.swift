import Glibc
import Units

/// Windows that are so alike that they tell nothing new: normalized correlation at no lag of at least 0.999.
struct NearDuplicates {
    /// Windows of unit length without their mean, in one array; silent ones (constant to within rounding) are left out.
    private struct Directions {
        var windows: [Int] = []
        var values: [Float] = []
        var silent: [Int] = []
        let length: Int

        init(_ values: ArraySlice<Float>, windows count: Int) {
            length = values.count / max(1, count)
            self.values.reserveCapacity(values.count)
            for window in 0..<count {
                let part = values[(values.startIndex + window * length)..<(values.startIndex + (window + 1) * length)]
                let mean = part.reduce(0) { $0 + Double($1) } / Double(max(1, length))
                let norm = part.reduce(0) { $0 + (Double($1) - mean) * (Double($1) - mean) }.squareRoot()
                let size = part.reduce(0) { $0 + Double($1) * Double($1) }.squareRoot()
                guard norm > 1e-6 * max(size, 1e-20) else {
                    silent.append(window)
                    continue
                }
                windows.append(window)
                self.values += part.map { Float((Double($0) - mean) / norm) }
            }
        }
    }

    /// A few orthonormal coordinates of each window, from which a lower bound of the distance follows: those of 192 cosines in
    /// which a sample of the windows has most energy, the greatest first.
    private struct Sketch {
        private let basis: [[Float]]

        init(_ sample: Directions) {
            let length = sample.length
            let step = max(1, sample.windows.count / 64)
            let scale = (2 / Double(length)).squareRoot()
            // Without their mean, windows have nothing of the constant cosine.
            let cosines: [[Float]] = (1..<max(1, min(193, length))).map { k in
                let turn = Double.pi * Double(k) / Double(length)
                return (0..<length).map { index in Float(scale * cos(turn * (Double(index) + 0.5))) }
            }
            let energies: [Float] = cosines.map { cosine in
                var sum: Float = 0
                for window in Swift.stride(from: 0, to: sample.windows.count, by: step) {
                    let value = Self.product(cosine, sample.values, window * length)
                    sum += value * value
                }
                return sum
            }
            basis = cosines.indices.sorted { energies[$0] > energies[$1] }.prefix(16).map { cosines[$0] }
        }

        func callAsFunction(_ directions: Directions) -> [SIMD16<Float>] {
            directions.windows.indices.map { window in
                var sketch = SIMD16<Float>.zero
                for (lane, cosine) in basis.enumerated() { sketch[lane] = Self.product(cosine, directions.values, window * directions.length) }
                return sketch
            }
        }

        private static func product(_ cosine: [Float], _ values: [Float], _ offset: Int) -> Float {
            cosine.withUnsafeBufferPointer { cosine in
                values.withUnsafeBufferPointer { values in
                    var sums = SIMD8<Float>.zero
                    var at = 0
                    while at + 8 <= cosine.count {
                        for lane in 0..<8 { sums[lane] += cosine[at + lane] * values[offset + at + lane] }
                        at += 8
                    }
                    var sum = sums.sum()
                    while at < cosine.count { sum += cosine[at] * values[offset + at]; at += 1 }
                    return sum
                }
            }
        }
    }

    static let leastCorrelation = 0.999
    /// Comparing all pairs of more windows would take minutes: an even selection is looked at then.
    static let mostWindows = 20_000

    /// Windows with an earlier one like them (in the other set, where there is one).
    private(set) var duplicates = 0
    private(set) var compared = 0
    /// Some pairs: the window, and the one that it is like.
    private(set) var examples: [(window: Int, like: Int)] = []
    /// Windows that are constant.
    private(set) var silent: [Int] = []

    /// Within one set, or of `values` among `others`; windows of one length.
    init(_ values: [Float], windows: Int, among others: (values: [Float], windows: Int)? = nil) {
        let mine = Directions(values[...], windows: windows)
        silent = mine.silent
        let theirs = others.map { Directions($0.values[...], windows: $0.windows) }
        guard mine.length > 1, (theirs?.length ?? mine.length) == mine.length else { return }
        let stride = max(1, mine.windows.count / Self.mostWindows)
        // |u - v|^2 = 2 (1 - correlation), and no less than the squared distance of the sketches.
        let bound = Float(2 * (1 - Self.leastCorrelation))
        let length = mine.length
        let sketch = Sketch(mine)
        let left = sketch(mine)
        let right = theirs.map { sketch($0) } ?? left
        // Only those within reach in the coordinate of most energy are looked at.
        let order = Swift.stride(from: 0, to: right.count, by: stride).sorted { right[$0][0] < right[$1][0] }
        let reach = bound.squareRoot() * 1.001
        mine.values.withUnsafeBufferPointer { values in
            (theirs ?? mine).values.withUnsafeBufferPointer { others in
                func isAlike(_ a: Int, _ b: Int) -> Bool {
                    let gap = left[a] - right[b]
                    guard (gap * gap).sum() <= bound * 1.001 else { return false }
                    var (distance, at) = (Float(0), 0)
                    while at < length, distance <= bound {
                        let difference = values[a * length + at] - others[b * length + at]
                        distance += difference * difference
                        at += 1
                    }
                    return distance <= bound
                }
                for a in Swift.stride(from: 0, to: mine.windows.count, by: stride) {
                    compared += 1
                    var (low, high) = (0, order.count)
                    while low < high {
                        let middle = (low + high) / 2
                        if right[order[middle]][0] < left[a][0] - reach { low = middle + 1 } else { high = middle }
                    }
                    var like: Int?
                    while low < order.count, right[order[low]][0] <= left[a][0] + reach {
                        let b = order[low]
                        low += 1
                        // The earliest, and within one set an earlier one than itself.
                        guard theirs != nil || b < a, b < like ?? .max, isAlike(a, b) else { continue }
                        like = b
                    }
                    guard let like else { continue }
                    duplicates += 1
                    if examples.count < 5 { examples.append((mine.windows[a], (theirs ?? mine).windows[like])) }
                }
            }
        }
    }
}
