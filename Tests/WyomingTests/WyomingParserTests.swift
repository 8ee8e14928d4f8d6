import JouledTestKit
import Testing
import Units
import Wire

@testable import Wyoming

@Suite("Wyoming events")
struct WyomingParserTests {
    private func parse(_ pieces: [[UInt8]], limits: WyomingParser.Limits = .init()) throws -> [WyomingEvent] {
        var parser = WyomingParser(limits: limits)
        var events: [WyomingEvent] = []
        for piece in pieces {
            piece.withUnsafeBytes { parser.receive($0) }
            while let event = try parser.next() { events.append(event) }
        }
        return events
    }

    private func failure(_ text: String, limits: WyomingParser.Limits = .init()) -> String {
        do {
            _ = try parse([Array(text.utf8)], limits: limits)
            return "no error"
        } catch { return "\(error)" }
    }

    @Test("What is written is read, however it is cut", arguments: seeds(60))
    func roundTrip(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        let events = (0..<12).map { _ -> WyomingEvent in
            var data = JSONObject()
            for key in ["rate", "text", "names"].prefix(Int.random(in: 0...3, using: &random)) {
                data[key] = [.int(Int64.random(in: -9...99999, using: &random)), .string("ä\n\"\(random.next())"), [.null, .bool(true)]].randomElement(using: &random) ?? .null
            }
            return WyomingEvent(["audio-chunk", "ping", "x"].randomElement(using: &random) ?? "", data, payload: random.bytes(Int.random(in: 0...700, using: &random)))
        }
        let bytes = events.flatMap(\.bytes)
        #expect(try parse(random.split(bytes, most: Int.random(in: 1...2000, using: &random))) == events)
        // Cut off, all but the last are there, and nothing is made up.
        #expect(try parse([Array(bytes.dropLast())]) == events.dropLast() || events.last?.bytes.last == UInt8(ascii: "\n"))
    }

    @Test("Data in the line and behind it are merged; the latter counts, and a version is passed over")
    func data() throws {
        let text = "{\"type\":\"detect\",\"version\":\"1.8\",\"data\":{\"a\":1,\"b\":2},\"data_length\":11,\"payload_length\":3}\n{\"b\":[\"x\"]} hi{\"type\":\"ping\",\"data\":null,\"payload_length\":null}\r\n"
        let events = try parse([Array(text.utf8)])
        #expect(events == [WyomingEvent("detect", ["a": 1, "b": ["x"]], payload: Array(" hi".utf8)), WyomingEvent("ping")])
    }

