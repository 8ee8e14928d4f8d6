import JouledTestKit
import Testing

@testable import Quantizer

@Suite struct LinearWeightTests {
    @Test(arguments: seeds(10), [true, false]) func errorIsWithinHalfAStep(seed: UInt64, symmetric: Bool) {
        var random = SeededGenerator(seed: seed)
        let shape = [Int.random(in: 1...6, using: &random), Int.random(in: 1...6, using: &random), Int.random(in: 1...9, using: &random)]
        let values = (0..<shape.reduce(1, *)).map { _ in Float.random(in: -2...3, using: &random) }
        for axis in [nil, 0, 1, 2] as [Int?] {
            let view = ChannelView(shape: shape, axis: axis)
            for signed in [true, false] {
                var options = LinearQuantizer.Options()
                options.symmetric = symmetric
                options.signed = signed
                let quantized = LinearQuantizer.quantize(values, view: view, options: options)
                let again = LinearQuantizer.dequantize(quantized, view: view)
                view.forEachRun { channel, start in
                    for index in start..<start + view.inner {
                        // A zero point rounds too, which shifts the ends of an asymmetric range by up to half a step.
                        let bound = quantized.scales[channel] * (symmetric ? 0.5001 : 1.0001)
                        #expect((again[index] - values[index]).magnitude <= bound, "seed \(seed)")
                    }
                }
            }
        }
    }

    @Test func zerosStayZeros() {
        let quantized = LinearQuantizer.quantize([0, 0, 0, 1, -1, 0.5], view: ChannelView(shape: [2, 3], axis: 0))
        #expect(quantized.scales[0] == 1)
        #expect(LinearQuantizer.dequantize(quantized, view: ChannelView(shape: [2, 3], axis: 0)).prefix(3) == [0, 0, 0])
    }

    /// The search among shrunk ranges is never worse than rounding to the plain range.
    @Test(arguments: seeds(10), [true, false]) func blocksBeatRoundToNearest(seed: UInt64, symmetric: Bool) {
        var random = SeededGenerator(seed: seed)
        let rows = 3, length = 70, block = 32
        let values = (0..<rows * length).map { _ in Float.random(in: -1...1, using: &random) * Float.random(in: 0...1, using: &random) }
        let result = BlockQuantizer.quantize(values, rowLength: length, block: block, bits: 4, symmetric: symmetric)
        #expect(result.scales.count == rows * 3)
        for row in 0..<rows {
            for index in 0..<3 {
                let range = row * length + index * block..<min(row * length + (index + 1) * block, (row + 1) * length)
                let (scale, zero) = (result.scales[row * 3 + index], Float(result.zeroPoints[row * 3 + index]))
                let error = range.reduce(Float(0)) { $0 + squared(values[$1] - (Float(result.values[$1]) - zero) * scale) }
                let (low, high) = (min(0, range.map { values[$0] }.min() ?? 0), max(0, range.map { values[$0] }.max() ?? 0))
                let plain = symmetric ? max(-low, high) / 7 : (high - low) / 15
                let offset: Float = symmetric ? 8 : (-low / plain).rounded(.toNearestOrEven)
                let simple = range.reduce(Float(0)) { sum, at in
                    let step = min(15, max(0, (values[at] / plain).rounded(.toNearestOrEven) + offset))
                    return sum + squared(values[at] - (step - offset) * plain)
                }
                #expect(error <= simple * 1.0001 + 1e-12, "seed \(seed)")
            }
        }
    }

    private func squared(_ value: Float) -> Float { value * value }

    @Test func packsFromTheLowestBits() {
        #expect(BitPacking.pack([1, 2, 3, 4, 5], width: 4) == [0x21, 0x43, 0x05])
        #expect(BitPacking.pack([1, 0, 1, 1, 0, 0, 0, 1, 1], width: 1) == [0b1000_1101, 1])
        #expect(BitPacking.pack([3, 2, 1, 0, 2], width: 2) == [0b00_01_10_11, 2])
    }
}

