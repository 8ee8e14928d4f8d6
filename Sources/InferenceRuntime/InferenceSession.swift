import COnnxRuntime
import Units

/// Name, element type and shape of a model's input or output.
public struct TensorSpec: Sendable, Equatable {
    /// The element types that jouled can feed; others are reported by their ONNX number.
    public enum ElementType: Sendable, Equatable, CustomStringConvertible {
        case float32
        case other(Int32)

        init(_ number: Int32) { self = number == 1 ? .float32 : .other(number) }

        public var description: String {
            switch self {
            case .float32: return "float32"
            case .other(let number):
                let names: [Int32: String] = [2: "uint8", 3: "int8", 6: "int32", 7: "int64", 8: "string", 9: "bool", 10: "float16", 11: "double"]
                return names[number] ?? "ONNX type \(number)"
            }
        }
    }

    public var name: String
    public var elementType: ElementType
    /// Sizes by axis; -1 where the model leaves one open.
    public var shape: [Int]

    public init(name: String, elementType: ElementType = .float32, shape: [Int]) {
        self.name = name
        self.elementType = elementType
        self.shape = shape
    }

    /// Elements in all; open axes count as one.
    public var elementCount: Int { shape.reduce(1) { $0 * max(1, $1) } }
}

/// A model loaded into ONNX Runtime. Streams of one variant share it: weights are loaded once, and each stream runs
/// it with tensors of its own (`InferenceRun`).
public final class InferenceSession: Sendable {
    public let runtime: OnnxRuntime
    /// The file it was loaded from.
    public let modelPath: String
    public let inputs: [TensorSpec]
    public let outputs: [TensorSpec]
    // Set once in init; OrtSession's Run is documented as safe to call from several threads.
    nonisolated(unsafe) let session: OpaquePointer

    /// Loads a model: one thread, sequential, no spinning. Blocks for milliseconds to seconds.
    /// - Parameters:
    ///   - model: the bytes of an `.onnx` file; needed during the call only.
    ///   - modelPath: where they come from, for messages.
    ///   - settings: what tools for models ask for; streams need none of it.
    ///   - weights: weights that the model names as external data and that lie in memory; they must stay there as long as
    ///     the session lives.
    /// - Throws: `.inferenceFailed` with the file's name and ONNX Runtime's message.
    public init(
        runtime: OnnxRuntime, model: [UInt8], path modelPath: String, settings: LoadSettings = LoadSettings(), weights: [BorrowedWeight] = []
    ) throws(JouledError) {
        let api = runtime.api
        do {
            let options = try OnnxRuntime.made("CreateSessionOptions", api) { api.pointee.CreateSessionOptions($0) }
            defer { api.pointee.ReleaseSessionOptions(options) }
            try OnnxRuntime.check(api.pointee.SetIntraOpNumThreads(options, 1), api, "SetIntraOpNumThreads")
            try OnnxRuntime.check(api.pointee.SetInterOpNumThreads(options, 1), api, "SetInterOpNumThreads")
            try OnnxRuntime.check(api.pointee.SetSessionExecutionMode(options, 0), api, "SetSessionExecutionMode")
            for pool in ["intra", "inter"] {
                try OnnxRuntime.check(
                    api.pointee.AddSessionConfigEntry(options, "session.\(pool)_op.allow_spinning", "0"), api, "allow_spinning")
            }
            try settings.apply(to: options, api)
            let borrowed = try BorrowedWeight.add(weights, to: options, runtime)
            defer { for value in borrowed { api.pointee.ReleaseValue(value) } }
            let session = try OnnxRuntime.made("CreateSessionFromArray", api) {
                api.pointee.CreateSessionFromArray(runtime.environment, model, model.count, options, $0)
            }
            do {
                inputs = try Self.specs(of: session, api, count: api.pointee.SessionGetInputCount, name: api.pointee.SessionGetInputName, type: api.pointee.SessionGetInputTypeInfo)
                outputs = try Self.specs(of: session, api, count: api.pointee.SessionGetOutputCount, name: api.pointee.SessionGetOutputName, type: api.pointee.SessionGetOutputTypeInfo)
            } catch {
                api.pointee.ReleaseSession(session)
                throw error
            }
            self.session = session
        } catch {
            throw JouledError(.inferenceFailed, "\(modelPath): cannot be loaded", cause: error)
        }
        self.runtime = runtime
        self.modelPath = modelPath
    }

