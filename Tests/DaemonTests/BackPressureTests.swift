import JouledTestKit
import Testing
import Units
import Wire

@Suite("Clients that do not read")
struct BackPressureTests {
    /// Windows per second of recording are few, so the recording is sent several times over.
    private func speech(times: Int) throws -> [UInt8] {
        let once = try Reference.speech()
        return Array((0..<times).map { _ in once }.joined())
    }

    @Test("Memory stays bounded, other streams go on, and nothing is lost when the client reads at last")
    func bounded() throws {
        let daemon = try DaemonHarness()
        let bystander = try TestStream.speech(daemon)
        let recording = try Reference.speech()
        try bystander.send(recording[..<102_400])
        #expect(try bystander.wait { bystander.windows.count == 100 })
        let before = try #require(daemon.status("RssAnon"))

        // 75,000 windows: 3.3 MB of results, and 77 MB of samples that must not pile up anywhere.
        let raw = try RawStream(daemon, ["model": "silero-vad", "sampleRateHz": 16000])
        var writer = FrameWriter()
        let bytes = try speech(times: 40)
        bytes.withUnsafeBytes { writer.data($0, sampleSize: 2, sampleIndex: 0, time: MonotonicTime(nanoseconds: 0)) }
        writer.end(sampleIndex: UInt64(bytes.count / 2), time: MonotonicTime(nanoseconds: 0))
        let frames = writer.take()
        var sent = 0
        // Writes until the daemon takes no more for a while.
        while raw.isWritable(within: Seconds(1)) { sent += raw.send(frames, from: sent) }
        #expect(sent < frames.count / 2, "\(sent) of \(frames.count) bytes were taken from a client that does not read")
        let held = try #require(daemon.status("RssAnon"))
        #expect(Installation.isSanitized || held - before < 8_000, "memory grew by \(held - before) kB")

        try bystander.send(recording[102_400...])
        try bystander.finish()
        expectEqual(bystander.windows, try Reference.load("silero-vad-fp32"), "bystander")

        var parser = FrameParser(role: .client)
        var ends: [UInt64] = []
        let done = try eventually(within: Seconds(60)) {
            if sent < frames.count, raw.isWritable(within: .zero) { sent += raw.send(frames, from: sent) }
            return try raw.receive(&parser) { header, _ in if header.type == .result { ends.append(header.sampleIndex) } } == false
        }
        #expect(done)
        #expect(ends == (1...UInt64(bytes.count / 1024)).map { $0 * 512 })
    }

    @Test("Results that wait for room are written when the client reads, without more samples from it")
    func flushed() throws {
        let daemon = try DaemonHarness()
        // So little tolerance that the socket is read when something comes, and at no other time.
        let raw = try RawStream(daemon, ["model": "silero-vad", "sampleRateHz": 16000, "latencyToleranceMs": 1])
        // 7,500 windows give 330 kB of results: more than a socket holds, less than it and the daemon hold together.
        let bytes = try speech(times: 4)
        var writer = FrameWriter()
        bytes.withUnsafeBytes { writer.data($0, sampleSize: 2, sampleIndex: 0, time: MonotonicTime(nanoseconds: 0)) }
        let frames = writer.take()
        var sent = 0
        while sent < frames.count, raw.isWritable(within: Seconds(5)) { sent += raw.send(frames, from: sent) }
        #expect(sent == frames.count)
        let list = { try daemon.call("io.jouled.Streams.List")["streams"]?[0]?["windows"]?.intValue ?? 0 }
        #expect(try eventually { try list() == 7500 }, "all windows are computed before the first result is read")
        var parser = FrameParser(role: .client)
        var count = 0
        let done = try eventually {
            _ = try raw.receive(&parser) { header, _ in if header.type == .result { count += 1 } }
            return count == 7500
        }
        #expect(done, "\(count) of 7500 results came")
    }

    @Test("A monitor that does not read is cut off or passed over, and bounded either way", arguments: ["io.jouled.Power.ListDecisions", "io.jouled.Streams.List", "io.jouled.Power.GetStatus"])
    func monitor(method: String) throws {
        let daemon = try DaemonHarness { $0.power = "source = \"virtual\"\npoll = \"100ms\"" }
        let raw = try RawSocket(daemon)
        raw.sendAll(Array("{\"method\":\"\(method)\",\"more\":true}".utf8) + [0])
        let stream = try TestStream.speech(daemon)
        let before = try #require(daemon.status("RssAnon"))
        for round in 0..<150 { try daemon.setPolicy(round % 2 == 0 ? "starved" : "unlimited") }
        let after = try #require(daemon.status("RssAnon"))
        // A sanitizer keeps what is freed, to find whoever uses it.
        #expect(Installation.isSanitized || after - before < 6_000, "memory grew by \(after - before) kB")
        // It still answers others, once the stream's shortest pause is over.
        #expect(try eventually { try daemon.call("io.jouled.Streams.List")["streams"]?[0]?["paused"] == false })
        try stream.send(try Reference.speech()[..<10_240])
        try stream.finish()
        #expect(stream.windows.count == 10)
    }
}
