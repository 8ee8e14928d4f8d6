/// Kernels that are all mirrored in one tap, or all with the opposite sign, folded to half their taps.
///
/// A windowed Fourier transform written as a convolution is made of them: cosines are even about the middle of the frame, sines odd. Since
/// `w[k] = ±w[s - k]`, the sum over taps is one over pairs `x[k] ± x[s - k]`, with half the products and half the weights to read.
struct MirroredKernels {
    /// Taps that share a weight; both the same in the middle of the frame.
    var pairs: [(tap: Int, mirror: Int)]
    var isOdd: Bool
    /// [pairs, kernels]
    var weights: [Float]

    /// Difference of two mirrored weights, relative to the kernels' largest, that the rounding of a table explains.
    static let tolerance: Float = 1e-6

    /// - Parameters:
    ///   - kernels: [kernels, taps], each over one channel.
    ///   - count: number of kernels.
    /// - Returns: nil where there is no such symmetry.
    init?(_ kernels: [Float], count: Int) {
        guard count > 0, kernels.count.isMultiple(of: count) else { return nil }
        let taps = kernels.count / count
        let limit = Self.tolerance * kernels.reduce(0) { max($0, $1.magnitude) }
        guard taps >= 4, limit > 0 else { return nil }
        // About the middle, or with one tap left over at an end: periodic windows begin with a zero.
        for sum in [taps - 1, taps, taps - 2] {
            for isOdd in [false, true] {
                let holds = (0..<count).allSatisfy { kernel in
                    let start = kernel * taps
                    return (0..<taps).allSatisfy { tap in
                        let mirror = sum - tap
                        let weight = kernels[start + tap]
                        guard (0..<taps).contains(mirror) else { return weight.magnitude <= limit }
                        let other = kernels[start + mirror]
                        return (isOdd ? weight + other : weight - other).magnitude <= limit
                    }
                }
                guard holds else { continue }
                pairs = (0..<taps).filter { $0 <= sum - $0 && sum - $0 < taps }.map { ($0, sum - $0) }
                self.isOdd = isOdd
                var weights = [Float](repeating: 0, count: pairs.count * count)
                for (row, pair) in pairs.enumerated() {
                    for kernel in 0..<count {
                        let (a, b) = (kernels[kernel * taps + pair.tap], kernels[kernel * taps + pair.mirror])
                        // The middle one is in its pair twice; of an odd kernel it is zero.
                        weights[row * count + kernel] = pair.tap == pair.mirror ? (isOdd ? 0 : a / 2) : (isOdd ? a - b : a + b) / 2
                    }
                }
                self.weights = weights
                return
            }
        }
        return nil
    }
}
