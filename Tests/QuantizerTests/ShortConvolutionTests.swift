import Glibc
import InferenceRuntime
import JouledTestKit
import OnnxGraph
import Testing
import Units

@testable import Quantizer

@Suite struct ShortConvolutionTests {
    /// A random graph of convolutions over one axis with what stands between them in real models: activations, residual sums, Slices of
    /// channels and positions, readers that cannot follow.
    private struct RandomGraph {
        var model: OnnxModel
        var convolutions = 0

        init(seed: UInt64) {
            var random = SeededGenerator(seed: seed)
            var proto = Onnx_ModelProto()
            proto.irVersion = 8
            proto.graph.name = "random"
            var count = 0
            func fresh(_ base: String) -> String {
                count += 1
                return "\(base)\(count)"
            }
            func floats(_ dims: [Int]) -> Tensor {
                Tensor(name: fresh("w"), dims: dims, floats: (0..<dims.reduce(1, *)).map { _ in Float.random(in: -0.5...0.5, using: &random) })
            }
            func integers(_ values: [Int]) -> String {
                let tensor = Tensor(name: fresh("i"), dims: [values.count], int64s: values.map(Int64.init))
                proto.graph.initializer.append(tensor)
                return tensor.name
            }
            // Either a signal that is framed, as a Fourier transform does, or channels from the start.
            var channels = Int.random(in: 1...6, using: &random)
            var length = Int.random(in: 1...12, using: &random)
            var value = "x"
            if Bool.random(using: &random) {
                let samples = Int.random(in: 24...60, using: &random)
                proto.graph.input = [RuntimeFixture.info("x", [1, samples])]
                (channels, length) = (1, samples)
                if Bool.random(using: &random) {
                    let ends = [Int.random(in: 0...9, using: &random), Int.random(in: 0...9, using: &random)]
                    let mode = ["reflect", "edge", "constant"].randomElement(using: &random) ?? "reflect"
                    proto.graph.node.append(Node("Pad", name: "pad", inputs: [value, integers([0, ends[0], 0, ends[1]])], outputs: ["padded"], attributes: [Attribute("mode", mode)]))
                    (value, length) = ("padded", samples + ends[0] + ends[1])
                }
                proto.graph.node.append(Node("Unsqueeze", name: "plane", inputs: [value, integers([1])], outputs: ["signal"]))
                value = "signal"
            } else {
                proto.graph.input = [RuntimeFixture.info("x", [1, channels, length])]
            }
            for layer in 0..<Int.random(in: 1...5, using: &random) {
                let before = (value, channels, length)
                let dilation = Int.random(in: 1...3, using: &random) == 1 ? 2 : 1
                let isFraming = value == "signal"
                let taps = Int.random(in: isFraming ? 4...16 : 1...4, using: &random)
                let stride = isFraming ? Int.random(in: 4...9, using: &random) : Int.random(in: 1...3, using: &random)
                let pads = [Int.random(in: 0...2, using: &random), Int.random(in: 0...2, using: &random)]
                let room = length + pads[0] + pads[1] - dilation * (taps - 1) - 1
                guard room >= 0 else { continue }
                let out = Int.random(in: 2...7, using: &random)
                var weights = floats([out, channels, taps])
                if isFraming, Bool.random(using: &random) {
                    weights = Tensor(name: weights.name, dims: [out, 1, taps], floats: ShortConvolutionTests.mirrored(kernels: out, taps: taps, odd: Bool.random(using: &random), shift: Int.random(in: -1...1, using: &random), &random))
                }
                proto.graph.initializer.append(weights)
                var inputs = [value, weights.name]
                if Bool.random(using: &random) {
                    let bias = floats([out])
                    proto.graph.initializer.append(bias)
                    inputs.append(bias.name)
                }
                value = fresh("c")
                proto.graph.node.append(
                    Node("Conv", name: "conv\(layer)", inputs: inputs, outputs: [value],
                        attributes: [Attribute("kernel_shape", [taps]), Attribute("strides", [stride]), Attribute("dilations", [dilation]), Attribute("pads", pads)]))
                (channels, length) = (out, room / stride + 1)
                convolutions += 1
                switch Int.random(in: 0..<7, using: &random) {
                case 0 where length > 1:
                    // All readers take the same positions.
                    let start = Int.random(in: 0..<length - 1, using: &random)
                    let end = Int.random(in: start + 1...length, using: &random)
                    let name = fresh("s")
                    proto.graph.node.append(Node("Slice", name: name + "n", inputs: [value, integers([start]), integers([end == length ? 1 << 40 : end]), integers([2]), integers([1])], outputs: [name]))
                    (value, length) = (name, end - start)
                case 1:
                    // Two halves of the channels, and what a magnitude is made of.
                    let half = channels / 2
                    var parts: [String] = []
                    for start in [0, half] {
                        let name = fresh("s")
                        proto.graph.node.append(Node("Slice", name: name + "n", inputs: [value, integers([start]), integers([start + half]), integers([1]), integers([1])], outputs: [name]))
                        parts.append(name)
                    }
                    let name = fresh("m")
                    proto.graph.node.append(Node("Mul", name: name + "n", inputs: parts, outputs: [name]))
                    (value, channels) = (name, half)
                case 2 where before.1 == channels && before.2 == length:
                    let name = fresh("a")
                    proto.graph.node.append(Node("Add", name: name + "n", inputs: [value, before.0], outputs: [name]))
                    value = name
                case 3:
                    // Cannot follow: it looks at neighbours.
                    let name = fresh("p")
                    proto.graph.node.append(Node("MaxPool", name: name + "n", inputs: [value], outputs: [name], attributes: [Attribute("kernel_shape", [1]), Attribute("strides", [1])]))
                    value = name
                case 4:
                    // There and back again: rows are what it is already.
                    let (turned, name) = (fresh("t"), fresh("t"))
                    proto.graph.node.append(Node("Transpose", name: turned + "n", inputs: [value], outputs: [turned], attributes: [Attribute("perm", [0, 2, 1])]))
                    proto.graph.node.append(Node("Transpose", name: name + "n", inputs: [turned], outputs: [name], attributes: [Attribute("perm", [0, 2, 1])]))
                    value = name
                default: break
                }
                if Bool.random(using: &random) {
                    let name = fresh("r")
                    proto.graph.node.append(Node(["Relu", "Sigmoid", "Tanh", "Abs"].randomElement(using: &random) ?? "Relu", name: name + "n", inputs: [value], outputs: [name]))
                    value = name
                }
            }
            proto.graph.node.append(Node("Identity", name: "last", inputs: [value], outputs: ["y"]))
            proto.graph.output = [RuntimeFixture.info("y", [1, channels, length])]
            // An open first axis in what is declared of the result would be a claim; the sizes are.
            model = OnnxModel(path: "random.onnx", proto: proto)
            model.importOpset("", version: 17)
        }
    }

