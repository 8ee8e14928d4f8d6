import JouledTestKit
import Testing
import Units

@testable import Wire

/// A frame event that may be kept, with the pieces of DATA joined.
private enum Seen: Equatable {
    case data(FrameHeader, [UInt8])
    case gap(FrameHeader, UInt64)
    case flush(FrameHeader)
    case end(FrameHeader)
    case message(FrameHeader, [UInt8])
}

private struct Collector {
    var parser: FrameParser
    var seen: [Seen] = []
    init(_ role: FrameParser.Role) { parser = FrameParser(role: role) }

    mutating func feed(_ bytes: [UInt8]) throws {
        var seen = self.seen
        defer { self.seen = seen }
        let pointer = UnsafeMutableRawBufferPointer.allocate(byteCount: bytes.count, alignment: 1)
        defer { pointer.deallocate() }
        pointer.copyBytes(from: bytes)
        try parser.receive(UnsafeRawBufferPointer(pointer)) { event in
            switch event {
            case .data(let header, let offset, let piece):
                if offset == 0 { seen.append(.data(header, Array(piece))) } else if case .data(_, let before)? = seen.popLast() {
                    #expect(before.count == offset)
                    seen.append(.data(header, before + piece))
                }
            case .gap(let header, let lost): seen.append(.gap(header, lost))
            case .flush(let header): seen.append(.flush(header))
            case .end(let header): seen.append(.end(header))
            case .message(let header, let payload): seen.append(.message(header, Array(payload)))
            }
        }
    }
}

@Suite("Data frames")
struct FrameTests {
    private func time(_ random: inout SeededGenerator) -> MonotonicTime { MonotonicTime(nanoseconds: random.next()) }

    @Test("What a client writes the daemon reads, whatever the split, and if another parser goes on at any of them", arguments: seeds(80))
    func inbound(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        let size = [2, 4, 8][Int.random(in: 0...2, using: &random)]
        var writer = FrameWriter()
        var expected: [Seen] = []
        for _ in 0..<20 {
            let (index, time) = (random.next() >> 1, time(&random))
            switch Int.random(in: 0...4, using: &random) {
            case 0...2:
                let samples = random.bytes(size * Int.random(in: 0...100, using: &random))
                samples.withUnsafeBytes { writer.data($0, sampleSize: size, sampleIndex: index, time: time) }
                expected.append(.data(FrameHeader(.data, length: UInt32(samples.count), sampleIndex: index, time: time), samples))
            case 3:
                let lost = random.next()
                writer.gap(lost: lost, sampleIndex: index, time: time)
                expected.append(.gap(FrameHeader(.gap, length: 8, sampleIndex: index, time: time), lost))
            default:
                writer.flush(sampleIndex: index, time: time)
                expected.append(.flush(FrameHeader(.flush, sampleIndex: index, time: time)))
            }
        }
        writer.end(sampleIndex: 9, time: MonotonicTime(nanoseconds: 1))
        expected.append(.end(FrameHeader(.end, sampleIndex: 9, time: MonotonicTime(nanoseconds: 1))))
        var collector = Collector(.daemon(sampleSize: size))
        for piece in random.split(writer.bytes, most: [1, 5, 40, 100_000][Int.random(in: 0...3, using: &random)]) {
            try collector.feed(piece)
            if let position = collector.parser.position, Bool.random(using: &random) {
                collector.parser = try FrameParser(role: .daemon(sampleSize: size), from: position)
            }
        }
        try collector.parser.finish()
        #expect(collector.seen == expected)
    }

