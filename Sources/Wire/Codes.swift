import Units

extension JouledError.Code {
    /// Bytes that should have been JSON are not, or exceed a limit.
    public static let malformedJSON = JouledError.Code("wire.malformed-json")
    /// The peer broke a rule of Varlink, so the connection has to be closed.
    public static let varlinkProtocol = JouledError.Code("wire.varlink-protocol")
    /// Our own code asked a Varlink connection for something the protocol forbids in its present state.
    public static let varlinkMisuse = JouledError.Code("wire.varlink-misuse")
    /// A parameter of a call is missing, unknown or of the wrong type; the cause is the `VarlinkError` to send.
    public static let invalidParameter = JouledError.Code("wire.invalid-parameter")
    /// An interface description does not follow the Varlink interface definition language.
    public static let malformedInterface = JouledError.Code("wire.malformed-interface")
    /// A data frame is malformed; the message names the frame by its ordinal number.
    public static let malformedFrame = JouledError.Code("wire.malformed-frame")
    /// The bytes ended in the middle of a frame.
    public static let truncatedFrame = JouledError.Code("wire.truncated-frame")
    /// The payload of a well-formed frame does not hold what its type promises.
    public static let malformedPayload = JouledError.Code("wire.malformed-payload")
}
