import COnnxRuntime
import Units

/// One stream's tensors for a session: memory for every input and output, allocated once and used for every window.
///
/// Where the model's first axis is open, several windows can be given at once, as its rows. Not Sendable: it belongs to the actor that
/// runs it. All tensors are float32.
public final class InferenceRun {
    public let session: InferenceSession
    /// Windows that one run can take, at least 1.
    public let rows: Int
    private let inputMemory: [UnsafeMutableBufferPointer<Float>]
    private let outputMemory: [UnsafeMutableBufferPointer<Float>]
    private let inputs: [TensorSpec]
    private let outputs: [TensorSpec]
    /// Values of one window in each.
    private let inputSizes: [Int]
    private let outputSizes: [Int]
    /// Outputs before this one have a row for each window; those from it on are what is left after the last.
    private let rowOutputs: Int
    /// The tensors for a number of windows, at its index; made when first needed.
    private var bindings: [Binding?]
    private let inputNames: CStrings
    private let outputNames: CStrings
    /// Through them another thread ends a run that does not come back.
    private let options: OpaquePointer

    /// - Parameters:
    ///   - inputs: in the order that `input(_:)` will use, the one that takes the window first; must satisfy `session.check`. Shapes
    ///     are those of one window.
    ///   - outputs: in the order that `output(_:)` will use.
    ///   - rows: windows that one run shall take. More than 1 needs an open first axis of the first input.
    ///   - rowOutputs: so many outputs, the first, have a row for each window; nil: all.
    /// - Throws: `.contractBroken` if the session's tensors differ.
    public init(
        session: InferenceSession, inputs: [TensorSpec], outputs: [TensorSpec], rows: Int = 1, rowOutputs: Int? = nil
    ) throws(JouledError) {
        try session.check(inputs: inputs, outputs: outputs)
        for tensor in inputs + outputs where tensor.elementType != .float32 || tensor.shape.contains(where: { $0 <= 0 }) {
            throw JouledError(.contractBroken, "\(session.modelPath): tensor '\(tensor.name)' must be float32 with a fixed shape, not \(tensor.elementType) \(tensor.shape)")
        }
        self.session = session
        self.rows = max(1, rows)
        self.inputs = inputs
        self.outputs = outputs
        inputSizes = inputs.map(\.elementCount)
        outputSizes = outputs.map(\.elementCount)
        self.rowOutputs = rowOutputs ?? outputs.count
        if rows > 1 { try Self.checkRows(inputs.prefix(1) + outputs.prefix(self.rowOutputs), session) }
        let (count, manyOutputs) = (self.rows, self.rowOutputs)
        inputMemory = inputs.enumerated().map { Self.zeroed($1.elementCount * ($0 == 0 ? count : 1)) }
        outputMemory = outputs.enumerated().map { Self.zeroed($1.elementCount * ($0 < manyOutputs ? count : 1)) }
        inputNames = CStrings(inputs.map(\.name))
        outputNames = CStrings(outputs.map(\.name))
        bindings = Array(repeating: nil, count: count + 1)
        let api = session.runtime.api
        options = try OnnxRuntime.made("CreateRunOptions", api) { api.pointee.CreateRunOptions($0) }
        // From here every stored property is set, so that deinit frees what was made if a call throws.
        _ = try binding(of: 1)
    }

    deinit {
        bindings = []
        session.runtime.api.pointee.ReleaseRunOptions(options)
        for memory in inputMemory + outputMemory { memory.deallocate() }
    }

    /// The values of input `index` for the first window, row-major; write before `run()`. Valid while this object lives.
    public func input(_ index: Int) -> UnsafeMutableBufferPointer<Float> { UnsafeMutableBufferPointer(start: inputMemory[index].baseAddress, count: inputSizes[index]) }
    /// The values of the first input for window `row`.
    public func input(row: Int) -> UnsafeMutableBufferPointer<Float> {
        precondition(row >= 0 && row < rows)
        return UnsafeMutableBufferPointer(start: inputMemory[0].baseAddress.map { $0 + row * inputSizes[0] }, count: inputSizes[0])
    }
    /// The values of output `index` after `run()`, row-major; for window `row` where the output has rows. Valid while this object lives.
    public func output(_ index: Int, row: Int = 0) -> UnsafeMutableBufferPointer<Float> {
        precondition(row >= 0 && row < (index < rowOutputs ? rows : 1))
        return UnsafeMutableBufferPointer(start: outputMemory[index].baseAddress.map { $0 + row * outputSizes[index] }, count: outputSizes[index])
    }