    /// Kernels mirrored about the middle of the frame, or with a zero tap left over at one end.
    static func mirrored(kernels: Int, taps: Int, odd: Bool, shift: Int, _ random: inout SeededGenerator) -> [Float] {
        let sum = taps - 1 + shift
        return (0..<kernels).flatMap { _ in
            var kernel = [Float](repeating: 0, count: taps)
            for tap in 0..<taps where (0..<taps).contains(sum - tap) && tap <= sum - tap {
                let weight = Float.random(in: -0.5...0.5, using: &random)
                kernel[tap] = tap == sum - tap && odd ? 0 : weight
                kernel[sum - tap] = tap == sum - tap ? kernel[tap] : odd ? -weight : weight
            }
            return kernel
        }
    }

    private func run(_ model: OnnxModel, _ runtime: OnnxRuntime, windows: Int, _ random: inout SeededGenerator) throws -> [[Float]] {
        let session = try InferenceSession(runtime: runtime, model: model.serialized(), path: model.path)
        return try (0..<windows).map { _ in
            let shape = session.inputs[0].shape.map { max(1, $0) }
            let values = (0..<shape.reduce(1, *)).map { _ in Float.random(in: -1...1, using: &random) }
            return try session.run([("x", TensorValue(shape: shape, values: .float(values)))], outputs: ["y"])[0].floats
        }
    }

