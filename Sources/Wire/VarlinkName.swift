/// The grammar of names in Varlink interfaces.
public enum VarlinkName {
    /// Whether `name` is an interface name: `[A-Za-z]([-]*[A-Za-z0-9])*(\.[A-Za-z0-9]([-]*[A-Za-z0-9])*)+`.
    public static func isInterface(_ name: String) -> Bool {
        let components = name.utf8.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
        guard components.count >= 2, let first = name.utf8.first, isLetter(first) else { return false }
        return components.allSatisfy { component in
            guard let first = component.first, let last = component.last else { return false }
            return isAlphanumeric(first) && isAlphanumeric(last)
                && component.allSatisfy { isAlphanumeric($0) || $0 == UInt8(ascii: "-") }
        }
    }

    /// Whether `name` names a type, method or error: `[A-Z][A-Za-z0-9]*`.
    public static func isMember(_ name: String) -> Bool {
        guard let first = name.utf8.first, (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(first) else { return false }
        return name.utf8.allSatisfy(isAlphanumeric)
    }

    /// Whether `name` names a field: `[A-Za-z](_?[A-Za-z0-9])*`.
    public static func isField(_ name: String) -> Bool {
        guard let first = name.utf8.first, isLetter(first) else { return false }
        let words = name.utf8.split(separator: UInt8(ascii: "_"), omittingEmptySubsequences: false)
        return words.allSatisfy { !$0.isEmpty && $0.allSatisfy(isAlphanumeric) }
    }

    private static func isLetter(_ byte: UInt8) -> Bool { (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte | 0x20) }
    private static func isAlphanumeric(_ byte: UInt8) -> Bool {
        isLetter(byte) || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
    }
}