    /// Computes the outputs from the inputs on the calling thread.
    /// - Parameter rows: so many windows at once, at most `self.rows`.
    /// - Throws: `.inferenceFailed` with the model's file and ONNX Runtime's message.
    public func run(rows: Int = 1) throws(JouledError) {
        let status = compute(try binding(of: rows))
        if status != nil { try OnnxRuntime.check(status, session.runtime.api, session.modelPath) }
    }

    /// The same under the eye of `watch`, which can end the run from another thread. Where it does and ONNX Runtime does not
    /// come back, this call never returns.
    /// - Parameter limit: CPU time that the run may take.
    /// - Throws: `.inferenceStuck` if the run was ended, `.inferenceFailed` if it failed.
    public func run(rows: Int = 1, watchedBy watch: RunGuard, limit: Seconds) throws(JouledError) {
        let binding = try binding(of: rows)
        let number = watch.enter(self, limit: limit)
        let status = compute(binding)
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

    private func compute(_ binding: Binding) -> OpaquePointer? {
        session.runtime.api.pointee.Run(
            session.session, options, inputNames.pointers, binding.inputs.baseAddress, binding.inputs.count,
            outputNames.pointers, binding.outputs.count, binding.outputs.baseAddress)
    }

    private func binding(of count: Int) throws(JouledError) -> Binding {
        precondition(1...rows ~= count, "1 to \(rows) windows, not \(count)")
        if let binding = bindings[count] { return binding }
        let binding = Binding(runtime: session.runtime, inputs: inputs.count, outputs: outputs.count)
        try binding.wrap(inputs, inputMemory, into: binding.inputs) { $0 == 0 ? count : 1 }
        try binding.wrap(outputs, outputMemory, into: binding.outputs) { $0 < rowOutputs ? count : 1 }
        bindings[count] = binding
        return binding
    }

    private static func checkRows(_ tensors: ArraySlice<TensorSpec>, _ session: InferenceSession) throws(JouledError) {
        for tensor in tensors {
            let actual = (session.inputs + session.outputs).first { $0.name == tensor.name }
            guard tensor.shape.first == 1, actual?.shape.first == -1 else {
                throw JouledError(
                    .contractBroken, "\(session.modelPath): tensor '\(tensor.name)' takes one window at a time (shape \(actual?.shape ?? tensor.shape)), and not several")
            }
        }
    }

    private static func zeroed(_ count: Int) -> UnsafeMutableBufferPointer<Float> {
        let memory = UnsafeMutableBufferPointer<Float>.allocate(capacity: count)
        memory.initialize(repeating: 0)
        return memory
    }

    /// ONNX Runtime's views of the memory for one number of windows.
    private final class Binding {
        let inputs: UnsafeMutableBufferPointer<OpaquePointer?>
        let outputs: UnsafeMutableBufferPointer<OpaquePointer?>
        private let runtime: OnnxRuntime

        init(runtime: OnnxRuntime, inputs inputCount: Int, outputs outputCount: Int) {
            self.runtime = runtime
            inputs = .allocate(capacity: inputCount)
            outputs = .allocate(capacity: outputCount)
            inputs.initialize(repeating: nil)
            outputs.initialize(repeating: nil)
        }

        deinit {
            for value in inputs { runtime.api.pointee.ReleaseValue(value) }
            for value in outputs { runtime.api.pointee.ReleaseValue(value) }
            inputs.deallocate()
            outputs.deallocate()
        }

        func wrap(
            _ specs: [TensorSpec], _ memory: [UnsafeMutableBufferPointer<Float>], into values: UnsafeMutableBufferPointer<OpaquePointer?>,
            rows: (Int) -> Int
        ) throws(JouledError) {
            for (index, spec) in specs.enumerated() {
                var shape = spec.shape.map(Int64.init)
                let count = rows(index)
                if count > 1 { shape[0] = Int64(count) }
                values[index] = try OnnxRuntime.made("tensor '\(spec.name)'", runtime.api) {
                    runtime.api.pointee.CreateTensorWithDataAsOrtValue(
                        runtime.memoryInfo, memory[index].baseAddress, spec.elementCount * count * MemoryLayout<Float>.stride,
                        shape, shape.count, 1, $0)
                }
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
