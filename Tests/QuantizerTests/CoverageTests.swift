import InferenceRuntime
import JouledTestKit
import ModelStore
import OnnxGraph
import Testing
import Units

@testable import Quantizer

@Suite struct CoverageTests {
    private func dataset(_ values: [Float], windows: Int, path: String = "d.npz") throws -> Dataset {
        try Dataset(path: path, arrays: ["x": NumpyArray(shape: [windows, values.count / windows], values: .float(values))])
    }

    @Test(arguments: seeds(5)) func tailsAndSharesOutside(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        let values = (0..<2000).map { _ in Float.random(in: -1...1, using: &random) }
        var coverage = Coverage(calibration: try dataset(values, windows: 200))
        let sorted = values.sorted()
        #expect(coverage.inputs[0].quantiles.first == sorted.first && coverage.inputs[0].quantiles.last == sorted.last)
        #expect(coverage.inputs[0].quantiles == coverage.inputs[0].quantiles.sorted())
        #expect(coverage.inputs[0].quantiles[3] == sorted[1000] || coverage.inputs[0].quantiles[3] == sorted[999])
        // 30 windows of 10 values; in every third one, the first value is one width above the most.
        var other = (0..<300).map { _ in Float.random(in: -0.5...0.5, using: &random) }
        let (low, high) = (sorted[0], sorted[1999])
        for window in stride(from: 0, to: 30, by: 3) { other[window * 10] = high + (high - low) }
        guard let runtime = RuntimeFixture.runtime else { return }
        try coverage.compare(dataset(other, windows: 30), calibrated: nil, runtime: runtime)
        let outside = try #require(coverage.others.first?.tensors.first)
        #expect(outside.tensor == "x" && outside.isInput && outside.lower == low && outside.upper == high)
        #expect((outside.values - 10.0 / 300).magnitude < 1e-9 && (outside.windows - 10.0 / 30).magnitude < 1e-9 && (outside.farthest - 1).magnitude < 1e-5)
    }

    /// A repeated window is found whatever its loudness and offset, others are not; against all pairs by the definition.
    @Test(arguments: seeds(10)) func duplicatesMatchCorrelation(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        let length = 40
        var windows = (0..<60).map { _ in (0..<length).map { _ in Float.random(in: -1...1, using: &random) } }
        windows[31] = windows[7].map { 0.2 * $0 + 3 }
        windows[50] = windows[7].map { $0 + Float.random(in: -0.02...0.02, using: &random) }
        windows[40] = [Float](repeating: 0.5, count: length)
        windows[41] = windows[8].map { -$0 }
        let found = NearDuplicates(windows.flatMap { $0 }, windows: 60)
        func correlation(_ a: [Float], _ b: [Float]) -> Double {
            let (ma, mb) = (a.reduce(0, +) / Float(length), b.reduce(0, +) / Float(length))
            var (top, sa, sb) = (0.0, 0.0, 0.0)
            for (x, y) in zip(a, b) {
                top += Double((x - ma) * (y - mb))
                sa += Double((x - ma) * (x - ma))
                sb += Double((y - mb) * (y - mb))
            }
            return sa > 0 && sb > 0 ? top / (sa * sb).squareRoot() : 0
        }
        let expected = (0..<60).filter { a in (0..<a).contains { correlation(windows[a], windows[$0]) >= 0.999 } }
        #expect(found.duplicates == expected.count && expected.contains(31) && found.silent == [40], "seed \(seed)")
        #expect(found.examples.map(\.window) == Array(expected.prefix(5)), "seed \(seed)")
        let among = NearDuplicates(windows[31], windows: 1, among: (windows.flatMap { $0 }, 60))
        #expect(among.duplicates == 1 && among.compared == 1)
    }

