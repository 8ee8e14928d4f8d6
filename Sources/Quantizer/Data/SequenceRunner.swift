import InferenceRuntime
import OnnxGraph
import Units

/// Runs a model over the windows of a dataset, with recurrent state carried from window to window as a stream would.
public struct SequenceRunner {
    public let session: InferenceSession
    /// Inputs that are not in the data and start at zero, with the output that feeds each.
    public let states: [(input: TensorSpec, output: String)]
    /// Outputs that are not state.
    public let results: [TensorSpec]
    private let dataset: Dataset

    /// - Parameter outputs: the model's own outputs, if the session has more that are only watched; nil: all.
    /// - Throws: `.unusableData` where an input is neither in the data nor a state with an output of its shape.
    public init(session: InferenceSession, dataset: Dataset, outputs: Set<String>? = nil) throws(JouledError) {
        self.session = session
        self.dataset = dataset
        var free = session.outputs.filter { outputs?.contains($0.name) ?? true }
        var states: [(TensorSpec, String)] = []
        for input in session.inputs where try dataset.value(0, of: input) == nil {
            guard input.elementType == .float32, let output = Self.stateOutput(for: input, among: free) else {
                throw JouledError(
                    .unusableData,
                    "\(dataset.path): no array '\(input.name)' for the model's input of that name, and it is no state that an output of its shape carries on; there are: \(dataset.arrays.keys.sorted().joined(separator: ", "))")
            }
            free.removeAll { $0.name == output.name }
            // An open axis of a state is the batch.
            states.append((TensorSpec(name: input.name, shape: input.shape.map { max(1, $0) }), output.name))
        }
        if states.count == session.inputs.count {
            throw JouledError(.unusableData, "\(dataset.path): none of its arrays (\(dataset.arrays.keys.sorted().joined(separator: ", "))) is an input of \(session.modelPath): \(session.inputs.map(\.name).joined(separator: ", "))")
        }
        self.states = states
        results = free
    }

    /// The output that carries a state on: of the same shape, preferably one whose name begins with the input's.
    private static func stateOutput(for input: TensorSpec, among outputs: [TensorSpec]) -> TensorSpec? {
        let same = outputs.filter { output in
            output.elementType == input.elementType && output.shape.count == input.shape.count
                && zip(output.shape, input.shape).allSatisfy { $0 == $1 || $0 == -1 || $1 == -1 }
        }
        func base(_ name: String) -> String {
            var text = name.lowercased()
            for suffix in ["_in", "_out", "in", "out", "new", "next", "_n", "n", "_0", "_1"] where text.hasSuffix(suffix) && text.count > suffix.count {
                text.removeLast(suffix.count)
                break
            }
            return text
        }
        return same.first { $0.name.hasPrefix(input.name) } ?? same.first { base($0.name) == base(input.name) } ?? same.first
    }

    /// State tensors by input name, as they are before some window.
    public typealias State = [String: TensorValue]

    public var zeroState: State {
        Dictionary(
            uniqueKeysWithValues: states.map {
                ($0.input.name, TensorValue(shape: $0.input.shape, values: .float([Float](repeating: 0, count: $0.input.elementCount))))
            })
    }

    /// Runs window `index` from `state`, which becomes the state after it.
    /// - Parameter outputs: what to return, in order; state is carried besides.
    public func step(_ index: Int, _ state: inout State, outputs: [String]) throws(JouledError) -> [TensorValue] {
        var inputs: [(String, TensorValue)] = []
        for input in session.inputs {
            if let carried = state[input.name] {
                inputs.append((input.name, carried))
            } else if let value = try dataset.value(index, of: input) {
                inputs.append((input.name, value))
            }
        }
        let values = try session.run(inputs, outputs: outputs + states.map(\.output))
        for (number, item) in states.enumerated() { state[item.input.name] = values[outputs.count + number] }
        return Array(values[..<outputs.count])
    }

    /// Runs windows in order; state starts at zero wherever the dataset says that a sequence does.
    /// - Parameter body: gets each window's index and the named outputs.
    public func run(outputs: [String], _ body: (Int, [TensorValue]) throws(JouledError) -> Void) throws(JouledError) {
        var state = zeroState
        for index in 0..<dataset.windows {
            if dataset.sequenceStarts.contains(index) { state = zeroState }
            try body(index, step(index, &state, outputs: outputs))
        }
    }

    /// The float results of every window, concatenated over outputs: `[window][value]`.
    public func allResults() throws(JouledError) -> [[Float]] {
        var rows: [[Float]] = []
        rows.reserveCapacity(dataset.windows)
        try run(outputs: results.map(\.name)) { _, values throws(JouledError) in rows.append(values.flatMap(\.floats)) }
        return rows
    }
}
