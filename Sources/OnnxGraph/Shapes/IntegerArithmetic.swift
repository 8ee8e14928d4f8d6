/// Values of small integer tensors through elementwise operations.
enum IntegerArithmetic {
    static func unary(_ call: ShapeCall) -> [Int?]? {
        guard let values = call.input(0).integers else { return nil }
        switch call.node.opType {
        case "Identity": return values
        case "Neg": return values.map { $0.map { 0 &- $0 } }
        case "Abs": return values.map { $0.map { abs(max($0, .min + 1)) } }
        case "Not": return values.map { $0.map { 1 - $0 } }
        case "Sign": return values.map { $0?.signum() }
        default: return nil
        }
    }

    /// Both inputs of one shape, or one of them a single value: more than that shapes do not need.
    static func binary(_ call: ShapeCall) -> [Int?]? {
        let type = call.node.opType
        guard call.inputs.count == 2, let a = call.input(0).integers, let b = call.input(1).integers else { return call.inputs.count == 1 ? call.input(0).integers : nil }
        guard a.count == 1 || b.count == 1 || call.shape(0) == call.shape(1) else { return nil }
        // Of two single values the result has the larger rank, of one value and many the shape of the many.
        let isInteger = [ElementType.int64.rawValue, ElementType.int32.rawValue, ElementType.bool.rawValue].contains(call.type)
        guard isInteger else { return nil }
        let count = a.count == 1 ? b.count : a.count
        return (0..<count).map { index in
            guard let x = a[a.count == 1 ? 0 : index], let y = b[b.count == 1 ? 0 : index] else { return nil }
            return value(type, x, y, call.node)
        }
    }

    private static func value(_ type: String, _ x: Int, _ y: Int, _ node: Node) -> Int? {
        func checked(_ result: (partialValue: Int, overflow: Bool)) -> Int? { result.overflow ? nil : result.partialValue }
        switch type {
        case "Add", "Sum": return checked(x.addingReportingOverflow(y))
        case "Sub": return checked(x.subtractingReportingOverflow(y))
        case "Mul": return checked(x.multipliedReportingOverflow(by: y))
        case "Div": return checked(x.dividedReportingOverflow(by: y))
        case "Mod":
            guard y != 0, y != -1 else { return y == 0 ? nil : 0 }
            let rest = x % y
            return (node.integer("fmod") ?? 0) == 0 && rest != 0 && (rest < 0) != (y < 0) ? rest + y : rest
        case "Min": return min(x, y)
        case "Max": return max(x, y)
        case "And": return x != 0 && y != 0 ? 1 : 0
        case "Or": return x != 0 || y != 0 ? 1 : 0
        case "Xor": return (x != 0) != (y != 0) ? 1 : 0
        case "Equal": return x == y ? 1 : 0
        case "Greater": return x > y ? 1 : 0
        case "GreaterOrEqual": return x >= y ? 1 : 0
        case "Less": return x < y ? 1 : 0
        case "LessOrEqual": return x <= y ? 1 : 0
        default: return nil
        }
    }

    static func choose(_ call: ShapeCall) -> [Int?]? {
        guard let which = call.input(0).integers, let a = call.input(1).integers, let b = call.input(2).integers else { return nil }
        let count = max(which.count, a.count, b.count)
        guard [which.count, a.count, b.count].allSatisfy({ $0 == 1 || $0 == count }) else { return nil }
        func pick(_ list: [Int?], _ index: Int) -> Int? { list[list.count == 1 ? 0 : index] }
        return (0..<count).map { index in
            let (x, y) = (pick(a, index), pick(b, index))
            guard let decided = pick(which, index) else { return x == y ? x : nil }
            return decided != 0 ? x : y
        }
    }

    static func cast(_ input: TensorFact, to type: Int32) -> TensorFact {
        var result = TensorFact(type, input.shape)
        switch ElementType(rawValue: type) {
        case .int64: result.integers = input.integers
        case .int32: result.integers = input.integers.map { $0.map { $0.map { Int(Int32(truncatingIfNeeded: $0)) } } }
        case .bool: result.integers = input.integers.map { $0.map { $0.map { $0 == 0 ? 0 : 1 } } }
        default: break
        }
        return result
    }
}
