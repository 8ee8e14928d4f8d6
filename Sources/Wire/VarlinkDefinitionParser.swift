import Units

/// A recursive-descent parser of interface descriptions; recursion is bounded by `maximumDepth`.
struct VarlinkDefinitionParser {
    private static let maximumDepth = 64

    private let bytes: [UInt8]
    private var position = 0
    private var depth = 0
    /// Where a type was referred to by name, to be resolved at the end, because use may precede declaration.
    private var references: [(name: String, line: Int)] = []

    init(_ text: String) { bytes = Array(text.utf8) }

    mutating func definition() throws(JouledError) -> VarlinkDefinition {
        var definition = VarlinkDefinition()
        var declared: Set<String> = []
        skipBlank()
        guard word() == "interface" else { throw error("'interface' expected") }
        skipBlank()
        definition.name = interfaceName()
        guard VarlinkName.isInterface(definition.name) else { throw error("'\(definition.name)' is no interface name") }
        try endOfLine()
        while true {
            skipBlank()
            guard position < bytes.count else { break }
            let keyword = word()
            skipBlank()
            guard ["method", "error", "type"].contains(keyword) else { throw error("'method', 'error' or 'type' expected") }
            let name = word()
            guard VarlinkName.isMember(name) else { throw error("'\(name)' is no name of a \(keyword)") }
            guard declared.insert(name).inserted else { throw error("'\(name)' is declared twice") }
            skipBlank()
            switch keyword {
            case "method":
                let input = try parameters()
                skipBlank()
                guard take("-"), take(">") else { throw error("'->' expected") }
                skipBlank()
                definition.methods.append(.init(name: name, input: input, output: try parameters()))
            case "error": definition.errors.append(.init(name: name, fields: try parameters()))
            default: definition.types.append(.init(name: name, type: try structureOrEnumeration()))
            }
            try endOfLine()
        }
        guard !declared.isEmpty else { throw error("the interface declares nothing") }
        let types = Set(definition.types.map(\.name))
        for reference in references where !types.contains(reference.name) {
            throw JouledError(.malformedInterface, "line \(reference.line): type '\(reference.name)' is not declared")
        }
        return definition
    }

    // MARK: Types

    /// The parameters of a method or an error, which may be empty where a type may not.
    private mutating func parameters() throws(JouledError) -> [VarlinkDefinition.Field] {
        let start = position
        if take("(") {
            skipBlank()
            if take(")") { return [] }
        }
        position = start
        guard case .structure(let fields) = try structureOrEnumeration() else { throw error("fields with types expected") }
        return fields
    }

    private mutating func structureOrEnumeration() throws(JouledError) -> VarlinkDefinition.FieldType {
        depth += 1
        defer { depth -= 1 }
        guard depth <= Self.maximumDepth else { throw error("nested deeper than \(Self.maximumDepth)") }
        guard take("(") else { throw error("'(' expected") }
        var fields: [VarlinkDefinition.Field] = []
        var values: [String] = []
        var names: Set<String> = []
        while true {
            skipBlank()
            let name = word()
            guard VarlinkName.isField(name) else { throw error(name.isEmpty ? "a field's name expected" : "'\(name)' is no field name") }
            guard names.insert(name).inserted else { throw error("field '\(name)' is declared twice") }
            skipBlank()
            if take(":") {
                skipBlank()
                fields.append(.init(name: name, type: try fieldType()))
                skipBlank()
            } else {
                values.append(name)
            }
            guard fields.isEmpty || values.isEmpty else { throw error("fields with and without type are mixed") }
            if take(")") { return fields.isEmpty ? .enumeration(values) : .structure(fields) }
            guard take(",") else { throw error("',' or ')' expected") }
        }
    }

    private mutating func fieldType() throws(JouledError) -> VarlinkDefinition.FieldType {
        let isNullable = take("?")
        var type: VarlinkDefinition.FieldType
        if take("[") {
            let key = word()
            guard take("]"), key.isEmpty || key == "string" else { throw error("'[]' or '[string]' expected") }
            let element = try elementType()
            type = key.isEmpty ? .array(element) : .map(element)
        } else {
            type = try elementType()
        }
        if isNullable { type = .nullable(type) }
        return type
    }

    private mutating func elementType() throws(JouledError) -> VarlinkDefinition.FieldType {
        if position < bytes.count, bytes[position] == UInt8(ascii: "(") { return try structureOrEnumeration() }
        let name = word()
        switch name {
        case "bool": return .bool
        case "int": return .int
        case "float": return .float
        case "string": return .string
        case "object": return .object
        default:
            guard VarlinkName.isMember(name) else { throw error("a type expected") }
            references.append((name, line))
            return .named(name)
        }
    }

    // MARK: Characters

    private var line: Int { 1 + bytes[..<position].count { $0 == 0x0a } }

    private func error(_ what: String) -> JouledError { JouledError(.malformedInterface, "line \(line): \(what)") }

    private mutating func take(_ character: Unicode.Scalar) -> Bool {
        guard position < bytes.count, bytes[position] == UInt8(ascii: character) else { return false }
        position += 1
        return true
    }

    /// White space and comments.
    private mutating func skipBlank() {
        while position < bytes.count {
            switch bytes[position] {
            case 0x20, 0x09, 0x0a, 0x0d: position += 1
            case UInt8(ascii: "#"): skipComment()
            default: return
            }
        }
    }

    private mutating func skipComment() {
        while position < bytes.count, bytes[position] != 0x0a { position += 1 }
    }

    /// A declaration ends with its line, or with the text.
    private mutating func endOfLine() throws(JouledError) {
        while position < bytes.count, [0x20, 0x09, 0x0d].contains(bytes[position]) { position += 1 }
        guard position < bytes.count else { return }
        if bytes[position] == UInt8(ascii: "#") { return skipComment() }
        guard take("\n") else { throw error("the end of the line expected") }
    }

    private mutating func word() -> String { run { $0 == UInt8(ascii: "_") } }

    private mutating func interfaceName() -> String { run { $0 == UInt8(ascii: ".") || $0 == UInt8(ascii: "-") } }

    private mutating func run(_ extra: (UInt8) -> Bool) -> String {
        let start = position
        while position < bytes.count {
            let byte = bytes[position]
            let isAlphanumeric =
                (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte | 0x20)
                || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
            guard isAlphanumeric || extra(byte) else { break }
            position += 1
        }
        return String(decoding: bytes[start..<position], as: UTF8.self)
    }
}