    @Test("What is wrong is named, and nothing is read behind it")
    func errors() throws {
        let cases: [(String, String)] = [
            ("hello\n", "header: JSON, byte 0"), ("[1]\n", "header: is no object"), ("\n", "header: JSON"), ("{}\n", "header: type"), ("{\"type\":7}\n", "header: type"),
            ("{\"type\":\"x\",\"data\":[]}\n", "header: data: is no object"), ("{\"type\":\"x\",\"data_length\":-1}\n", "header: data_length"),
            ("{\"type\":\"x\",\"data_length\":\"1\"}\n", "header: data_length"), ("{\"type\":\"x\",\"payload_length\":1.5}\n", "header: payload_length"),
            ("{\"type\":\"x\",\"payload_length\":1048577}\n", "header: payload_length: is 1048577, and 1048576 is the limit"),
            ("{\"type\":\"x\",\"data_length\":65537}\n", "header: data_length: is 65537"), ("{\"type\":\"x\",\"data_length\":2}\n[]", "data: is no object"),
            ("{\"type\":\"x\",\"data_length\":2}\n{,", "data: JSON"), (String(repeating: "a", count: 20_000), "header: no end of line within 16384 bytes"),
            ("{\"type\":\"" + String(repeating: "a", count: 20_000) + "\"}\n", "header: no end of line within 16384 bytes"),
            ("{\"type\":\"x\",\"a\":" + String(repeating: "[", count: 17) + String(repeating: "]", count: 17) + "}\n", "header: "),
        ]
        for (text, words) in cases { #expect(failure(text).contains(words), "\(text.prefix(60)): \(failure(text))") }
        var parser = WyomingParser()
        Array("nonsense\n{\"type\":\"ping\"}\n".utf8).withUnsafeBytes { parser.receive($0) }
        for _ in 0..<2 { #expect(throws: JouledError.self) { try parser.next() } }
        Array("{\"type\":\"ping\"}\n".utf8).withUnsafeBytes { parser.receive($0) }
        #expect(throws: JouledError.self) { try parser.next() }
        #expect(parser.pending == 0)
    }
}

@Suite("Audio in other forms")
struct AudioConverterTests {
    private func bytes(_ samples: [Int16]) -> [UInt8] { samples.flatMap { [UInt8(truncatingIfNeeded: $0), UInt8(truncatingIfNeeded: $0 >> 8)] } }
    private func samples(_ bytes: [UInt8]) -> [Int16] { stride(from: 0, to: bytes.count, by: 2).map { Int16(truncatingIfNeeded: Int(bytes[$0 + 1]) << 8 | Int(bytes[$0])) } }

    @Test("16 kHz 16-bit mono is left alone; what repeats or doubles it comes out as it was", arguments: [(16_000, 1), (16_000, 2), (32_000, 1), (48_000, 2), (192_000, 8)])
    func identity(_ it: (rate: Int, channels: Int)) throws {
        var random = SeededGenerator(seed: 3)
        let original = (0..<500).map { _ in Int16(truncatingIfNeeded: random.next()) }
        let repeated = original.flatMap { sample in [Int16](repeating: sample, count: it.rate / 16_000 * it.channels) }
        var converter = try AudioConverter(AudioFormat(rate: it.rate, width: 2, channels: it.channels))
        #expect(samples(try converter.convert(bytes(repeated))) == original)
    }

    @Test("The cut does not matter", arguments: seeds(30))
    func pieces(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        let rate = [8000, 16_000, 48_000].randomElement(using: &random) ?? 0
        let format = AudioFormat(rate: rate, width: Int.random(in: 1...4, using: &random), channels: Int.random(in: 1...3, using: &random))
        let size = format.width * format.channels
        let input = random.bytes(size * 301)
        var whole = try AudioConverter(format)
        var cut = try AudioConverter(format)
        var output: [UInt8] = []
        var rest = input[...]
        while !rest.isEmpty {
            let piece = rest.prefix(size * Int.random(in: 0...40, using: &random))
            output += try cut.convert(Array(piece))
            rest = rest.dropFirst(piece.count)
        }
        #expect(output == (try whole.convert(input)))
        #expect(output.count == 301 * 16_000 / rate * 2, "\(format)")
    }

    @Test("Widths keep what 16 bits hold; 8 kHz follows the line between its samples; means are rounded")
    func values() throws {
        func convert(_ format: AudioFormat, _ input: [UInt8]) throws -> [Int16] {
            var converter = try AudioConverter(format)
            return samples(try converter.convert(input))
        }
        #expect(try convert(.init(rate: 16_000, width: 1, channels: 1), [0, 128, 255]) == [-32768, 0, 32512])
        #expect(try convert(.init(rate: 16_000, width: 3, channels: 1), [1, 2, 3, 0, 0, 0x80]) == [0x302, -32768])
        #expect(try convert(.init(rate: 16_000, width: 4, channels: 1), [9, 9, 2, 3]) == [0x302])
        #expect(try convert(.init(rate: 8000, width: 2, channels: 1), bytes([100, -100, 32767])) == [50, 100, 0, -100, 16334, 32767])
        #expect(try convert(.init(rate: 16_000, width: 2, channels: 2), bytes([1, 2, -1, -2, 32767, 32767, -32768, -32768])) == [2, -2, 32767, -32768])
        #expect(try convert(.init(rate: 48_000, width: 2, channels: 1), bytes([3, 6, 9, 1, 1])) == [6])
    }

    @Test("What is not converted is named")
    func refusals() throws {
        for (format, field) in [
            (AudioFormat(rate: 44_100, width: 2, channels: 1), "rate: 44100"), (.init(rate: 1, width: 2, channels: 1), "rate: 1 "), (.init(rate: 208_000, width: 2, channels: 1), "rate"),
            (.init(rate: 16_000, width: 5, channels: 1), "width: 5"), (.init(rate: 16_000, width: 2, channels: 0), "channels: 0"), (.init(rate: 16_000, width: 0, channels: 1), "width: 0"),
        ] {
            #expect { try AudioConverter(format) } throws: { "\($0)".contains(field) }
        }
        var converter = try AudioConverter(.native)
        #expect { try converter.convert([1]) } throws: { "\($0)".contains("payload: 1 bytes are no whole samples") }
    }
}