    /// Activations of a static model: the share outside their ranges is what counting all values of the float model gives.
    @Test func activationsAreCounted() throws {
        guard let runtime = RuntimeFixture.runtime else { return }
        let source = RuntimeFixture.residualNetwork(seed: 2)
        let calibration = try RuntimeFixture.dataset([4, 1, 32], seed: 2)
        var recipe = Recipe(.int8)
        recipe.weightThreshold = 64
        recipe.calibration.method = .percentile
        recipe.calibration.percentile = 99
        var quantizer = try ModelQuantizer(source, calibrator: Calibrator(runtime: runtime, dataset: calibration))
        quantizer.keepsCalibrated = true
        let outcome = try quantizer.quantize(recipe)
        let calibrated = try #require(outcome.calibrated)
        let wide = try RuntimeFixture.dataset([4, 1, 32], seed: 3)
        var coverage = Coverage(calibration: calibration)
        try coverage.compare(wide, calibrated: calibrated, runtime: runtime)
        let tensors = coverage.others[0].tensors
        #expect(tensors.contains { !$0.isInput && $0.values > 0.001 && $0.values < 0.05 }, "a percentile of 99 leaves about 1 % outside")
        let checked = try #require(tensors.first { !$0.isInput })
        var (outside, count) = (0, 0)
        try Calibrator.watch([checked.tensor], in: calibrated.model, over: wide, runtime) { _, _, value throws(JouledError) in
            outside += value.floats.filter { $0 < checked.lower || $0 > checked.upper }.count
            count += value.floats.count
        }
        #expect((checked.values - Double(outside) / Double(count)).magnitude < 1e-12)
        // The same ranges can be read back from the quantized file.
        let read = try #require(CalibratedModel(variant: outcome.model))
        for (name, range) in read.ranges {
            // What pooling and Flatten give has the scale of what goes in.
            guard let mine = calibrated.ranges[name], !["p", "f"].contains(name) else { continue }
            let step = (range.upper - range.lower) / 255
            #expect(range.lower <= mine.lower + step && range.upper >= mine.upper - step, "\(name): \(range) for \(mine)")
        }
        #expect(!read.ranges.isEmpty)
    }

    private static let contract = """
        format = 1
        name = "m"
        summary = "s"
        licence = "MIT"
        source = "s"
        task = "t"
        signal = { kind = "audio", sample_rate_hz = 8000, channels = 1, s16_scale = 0.5, unit = "full-scale" }
        window = { samples = 8, hop = 4, context = 2, tail = "pad", normalize = "none" }
        input = { name = "x", shape = [1, 10] }
        latency = { tolerance = "1s" }
        thresholds = { agreement_min = 0.9, p99_error_max = 0.1 }
        output = [{ name = "y", shape = [1], label = "p" }]
        """

