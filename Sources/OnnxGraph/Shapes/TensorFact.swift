import Units

/// What is known of a tensor without running the model.
public struct TensorFact: Sendable, Hashable {
    /// ONNX's number of the element type; 0: unknown.
    public var elementType: Int32
    /// Sizes by axis, nil where one is open; nil where not even the rank is known.
    public var shape: [Int?]?
    /// The values of a small tensor of integers or truth values, in row-major order, nil where one is open:
    /// the arithmetic of shapes happens in these.
    public var integers: [Int?]?

    public init(_ elementType: Int32 = 0, _ shape: [Int?]? = nil, integers: [Int?]? = nil) {
        self.elementType = elementType
        self.shape = shape
        self.integers = integers
    }

    public static let unknown = TensorFact()

    /// A vector of int64, as shapes are.
    static func vector(_ values: [Int?]) -> TensorFact { TensorFact(ElementType.int64.rawValue, [values.count], integers: values) }

    /// All sizes, if none is open.
    public var fixedShape: [Int]? {
        guard let shape, !shape.contains(nil) else { return nil }
        return shape.compactMap { $0 }
    }
    /// All values, if none is open.
    public var fixedIntegers: [Int]? {
        guard let integers, !integers.contains(nil) else { return nil }
        return integers.compactMap { $0 }
    }
    /// The shape for a person, e.g. `[1, ?, 128]`; nil where not even the rank is known.
    public var shapeText: String? { shape.map(ShapeCall.text) }
    public var rank: Int? { shape?.count }
    /// Number of values, if no size is open.
    var count: Int? {
        guard let fixedShape else { return nil }
        return fixedShape.reduce(1, Self.saturatingProduct)
    }

    static func saturatingProduct(_ a: Int, _ b: Int) -> Int {
        let (value, overflow) = a.multipliedReportingOverflow(by: b)
        return overflow ? .max : value
    }

    /// Larger tensors are no shapes: their values are not followed.
    static let mostValues = 1024

    /// What an initializer or a Constant says.
    public init(_ tensor: Tensor) {
        self.init(tensor.dataType, tensor.shape.map { Optional($0) })
        guard tensor.count <= Self.mostValues else { return }
        if tensor.elementType == .bool {
            if tensor.hasRawData { integers = tensor.rawData.map { $0 == 0 ? 0 : 1 } } else { integers = tensor.int32Data.map { $0 == 0 ? 0 : 1 } }
        } else if let values = try? tensor.integers() {
            integers = values
        }
        if integers?.count != tensor.count { integers = nil }
    }

    /// What a declaration says; nil for what is no tensor.
    public init?(_ info: Onnx_ValueInfoProto) {
        guard info.type.hasTensorType else { return nil }
        self.init(info.elementType, nil)
        guard info.type.tensorType.hasShape else { return }
        shape = info.type.tensorType.shape.dim.map { dimension in
            if case .dimValue(let value)? = dimension.value, value >= 0 { return Int(value) }
            return nil
        }
    }

    /// The fact as an initializer, where all values are known and the type is one that shapes are computed in.
    func tensor(named name: String) -> Tensor? {
        guard let values = fixedIntegers, let dims = fixedShape else { return nil }
        switch ElementType(rawValue: elementType) {
        case .int64: return Tensor(name: name, dims: dims, int64s: values.map(Int64.init))
        case .int32: return Tensor(name: name, dims: dims, int32s: values.map { Int32(truncatingIfNeeded: $0) })
        case .bool: return Tensor(name: name, type: .bool, dims: dims, bytes: values.map { $0 == 0 ? 0 : 1 })
        default: return nil
        }
    }

    /// What two possible sources of one tensor have in common.
    func joined(_ other: TensorFact) -> TensorFact {
        TensorFact(
            elementType == other.elementType ? elementType : 0, Self.common(shape, other.shape), integers: Self.common(integers, other.integers))
    }

    private static func common(_ a: [Int?]?, _ b: [Int?]?) -> [Int?]? {
        guard let a, let b, a.count == b.count else { return nil }
        return zip(a, b).map { $0 == $1 ? $0 : nil }
    }

    /// This with what a declaration adds; a contradiction keeps this, as stale declarations are common.
    func refined(by declared: TensorFact?) -> TensorFact {
        guard let declared else { return self }
        var result = self
        if elementType == 0 { result.elementType = declared.elementType }
        guard let theirs = declared.shape else { return result }
        guard let mine = shape else {
            result.shape = theirs
            return result
        }
        if mine.count == theirs.count { result.shape = zip(mine, theirs).map { $0 ?? $1 } }
        return result
    }
}
