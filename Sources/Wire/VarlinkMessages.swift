import Units

/// A method call that a client made.
public struct VarlinkCall: Hashable, Sendable {
    /// What kind of answer the caller asked for. The protocol allows at most one of the flags.
    public enum Mode: String, Hashable, Sendable {
        /// One reply.
        case single
        /// No reply at all, not even an error.
        case oneway
        /// Any number of replies, the last without `continues`.
        case more
        /// One reply, after which the connection carries another protocol.
        case upgrade
    }

    /// The fully qualified method, e.g. `io.jouled.Streams.Open`.
    public let method: String
    /// The parameters; absent and null ones are an empty object.
    public let parameters: JSONObject
    /// What kind of answer the caller asked for.
    public let mode: Mode

    /// - Parameters:
    ///   - method: the fully qualified method.
    ///   - parameters: the method's input.
    ///   - mode: what kind of answer is wanted.
    public init(method: String, parameters: JSONObject = [:], mode: Mode = .single) {
        self.method = method
        self.parameters = parameters
        self.mode = mode
    }

    /// The interface part of `method`: all before the last dot, or the empty string without one.
    public var interface: String { Self.split(method).interface }
    /// The member part of `method`: all after the last dot.
    public var member: String { Self.split(method).member }

    private static func split(_ method: String) -> (interface: String, member: String) {
        guard let dot = method.lastIndex(of: ".") else { return ("", method) }
        return (String(method[..<dot]), String(method[method.index(after: dot)...]))
    }
}

/// An error reply: a fully qualified name and parameters.
public struct VarlinkError: Error, Hashable, Sendable {
    /// The fully qualified name, e.g. `org.varlink.service.MethodNotFound`.
    public let name: String
    /// What the interface declares for this error.
    public let parameters: JSONObject

    /// - Parameters:
    ///   - name: the fully qualified name.
    ///   - parameters: what the interface declares for this error.
    public init(_ name: String, _ parameters: JSONObject = [:]) {
        self.name = name
        self.parameters = parameters
    }
}

extension VarlinkError: CustomStringConvertible {
    public var description: String {
        if let message = parameters["message"]?.stringValue { return "\(name): \(message)" }
        return parameters.isEmpty ? name : "\(name) \(parameters)"
    }
}

/// The errors that any method of any interface may return.
extension VarlinkError {
    /// The service does not implement `interface`.
    public static func interfaceNotFound(_ interface: String) -> VarlinkError {
        VarlinkError("org.varlink.service.InterfaceNotFound", ["interface": .string(interface)])
    }
    /// The interface does not define `method`.
    public static func methodNotFound(_ method: String) -> VarlinkError {
        VarlinkError("org.varlink.service.MethodNotFound", ["method": .string(method)])
    }
    /// The interface defines `method`, this service does not implement it.
    public static func methodNotImplemented(_ method: String) -> VarlinkError {
        VarlinkError("org.varlink.service.MethodNotImplemented", ["method": .string(method)])
    }
    /// `parameter` is missing, unknown, of the wrong type or out of range.
    public static func invalidParameter(_ parameter: String) -> VarlinkError {
        VarlinkError("org.varlink.service.InvalidParameter", ["parameter": .string(parameter)])
    }
    /// The client may not do this.
    public static let permissionDenied = VarlinkError("org.varlink.service.PermissionDenied")
    /// The method has to be called with `more`.
    public static let expectedMore = VarlinkError("org.varlink.service.ExpectedMore")
    /// The method has to be called with `upgrade`.
    public static let expectedUpgrade = VarlinkError("org.varlink.service.ExpectedUpgrade")
}

/// The members of a message besides those that its kind defines.
enum VarlinkHeader {
    /// Checks that every member is one of `known` or a vendor's object named by its reversed domain.
    static func check(_ message: JSONObject, known: [String]) throws(JouledError) {
        for member in message.members where !known.contains(member.key) {
            guard VarlinkName.isInterface(member.key) else {
                throw JouledError(.varlinkProtocol, "unknown member '\(member.key)' in the message's header")
            }
            guard case .object = member.value else {
                throw JouledError(.varlinkProtocol, "vendor member '\(member.key)' is no object")
            }
        }
    }

    /// A flag of the header; absent and null mean false.
    static func flag(_ name: String, of message: JSONObject) throws(JouledError) -> Bool {
        guard let value = message.present(name) else { return false }
        guard let flag = value.boolValue else { throw JouledError(.varlinkProtocol, "'\(name)' is no boolean") }
        return flag
    }

    /// The parameters of the message; absent, null and `{}` are one and the same.
    static func parameters(of message: JSONObject) throws(JouledError) -> JSONObject {
        guard let value = message.present("parameters") else { return JSONObject() }
        guard let parameters = value.objectValue else { throw JouledError(.varlinkProtocol, "'parameters' is no object") }
        return parameters
    }

    /// The one object that a message consists of.
    static func message(parsing bytes: ArraySlice<UInt8>, limits: JSONLimits) throws(JouledError) -> JSONObject {
        guard let message = try JSONValue(parsing: bytes, limits: limits).objectValue else {
            throw JouledError(.varlinkProtocol, "the message is no JSON object")
        }
        return message
    }

    /// `message` as it goes over the wire: compact JSON and one NUL.
    static func encode(_ message: JSONObject) -> [UInt8] {
        var bytes = JSONValue.object(message).serialized()
        bytes.append(0)
        return bytes
    }
}