    /// ONNX Runtime's own convolutions are what it is held against.
    @Test func randomGraphsGiveTheSameResults() throws {
        guard let runtime = RuntimeFixture.runtime else { return }
        var rewritten = 0
        for seed in UInt64(1)...400 {
            let random = RandomGraph(seed: seed)
            var model = random.model
            let labels = try ShortConvolutions.rewrite(&model)
            guard !labels.isEmpty else {
                #expect(try model.serialized() == random.model.serialized(), "seed \(seed)")
                continue
            }
            rewritten += labels.count
            try GraphCheck.check(model)
            var (a, b) = (SeededGenerator(seed: seed), SeededGenerator(seed: seed))
            let expected = try run(random.model, runtime, windows: 3, &a)
            let found = try run(model, runtime, windows: 3, &b)
            for (x, y) in zip(expected.joined(), found.joined()) { #expect(abs(x - y) <= 1e-5 * max(1, abs(x)), "seed \(seed): \(labels)") }
            #expect(expected.map(\.count) == found.map(\.count), "seed \(seed)")
        }
        #expect(rewritten > 400, "the graphs hardly have short convolutions: \(rewritten)")
    }

    /// Products keep their rows apart: an opened first axis takes many windows.
    @Test func aBatchGivesWhatItsWindowsGive() throws {
        guard let runtime = RuntimeFixture.runtime else { return }
        var batches = 0
        for seed in UInt64(1)...120 {
            var model = RandomGraph(seed: seed).model
            guard try !ShortConvolutions.rewrite(&model).isEmpty else { continue }
            var open = model
            open.proto.graph.input[0].type.tensorType.shape.dim[0].dimParam = "windows"
            open.proto.graph.output[0].type.tensorType.shape.dim[0].dimParam = "windows"
            open.proto.graph.valueInfo = []
            var random = SeededGenerator(seed: seed)
            let one = try InferenceSession(runtime: runtime, model: model.serialized(), path: "one")
            let many = try InferenceSession(runtime: runtime, model: open.serialized(), path: "many")
            let shape = one.inputs[0].shape
            let count = shape.reduce(1, *)
            let values = (0..<3 * count).map { _ in Float.random(in: -1...1, using: &random) }
            let all = try many.run([("x", TensorValue(shape: [3] + shape.dropFirst(), values: .float(values)))], outputs: ["y"])[0].floats
            for window in 0..<3 {
                let alone = try one.run([("x", TensorValue(shape: shape, values: .float(Array(values[window * count..<(window + 1) * count]))))], outputs: ["y"])[0].floats
                for (x, y) in zip(alone, all[window * alone.count..<(window + 1) * alone.count]) { #expect(abs(x - y) <= 1e-5 * max(1, abs(x)), "seed \(seed), window \(window)") }
            }
            batches += 1
        }
        #expect(batches > 60)
    }

    @Test func mirroredKernelsFoldToPairs() throws {
        for seed in UInt64(1)...300 {
            var random = SeededGenerator(seed: seed)
            let taps = Int.random(in: 4...17, using: &random)
            let count = Int.random(in: 1...5, using: &random)
            let odd = Bool.random(using: &random)
            let shift = Int.random(in: -1...1, using: &random)
            let kernels = Self.mirrored(kernels: count, taps: taps, odd: odd, shift: shift, &random)
            let folded = try #require(MirroredKernels(kernels, count: count), "seed \(seed)")
            #expect(folded.pairs.count <= taps / 2 + 1)
            let signal = (0..<taps).map { _ in Float.random(in: -1...1, using: &random) }
            for kernel in 0..<count {
                let direct = (0..<taps).reduce(Float(0)) { $0 + kernels[kernel * taps + $1] * signal[$1] }
                let halved = folded.pairs.enumerated().reduce(Float(0)) { sum, item in
                    let (a, b) = (signal[item.element.tap], signal[item.element.mirror])
                    return sum + folded.weights[item.offset * count + kernel] * (folded.isOdd ? a - b : a + b)
                }
                #expect(abs(direct - halved) < 1e-5, "seed \(seed), kernel \(kernel)")
            }
            // One weight off its mirror is no symmetry.
            var broken = kernels
            let at = Int.random(in: 0..<kernels.count, using: &random)
            broken[at] += 0.01
            let isMiddleOfEven = folded.pairs.contains { $0.tap == $0.mirror && $0.tap == at % taps } && !folded.isOdd
            if !isMiddleOfEven { #expect(MirroredKernels(broken, count: count) == nil, "seed \(seed)") }
        }
    }

    @Test func longConvolutionsAndOtherKindsStay() throws {
        var model = RuntimeFixture.residualNetwork(seed: 1)
        let before = try model.serialized()
        #expect(try ShortConvolutions.rewrite(&model).isEmpty)
        #expect(try model.serialized() == before)
    }

    @Test(.enabled(if: access(RuntimeFixture.root + "/.deps/windows/speech-evaluation.npz", R_OK) == 0, "run setup/setup.sh")) func sileroHasSevenAndAnswersTheSame() throws {
        let runtime = try #require(RuntimeFixture.runtime)
        let source = try OnnxModel.load(RuntimeFixture.root + "/.deps/raw/silero_vad_16k_sequence.onnx")
        let data = try Dataset(path: RuntimeFixture.root + "/.deps/windows/speech-evaluation.npz")
        var model = try ModelImport.run(source, dimensions: [:], constants: [:], fixAll: true, runtime: runtime).model
        let imported = model
        #expect(try ShortConvolutions.rewrite(&model).count == 7)
        // The transform's kernels are even and odd: half of their weights are left, and of two convolutions only taps that are not on padding.
        #expect(model.weightBytes < imported.weightBytes * 85 / 100)
        #expect(!model.graph.node.contains { $0.opType == "Conv" })
        let report = try Validator(reference: imported, dataset: data, runtime: runtime).validate(model, seams: false)
        #expect(report.agreement == 1)
        #expect(report.p99Error < 1e-5)
    }
}
