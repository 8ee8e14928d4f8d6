import Units

/// What an interface description declares.
///
/// The parser takes the subset of the language that systemd 257 takes, so that `varlinkctl` can introspect
/// every interface that passes here: no `any`, no containers in containers, no empty structure as a type.
public struct VarlinkDefinition: Hashable, Sendable {
    /// The type of a field.
    public indirect enum FieldType: Hashable, Sendable {
        case bool
        case int
        case float
        case string
        case object
        case structure([Field])
        case enumeration([String])
        case named(String)
        case array(FieldType)
        case map(FieldType)
        case nullable(FieldType)
    }

    /// A field of a structure.
    public struct Field: Hashable, Sendable {
        /// The field's name.
        public let name: String
        /// The field's type.
        public let type: FieldType
    }

    /// A method.
    public struct Method: Hashable, Sendable {
        /// The name without the interface.
        public let name: String
        /// The parameters of a call.
        public let input: [Field]
        /// The parameters of a reply.
        public let output: [Field]
    }

    /// An error.
    public struct ErrorReply: Hashable, Sendable {
        /// The name without the interface.
        public let name: String
        /// The parameters.
        public let fields: [Field]
    }

    /// A named type: a structure or an enumeration.
    public struct TypeAlias: Hashable, Sendable {
        /// The type's name.
        public let name: String
        /// What it stands for.
        public let type: FieldType
    }

    /// The interface's name.
    public internal(set) var name = ""
    /// The methods in the order of the text.
    public internal(set) var methods: [Method] = []
    /// The errors in the order of the text.
    public internal(set) var errors: [ErrorReply] = []
    /// The named types in the order of the text.
    public internal(set) var types: [TypeAlias] = []

    /// Parses a description. Errors name the line.
    public init(parsing text: String) throws(JouledError) {
        var parser = VarlinkDefinitionParser(text)
        self = try parser.definition()
    }

    init() {}

    /// The method called `name`, if there is one.
    public func method(_ name: String) -> Method? { methods.first { $0.name == name } }
}
