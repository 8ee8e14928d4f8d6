import Units

/// An interface that a service offers: its name and its description in Varlink's interface definition language.
public struct VarlinkInterface: Hashable, Sendable {
    /// The name, e.g. `io.jouled.Streams`.
    public let name: String
    /// The whole text, comments included, as `GetInterfaceDescription` returns it.
    public let description: String

    /// - Parameters:
    ///   - name: the interface's name.
    ///   - description: the text of the `.varlink` file.
    public init(name: String, description: String) {
        self.name = name
        self.description = description
    }

    /// What the description declares. Throws if it is malformed or declares another interface.
    public func definition() throws(JouledError) -> VarlinkDefinition {
        let definition = try VarlinkDefinition(parsing: description)
        guard definition.name == name else {
            throw JouledError(.malformedInterface, "\(name): the description is of '\(definition.name)'")
        }
        return definition
    }
}

extension VarlinkInterface {
    /// The interface that every Varlink service has.
    public static let service = VarlinkInterface(
        name: "org.varlink.service",
        description: """
            # The Varlink Service Interface should be provided by every varlink service.
            # It describes the service and the interfaces it implements.
            interface org.varlink.service

            # Get a list of all the interfaces a service provides and information
            # about the implementation.
            method GetInfo() -> (
              vendor: string,
              product: string,
              version: string,
              url: string,
              interfaces: []string
            )

            # Get the description of an interface that is implemented by this service.
            method GetInterfaceDescription(interface: string) -> (description: string)

            # The requested interface was not found.
            error InterfaceNotFound (interface: string)

            # The requested method was not found
            error MethodNotFound (method: string)

            # The interface defines the requested method, but the service does not
            # implement it.
            error MethodNotImplemented (method: string)

            # One of the passed parameters is invalid.
            error InvalidParameter (parameter: string)

            # Client is denied access
            error PermissionDenied ()

            # Method is expected to be called with 'more' set to true, but wasn't
            error ExpectedMore ()

            # Method is expected to be called with 'upgrade' set to true, but wasn't
            error ExpectedUpgrade ()

            """)
}
