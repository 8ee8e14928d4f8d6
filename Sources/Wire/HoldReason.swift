/// What a client may say for a reason of a hold: one line, for journal and status.
public enum HoldReason {
    /// The most bytes of UTF-8.
    public static let byteLimit = 256

    /// What is wrong with a reason, in words; nil: nothing.
    public static func problem(_ text: String) -> String? {
        if text.utf8.count > byteLimit { return "has \(text.utf8.count) bytes, and may have \(byteLimit)" }
        if text.utf8.contains(where: { $0 < 0x20 || $0 == 0x7F }) { return "holds a line break or another control character, and must be one line" }
        return nil
    }
}
