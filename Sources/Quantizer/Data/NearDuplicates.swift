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
        // |u - v|^2 = 2 (1 - correlation): sums of squares grow, so that most pairs are told apart by their first few values.
        let bound = Float(2 * (1 - Self.leastCorrelation))
        let length = mine.length
        mine.values.withUnsafeBufferPointer { left in
            (theirs ?? mine).values.withUnsafeBufferPointer { right in
                for a in Swift.stride(from: 0, to: mine.windows.count, by: stride) {
                    compared += 1
                    for b in Swift.stride(from: 0, to: theirs?.windows.count ?? a, by: stride) {
                        var (distance, at) = (Float(0), 0)
                        while at < length, distance <= bound {
                            let difference = left[a * length + at] - right[b * length + at]
                            distance += difference * difference
                            at += 1
                        }
                        guard distance <= bound else { continue }
                        duplicates += 1
                        if examples.count < 5 { examples.append((mine.windows[a], (theirs ?? mine).windows[b])) }
                        break
                    }
                }
            }
        }
    }
}
