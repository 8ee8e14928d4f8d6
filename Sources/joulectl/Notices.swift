import Wire

extension Notice {
    /// As a person reads it. Reasons of a pause begin with its kind already.
    var line: String { message.hasPrefix(kind + ":") ? message : "\(kind): \(message)" }
}