    deinit { runtime.api.pointee.ReleaseSession(session) }

    /// Checks that the model has exactly the tensors that its manifest declares.
    /// - Throws: `.contractBroken` naming file, tensor and both shapes or types.
    public func check(inputs declaredInputs: [TensorSpec], outputs declaredOutputs: [TensorSpec]) throws(JouledError) {
        try check(declaredInputs, against: inputs, "input")
        try check(declaredOutputs, against: outputs, "output")
        // An output may be left unread, but every input must be fed.
        for input in inputs where !declaredInputs.contains(where: { $0.name == input.name }) {
            throw JouledError(.contractBroken, "\(modelPath): input '\(input.name)' is not declared in the manifest")
        }
    }

    private func check(_ declared: [TensorSpec], against actual: [TensorSpec], _ kind: String) throws(JouledError) {
        for tensor in declared {
            guard let found = actual.first(where: { $0.name == tensor.name }) else {
                let names = actual.map(\.name).joined(separator: ", ")
                throw JouledError(.contractBroken, "\(modelPath): no \(kind) '\(tensor.name)'; it has \(names)")
            }
            guard found.elementType == tensor.elementType else {
                throw JouledError(.contractBroken, "\(modelPath): \(kind) '\(tensor.name)' is \(found.elementType), declared as \(tensor.elementType)")
            }
            let fits = found.shape.count == tensor.shape.count && zip(found.shape, tensor.shape).allSatisfy { $0 == -1 || $0 == $1 }
            guard fits else {
                throw JouledError(.contractBroken, "\(modelPath): \(kind) '\(tensor.name)' has shape \(found.shape), declared as \(tensor.shape)")
            }
        }
    }

    private static func specs(
        of session: OpaquePointer, _ api: UnsafePointer<OrtApi>,
        count: (OpaquePointer?, UnsafeMutablePointer<Int>?) -> OpaquePointer?,
        name: (OpaquePointer?, Int, OpaquePointer?, UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>?) -> OpaquePointer?,
        type: (OpaquePointer?, Int, UnsafeMutablePointer<OpaquePointer?>?) -> OpaquePointer?
    ) throws(JouledError) -> [TensorSpec] {
        var total = 0
        try OnnxRuntime.check(count(session, &total), api, "counting tensors")
        let allocator = try OnnxRuntime.made("GetAllocatorWithDefaultOptions", api) { api.pointee.GetAllocatorWithDefaultOptions($0) }
        var specs: [TensorSpec] = []
        for index in 0..<total {
            var text: UnsafeMutablePointer<CChar>?
            try OnnxRuntime.check(name(session, index, allocator, &text), api, "naming tensor \(index)")
            guard let text else { throw JouledError(.inferenceFailed, "tensor \(index) has no name") }
            let tensorName = String(cString: text)
            try OnnxRuntime.check(api.pointee.AllocatorFree(allocator, text), api, "AllocatorFree")
            let info = try OnnxRuntime.made("type of '\(tensorName)'", api) { type(session, index, $0) }
            defer { api.pointee.ReleaseTypeInfo(info) }
            // Borrowed from `info`, not to be released.
            var tensor: OpaquePointer?
            try OnnxRuntime.check(api.pointee.CastTypeInfoToTensorInfo(info, &tensor), api, "type of '\(tensorName)'")
            guard let tensor else { throw JouledError(.contractBroken, "'\(tensorName)' is not a tensor") }
            var (element, rank): (Int32, Int) = (0, 0)
            try OnnxRuntime.check(api.pointee.GetTensorElementType(tensor, &element), api, "element type of '\(tensorName)'")
            try OnnxRuntime.check(api.pointee.GetDimensionsCount(tensor, &rank), api, "rank of '\(tensorName)'")
            var shape = [Int64](repeating: 0, count: rank)
            try OnnxRuntime.check(api.pointee.GetDimensions(tensor, &shape, rank), api, "shape of '\(tensorName)'")
            specs.append(TensorSpec(name: tensorName, elementType: .init(element), shape: shape.map(Int.init)))
        }
        return specs
    }
}
