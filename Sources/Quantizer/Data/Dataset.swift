import InferenceRuntime
import Units

/// Windows for a model: one array per input, first axis = windows. See docs/quantization.md.
///
/// Reserved names: `labels` (an integer class or 0/1 per window, -1 where it is not judged) and `sequence` (a number per
/// window; state starts at zero where it changes).
public struct Dataset: Sendable {
    /// The file, for messages.
    public let path: String
    public let windows: Int
    public let arrays: [String: NumpyArray]
    /// A class per window, -1 where there is no truth; nil without labels.
    public let labels: [Int]?
    /// Windows at which carried state starts from zero again; always contains 0.
    public let sequenceStarts: Set<Int>

    /// - Throws: `.unusableData` naming the file and the array: none at all, lengths that differ, NaN or infinity (with the
    ///   window), an array that never changes.
    public init(path: String) throws(JouledError) { try self.init(path: path, arrays: NumpyFile.load(path)) }

    public init(path: String, arrays all: [String: NumpyArray]) throws(JouledError) {
        var arrays = all
        let labels = arrays.removeValue(forKey: "labels")
        let sequence = arrays.removeValue(forKey: "sequence")
        guard let windows = arrays.values.first?.shape.first else { throw JouledError(.unusableData, "\(path): has no array with windows on its first axis") }
        for (name, array) in all.sorted(by: { $0.key < $1.key }) {
            guard array.shape.first == windows else {
                throw JouledError(.unusableData, "\(path): array '\(name)' has \(array.shape.first ?? 0) windows, another one \(windows)")
            }
        }
        guard windows > 0 else { throw JouledError(.unusableData, "\(path): has no windows") }
        for (name, array) in arrays.sorted(by: { $0.key < $1.key }) {
            guard case .float(let values) = array.values else { continue }
            if let bad = values.firstIndex(where: { !$0.isFinite }) {
                throw JouledError(.unusableData, "\(path): array '\(name)' has \(values[bad]) in window \(bad / max(1, array.count / windows))")
            }
            if array.count > 1, windows > 1, let first = values.first, values.allSatisfy({ $0 == first }) {
                throw JouledError(.unusableData, "\(path): array '\(name)' is \(first) everywhere: constant data calibrates nothing")
            }
        }
        self.path = path
        self.windows = windows
        self.arrays = arrays
        self.labels = labels.map { $0.integers.map { Int(truncatingIfNeeded: $0) } }
        let numbers = sequence?.integers ?? []
        sequenceStarts = Set([0] + numbers.indices.dropFirst().filter { numbers[$0] != numbers[$0 - 1] })
    }

    /// Window `index` of input `spec`, in the model's own shape.
    /// - Throws: `.unusableData` naming file, array and both shapes where they do not agree.
    func value(_ index: Int, of spec: TensorSpec) throws(JouledError) -> TensorValue? {
        // A .npy is for the one input that its windows fit; others are state.
        let isNameless = arrays[spec.name] == nil && arrays.count == 1
        guard let array = arrays[spec.name] ?? (arrays.count == 1 ? arrays[""] : nil) else { return nil }
        let length = array.count / windows
        let rest = Array(array.shape.dropFirst())
        guard let shape = Self.fit(rest, length, to: spec.shape) else {
            if isNameless { return nil }
            throw JouledError(
                .unusableData,
                "\(path): array '\(spec.name)' has windows of shape \(rest), but the model's input is \(spec.shape)\(spec.shape.contains(-1) ? " (-1: open)" : "")")
        }
        let range = index * length..<(index + 1) * length
        switch spec.elementType {
        case .float32: return TensorValue(shape: shape, values: .float(Array(array.floatSlice(range))))
        case .other(7): return TensorValue(shape: shape, values: .int64(Array(array.integers[range])))
        case .other(6): return TensorValue(shape: shape, values: .bytes(6, array.integers[range].flatMap { withUnsafeBytes(of: Int32(truncatingIfNeeded: $0)) { [UInt8]($0) } }))
        default: throw JouledError(.unusableData, "\(path): input '\(spec.name)' is \(spec.elementType), which a data file cannot feed")
        }
    }

    /// The model's shape with open axes filled in, if `length` values of shape `rest` can be it: equal shapes, or
    /// with the leading batch axis of 1 implied, or a fixed shape with as many values.
    private static func fit(_ rest: [Int], _ length: Int, to shape: [Int]) -> [Int]? {
        for candidate in [rest, [1] + rest] where candidate.count == shape.count {
            if zip(candidate, shape).allSatisfy({ $1 == -1 || $0 == $1 }) { return candidate }
        }
        if !shape.contains(-1), shape.reduce(1, *) == length { return shape }
        if shape.isEmpty, length == 1 { return [] }
        return nil
    }
}

extension NumpyArray {
    func floatSlice(_ range: Range<Int>) -> ArraySlice<Float> {
        switch values {
        case .float(let array): array[range]
        case .integer(let array): array[range].map(Float.init)[...]
        }
    }
}
