import Units

// The typed readers of a table. For each type: required, with a default, optional. All throw
// `invalidValue` for a wrong type or a value out of range, and the required ones `missingKey`.
extension ConfigTable {
    /// The required string `key`.
    public func string(_ key: String) throws(JouledError) -> String { try required(key, "a string", optionalString(key)) }
    /// The string `key`, or `default` when absent.
    public func string(_ key: String, default fallback: String) throws(JouledError) -> String {
        try optionalString(key) ?? fallback
    }
    /// The string `key`, or nil when absent.
    public func optionalString(_ key: String) throws(JouledError) -> String? { try node(key).map(asString) }

    /// The required integer `key`, within `range` if given.
    public func integer(_ key: String, range: ClosedRange<Int>? = nil) throws(JouledError) -> Int {
        try required(key, "an integer", optionalInteger(key, range: range))
    }
    /// The integer `key`, or `default` when absent.
    public func integer(_ key: String, default fallback: Int, range: ClosedRange<Int>? = nil) throws(JouledError) -> Int {
        try optionalInteger(key, range: range) ?? fallback
    }
    /// The integer `key`, or nil when absent.
    public func optionalInteger(_ key: String, range: ClosedRange<Int>? = nil) throws(JouledError) -> Int? {
        try node(key).map { node throws(JouledError) in try asInteger(node, range) }
    }

    /// The required number `key` (an integer is one too), finite and within `range` if given.
    public func number(_ key: String, range: ClosedRange<Double>? = nil) throws(JouledError) -> Double {
        try required(key, "a number", optionalNumber(key, range: range))
    }
    /// The number `key`, or `default` when absent.
    public func number(_ key: String, default fallback: Double, range: ClosedRange<Double>? = nil) throws(JouledError) -> Double {
        try optionalNumber(key, range: range) ?? fallback
    }
    /// The number `key`, or nil when absent.
    public func optionalNumber(_ key: String, range: ClosedRange<Double>? = nil) throws(JouledError) -> Double? {
        try node(key).map { node throws(JouledError) in try asNumber(node, range) }
    }

    /// The required boolean `key`.
    public func bool(_ key: String) throws(JouledError) -> Bool { try required(key, "true or false", optionalBool(key)) }
    /// The boolean `key`, or `default` when absent.
    public func bool(_ key: String, default fallback: Bool) throws(JouledError) -> Bool { try optionalBool(key) ?? fallback }
    /// The boolean `key`, or nil when absent.
    public func optionalBool(_ key: String) throws(JouledError) -> Bool? { try node(key).map(asBool) }

    /// The required span `key`: `"8h"`, `"1h30m"`, `"32ms"`, or a number of seconds. Not negative.
    public func duration(_ key: String, range: ClosedRange<Seconds>? = nil) throws(JouledError) -> Seconds {
        try required(key, "a duration such as \"1h30m\"", optionalDuration(key, range: range))
    }
    /// The span `key`, or `default` when absent.
    public func duration(_ key: String, default fallback: Seconds, range: ClosedRange<Seconds>? = nil) throws(JouledError) -> Seconds {
        try optionalDuration(key, range: range) ?? fallback
    }
    /// The span `key`, or nil when absent.
    public func optionalDuration(_ key: String, range: ClosedRange<Seconds>? = nil) throws(JouledError) -> Seconds? {
        try node(key).map { node throws(JouledError) in try asDuration(node, range) }
    }

    /// The required array of strings `key`.
    public func strings(_ key: String) throws(JouledError) -> [String] {
        try required(key, "an array of strings", optionalStrings(key))
    }
    /// The array of strings `key`, or `default` when absent.
    public func strings(_ key: String, default fallback: [String]) throws(JouledError) -> [String] {
        try optionalStrings(key) ?? fallback
    }
    /// The array of strings `key`, or nil when absent.
    public func optionalStrings(_ key: String) throws(JouledError) -> [String]? {
        try array(key, "an array of strings", asString)
    }

    /// The required array of integers `key`, each within `range` if given.
    public func integers(_ key: String, range: ClosedRange<Int>? = nil) throws(JouledError) -> [Int] {
        try required(key, "an array of integers", optionalIntegers(key, range: range))
    }
    /// The array of integers `key`, or `default` when absent.
    public func integers(_ key: String, default fallback: [Int], range: ClosedRange<Int>? = nil) throws(JouledError) -> [Int] {
        try optionalIntegers(key, range: range) ?? fallback
    }
    /// The array of integers `key`, or nil when absent.
    public func optionalIntegers(_ key: String, range: ClosedRange<Int>? = nil) throws(JouledError) -> [Int]? {
        try array(key, "an array of integers") { node throws(JouledError) in try asInteger(node, range) }
    }

    /// The required array of numbers `key`, each finite and within `range` if given.
    public func numbers(_ key: String, range: ClosedRange<Double>? = nil) throws(JouledError) -> [Double] {
        try required(key, "an array of numbers", optionalNumbers(key, range: range))
    }
    /// The array of numbers `key`, or `default` when absent.
    public func numbers(_ key: String, default fallback: [Double], range: ClosedRange<Double>? = nil) throws(JouledError) -> [Double] {
        try optionalNumbers(key, range: range) ?? fallback
    }
    /// The array of numbers `key`, or nil when absent.
    public func optionalNumbers(_ key: String, range: ClosedRange<Double>? = nil) throws(JouledError) -> [Double]? {
        try array(key, "an array of numbers") { node throws(JouledError) in try asNumber(node, range) }
    }

