import Units

/// Reads the parameters of a method call, field by field, as a service must: a missing, mistyped or unknown
/// field is an `InvalidParameter` that names it.
///
/// ```
/// var reader = VarlinkParameters(call)
/// let model = try reader.string("model")
/// let rate = try reader.optionalInt("rate")
/// try reader.finish()
/// ```
/// The errors are `JouledError`s whose cause is the `VarlinkError` to send; see `VarlinkError.init(_:)`.
public struct VarlinkParameters: Sendable {
    private let object: JSONObject
    /// The path to `object` with a trailing dot, empty at the top.
    private let prefix: String
    private var known: Set<String> = []

    /// - Parameter call: the call whose parameters are read.
    public init(_ call: VarlinkCall) { self.init(call.parameters) }

    /// - Parameters:
    ///   - object: the fields.
    ///   - path: where `object` is within the parameters, for messages; nil at the top.
    public init(_ object: JSONObject, path: String? = nil) {
        self.object = object
        prefix = path.map { $0 + "." } ?? ""
    }

    // MARK: Required fields

    /// A boolean.
    public mutating func bool(_ name: String) throws(JouledError) -> Bool { try required(name, optionalBool(name)) }
    /// An integer within `range`.
    public mutating func int(_ name: String, in range: ClosedRange<Int64> = .min ... .max) throws(JouledError) -> Int64 {
        try required(name, optionalInt(name, in: range))
    }
    /// Any number within `range`.
    public mutating func double(
        _ name: String, in range: ClosedRange<Double> = -.greatestFiniteMagnitude ... .greatestFiniteMagnitude
    ) throws(JouledError) -> Double {
        try required(name, optionalDouble(name, in: range))
    }
    /// A string.
    public mutating func string(_ name: String) throws(JouledError) -> String { try required(name, optionalString(name)) }
    /// One of an enumeration's values.
    public mutating func choice<Value: RawRepresentable<String>>(
        _ name: String, of type: Value.Type
    ) throws(JouledError) -> Value {
        try required(name, optionalChoice(name, of: type))
    }
    /// An array of strings.
    public mutating func strings(_ name: String) throws(JouledError) -> [String] { try required(name, optionalStrings(name)) }
    /// An object of any content.
    public mutating func object(_ name: String) throws(JouledError) -> JSONObject { try required(name, optionalObject(name)) }
    /// A structure, to be read by a reader of its own (and finished there).
    public mutating func structure(_ name: String) throws(JouledError) -> VarlinkParameters {
        try required(name, optionalStructure(name))
    }

    // MARK: Nullable fields: nil when absent or null

    /// A boolean, or nil.
    public mutating func optionalBool(_ name: String) throws(JouledError) -> Bool? {
        try field(name, "a boolean") { $0.boolValue }
    }
    /// An integer within `range`, or nil.
    public mutating func optionalInt(_ name: String, in range: ClosedRange<Int64> = .min ... .max) throws(JouledError) -> Int64? {
        guard let value = try field(name, "an integer", { $0.intValue }) else { return nil }
        guard range.contains(value) else { throw invalid(name, "\(value) is not in \(range.lowerBound)...\(range.upperBound)") }
        return value
    }
    /// Any number within `range`, or nil.
    public mutating func optionalDouble(
        _ name: String, in range: ClosedRange<Double> = -.greatestFiniteMagnitude ... .greatestFiniteMagnitude
    ) throws(JouledError) -> Double? {
        guard let value = try field(name, "a number", { $0.doubleValue }) else { return nil }
        guard range.contains(value) else { throw invalid(name, "\(value) is not in \(range.lowerBound)...\(range.upperBound)") }
        return value
    }
    /// A string, or nil.
    public mutating func optionalString(_ name: String) throws(JouledError) -> String? {
        try field(name, "a string") { $0.stringValue }
    }
    /// One of an enumeration's values, or nil.
    public mutating func optionalChoice<Value: RawRepresentable<String>>(
        _ name: String, of type: Value.Type
    ) throws(JouledError) -> Value? {
        guard let text = try optionalString(name) else { return nil }
        guard let value = Value(rawValue: text) else { throw invalid(name, "'\(text)' is not one of its values") }
        return value
    }
    /// An array of strings, or nil.
    public mutating func optionalStrings(_ name: String) throws(JouledError) -> [String]? {
        try field(name, "an array of strings") { value in
            guard let elements = value.arrayValue else { return nil }
            let strings = elements.compactMap(\.stringValue)
            return strings.count == elements.count ? strings : nil
        }
    }
    /// An object of any content, or nil.
    public mutating func optionalObject(_ name: String) throws(JouledError) -> JSONObject? {
        try field(name, "an object") { $0.objectValue }
    }
    /// A structure, to be read by a reader of its own (and finished there), or nil.
    public mutating func optionalStructure(_ name: String) throws(JouledError) -> VarlinkParameters? {
        try optionalObject(name).map { VarlinkParameters($0, path: prefix + name) }
    }

    /// An array of structures, each to be read by a reader of its own (and finished there), or nil.
    public mutating func optionalStructures(_ name: String) throws(JouledError) -> [VarlinkParameters]? {
        let objects = try field(name, "an array of objects") { value -> [JSONObject]? in
            guard let elements = value.arrayValue else { return nil }
            let objects = elements.compactMap(\.objectValue)
            return objects.count == elements.count ? objects : nil
        }
        let path = prefix + name
        return objects.map { $0.enumerated().map { VarlinkParameters($1, path: "\(path)[\($0)]") } }
    }

    // MARK: The end

    /// Refuses fields that no getter asked for. Call it after the last getter and before acting.
    public func finish() throws(JouledError) {
        for member in object.members where !known.contains(member.key) { throw invalid(member.key, "it is unknown") }
    }

    /// The error that says what is wrong with the value of `name`, for checks that the getters do not do.
    public func invalid(_ name: String, _ why: String) -> JouledError {
        let path = prefix + name
        return JouledError(.invalidParameter, "parameter '\(path)': \(why)", cause: VarlinkError.invalidParameter(path))
    }

    private func required<Value>(_ name: String, _ value: Value?) throws(JouledError) -> Value {
        guard let value else { throw invalid(name, "it is missing") }
        return value
    }

    private mutating func field<Value>(
        _ name: String, _ kind: String, _ read: (JSONValue) -> Value?
    ) throws(JouledError) -> Value? {
        known.insert(name)
        guard let present = object.present(name) else { return nil }
        guard let value = read(present) else { throw invalid(name, "it is not \(kind)") }
        return value
    }
}

extension VarlinkError {
    /// The error to send for `error`: the `VarlinkError` that caused it, if one did.
    public init?(_ error: JouledError) {
        guard let cause = error.cause as? VarlinkError else { return nil }
        self = cause
    }
}