@Suite struct OptimalPaletteTests {
    /// All ways to cut the sorted values into at most k intervals.
    private func bruteForce(_ values: [Float], _ weights: [Double], _ k: Int) -> Double {
        let order = values.indices.sorted { values[$0] < values[$1] }
        let (x, w) = (order.map { Double(values[$0]) }, order.map { weights[$0] })
        func cost(_ range: Range<Int>) -> Double {
            let mass = range.reduce(0) { $0 + w[$1] }
            let mean = range.reduce(0) { $0 + w[$1] * x[$1] } / mass
            return range.reduce(0) { $0 + w[$1] * (x[$1] - mean) * (x[$1] - mean) }
        }
        func best(_ start: Int, _ clusters: Int) -> Double {
            if start == x.count { return 0 }
            if clusters == 1 { return cost(start..<x.count) }
            return (start + 1...x.count).map { cost(start..<$0) + best($0, clusters - 1) }.min() ?? .infinity
        }
        return best(0, k)
    }

    @Test(arguments: seeds(60)) func matchesBruteForce(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        let count = Int.random(in: 1...11, using: &random)
        let k = Int.random(in: 1...4, using: &random)
        // Few distinct values, so that ties and merging are met.
        let values = (0..<count).map { _ in Float(Int.random(in: -6...6, using: &random)) * (Bool.random(using: &random) ? 1 : 0.37) }
        let weights = (0..<count).map { _ in Float.random(in: 0.1...4, using: &random) }
        for useWeights in [true, false] {
            let solution = OptimalPalette.solve(values, weights: useWeights ? weights : nil, k: k)
            let expected = bruteForce(values, useWeights ? weights.map(Double.init) : values.map { _ in 1 }, k)
            #expect((solution.error - expected).magnitude <= 1e-6 * max(1, expected), "seed \(seed)")
            // What the centres and the assignment give is what was promised.
            let indices = OptimalPalette.assign(values, centres: solution.centres)
            let actual = values.indices.reduce(0.0) { sum, at in
                let difference = Double(values[at] - solution.centres[Int(indices[at])])
                return sum + difference * difference * (useWeights ? Double(weights[at]) : 1)
            }
            #expect((actual - expected).magnitude <= 1e-4 * max(1, expected), "seed \(seed)")
            #expect(solution.exact && solution.centres.count <= k)
        }
    }

    @Test(arguments: seeds(5)) func neverWorseThanLloydFromManyStarts(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        let values = (0..<2000).map { _ in Float.random(in: -1...1, using: &random) + Float.random(in: -1...1, using: &random) }
        let solution = OptimalPalette.solve(values, k: 16)
        for _ in 0..<5 {
            var centres = (0..<16).map { _ in values.randomElement(using: &random) ?? 0 }.sorted()
            for _ in 0..<30 {
                let indices = OptimalPalette.assign(values, centres: centres)
                var (sums, counts) = ([Double](repeating: 0, count: 16), [Double](repeating: 0, count: 16))
                for (value, index) in zip(values, indices) {
                    sums[Int(index)] += Double(value)
                    counts[Int(index)] += 1
                }
                centres = centres.indices.map { counts[$0] > 0 ? Float(sums[$0] / counts[$0]) : centres[$0] }.sorted()
            }
            let indices = OptimalPalette.assign(values, centres: centres)
            let error = values.indices.reduce(0.0) { $0 + Double(values[$1] - centres[Int(indices[$1])]) * Double(values[$1] - centres[Int(indices[$1])]) }
            #expect(solution.error <= error * 1.000001, "seed \(seed)")
        }
    }

    @Test func fewerValuesThanCentres() {
        let solution = OptimalPalette.solve([3, 1, 3, 1], k: 16)
        #expect(solution.centres == [1, 3] && solution.error == 0)
    }
}
