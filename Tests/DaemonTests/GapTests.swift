import JouledClient
import JouledTestKit
import Testing
import Units
import Wire

@Suite("Gaps, flush and end")
struct GapTests {
    /// What a fresh stream makes of `bytes`, with window ends moved by `offset`.
    private func fresh(_ daemon: DaemonHarness, _ bytes: some Collection<UInt8>, from offset: UInt64) throws -> [Window] {
        let stream = try TestStream.speech(daemon)
        try stream.send(bytes)
        try stream.finish()
        return stream.windows.map { Window(end: $0.end + offset, variant: $0.variant, values: $0.values, isPadded: $0.isPadded) }
    }

    @Test("After a gap windows begin anew, without the past: as a fresh stream would", arguments: [false, true])
    func gap(isExplicit: Bool) throws {
        let daemon = try DaemonHarness()
        let speech = try Reference.speech()
        let stream = try TestStream.speech(daemon)
        // 100 windows and a piece of one, a gap of 777 samples, then more.
        let (first, second) = (speech[..<102_600], speech[200_000..<300_000])
        try stream.send(first)
        if isExplicit {
            stream.connection.sendGap(lost: 777)
            try stream.send(second)
            stream.connection.end()
        } else {
            var writer = FrameWriter()
            let index = UInt64(first.count / 2 + 777)
            Array(second).withUnsafeBytes { writer.data($0, sampleSize: 2, sampleIndex: index, time: MonotonicTime(nanoseconds: 0)) }
            writer.end(sampleIndex: index + UInt64(second.count / 2), time: MonotonicTime(nanoseconds: 0))
            stream.connection.sendRaw(writer.take())
        }
        try stream.drain()
        #expect(stream.error == nil)
        let notice = try #require(stream.notices.first { $0.notice.kind == "gap" }?.notice)
        #expect(notice.fields["lost"]?.intValue == 777)
        #expect(notice.fields["at"]?.intValue == 52_077)
        let expected = try fresh(daemon, second, from: 52_077)
        expectEqual(Array(stream.windows.prefix(100)), Array(try Reference.load("silero-vad-fp32").prefix(100)), "before")
        expectEqual(Array(stream.windows.dropFirst(100)), expected, tolerance: 1e-6, "after")
    }

    @Test("FLUSH is answered after the windows that are complete")
    func flush() throws {
        let daemon = try DaemonHarness()
        let stream = try TestStream.speech(daemon)
        let speech = try Reference.speech()
        connectionFlush(stream, speech[..<10_300])
        try stream.send([UInt8]())
        #expect(try stream.wait { stream.has("flushed") })
        #expect(stream.windows.count == 10)
        connectionFlush(stream, speech[10_300..<20_480])
        try stream.send([UInt8]())
        #expect(try stream.wait { stream.count("flushed") == 2 })
        #expect(stream.windows.count == 20)
        try stream.finish()
        #expect(stream.windows.count == 20)
    }

    private func connectionFlush(_ stream: TestStream, _ bytes: ArraySlice<UInt8>) {
        stream.connection.send(Array(bytes))
        stream.connection.flush()
    }

    @Test("END completes the last window of speech with zeros, and drops that of an ECG")
    func end() throws {
        let daemon = try DaemonHarness()
        let speech = try TestStream.speech(daemon)
        try speech.send(try Reference.speech()[..<(2 * 1300)])
        try speech.finish()
        #expect(speech.windows.map(\.end) == [512, 1024, 1536])
        #expect(speech.windows.map(\.isPadded) == [false, false, true])
        expectEqual(Array(speech.windows.prefix(2)), Array(try Reference.load("silero-vad-fp32").prefix(2)))
        #expect(speech.notices.last { $0.notice.kind == "end" }?.notice.fields["windows"]?.intValue == 3)

        let ecg = try TestStream.ecg(daemon)
        try ecg.send(try Reference.ecg()[..<(4 * 1199)])
        try ecg.finish()
        #expect(ecg.windows.map(\.end) == [1000, 1100])
        #expect(!ecg.windows.contains { $0.isPadded })
    }

    @Test("Streams without samples, and of less than a window")
    func short() throws {
        let daemon = try DaemonHarness()
        for samples in [0, 1, 511] {
            let stream = try TestStream.speech(daemon)
            try stream.send([UInt8](repeating: 0, count: 2 * samples))
            try stream.finish()
            #expect(stream.windows.count == (samples == 0 ? 0 : 1), "\(samples) samples")
            #expect(stream.has("end"))
        }
    }
}
