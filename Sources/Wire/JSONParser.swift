import Units

/// Bounds on what a JSON text may make the parser build.
public struct JSONLimits: Hashable, Sendable {
    /// How deep arrays and objects may be nested.
    public var depth: Int
    /// How many values, nested ones included, a text may hold. One `0` takes two bytes on the wire and
    /// a dozen times as many in memory, so that a limit on bytes alone does not bound memory well.
    public var values: Int

    /// - Parameters:
    ///   - depth: how deep arrays and objects may be nested.
    ///   - values: how many values a text may hold.
    public init(depth: Int = 64, values: Int = 1 << 20) {
        self.depth = depth
        self.values = values
    }
}

extension JSONValue {
    /// Parses exactly one JSON text in UTF-8, with white space around it.
    ///
    /// Strict: duplicate keys, invalid UTF-8, unpaired surrogates, a byte order mark, and numbers beyond
    /// Int64 (without fraction or exponent) or beyond Double (with) are errors that name the offending byte.
    public init(parsing bytes: ArraySlice<UInt8>, limits: JSONLimits = JSONLimits()) throws(JouledError) {
        var parser = JSONParser(bytes, limits)
        self = try parser.text()
    }

    /// Parses exactly one JSON text in UTF-8.
    public init(parsing bytes: [UInt8], limits: JSONLimits = JSONLimits()) throws(JouledError) {
        try self.init(parsing: bytes[...], limits: limits)
    }

    /// Parses exactly one JSON text.
    public init(parsing text: String, limits: JSONLimits = JSONLimits()) throws(JouledError) {
        try self.init(parsing: Array(text.utf8), limits: limits)
    }
}

/// A recursive-descent parser of RFC 8259; recursion is bounded by `limits.depth`.
private struct JSONParser {
    private let bytes: ArraySlice<UInt8>
    private let limits: JSONLimits
    private var position: Int
    private var depth = 0
    private var values = 0

    init(_ bytes: ArraySlice<UInt8>, _ limits: JSONLimits) {
        self.bytes = bytes
        self.limits = limits
        position = bytes.startIndex
    }

    mutating func text() throws(JouledError) -> JSONValue {
        let value = try value()
        skipSpace()
        guard position == bytes.endIndex else { throw error("something follows the value") }
        return value
    }

    private func error(_ what: String) -> JouledError {
        JouledError(.malformedJSON, "JSON, byte \(position - bytes.startIndex): \(what)")
    }

    private var next: UInt8? { position < bytes.endIndex ? bytes[position] : nil }

    private mutating func skipSpace() {
        while let byte = next, byte == 0x20 || byte == 0x0a || byte == 0x0d || byte == 0x09 { position += 1 }
    }

    private mutating func take(_ character: Unicode.Scalar) -> Bool {
        guard next == UInt8(ascii: character) else { return false }
        position += 1
        return true
    }

    private mutating func value() throws(JouledError) -> JSONValue {
        values += 1
        guard values <= limits.values else { throw error("more than \(limits.values) values") }
        skipSpace()
        guard let byte = next else { throw error("a value is missing") }
        switch byte {
        case UInt8(ascii: "{"): return .object(try object())
        case UInt8(ascii: "["): return .array(try array())
        case UInt8(ascii: "\""): return .string(try string())
        case UInt8(ascii: "t"): return try word("true", .bool(true))
        case UInt8(ascii: "f"): return try word("false", .bool(false))
        case UInt8(ascii: "n"): return try word("null", .null)
        case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"): return try number()
        default: throw error("no value begins with byte \(byte)")
        }
    }

    private mutating func word(_ word: StaticString, _ value: JSONValue) throws(JouledError) -> JSONValue {
        let end = position + word.utf8CodeUnitCount
        guard end <= bytes.endIndex, bytes[position..<end].elementsEqual(word.description.utf8) else {
            throw error("'\(word)' expected")
        }
        position = end
        return value
    }

    private mutating func descend() throws(JouledError) {
        depth += 1
        guard depth <= limits.depth else { throw error("nested deeper than \(limits.depth)") }
        position += 1
        skipSpace()
    }

    private mutating func array() throws(JouledError) -> [JSONValue] {
        try descend()
        defer { depth -= 1 }
        var elements: [JSONValue] = []
        if take("]") { return elements }
        while true {
            elements.append(try value())
            skipSpace()
            if take("]") { return elements }
            guard take(",") else { throw error("',' or ']' expected") }
        }
    }

