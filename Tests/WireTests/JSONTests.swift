import JouledTestKit
import Testing
import Units

@testable import Wire

@Suite("JSON")
struct JSONTests {
    @Test("What is written reads back as the same value", arguments: seeds(200))
    func roundTrip(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        let value = Self.value(depth: 5, &random)
        #expect(try JSONValue(parsing: value.serialized()) == value)
    }

    @Test("Random bytes and damaged JSON give a value or an error, never a trap", arguments: seeds(300))
    func garbage(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        let alphabet = Array("{}[]\",:\\u0dD8e+-.0123456789 truefalsn\u{e9}".utf8)
        var bytes = (0..<60).map { _ in alphabet.randomElement(using: &random)! }  // the alphabet is not empty
        _ = try? JSONValue(parsing: bytes)
        bytes = Self.value(depth: 4, &random).serialized()
        for _ in 0..<3 where !bytes.isEmpty { bytes[Int.random(in: 0..<bytes.count, using: &random)] = UInt8.random(in: 0...255, using: &random) }
        if let value = try? JSONValue(parsing: bytes) {
            #expect(try! JSONValue(parsing: value.serialized()) == value)  // what was parsed can be parsed again
        }
    }

    @Test("Every cut of a text is an error", arguments: [#"{"a":[1,2.5e3,"xä\ud83d\ude00"],"b":{"c":null,"d":true}}"#])
    func truncation(text: String) {
        let bytes = Array(text.utf8)
        for end in 0..<bytes.count {
            #expect(throws: JouledError(.malformedJSON, "")) { try JSONValue(parsing: bytes[..<end]) }
        }
    }

    @Test("Accepted", arguments: [
        ("9223372036854775807", JSONValue.int(.max)), ("-9223372036854775808", .int(.min)), ("-0", .int(0)),
        (" [ ] ", .array([])), ("\t{\r\n}", .object([:])), ("1.0", .double(1)), ("1e0", .double(1)), ("-1.5E-2", .double(-0.015)),
        (#""\u0000\"\\\/\b\f\n\r\t""#, .string("\0\"\\/\u{8}\u{c}\n\r\t")), (#""\uD83D\uDE00é""#, .string("😀é")),
        (#"{"b":1,"a":2}"#, .object(["b": 1, "a": 2])), ("1e-999", .double(0)),
    ] as [(String, JSONValue)])
    func accepted(text: String, expected: JSONValue) throws {
        #expect(try JSONValue(parsing: text) == expected)
    }

    @Test("Refused", arguments: [
        "", " ", "9223372036854775808", "-9223372036854775809", "1e999", "-1e999", "01", "-", "+1", "1.", ".5", "1e", "0x1",
        "NaN", "Infinity", "tru", "nulll", "[1,]", "[,1]", "[1 2]", "{\"a\"}", "{\"a\":}", "{\"a\":1,}", "{a:1}", "{'a':1}",
        "{\"a\":1,\"a\":2}", "{\"a\":1,\"\\u0061\":2}", "\"\\ud800\"", "\"\\ud800x\"", "\"\\ud800\\u0041\"", "\"\\udc00\"",
        "\"\\u12g4\"", "\"\\x\"", "\"a", "\"\u{1}\"", "[", "]", "1 1", "{} {}", "\u{feff}1", "// no\n1",
    ])
    func refused(text: String) {
        #expect(throws: JouledError(.malformedJSON, "")) { try JSONValue(parsing: text) }
    }

    @Test("Invalid UTF-8 is refused", arguments: [[0xff], [0xc0, 0x80], [0xed, 0xa0, 0x80], [0xf4, 0x90, 0x80, 0x80], [0xe2, 0x82]] as [[UInt8]])
    func utf8(bytes: [UInt8]) {
        #expect(throws: JouledError(.malformedJSON, "")) { try JSONValue(parsing: [0x22] + bytes + [0x22]) }
    }

    @Test("Depth and number of values are bounded")
    func bounds() throws {
        func nested(_ depth: Int) -> String { String(repeating: "[", count: depth) + String(repeating: "]", count: depth) }
        _ = try JSONValue(parsing: nested(64))
        #expect(throws: JouledError(.malformedJSON, "")) { try JSONValue(parsing: nested(65)) }
        #expect(throws: JouledError(.malformedJSON, "")) { try JSONValue(parsing: nested(100_000)) }
        _ = try JSONValue(parsing: "[1,2]", limits: JSONLimits(values: 3))
        #expect(throws: JouledError(.malformedJSON, "")) { try JSONValue(parsing: "[1,2,3]", limits: JSONLimits(values: 3)) }
    }

    @Test("Duplicate keys are found in objects of any size, in linear time", arguments: [1, 15, 16, 17, 40_000])
    func duplicates(count: Int) throws {
        let members = (0..<count).map { "\"k\($0)\":0" }.joined(separator: ",")
        #expect(try JSONValue(parsing: "{\(members)}").objectValue?.count == count)
        #expect(throws: JouledError(.malformedJSON, "")) { try JSONValue(parsing: "{\(members),\"k\(count / 2)\":1}") }
    }

    @Test("NaN and the infinities become null")
    func nonFinite() {
        #expect(JSONValue.array([.double(.nan), .double(.infinity), .double(-.infinity), 0.1]).description == "[null,null,null,0.1]")
    }

    @Test("Errors name the byte")
    func position() {
        #expect { try JSONValue(parsing: "[1, x]") } throws: { "\($0)".contains("byte 4") }
    }

    static func value(depth: Int, _ random: inout SeededGenerator) -> JSONValue {
        switch Int.random(in: 0...(depth > 0 ? 7 : 4), using: &random) {
        case 0: return .null
        case 1: return .bool(.random(using: &random))
        case 2: return .int(Int64(bitPattern: random.next() >> UInt64.random(in: 0...63, using: &random)))
        case 3:
            let value = Double(bitPattern: random.next())
            return .double(value.isFinite ? value : 0.5)
        case 4: return .string(string(&random))
        case 5, 6: return .array((0..<Int.random(in: 0...4, using: &random)).map { _ in value(depth: depth - 1, &random) })
        default:
            var object = JSONObject()
            for _ in 0..<Int.random(in: 0...20, using: &random) { object[string(&random)] = value(depth: depth - 1, &random) }
            return .object(object)
        }
    }

    static func string(_ random: inout SeededGenerator) -> String {
        var text = String.UnicodeScalarView()
        for _ in 0..<Int.random(in: 0...8, using: &random) {
            let most: UInt32 = Bool.random(using: &random) ? 0x7f : 0x10ffff
            if let scalar = Unicode.Scalar(UInt32.random(in: 0...most, using: &random)) { text.append(scalar) }
        }
        return String(text)
    }
}
