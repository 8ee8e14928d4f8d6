/// Weights seen as rows that share one scale: what a scale covers, whatever axis it is.
///
/// `outer` x `channels` x `inner` values in memory order; channel c of the middle axis has one scale.
struct ChannelView {
    let outer: Int
    let channels: Int
    let inner: Int

    /// One scale per index of `axis`; nil axis: one for all.
    init(shape: [Int], axis: Int?) {
        guard let axis else {
            (outer, channels, inner) = (1, 1, shape.reduce(1, *))
            return
        }
        outer = shape[..<axis].reduce(1, *)
        channels = shape[axis]
        inner = shape[(axis + 1)...].reduce(1, *)
    }

    /// Calls `body` with each contiguous run of values of one channel.
    @inline(__always)
    func forEachRun(_ body: (_ channel: Int, _ start: Int) -> Void) {
        for o in 0..<outer {
            for c in 0..<channels { body(c, (o * channels + c) * inner) }
        }
    }
}

/// Integer weights with their scales: value = (quantized - zeroPoint) x scale.
struct LinearWeights {
    /// Two's complement for signed types.
    var values: [UInt8]
    var scales: [Float]
    /// One per scale.
    var zeroPoints: [UInt8]
    var signed: Bool
}

enum LinearQuantizer {
    /// How the integers are chosen.
    struct Options {
        var signed = true
        /// 8, or 7 for processors whose 8-bit products saturate 16 bits.
        var bits = 8
        var symmetric = true
        /// Least scales, per channel: a bias quantized with (activation scale x weight scale) must fit into 32 bits.
        var leastScales: [Float] = []
    }

    /// Quantizes to 8-bit integers, rounding to nearest even.
    ///
    /// Symmetric: scale = max|w| / (2^(bits-1) - 1), zero point 0 (128 for unsigned). Asymmetric: the range [min, max]
    /// extended to hold 0, over all 2^bits steps.
    static func quantize(_ weights: [Float], view: ChannelView, options: Options = Options()) -> LinearWeights {
        let half = 1 << (options.bits - 1)
        let (low, high) = options.signed ? (-half, half - 1) : (0, 2 * half - 1)
        var lower = [Float](repeating: 0, count: view.channels)
        var upper = [Float](repeating: 0, count: view.channels)
        return weights.withUnsafeBufferPointer { source in
            view.forEachRun { channel, start in
                var (least, most) = (lower[channel], upper[channel])
                for index in start..<start + view.inner {
                    let value = source[index]
                    least = min(least, value)
                    most = max(most, value)
                }
                (lower[channel], upper[channel]) = (least, most)
            }
            var scales = [Float](repeating: 1, count: view.channels)
            var zeros = [Int](repeating: options.signed ? 0 : half, count: view.channels)
            for channel in scales.indices {
                if options.symmetric {
                    scales[channel] = max(-lower[channel], upper[channel]) / Float(half - 1)
                } else {
                    scales[channel] = (upper[channel] - lower[channel]) / Float(high - low)
                }
                if channel < options.leastScales.count { scales[channel] = max(scales[channel], options.leastScales[channel]) }
                // All zeros, or so small that the division below would overflow.
                if scales[channel] < .leastNormalMagnitude { scales[channel] = 1 }
                if !options.symmetric {
                    zeros[channel] = min(high, max(low, low - Int((lower[channel] / scales[channel]).rounded(.toNearestOrEven))))
                }
            }
            var values = [UInt8](repeating: 0, count: source.count)
            values.withUnsafeMutableBufferPointer { target in
                view.forEachRun { channel, start in
                    let inverse = 1 / scales[channel]
                    let zero = Float(zeros[channel])
                    let bottom = options.symmetric ? zero - Float(half - 1) : Float(low)
                    let top = options.symmetric ? zero + Float(half - 1) : Float(high)
                    for index in start..<start + view.inner {
                        let scaled = (source[index] * inverse).rounded(.toNearestOrEven) + zero
                        target[index] = UInt8(truncatingIfNeeded: Int32(min(top, max(bottom, scaled))))
                    }
                }
            }
            return LinearWeights(
                values: values, scales: scales, zeroPoints: zeros.map { UInt8(truncatingIfNeeded: $0) }, signed: options.signed)
        }
    }

    /// The float weights that the integers stand for.
    static func dequantize(_ weights: LinearWeights, view: ChannelView) -> [Float] {
        var values = [Float](repeating: 0, count: weights.values.count)
        view.forEachRun { channel, start in
            func number(_ byte: UInt8) -> Float { weights.signed ? Float(Int8(bitPattern: byte)) : Float(byte) }
            for index in start..<start + view.inner {
                values[index] = (number(weights.values[index]) - number(weights.zeroPoints[channel])) * weights.scales[channel]
            }
        }
        return values
    }
}