    private mutating func object() throws(JouledError) -> JSONObject {
        try descend()
        defer { depth -= 1 }
        var members: [JSONObject.Member] = []
        // Only large objects pay for a set; without one, a hostile object would cost quadratic time.
        var seen: Set<String> = []
        if take("}") { return JSONObject() }
        while true {
            guard next == UInt8(ascii: "\"") else { throw error("a member's name expected") }
            let key = try string()
            if members.count == 16 { seen = Set(members.map(\.key)) }
            let isDuplicate = members.count < 16 ? members.contains { $0.key == key } : !seen.insert(key).inserted
            guard !isDuplicate else { throw error("duplicate member '\(key)'") }
            skipSpace()
            guard take(":") else { throw error("':' expected") }
            members.append(JSONObject.Member(key: key, value: try value()))
            skipSpace()
            if take("}") { return JSONObject(uniqueMembers: members) }
            guard take(",") else { throw error("',' or '}' expected") }
            skipSpace()
        }
    }

    // MARK: Strings

    private mutating func string() throws(JouledError) -> String {
        position += 1
        let start = position
        while let byte = next, byte != UInt8(ascii: "\""), byte != UInt8(ascii: "\\"), byte >= 0x20 { position += 1 }
        if next == UInt8(ascii: "\"") {
            let text = try decoded(bytes[start..<position])
            position += 1
            return text
        }
        var unescaped = Array(bytes[start..<position])
        while let byte = next {
            switch byte {
            case UInt8(ascii: "\""):
                let text = try decoded(unescaped[...])
                position += 1
                return text
            case UInt8(ascii: "\\"):
                position += 1
                try escape(into: &unescaped)
            case 0x00..<0x20: throw error("a control character in a string")
            default:
                unescaped.append(byte)
                position += 1
            }
        }
        throw error("a string does not end")
    }

    private func decoded(_ utf8: ArraySlice<UInt8>) throws(JouledError) -> String {
        guard let text = String(validating: utf8, as: UTF8.self) else { throw error("a string is not UTF-8") }
        return text
    }

    private mutating func escape(into text: inout [UInt8]) throws(JouledError) {
        guard let byte = next else { throw error("a string does not end") }
        position += 1
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): text.append(byte)
        case UInt8(ascii: "b"): text.append(0x08)
        case UInt8(ascii: "f"): text.append(0x0c)
        case UInt8(ascii: "n"): text.append(0x0a)
        case UInt8(ascii: "r"): text.append(0x0d)
        case UInt8(ascii: "t"): text.append(0x09)
        case UInt8(ascii: "u"):
            var code = try hexadecimal()
            if (0xd800..<0xdc00).contains(code) {
                guard take("\\"), take("u") else { throw error("an unpaired surrogate") }
                let low = try hexadecimal()
                guard (0xdc00..<0xe000).contains(low) else { throw error("an unpaired surrogate") }
                code = 0x10000 + (code - 0xd800) << 10 + (low - 0xdc00)
            }
            // What is left without a scalar is a low surrogate on its own.
            guard let scalar = Unicode.Scalar(code) else { throw error("an unpaired surrogate") }
            text.append(contentsOf: String(Character(scalar)).utf8)
        default: throw error("an unknown escape")
        }
    }

    private mutating func hexadecimal() throws(JouledError) -> UInt32 {
        var code: UInt32 = 0
        for _ in 0..<4 {
            guard let byte = next, let digit = Character(Unicode.Scalar(byte)).hexDigitValue else {
                throw error("four hexadecimal digits expected")
            }
            code = code << 4 | UInt32(digit)
            position += 1
        }
        return code
    }

    // MARK: Numbers

    private mutating func digits() -> Bool {
        let start = position
        while let byte = next, (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) { position += 1 }
        return position > start
    }

    private mutating func number() throws(JouledError) -> JSONValue {
        let start = position
        let isNegative = take("-")
        let firstDigit = position
        if !take("0") {
            guard digits() else { throw error("a digit expected") }
        } else if let byte = next, (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) {
            throw error("a number begins with 0")
        }
        let endOfInteger = position
        if take(".") {
            guard digits() else { throw error("a digit expected") }
        }
        if take("e") || take("E") {
            if !take("+") { _ = take("-") }
            guard digits() else { throw error("a digit expected") }
        }
        if position == endOfInteger {
            return .int(try integer(bytes[firstDigit..<endOfInteger], isNegative))
        }
        guard let value = Double(String(decoding: bytes[start..<position], as: UTF8.self)), value.isFinite else {
            throw error("a number is beyond the range of double")
        }
        return .double(value)
    }

    private func integer(_ digits: ArraySlice<UInt8>, _ isNegative: Bool) throws(JouledError) -> Int64 {
        // Summed on the negative side, which reaches one further than the positive one.
        var value: Int64 = 0
        for digit in digits {
            let (product, overflow) = value.multipliedReportingOverflow(by: 10)
            let (sum, overflowAgain) = product.subtractingReportingOverflow(Int64(digit - UInt8(ascii: "0")))
            guard !overflow, !overflowAgain else { throw error("an integer is beyond 64 bits") }
            value = sum
        }
        guard isNegative || value != .min else { throw error("an integer is beyond 64 bits") }
        return isNegative ? value : -value
    }
}
