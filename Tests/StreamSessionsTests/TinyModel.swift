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
    private static func varint(_ value: UInt64) -> [UInt8] {
        var (rest, bytes) = (value, [UInt8]())
        while rest > 0x7F {
            bytes.append(UInt8(rest & 0x7F) | 0x80)
            rest >>= 7
        }
        return bytes + [UInt8(rest)]
    }
    private static func number(_ field: UInt64, _ value: UInt64) -> [UInt8] { varint(field << 3) + varint(value) }
    private static func message(_ field: UInt64, _ bytes: [UInt8]) -> [UInt8] { varint(field << 3 | 2) + varint(UInt64(bytes.count)) + bytes }
    private static func text(_ field: UInt64, _ text: String) -> [UInt8] { message(field, Array(text.utf8)) }

    /// A size of 0 leaves the axis open.
    private static func tensor(_ name: String, _ shape: [UInt64]) -> [UInt8] {
        let dimensions = shape.flatMap { message(1, $0 == 0 ? text(2, "windows") : number(1, $0)) }
        return text(1, name) + message(2, message(1, number(1, 1) + message(2, dimensions)))
    }

    /// - Parameter takesMany: whether the first axis is open, for several windows in one run.
    static func bytes(index: UInt64, takesMany: Bool = false) -> [UInt8] {
        let rows: UInt64 = takesMany ? 0 : 1
        let axis = text(1, "axis") + number(3, 1) + number(20, 2)
        let node = text(1, "x") + text(1, "i") + text(2, "y") + text(4, "Gather") + message(5, axis)
        let indices = number(1, 1) + number(2, 7) + message(7, varint(index)) + text(8, "i")
        let graph = message(1, node) + text(2, "g") + message(5, indices) + message(11, tensor("x", [rows, 4])) + message(12, tensor("y", [rows, 1]))
        return number(1, 8) + message(7, graph) + message(8, number(2, 13))
    }

    static let runtime: OnnxRuntime? = {
        OnnxRuntime.disableTelemetry()
        let root = #filePath.split(separator: "/", omittingEmptySubsequences: false).dropLast(3).joined(separator: "/")
        let folder = root + "/.deps/lib"
        let name = TemporaryDirectory.names(in: folder).first { $0.hasPrefix("libonnxruntime.so") } ?? "missing"
        return try? OnnxRuntime(libraryPath: "\(folder)/\(name)")
    }()

    static func session(index: UInt64, takesMany: Bool = false) throws -> InferenceSession {
        try InferenceSession(
            runtime: try #require(runtime, "run setup/setup.sh"), model: bytes(index: index, takesMany: takesMany), path: "gather-\(index).onnx")
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