    @Test("What the daemon writes a client reads, whatever the split", arguments: seeds(40))
    func outbound(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        var writer = FrameWriter()
        var results: [ResultPayload] = []
        var notices: [Notice] = []
        for number in 0..<10 {
            let result = ResultPayload(
                variant: UInt16.random(in: 0...9, using: &random), isPadded: .random(using: &random),
                joules: Joules(.random(in: 0...1, using: &random)),
                values: (0..<Int.random(in: 0...9, using: &random)).map { _ in .random(in: -1...1, using: &random) })
            result.values.withUnsafeBufferPointer {
                writer.result(
                    sampleIndex: UInt64(number), time: time(&random), variant: result.variant, isPadded: result.isPadded,
                    joules: result.joules, values: $0)
            }
            results.append(result)
            let notice = Notice(kind: "k\(number)", message: JSONTests.string(&random), fields: ["x": JSONTests.value(depth: 2, &random)])
            writer.notice(notice, isError: number == 9, sampleIndex: 0, time: time(&random))
            notices.append(notice)
        }
        var collector = Collector(.client)
        for piece in random.split(writer.take(), most: 60) { try collector.feed(piece) }
        try collector.parser.finish()
        var readResults: [ResultPayload] = []
        var readNotices: [Notice] = []
        for case .message(let header, let payload) in collector.seen {
            if header.type == .result {
                readResults.append(try payload.withUnsafeBytes { try ResultPayload(decoding: $0) })
            } else {
                readNotices.append(try payload.withUnsafeBytes { try Notice(decoding: $0) })
            }
        }
        #expect(readResults == results)
        #expect(readNotices == notices)
    }

    @Test("A megabyte payload passes in pieces; DATA beyond it is cut into frames")
    func large() throws {
        let samples = [UInt8](repeating: 7, count: 12 * 200_000)
        var writer = FrameWriter()
        samples.withUnsafeBytes { writer.data($0, sampleSize: 12, sampleIndex: 100, time: MonotonicTime(nanoseconds: 0)) }
        var collector = Collector(.daemon(sampleSize: 12))
        try collector.feed(writer.bytes)
        let headers = collector.seen.compactMap { if case .data(let header, _) = $0 { header } else { nil } }
        #expect(headers.map { Int($0.length) }.reduce(0, +) == samples.count)
        let perFrame: UInt64 = 87381
        let indices: [UInt64] = [100, 100 + perFrame, 100 + 2 * perFrame]
        #expect(headers.map(\.sampleIndex) == indices)
    }

