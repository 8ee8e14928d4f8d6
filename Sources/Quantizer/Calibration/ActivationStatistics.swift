/// What one activation tensor did over a calibration set.
public struct ActivationStatistics: Sendable {
    public private(set) var minimum = Float.infinity
    public private(set) var maximum = -Float.infinity
    /// Largest magnitude per index of axis 1, for equalization; empty for tensors of rank 1.
    public private(set) var channelPeaks: [Float] = []
    /// As in the last window.
    public private(set) var shape: [Int] = []
    public private(set) var count = 0
    /// Counts of values in equal bins over [-limit, limit].
    private(set) var bins = [Int](repeating: 0, count: Self.binCount)
    private(set) var limit: Float = 0
    static let binCount = 8192

    /// - Parameters:
    ///   - histogram: also count values into bins, for the methods that look at more than the range.
    ///   - peaks: also keep the largest magnitude per channel.
    /// - Returns: false if a value is NaN or infinite; nothing is added then.
    @discardableResult
    mutating func add(_ values: [Float], shape: [Int], histogram: Bool = true, peaks: Bool = true) -> Bool {
        values.withUnsafeBufferPointer { values in
            guard let first = values.first else { return true }
            // In lanes, because the compiler may not reorder comparisons and sums of floats into vector code by itself. Infinity and
            // NaN have the greatest exponent.
            var (low, high, bits) = (SIMD8(repeating: first), SIMD8(repeating: first), SIMD8(repeating: first.bitPattern & 0x7fff_ffff))
            let raw = UnsafeRawBufferPointer(values)
            var index = 0
            while index + 8 <= values.count {
                let lane = raw.loadUnaligned(fromByteOffset: index * 4, as: SIMD8<Float>.self)
                low.replace(with: lane, where: lane .< low)
                high.replace(with: lane, where: lane .> high)
                let magnitude = unsafeBitCast(lane, to: SIMD8<UInt32>.self) & 0x7fff_ffff
                bits.replace(with: magnitude, where: magnitude .> bits)
                index += 8
            }
            var (least, most, greatest) = (low.min(), high.max(), bits.max())
            while index < values.count {
                let value = values[index]
                least = value < least ? value : least
                most = value > most ? value : most
                greatest = max(greatest, value.bitPattern & 0x7fff_ffff)
                index += 1
            }
            guard greatest < 0x7f80_0000 else { return false }
            self.shape = shape
            count += values.count
            (minimum, maximum) = (min(minimum, least), max(maximum, most))
            if histogram { tally(values, peak: max(most.magnitude, least.magnitude)) }
            if peaks, shape.count > 1, shape[1] > 0 { note(values, shape) }
            return true
        }
    }

    private mutating func note(_ values: UnsafeBufferPointer<Float>, _ shape: [Int]) {
        if channelPeaks.count != shape[1] { channelPeaks = [Float](repeating: 0, count: shape[1]) }
        let view = ChannelView(shape: shape, axis: 1)
        view.forEachRun { channel, start in
            var peak = channelPeaks[channel]
            for index in start..<min(values.count, start + view.inner) {
                let magnitude = values[index].magnitude
                peak = magnitude > peak ? magnitude : peak
            }
            channelPeaks[channel] = peak
        }
    }

    private mutating func tally(_ values: UnsafeBufferPointer<Float>, peak: Float) {
        if limit == 0, peak > 0 { limit = peak }
        // The limit doubles, so that two old bins fall into one new one and no count is ever split.
        while limit < peak { double() }
        guard limit > 0 else {
            bins[Self.binCount / 2] += values.count
            return
        }
        let half = Float(Self.binCount / 2)
        let factor = half / limit
        bins.withUnsafeMutableBufferPointer { bins in
            for value in values {
                // Never negative: no value is below -limit.
                let bin = Int32(value * factor + half)
                bins[min(Self.binCount - 1, Int(bin))] += 1
            }
        }
    }

    private mutating func double() {
        limit *= 2
        let half = Self.binCount / 2
        var wider = [Int](repeating: 0, count: Self.binCount)
        for index in 0..<half {
            // Bin i counts from the middle outwards: i and i+1 of a pair fall into i/2.
            wider[half + index / 2] += bins[half + index]
            wider[half - 1 - index / 2] += bins[half - 1 - index]
        }
        bins = wider
    }

    /// The middle of a bin.
    func centre(_ bin: Int) -> Float { (Float(bin - Self.binCount / 2) + 0.5) * limit / Float(Self.binCount / 2) }
}

/// The range of values that an activation's 8 bits cover; holds 0.
public struct ActivationRange: Sendable, Hashable {
    public var lower: Float
    public var upper: Float