    private func wave(_ samples: [Int16], rate: Int = 8000) -> [UInt8] {
        func bytes(_ value: Int, _ width: Int) -> [UInt8] { (0..<width).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) } }
        let data = samples.flatMap { bytes(Int($0), 2) }
        // A chunk of odd length that nobody knows comes before the data.
        let unknown = Array("LIST".utf8) + bytes(3, 4) + [1, 2, 3, 0]
        return Array("RIFF".utf8) + bytes(36 + unknown.count + data.count, 4) + Array("WAVEfmt ".utf8) + bytes(16, 4) + bytes(1, 2) + bytes(1, 2) + bytes(rate, 4)
            + bytes(rate * 2, 4) + bytes(2, 2) + bytes(16, 2) + unknown + Array("data".utf8) + bytes(data.count, 4) + data
    }

    /// Windows of 8 with 2 of context every 4 samples; the last is filled up with zeros.
    @Test func recordingsAreCutByTheContract() throws {
        let directory = TemporaryDirectory()
        directory.write("c.toml", Self.contract)
        directory.write("in/a.wav", wave((1...13).map { Int16($0) }))
        directory.write("in/b.csv", "value\n# comment\n" + (21...28).map { "\($0)\n" }.joined())
        let contract = try ModelManifest(file: directory("c.toml"))
        let data = try Dataset.load(directory("in"), contract: contract)
        let half = { (numbers: [Int]) in numbers.map { 0.5 * Float($0) } }
        #expect(data.windows == 4 && data.sequenceStarts == [0, 3])
        #expect(
            data.arrays["x"]?.floats == half([0, 0, 1, 2, 3, 4, 5, 6, 7, 8]) + half([3, 4, 5, 6, 7, 8, 9, 10, 11, 12]) + half([7, 8, 9, 10, 11, 12, 13, 0, 0, 0])
                + [0, 0, 21, 22, 23, 24, 25, 26, 27, 28])
        let missing = #expect(throws: JouledError.self) { try Dataset.load(directory("in/a.wav"), contract: nil) }
        #expect(missing?.message.contains("--manifest") == true)
        directory.write("fast.wav", wave([1, 2, 3, 4, 5, 6, 7, 8], rate: 16000))
        let rate = #expect(throws: JouledError.self) { try Dataset.load(directory("fast.wav"), contract: contract) }
        #expect(rate?.message.contains("16000 Hz") == true && rate?.message.contains("8000 Hz") == true)
        directory.write("bad.csv", "1\n2\nx\n")
        let line = #expect(throws: JouledError.self) { try Dataset.load(directory("bad.csv"), contract: contract) }
        #expect(line?.message.contains("bad.csv:3: column 1") == true)
        directory.write("wide.csv", "1,2\n3,4\n")
        let channels = #expect(throws: JouledError.self) { try Dataset.load(directory("wide.csv"), contract: contract) }
        #expect(channels?.message.contains("2 channels") == true)
    }

    /// Damaged recordings are errors or other samples, never a trap.
    @Test(arguments: seeds(3)) func damagedRecordingsNeverTrap(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        let (directory, whole) = (TemporaryDirectory(), wave((1...20).map { Int16($0) }))
        for _ in 0..<100 {
            var bytes = Array(whole.prefix(Int.random(in: 0...whole.count, using: &random)))
            for _ in 0..<3 where !bytes.isEmpty { bytes[Int.random(in: bytes.indices, using: &random)] = UInt8.random(in: 0...255, using: &random) }
            directory.write("r.wav", bytes)
            _ = try? Recording(path: directory("r.wav"), s16Scale: 1)
        }
    }

    @Test func fewWindowsAreRefusedUnlessAskedFor() throws {
        guard let runtime = RuntimeFixture.runtime else { return }
        let few = try RuntimeFixture.dataset([4, 1, 32], windows: 99, seed: 1)
        let error = #expect(throws: JouledError.self) { try Calibrator(runtime: runtime, dataset: few) }
        #expect(error?.message.contains("99 windows") == true && error?.message.contains("--allow-few") == true)
        let allowed = try Calibrator(runtime: runtime, dataset: few, allowFew: true)
        #expect(allowed.warning?.contains("500") == true)
        #expect(Coverage(calibration: few).isFew)
        #expect(try Calibrator(runtime: runtime, dataset: RuntimeFixture.dataset([4, 1, 32], windows: 500, seed: 1)).warning == nil)
    }

    /// A .npy has no names: it feeds the input that it fits, and the others are state.
    @Test func namelessArrayFeedsTheInputThatItFits() throws {
        guard let runtime = RuntimeFixture.runtime, let path = ReferenceModels.silero.first(where: { $0.hasSuffix("16k_sequence.onnx") }) else { return }
        var random = SeededGenerator(seed: 1)
        let values = (0..<3 * 576).map { _ in Float.random(in: -0.1...0.1, using: &random) }
        func rows(_ name: String) throws -> [[Float]] {
            let data = try Dataset(path: "d.npy", arrays: [name: NumpyArray(shape: [3, 576], values: .float(values))])
            let session = try InferenceSession(runtime: runtime, model: OnnxModel.load(path).serialized(), path: path)
            return try SequenceRunner(session: session, dataset: data).allResults()
        }
        #expect(try rows("") == rows("input"))
    }
}
