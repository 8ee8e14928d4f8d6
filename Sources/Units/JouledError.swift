/// The one error type of jouled: a stable code, a message that names what is at fault
/// (file and line, field, frame, path), and the error that caused it.
///
/// Modules add their codes as static members of `JouledError.Code`; two errors are compared by code
/// only, so that codes can be added without breaking callers.
public struct JouledError: Error, Sendable {
    /// A machine-readable kind of error, e.g. `wire.malformed-frame`. Stable across releases.
    public struct Code: Hashable, Sendable, CustomStringConvertible {
        public let description: String
        /// - Parameter name: `module.kind`, lower case with dashes.
        public init(_ name: String) { self.description = name }
    }

    public let code: Code
    /// One sentence for a person; names the file, field or frame at fault.
    public let message: String
    /// What led to this error, if something did.
    public let cause: (any Error)?

    public init(_ code: Code, _ message: String, cause: (any Error)? = nil) {
        self.code = code
        self.message = message
        self.cause = cause
    }
}

extension JouledError: CustomStringConvertible {
    public var description: String {
        guard let cause else { return message }
        return "\(message): \(cause)"
    }
}

extension JouledError: Equatable {
    public static func == (left: JouledError, right: JouledError) -> Bool { left.code == right.code }
}
