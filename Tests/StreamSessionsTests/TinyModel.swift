import Glibc
import InferenceRuntime
import JouledTestKit
import StreamSessions
import Testing
import Units
import Wire

/// A real model, small enough to know its answers: `y = x[index]`, from `x` of shape [1, 4].
///
/// With an index that is out of bounds it loads, since nothing looks before it runs, and fails when it runs.
enum TinyModel {
    static let runtime: OnnxRuntime? = {
        OnnxRuntime.disableTelemetry()
        let root = #filePath.split(separator: "/", omittingEmptySubsequences: false).dropLast(3).joined(separator: "/")
        let folder = root + "/.deps/lib"
        let name = TemporaryDirectory.names(in: folder).first { $0.hasPrefix("libonnxruntime.so") } ?? "missing"
        return try? OnnxRuntime(libraryPath: "\(folder)/\(name)")
    }()

    static func session(index: UInt64, takesMany: Bool = false) throws -> InferenceSession {
        try InferenceSession(
            runtime: try #require(runtime, "run setup/setup.sh"), model: TinyOnnx.pick(index, of: 4, takesMany: takesMany), path: "gather-\(index).onnx")
    }

    /// A session of a model of which one bad window fails a run of several.
    static func picky() throws -> InferenceSession {
        try InferenceSession(runtime: try #require(runtime, "run setup/setup.sh"), model: TinyOnnx.picky(of: 4), path: "picky.onnx")
    }

    /// A session of a model that adds up its windows' first samples in its state.
    static func sum() throws -> InferenceSession {
        try InferenceSession(runtime: try #require(runtime, "run setup/setup.sh"), model: TinyOnnx.sum(0, of: 4), path: "sum.onnx")
    }

    /// 1 kHz, windows of 4 samples, one after the other.
    static func contract(tolerance: Seconds = Seconds(1)) -> StreamContract {
        StreamContract(
            sampleRateHz: 1000, channels: 1, format: .f32le, s16Scale: 1, window: 4, hop: 4, context: 0, padsTail: true,
            normalization: .none, input: TensorSpec(name: "x", shape: [1, 4]), states: [], outputs: [TensorSpec(name: "y", shape: [1, 1])],
            latencyTolerance: tolerance)
    }

    static func assignment(
        _ session: InferenceSession?, variant: Int = 0, cadence: Int = 1, windowsPerRun: Int = 1, period: Seconds? = nil, isPaced: Bool = false
    ) -> Assignment {
        Assignment(
            session: session, variantIndex: UInt16(variant), variantName: session == nil ? "" : "v\(variant)", unit: "cpu", cadence: cadence,
            coalescing: 1, windowsPerRun: windowsPerRun, drainPeriod: period, firstWindow: WindowCost(energy: Joules(6)), nextWindow: WindowCost(energy: Joules(1)), isPaced: isPaced,
            reason: "because")
    }
}
