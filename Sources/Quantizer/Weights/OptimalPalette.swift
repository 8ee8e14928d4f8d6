/// k-means in one dimension, to the exact optimum.
///
/// In one dimension the clusters of an optimal solution are intervals of the sorted values, so dynamic programming finds
/// it: D[k][j] = min over i of D[k-1][i] + cost(i, j), where cost is the weighted squared error of one centre for values i
/// to j. The best i never moves left as j moves right (the cost is concave Monge; Wu 1991), so divide and conquer needs
/// O(k n log n) steps. Equal values are merged with their weights added, which changes nothing in the optimum.
enum OptimalPalette {
    /// Above so many distinct values the table of split points would take too much memory; `solve` then merges neighbours.
    static let exactLimit = 1 << 20

    struct Solution {
        /// Ascending, at most k.
        var centres: [Float]
        /// The weighted sum of squared errors, in the arithmetic of the search.
        var error: Double
        /// False where more than `exactLimit` distinct values were merged into as many first.
        var exact: Bool
    }

    /// - Parameters:
    ///   - values: at least one; all finite.
    ///   - weights: importance of each value, above 0; nil: all alike.
    ///   - k: number of centres, at least 1.
    static func solve(_ values: [Float], weights: [Float]? = nil, k: Int) -> Solution {
        var (points, masses) = distinct(values, weights)
        let exact = points.count <= exactLimit
        if !exact { (points, masses) = merged(points, masses) }
        guard points.count > k else { return Solution(centres: points.map { Float($0) }, error: 0, exact: exact) }
        // Centred, so that the sums of squares below lose as few digits as possible.
        let total = masses.reduce(0, +)
        let mean = zip(points, masses).reduce(0) { $0 + $1.0 * $1.1 } / total
        var sums = Sums(count: points.count)
        for index in points.indices {
            let x = points[index] - mean
            sums.mass[index + 1] = sums.mass[index] + masses[index]
            sums.first[index + 1] = sums.first[index] + masses[index] * x
            sums.second[index + 1] = sums.second[index] + masses[index] * x * x
        }
        let splits = table(sums, k)
        var centres: [Float] = []
        var error = 0.0
        var end = points.count
        for layer in (0..<k).reversed() {
            let start = layer == 0 ? 0 : Int(splits[layer - 1][end])
            let mass = sums.mass[end] - sums.mass[start]
            centres.append(Float(mean + (sums.first[end] - sums.first[start]) / mass))
            error += sums.cost(start, end)
            end = start
        }
        return Solution(centres: centres.reversed(), error: error, exact: exact)
    }

    /// The index of the nearest centre of each value; `centres` ascending.
    static func assign(_ values: [Float], centres: [Float]) -> [UInt8] {
        let bounds = zip(centres, centres.dropFirst()).map { ($0 + $1) / 2 }
        return values.map { value in
            var (low, high) = (0, bounds.count)
            while low < high {
                let middle = (low + high) / 2
                if value > bounds[middle] { low = middle + 1 } else { high = middle }
            }
            return UInt8(low)
        }
    }

    /// Sums over the first n points, so that any interval's cost takes constant time.
    private struct Sums {
        var mass: [Double]
        var first: [Double]
        var second: [Double]
        init(count: Int) {
            mass = [Double](repeating: 0, count: count + 1)
            first = mass
            second = mass
        }
        /// Squared error of one centre for points start..<end.
        @inline(__always)
        func cost(_ start: Int, _ end: Int) -> Double {
            let mass = mass[end] - mass[start]
            guard mass > 0 else { return 0 }
            let sum = first[end] - first[start]
            return max(0, second[end] - second[start] - sum * sum / mass)
        }
    }

    /// For each further layer, where the last interval of the best solution for the first j points begins.
    private static func table(_ sums: Sums, _ k: Int) -> [[Int32]] {
        let count = sums.mass.count - 1
        return sums.mass.withUnsafeBufferPointer { mass in
            sums.first.withUnsafeBufferPointer { first in
                sums.second.withUnsafeBufferPointer { second in
                    func cost(_ start: Int, _ end: Int) -> Double {
                        let weight = mass[end] - mass[start]
                        guard weight > 0 else { return 0 }
                        let sum = first[end] - first[start]
                        return second[end] - second[start] - sum * sum / weight
                    }
                    var best = (0...count).map { cost(0, $0) }
                    var splits: [[Int32]] = []
                    for _ in 1..<max(1, k) {
                        var next = [Double](repeating: 0, count: count + 1)
                        var split = [Int32](repeating: 0, count: count + 1)
                        // (from, to, lowest split, highest split): an explicit stack, as recursion would be per point.
                        var work = [(0, count, 0, count)]
                        while let (from, to, low, high) = work.popLast() {
                            guard from <= to else { continue }
                            let middle = (from + to) / 2
                            var (least, at) = (Double.infinity, low)
                            for start in low...max(low, min(middle, high)) where start <= middle {
                                let value = best[start] + cost(start, middle)
                                if value < least { (least, at) = (value, start) }
                            }
                            next[middle] = least
                            split[middle] = Int32(at)
                            work.append((from, middle - 1, low, at))
                            work.append((middle + 1, to, at, high))
                        }
                        best = next
                        splits.append(split)
                    }
                    return splits
                }
            }
        }
    }

    private static func distinct(_ values: [Float], _ weights: [Float]?) -> ([Double], [Double]) {
        var points: [Double] = []
        var masses: [Double] = []
        func add(_ value: Float, _ weight: Double) {
            if let last = points.last, last == Double(value) {
                masses[masses.count - 1] += weight
            } else {
                points.append(Double(value))
                masses.append(weight)
            }
        }
        if let weights {
            for index in values.indices.sorted(by: { values[$0] < values[$1] }) { add(values[index], Double(weights[index])) }
        } else {
            for value in values.sorted() { add(value, 1) }
        }
        return (points, masses)
    }

    /// Neighbours of the sorted points merged by equal counts until `exactLimit` are left.
    private static func merged(_ points: [Double], _ masses: [Double]) -> ([Double], [Double]) {
        let group = (points.count + exactLimit - 1) / exactLimit
        var (mergedPoints, mergedMasses): ([Double], [Double]) = ([], [])
        for start in stride(from: 0, to: points.count, by: group) {
            let range = start..<min(points.count, start + group)
            let mass = range.reduce(0) { $0 + masses[$1] }
            mergedPoints.append(range.reduce(0) { $0 + points[$1] * masses[$1] } / mass)
            mergedMasses.append(mass)
        }
        return (mergedPoints, mergedMasses)
    }
}