    init(lower: Float, upper: Float) { (self.lower, self.upper) = (lower, upper) }

    /// The range by the recipe's method.
    public init(_ statistics: ActivationStatistics, _ recipe: CalibrationRecipe) {
        (lower, upper) = (min(0, statistics.minimum), max(0, statistics.maximum))
        guard statistics.limit > 0, statistics.count > 0, upper > lower else { return }
        switch recipe.method {
        case .minMax: break
        case .percentile: clip(statistics, keeping: recipe.percentile / 100)
        case .mse: shrink(statistics) { Self.squaredError(statistics, $0, $1) }
        case .entropy: shrink(statistics) { Self.divergence(statistics, $0, $1) }
        }
    }

    /// Cuts the rarest values off, the same share of both ends together.
    private mutating func clip(_ statistics: ActivationStatistics, keeping share: Double) {
        let spare = Double(statistics.count) * (1 - share) / (lower < 0 && upper > 0 ? 2 : 1)
        let half = ActivationStatistics.binCount / 2
        let width = statistics.limit / Float(half)
        var (cut, seen) = (upper, 0.0)
        for bin in (half..<ActivationStatistics.binCount).reversed() {
            seen += Double(statistics.bins[bin])
            if seen > spare {
                cut = Float(bin - half + 1) * width
                break
            }
        }
        upper = min(upper, max(cut, 0))
        (cut, seen) = (lower, 0)
        for bin in 0..<half {
            seen += Double(statistics.bins[bin])
            if seen > spare {
                cut = Float(bin - half) * width
                break
            }
        }
        lower = max(lower, min(cut, 0))
        if upper <= lower { (lower, upper) = (min(0, statistics.minimum), max(0, statistics.maximum)) }
    }

    /// Shrinks both ends by a common factor, the one of least cost; the costs are compared on a grid of 2 %.
    private mutating func shrink(_ statistics: ActivationStatistics, cost: (Float, Float) -> Double) {
        let (low, high) = (lower, upper)
        var best = Double.infinity
        for step in 0..<48 {
            let factor = 1 - 0.02 * Float(step)
            let value = cost(low * factor, high * factor)
            if value < best { (best, lower, upper) = (value, low * factor, high * factor) }
        }
    }

    /// The expected squared error of 256 steps over [lower, upper], clipping included.
    private static func squaredError(_ statistics: ActivationStatistics, _ lower: Float, _ upper: Float) -> Double {
        let scale = (upper - lower) / 255
        var total = 0.0
        for (bin, count) in statistics.bins.enumerated() where count > 0 {
            let value = statistics.centre(bin)
            let inside = min(upper, max(lower, value))
            let step = ((inside - lower) / scale).rounded() * scale + lower
            // Within a bin as wide as a step the error is that of a uniform distribution.
            let error = Double(value - step)
            total += (error * error + Double(scale * scale) / 24) * Double(count)
        }
        return total
    }

    /// Kullback-Leibler divergence of the quantized distribution from the original (as in TensorRT's calibration).
    private static func divergence(_ statistics: ActivationStatistics, _ lower: Float, _ upper: Float) -> Double {
        let half = Float(ActivationStatistics.binCount / 2)
        let first = max(0, Int((lower / statistics.limit * half + half).rounded(.down)))
        let last = min(ActivationStatistics.binCount - 1, Int((upper / statistics.limit * half + half).rounded(.up)) - 1)
        guard last - first >= 256 else { return .infinity }
        var reference = statistics.bins[first...last].map(Double.init)
        reference[0] += Double(statistics.bins[..<first].reduce(0, +))
        reference[reference.count - 1] += Double(statistics.bins[(last + 1)...].reduce(0, +))
        var quantized = [Double](repeating: 0, count: reference.count)
        for step in 0..<256 {
            let range = step * reference.count / 256..<(step + 1) * reference.count / 256
            let occupied = range.filter { statistics.bins[first + $0] > 0 }
            let sum = range.reduce(0) { $0 + Double(statistics.bins[first + $1]) }
            for index in occupied { quantized[index] = sum / Double(occupied.count) }
        }
        let (p, q) = (reference.reduce(0, +), quantized.reduce(0, +))
        guard p > 0, q > 0 else { return .infinity }
        var total = 0.0
        for index in reference.indices where reference[index] > 0 {
            // A small probability where the quantized one is empty, as an infinite divergence would rule all out.
            total += reference[index] / p * logarithm((reference[index] / p) / max(quantized[index] / q, 1e-9))
        }
        return total
    }
}
