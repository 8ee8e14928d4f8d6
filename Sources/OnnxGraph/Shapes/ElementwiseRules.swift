import Units

/// Operations whose output has the shape of an input or of all inputs broadcast.
enum ElementwiseRules {
    /// Facts of the node's outputs; nil where it is no operation of these.
    static func facts(_ call: ShapeCall) throws(JouledError) -> [TensorFact]? {
        let type = call.node.opType
        let declared = Int32(call.node.integer("output_dtype") ?? 0)
        switch type {
        case _ where sameAsInput.contains(type):
            return [TensorFact(call.type, call.shape(0), integers: IntegerArithmetic.unary(call))]
        case _ where broadcast.contains(type):
            return [TensorFact(call.type, try call.broadcast(call.inputs.indices.map(call.shape)), integers: IntegerArithmetic.binary(call))]
        case _ where comparisons.contains(type):
            return [TensorFact(ElementType.bool.rawValue, try call.broadcast(call.inputs.indices.map(call.shape)), integers: IntegerArithmetic.binary(call))]
        case "IsInf", "IsNaN": return [TensorFact(ElementType.bool.rawValue, call.shape(0))]
        case "Where":
            return [TensorFact(call.input(1).elementType, try call.broadcast([call.shape(0), call.shape(1), call.shape(2)]), integers: IntegerArithmetic.choose(call))]
        case "Cast": return [IntegerArithmetic.cast(call.input(0), to: Int32(call.node.integer("to") ?? 0))]
        case "CastLike": return [IntegerArithmetic.cast(call.input(0), to: call.input(1).elementType)]
        case "Dropout": return [call.input(0), TensorFact(ElementType.bool.rawValue, call.shape(0))]
        case "QuantizeLinear":
            return [TensorFact(call.has(2) ? call.input(2).elementType : (declared != 0 ? declared : ElementType.uint8.rawValue), call.shape(0))]
        case "DequantizeLinear": return [TensorFact(declared != 0 ? declared : call.input(1).elementType, call.shape(0))]
        case "DynamicQuantizeLinear":
            return [TensorFact(ElementType.uint8.rawValue, call.shape(0)), TensorFact(ElementType.float.rawValue, []), TensorFact(ElementType.uint8.rawValue, [])]
        case "LayerNormalization":
            guard let shape = call.shape(0) else { return [TensorFact(call.type)] }
            let axis = try call.axis(call.node.integer("axis") ?? -1, rank: shape.count)
            let statistics = TensorFact(Int32(call.node.integer("stash_type") ?? 1), shape.enumerated().map { $0.offset < axis ? $0.element : 1 })
            return [TensorFact(call.type, shape), statistics, statistics]
        default: return nil
        }
    }

    private static let sameAsInput: Set<String> = [
        "Abs", "Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "BatchNormalization", "BitwiseNot", "Ceil", "Celu", "Clip", "Cos", "Cosh", "CumProd",
        "CumSum", "Elu", "Erf", "Exp", "FastGelu", "Floor", "Gelu", "GroupNormalization", "HardSigmoid", "HardSwish", "Hardmax", "Identity",
        "InstanceNormalization", "LRN", "LeakyRelu", "Log", "LogSoftmax", "LpNormalization", "MeanVarianceNormalization", "Mish", "Neg", "Not", "PRelu",
        "QuickGelu", "RMSNormalization", "Reciprocal", "Relu", "ReverseSequence", "Round", "Scatter", "ScatterElements", "ScatterND", "Selu", "Shrink",
        "Sigmoid", "Sign", "Sin", "Sinh", "SkipLayerNormalization", "Softmax", "Softplus", "Softsign", "Sqrt", "Swish", "Tan", "Tanh", "ThresholdedRelu",
        "Trilu",
    ]
    private static let broadcast: Set<String> = [
        "Add", "BitShift", "BitwiseAnd", "BitwiseOr", "BitwiseXor", "Div", "Max", "Mean", "Min", "Mod", "Mul", "Pow", "Sub", "Sum",
    ]
    private static let comparisons: Set<String> = ["And", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Or", "Xor"]
}