    /// A frame's raw bytes with every field free.
    static func raw(length: UInt32, type: UInt16, flags: UInt16 = 0, payload: [UInt8] = []) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.appendLittleEndian(length)
        bytes.appendLittleEndian(type)
        bytes.appendLittleEndian(flags)
        bytes.appendLittleEndian(UInt64(0))
        bytes.appendLittleEndian(UInt64(0))
        return bytes + payload
    }

    @Test("Faults name the frame's ordinal number and the field, whatever the split", arguments: [
        (raw(length: 0, type: 99), "type 99"), (raw(length: 0, type: 0), "type 0"), (raw(length: 0, type: 16), "RESULT goes from daemon"),
        (raw(length: 0, type: 1, flags: 0x8000), "flags 0x8000"), (raw(length: 1 << 20 + 4, type: 1), "length 1048580"),
        (raw(length: .max, type: 1), "length 4294967295"), (raw(length: 6, type: 1), "length 6 of DATA is no multiple of the sample size, 4"),
        (raw(length: 4, type: 2), "length 4 of GAP"), (raw(length: 4, type: 3), "length 4 of FLUSH"), (raw(length: 4, type: 4), "length 4 of END"),
        (raw(length: 0, type: 4) + raw(length: 0, type: 3), "follows END"),
    ] as [([UInt8], String)])
    func faults(frame: [UInt8], reason: String) {
        let good = Self.raw(length: 4, type: 1, payload: [1, 2, 3, 4]) + Self.raw(length: 0, type: 3)
        for most in [1, 7, 1000] {
            var random = SeededGenerator(seed: UInt64(most))
            var collector = Collector(.daemon(sampleSize: 4))
            let error = #expect(throws: JouledError.self) {
                for piece in random.split(good + frame, most: most) { try collector.feed(piece) }
            }
            #expect(error?.code == .malformedFrame)
            #expect(error?.message.contains(reason) == true)
            #expect(error?.message.hasPrefix(reason == "follows END" ? "frame 4:" : "frame 3:") == true)
            #expect(collector.seen.prefix(2).count == 2, "what came before the fault was delivered")
            #expect(throws: JouledError(.malformedFrame, "")) { try collector.feed([0]) }
            #expect(throws: JouledError(.malformedFrame, "")) { try collector.parser.finish() }
        }
    }

    @Test("The end of input inside a frame tells how much is missing")
    func truncation() throws {
        let frame = Self.raw(length: 8, type: 1, payload: [UInt8](repeating: 0, count: 8))
        for cut in 0...frame.count {
            var collector = Collector(.daemon(sampleSize: 4))
            try collector.feed(Array(frame[..<cut]))
            switch cut {
            case 0, frame.count: try collector.parser.finish()
            case ..<24: #expect { try collector.parser.finish() } throws: { "\($0)".contains("frame 1: the input ends \(24 - cut) bytes") }
            default: #expect { try collector.parser.finish() } throws: { "\($0)".contains("frame 1 (DATA): the input ends \(32 - cut) bytes") }
            }
        }
    }

    @Test("Noise is refused or awaited, never a trap", arguments: seeds(200))
    func noise(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        var daemon = Collector(.daemon(sampleSize: 2))
        var client = Collector(.client)
        // Half of the time a plausible header leads in.
        var bytes = random.bytes(2000)
        if Bool.random(using: &random) {
            bytes = Self.raw(length: UInt32.random(in: 0...64, using: &random), type: UInt16.random(in: 0...20, using: &random)) + bytes
        }
        for piece in random.split(bytes, most: 100) {
            try? daemon.feed(piece)
            try? client.feed(piece)
        }
        _ = try? bytes.withUnsafeBytes { try ResultPayload(decoding: $0) }
        _ = try? bytes.withUnsafeBytes { try Notice(decoding: $0) }
    }

    @Test("A result's payload must fit its count and flags")
    func resultPayload() throws {
        var bytes: [UInt8] = []
        ResultPayload(variant: 3, isPadded: true, joules: Joules(0.5), values: [1, .nan]).append(to: &bytes)
        #expect(bytes.count == 24)
        #expect(Array(bytes[..<8]) == [3, 0, 1, 0, 2, 0, 0, 0])
        for damage in [{ $0.removeLast() }, { $0.append(0) }, { $0[2] = 2 }, { $0[4] = 3 }, { $0 = [] }] as [(inout [UInt8]) -> Void] {
            var damaged = bytes
            damage(&damaged)
            #expect(throws: JouledError(.malformedPayload, "")) { try damaged.withUnsafeBytes { try ResultPayload(decoding: $0) } }
        }
    }

    @Test("A notice always fits into a frame")
    func largeNotice() throws {
        let mark = String(repeating: "\u{301}", count: 2 << 20)
        let notice = Notice(kind: "a" + mark, message: "b" + mark, fields: ["c": .string(mark)])
        let payload = notice.serialized()
        #expect(payload.count <= FrameHeader.maximumPayload)
        #expect(try payload.withUnsafeBytes { try Notice(decoding: $0) }.fields.isEmpty)
    }
}

@Suite("Samples")
struct SampleTests {
    @Test("Any split decodes as the whole", arguments: seeds(40), SampleFormat.allCases)
    func splits(seed: UInt64, format: SampleFormat) {
        var random = SeededGenerator(seed: seed)
        let bytes = random.bytes(Int.random(in: 0...300, using: &random))
        var whole = SampleDecoder(format)
        var expected: [Float] = []
        bytes.withUnsafeBytes { whole.decode($0, appendingTo: &expected) }
        var decoder = SampleDecoder(format)
        var samples: [Float] = []
        for piece in random.split([0] + bytes, most: 9).enumerated() {
            // The leading byte makes the first piece unaligned.
            piece.element.withUnsafeBytes {
                decoder.decode(piece.offset == 0 ? UnsafeRawBufferPointer(rebasing: $0.dropFirst()) : $0, appendingTo: &samples)
            }
        }
        #expect(samples.map(\.bitPattern) == expected.map(\.bitPattern))
        #expect(samples.count == bytes.count / format.bytesPerSample)
        #expect(decoder.pendingBytes == bytes.count % format.bytesPerSample)
    }

    @Test("Values and names")
    func values() {
        var samples: [Float] = [9]
        var s16 = SampleDecoder(.s16le)
        let bytes: [UInt8] = [0x00, 0x80, 0xff, 0x7f, 0x01, 0x00]
        bytes.withUnsafeBytes { s16.decode($0, appendingTo: &samples) }
        #expect(samples == [9, -1, 32767.0 / 32768, 1.0 / 32768])
        #expect(SampleFormat(name: "s16le") == .s16le)
        #expect(SampleFormat(name: "S16LE") == nil)
    }
}