    // MARK: - Conversions

    private func required<T>(_ key: String, _ expected: String, _ value: T?) throws(JouledError) -> T {
        guard let value else { throw missing(key, expected) }
        return value
    }

    private func array<T>(
        _ key: String, _ expected: String, _ convert: (ConfigNode) throws(JouledError) -> T
    ) throws(JouledError) -> [T]? {
        guard let node = node(key) else { return nil }
        guard case .array(let elements) = node.value else { throw wrongKind(node, expected) }
        return try elements.map(convert)
    }

    private func asString(_ node: ConfigNode) throws(JouledError) -> String {
        guard case .string(let text) = node.value else { throw wrongKind(node, "a string") }
        return text
    }

    private func asBool(_ node: ConfigNode) throws(JouledError) -> Bool {
        guard case .bool(let bool) = node.value else { throw wrongKind(node, "true or false") }
        return bool
    }

    private func asInteger(_ node: ConfigNode, _ range: ClosedRange<Int>?) throws(JouledError) -> Int {
        guard case .integer(let integer) = node.value else { throw wrongKind(node, "an integer") }
        if let range, !range.contains(integer) {
            throw invalid(node, Self.bounds(
                "\(integer)",
                lower: range.lowerBound == .min ? nil : "\(range.lowerBound)",
                upper: range.upperBound == .max ? nil : "\(range.upperBound)"))
        }
        return integer
    }

    private func asNumber(_ node: ConfigNode, _ range: ClosedRange<Double>?) throws(JouledError) -> Double {
        let number: Double
        switch node.value {
        case .integer(let integer): number = Double(integer)
        case .number(let value): number = value
        default: throw wrongKind(node, "a number")
        }
        guard number.isFinite else { throw invalid(node, "must be a finite number, is \(number)") }
        if let range, !range.contains(number) {
            throw invalid(node, Self.bounds(
                Self.text(number),
                lower: range.lowerBound == -.infinity ? nil : Self.text(range.lowerBound),
                upper: range.upperBound == .infinity ? nil : Self.text(range.upperBound)))
        }
        return number
    }

    private func asDuration(_ node: ConfigNode, _ range: ClosedRange<Seconds>?) throws(JouledError) -> Seconds {
        let seconds: Double
        if case .string(let text) = node.value {
            guard let parsed = DurationText.seconds(text) else {
                throw invalid(
                    node, "'\(text)' is no duration; write \"8h\", \"1h30m\", \"90s\", \"32ms\" or a number of seconds")
            }
            seconds = parsed
        } else if case .integer = node.value {
            seconds = try asNumber(node, nil)
        } else if case .number = node.value {
            seconds = try asNumber(node, nil)
        } else {
            throw wrongKind(node, "a duration such as \"1h30m\"")
        }
        guard seconds >= 0 else { throw invalid(node, "a duration cannot be negative") }
        if let range, !range.contains(Seconds(seconds)) {
            throw invalid(node, Self.bounds(
                "\(Seconds(seconds))", lower: "\(range.lowerBound)",
                upper: range.upperBound.isFinite ? "\(range.upperBound)" : nil))
        }
        return Seconds(seconds)
    }

    private static func bounds(_ value: String, lower: String?, upper: String?) -> String {
        switch (lower, upper) {
        case (let lower?, let upper?): "must be between \(lower) and \(upper), is \(value)"
        case (let lower?, nil): "must be at least \(lower), is \(value)"
        case (nil, let upper?): "must be at most \(upper), is \(value)"
        case (nil, nil): "is \(value)"
        }
    }

    /// Whole numbers without `.0`, as an operator writes them.
    private static func text(_ number: Double) -> String { Int(exactly: number).map(String.init) ?? "\(number)" }
}

/// Spans of time as operators write them.
public enum DurationText {
    /// Seconds in `text`: one or more of number and unit (`d h m s ms us`), each smaller than the one
    /// before, e.g. `1h30m` or `1.5h`. Nil when it is not such a text.
    public static func seconds(_ text: String) -> Double? {
        let units: [(name: String, seconds: Double)] = [
            ("d", 86400), ("h", 3600), ("m", 60), ("s", 1), ("ms", 1e-3), ("us", 1e-6),
        ]
        var rest = Substring(text)
        var total = 0.0
        var lastUnit = -1
        guard !rest.isEmpty else { return nil }
        while !rest.isEmpty {
            let digits = rest.prefix { $0.isASCII && ($0.isNumber || $0 == ".") }
            rest = rest.dropFirst(digits.count)
            let name = rest.prefix { $0.isASCII && $0.isLetter }
            rest = rest.dropFirst(name.count)
            // Double() takes "1." and ".5"; an operator's file is clearer without them.
            guard let number = Double(digits), digits.first != ".", digits.last != ".",
                let unit = units.firstIndex(where: { $0.name == name }), unit > lastUnit
            else { return nil }
            total += number * units[unit].seconds
            lastUnit = unit
        }
        return total.isFinite ? total : nil
    }
}
