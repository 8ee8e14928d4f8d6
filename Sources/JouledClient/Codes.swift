import Units

extension JouledError.Code {
    /// The daemon's socket cannot be reached.
    public static let unreachable = JouledError.Code("client.unreachable")
    /// The connection broke, or the daemon closed it out of turn.
    public static let disconnected = JouledError.Code("client.disconnected")
    /// The daemon did not answer in time.
    public static let timedOut = JouledError.Code("client.timed-out")
    /// A signal ended the wait.
    public static let interrupted = JouledError.Code("client.interrupted")
    /// The daemon answered with an error; the cause is the `VarlinkError`.
    public static let refused = JouledError.Code("client.refused")
    /// The caller asked for something that the connection's state does not allow.
    public static let misuse = JouledError.Code("client.misuse")
    /// The samples' source cannot be read.
    public static let input = JouledError.Code("client.input")
}
