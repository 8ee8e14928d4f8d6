import COnnxRuntime
import Units

/// One stream's tensors for a session: memory for every input and output, allocated once and used for every window.
///
/// Not Sendable: it belongs to the actor that runs it. All tensors are float32.
public final class InferenceRun {
    public let session: InferenceSession
    private let inputMemory: [UnsafeMutableBufferPointer<Float>]
    private let outputMemory: [UnsafeMutableBufferPointer<Float>]
    private let inputValues: UnsafeMutableBufferPointer<OpaquePointer?>
    private let outputValues: UnsafeMutableBufferPointer<OpaquePointer?>
    private let inputNames: CStrings
    private let outputNames: CStrings
    /// Through them another thread ends a run that does not come back.
    private let options: OpaquePointer

    /// - Parameters:
    ///   - inputs: in the order that `input(_:)` will use; must satisfy `session.check`.
    ///   - outputs: in the order that `output(_:)` will use.
    /// - Throws: `.contractBroken` if the session's tensors differ.
    public init(session: InferenceSession, inputs: [TensorSpec], outputs: [TensorSpec]) throws(JouledError) {
        try session.check(inputs: inputs, outputs: outputs)
        for tensor in inputs + outputs where tensor.elementType != .float32 || tensor.shape.contains(where: { $0 <= 0 }) {
            throw JouledError(.contractBroken, "\(session.modelPath): tensor '\(tensor.name)' must be float32 with a fixed shape, not \(tensor.elementType) \(tensor.shape)")
        }
        self.session = session
        inputMemory = inputs.map(Self.zeroed)
        outputMemory = outputs.map(Self.zeroed)
        inputValues = .allocate(capacity: inputs.count)
        outputValues = .allocate(capacity: outputs.count)
        inputValues.initialize(repeating: nil)
        outputValues.initialize(repeating: nil)
        inputNames = CStrings(inputs.map(\.name))
        outputNames = CStrings(outputs.map(\.name))
        let api = session.runtime.api
        options = try OnnxRuntime.made("CreateRunOptions", api) { api.pointee.CreateRunOptions($0) }
        // From here every stored property is set, so that deinit frees what was made if a call throws.
        try Self.wrap(inputs, inputMemory, into: inputValues, session.runtime)
        try Self.wrap(outputs, outputMemory, into: outputValues, session.runtime)
    }

    deinit {
        for value in inputValues { session.runtime.api.pointee.ReleaseValue(value) }
        for value in outputValues { session.runtime.api.pointee.ReleaseValue(value) }
        session.runtime.api.pointee.ReleaseRunOptions(options)
        inputValues.deallocate()
        outputValues.deallocate()
        for memory in inputMemory + outputMemory { memory.deallocate() }
    }

    /// The values of input `index`, row-major; write before `run()`. Valid while this object lives.
    public func input(_ index: Int) -> UnsafeMutableBufferPointer<Float> { inputMemory[index] }
    /// The values of output `index` after `run()`, row-major. Valid while this object lives.
    public func output(_ index: Int) -> UnsafeMutableBufferPointer<Float> { outputMemory[index] }

    /// Computes the outputs from the inputs on the calling thread.
    /// - Throws: `.inferenceFailed` with the model's file and ONNX Runtime's message.
    public func run() throws(JouledError) {
        let status = compute()
        if status != nil { try OnnxRuntime.check(status, session.runtime.api, session.modelPath) }
    }

    /// The same under the eye of `watch`, which can end the run from another thread. Where it does and ONNX Runtime does not
    /// come back, this call never returns.
    /// - Parameter limit: CPU time that the run may take.
    /// - Throws: `.inferenceStuck` if the run was ended, `.inferenceFailed` if it failed.
    public func run(watchedBy watch: RunGuard, limit: Seconds) throws(JouledError) {
        let number = watch.enter(self, limit: limit)
        let status = compute()
        if watch.leave(number) {
            session.runtime.api.pointee.ReleaseStatus(status)
            throw JouledError(.inferenceStuck, "\(session.modelPath): a window took more than \(limit) of CPU time, and its run was ended")
        }
        if status != nil { try OnnxRuntime.check(status, session.runtime.api, session.modelPath) }
    }

    /// Asks the run in progress to end at the model's next node. From any thread.
    func terminate() { session.runtime.api.pointee.ReleaseStatus(session.runtime.api.pointee.RunOptionsSetTerminate(options)) }
    /// Takes `terminate` back, for runs to come.
    func unterminate() { session.runtime.api.pointee.ReleaseStatus(session.runtime.api.pointee.RunOptionsUnsetTerminate(options)) }

    private func compute() -> OpaquePointer? {
        session.runtime.api.pointee.Run(
            session.session, options, inputNames.pointers, inputValues.baseAddress, inputValues.count,
            outputNames.pointers, outputValues.count, outputValues.baseAddress)
    }

    private static func zeroed(_ spec: TensorSpec) -> UnsafeMutableBufferPointer<Float> {
        let memory = UnsafeMutableBufferPointer<Float>.allocate(capacity: spec.elementCount)
        memory.initialize(repeating: 0)
        return memory
    }

    private static func wrap(
        _ specs: [TensorSpec], _ memory: [UnsafeMutableBufferPointer<Float>],
        into values: UnsafeMutableBufferPointer<OpaquePointer?>, _ runtime: OnnxRuntime
    ) throws(JouledError) {
        for (index, spec) in specs.enumerated() {
            let shape = spec.shape.map(Int64.init)
            values[index] = try OnnxRuntime.made("tensor '\(spec.name)'", runtime.api) {
                runtime.api.pointee.CreateTensorWithDataAsOrtValue(
                    runtime.memoryInfo, memory[index].baseAddress, memory[index].count * MemoryLayout<Float>.stride,
                    shape, shape.count, 1, $0)
            }
        }
    }
}

/// C strings that live as long as this object.
final class CStrings {
    private let storage: [UnsafeMutablePointer<CChar>]
    let pointers: UnsafeMutablePointer<UnsafePointer<CChar>?>

    init(_ strings: [String]) {
        storage = strings.map { string in
            let bytes = Array(string.utf8CString)
            let copy = UnsafeMutablePointer<CChar>.allocate(capacity: bytes.count)
            copy.initialize(from: bytes, count: bytes.count)
            return copy
        }
        pointers = .allocate(capacity: max(1, strings.count))
        for (index, string) in storage.enumerated() { (pointers + index).initialize(to: UnsafePointer(string)) }
    }

    deinit {
        for string in storage { string.deallocate() }
        pointers.deallocate()
    }
}
