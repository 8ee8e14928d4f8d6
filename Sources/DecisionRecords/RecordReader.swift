import Decisions
import Units
import Wire

/// Reads a JSON object field by field; errors name the field, and a field that nobody asked for is one.
struct RecordReader {
    let source: JSONObject
    private let path: String
    private var known: Set<String> = []

    init(_ value: JSONValue, path: String = "") throws(JouledError) {
        guard let object = value.objectValue else {
            throw JouledError(.malformedRecord, "JOULED_INPUTS\(path.isEmpty ? "" : ": \(path)"): is no object")
        }
        source = object
        self.path = path
    }

    private func name(_ key: String) -> String { path.isEmpty ? key : "\(path).\(key)" }

    func error(_ key: String, _ what: String) -> JouledError { JouledError(.malformedRecord, "JOULED_INPUTS: \(name(key)): \(what)") }

    private mutating func value(_ key: String) -> JSONValue? {
        known.insert(key)
        return source.present(key)
    }

    private func required<Value>(_ key: String, _ value: Value?) throws(JouledError) -> Value {
        guard let value else { throw error(key, "is missing") }
        return value
    }

    /// What is counted from 0 up: energies, powers and spans that something takes. Infinite where nothing limits it.
    static let amount: ClosedRange<Double> = 0 ... .infinity
    /// What may be on either side of 0, and is finite.
    static let signed: ClosedRange<Double> = -1e18...1e18
    /// A sum of weights, which have whatever scale was written.
    static let finite: ClosedRange<Double> = -Double.greatestFiniteMagnitude...Double.greatestFiniteMagnitude
    static let share: ClosedRange<Double> = 0...1

    /// `number`, if it is in `range`; what is no number is in none.
    func checked(_ number: Double, _ key: String, in range: ClosedRange<Double>) throws(JouledError) -> Double {
        guard range.contains(number) else {
            throw error(key, range == Self.amount ? "\(number) is no amount" : "\(number) is not within \(range.lowerBound) to \(range.upperBound)")
        }
        return number
    }

    mutating func optionalNumber(_ key: String, in range: ClosedRange<Double>) throws(JouledError) -> Double? {
        guard let value = value(key) else { return nil }
        guard let number = value.exactNumber else { throw error(key, "is no number") }
        return try checked(number, key, in: range)
    }
    mutating func number(_ key: String, in range: ClosedRange<Double>) throws(JouledError) -> Double { try required(key, optionalNumber(key, in: range)) }

    mutating func optionalInteger(_ key: String, in range: ClosedRange<Int>) throws(JouledError) -> Int? {
        guard let value = value(key) else { return nil }
        guard let number = value.intValue.flatMap({ Int(exactly: $0) }) else { throw error(key, "is no integer") }
        guard range.contains(number) else { throw error(key, "\(number) is not within \(range.lowerBound) to \(range.upperBound)") }
        return number
    }
    mutating func integer(_ key: String, in range: ClosedRange<Int>) throws(JouledError) -> Int { try required(key, optionalInteger(key, in: range)) }

    mutating func optionalTime(_ key: String) throws(JouledError) -> MonotonicTime? {
        try optionalInteger(key, in: 0 ... .max).map { MonotonicTime(nanoseconds: UInt64($0)) }
    }
    mutating func time(_ key: String) throws(JouledError) -> MonotonicTime { try required(key, optionalTime(key)) }

    mutating func optionalString(_ key: String) throws(JouledError) -> String? {
        guard let value = value(key) else { return nil }
        guard let text = value.stringValue else { throw error(key, "is no text") }
        return text
    }
    mutating func string(_ key: String) throws(JouledError) -> String { try required(key, optionalString(key)) }

    mutating func optionalFlag(_ key: String) throws(JouledError) -> Bool? {
        guard let value = value(key) else { return nil }
        guard let flag = value.boolValue else { throw error(key, "is neither true nor false") }
        return flag
    }
    mutating func flag(_ key: String) throws(JouledError) -> Bool { try required(key, optionalFlag(key)) }

    mutating func array(_ key: String) throws(JouledError) -> [JSONValue] {
        guard let value = value(key) else { return [] }
        guard let elements = value.arrayValue else { throw error(key, "is no array") }
        return elements
    }

    mutating func numbers(_ key: String, count: Int? = nil, in range: ClosedRange<Double>) throws(JouledError) -> [Double] {
        var numbers: [Double] = []
        for element in try array(key) {
            guard let number = element.exactNumber else { throw error("\(key)[\(numbers.count)]", "is no number") }
            numbers.append(try checked(number, "\(key)[\(numbers.count)]", in: range))
        }
        if let count, numbers.count != count { throw error(key, "holds \(numbers.count) numbers instead of \(count)") }
        return numbers
    }

    mutating func optionalObject(_ key: String) throws(JouledError) -> RecordReader? {
        guard let value = value(key) else { return nil }
        return try RecordReader(value, path: name(key))
    }
    mutating func object(_ key: String) throws(JouledError) -> RecordReader { try required(key, optionalObject(key)) }

    /// The objects of an array.
    mutating func objects(_ key: String) throws(JouledError) -> [RecordReader] {
        var readers: [RecordReader] = []
        for element in try array(key) { readers.append(try RecordReader(element, path: name("\(key)[\(readers.count)]"))) }
        return readers
    }

    /// - Throws: for the first field that nobody asked for.
    func finish() throws(JouledError) {
        if let stranger = source.members.first(where: { !known.contains($0.key) }) { throw error(stranger.key, "is not known here") }
    }
}

extension JSONValue {
    /// A double to the last bit; what JSON cannot say is a string.
    init(exact number: Double?) {
        guard let number else {
            self = .null
            return
        }
        self = number.isFinite ? .double(number) : .string(number.isNaN ? "nan" : number > 0 ? "inf" : "-inf")
    }

    /// What `init(exact:)` was given.
    var exactNumber: Double? {
        switch self {
        case .string("inf"): .infinity
        case .string("-inf"): -.infinity
        case .string("nan"): .nan
        default: doubleValue
        }
    }
}

extension DecisionInputs.Choice {
    /// `[variant, unit, cadence, coalescing]`
    var json: JSONValue { [.string(variant), .string(unit), JSONValue(cadence), JSONValue(coalescing)] }

    init(_ value: JSONValue, in reader: RecordReader, _ key: String) throws(JouledError) {
        guard value.arrayValue?.count == 4, let variant = value[0]?.stringValue, let unit = value[1]?.stringValue,
            let cadence = value[2]?.intValue, let coalescing = value[3]?.intValue, (1...1_000_000).contains(cadence), (1...1_000_000).contains(coalescing)
        else { throw reader.error(key, "is no variant, unit, cadence and windows per wake-up") }
        self.init(variant: variant, unit: unit, cadence: Int(cadence), coalescing: Int(coalescing))
    }
}
