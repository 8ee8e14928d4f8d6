import FoundationEssentials

extension Node {
    /// A node of the default domain, or of `domain`.
    public init(_ opType: String, name: String, inputs: [String], outputs: [String], domain: String = "", attributes: [Attribute] = []) {
        self.init()
        self.opType = opType
        self.name = name
        self.input = inputs
        self.output = outputs
        if !domain.isEmpty { self.domain = domain }
        self.attribute = attributes
    }

    public func attribute(_ name: String) -> Attribute? { attribute.first { $0.name == name } }
    public func integer(_ name: String) -> Int? { attribute(name).map { Int($0.i) } }
    public func integers(_ name: String) -> [Int]? { attribute(name).map { $0.ints.map(Int.init) } }
    public func float(_ name: String) -> Float? { attribute(name)?.f }
    public func text(_ name: String) -> String? { attribute(name).map { String(decoding: $0.s, as: UTF8.self) } }

    /// The tensor that a Constant node holds, without a name; nil for strings and sparse tensors.
    public var constantTensor: Tensor? {
        guard attribute.count == 1, let value = attribute.first else { return nil }
        switch value.name {
        case "value": return value.t
        case "value_int": return Tensor(name: "", dims: [], int64s: [value.i])
        case "value_ints": return Tensor(name: "", dims: [value.ints.count], int64s: value.ints)
        case "value_float": return Tensor(name: "", dims: [], floats: [value.f])
        case "value_floats": return Tensor(name: "", dims: [value.floats.count], floats: value.floats)
        default: return nil
        }
    }

    /// The graphs in the node's attributes: branches of If, bodies of Loop and Scan.
    public var subgraphs: [Graph] { attribute.flatMap { ($0.hasG ? [$0.g] : []) + $0.graphs } }

    /// Lets `body` change each of the node's graphs, but not the graphs in those.
    public mutating func updateSubgraphs<Failure: Error>(_ body: (inout Graph) throws(Failure) -> Void) throws(Failure) {
        for index in attribute.indices {
            if attribute[index].hasG { try body(&attribute[index].g) }
            for inner in attribute[index].graphs.indices { try body(&attribute[index].graphs[inner]) }
        }
    }

    /// The node's name, or what it is and writes where it has none: names are optional in ONNX.
    public var label: String { name.isEmpty ? "\(opType)(\(output.first ?? ""))" : name }
}

extension Attribute {
    public init(_ name: String, _ value: Int) {
        self.init()
        self.name = name
        self.type = .int
        self.i = Int64(value)
    }

    public init(_ name: String, _ values: [Int]) {
        self.init()
        self.name = name
        self.type = .ints
        self.ints = values.map(Int64.init)
    }

    public init(_ name: String, _ value: Graph) {
        self.init()
        self.name = name
        self.type = .graph
        self.g = value
    }

    public init(_ name: String, _ value: String) {
        self.init()
        self.name = name
        self.type = .string
        self.s = Data(value.utf8)
    }
}

extension Onnx_ValueInfoProto {
    /// The declared sizes by axis, nil where one is open; nil for no declared shape or no tensor.
    public var shape: [Int?]? {
        guard type.hasTensorType, type.tensorType.hasShape else { return nil }
        return type.tensorType.shape.dim.map { dimension in
            if case .dimValue(let value)? = dimension.value, value > 0 { return Int(value) }
            return nil
        }
    }

    /// The names of open dimensions, by axis.
    public var openDimensions: [(axis: Int, name: String)] {
        guard type.hasTensorType else { return [] }
        return type.tensorType.shape.dim.enumerated().compactMap { axis, dimension in
            switch dimension.value {
            case .dimValue(let value)? where value > 0: nil
            case .dimParam(let name)?: (axis, name)
            default: (axis, "")
            }
        }
    }

    public var elementType: Int32 { type.tensorType.elemType }
}
