import JouledTestKit
import Testing
import Units
import Wire

@Suite("What is loaded goes when nobody needs it")
struct ReleaseTests {
    /// Memory of the daemon's own, in kB; what it shares with other processes depends on them.
    private func anonymous(_ daemon: DaemonHarness) throws -> Int {
        let text = String(decoding: TemporaryDirectory.contents(of: "/proc/\(daemon.process.id)/smaps_rollup") ?? [], as: UTF8.self)
        let line = try #require(text.split(separator: "\n").first { $0.hasPrefix("Anonymous:") }, "no smaps_rollup")
        return try #require(line.split(separator: " ").dropFirst().first.flatMap { Int($0) })
    }

    private func hasLibrary(_ daemon: DaemonHarness) -> Bool {
        String(decoding: TemporaryDirectory.contents(of: "/proc/\(daemon.process.id)/maps") ?? [], as: UTF8.self).contains("libonnxruntime")
    }

    private func speak(_ daemon: DaemonHarness) throws {
        let stream = try TestStream.speech(daemon)
        try stream.send(try Reference.speech())
        try stream.finish()
        expectEqual(stream.windows, try Reference.load("silero-vad-fp32"), "stream")
    }

    @Test("After the last stream library and models are unloaded; the next client is answered as the first", .enabled(if: !Installation.isSanitized, "a sanitizer keeps what is freed"))
    func released() throws {
        let daemon = try DaemonHarness { $0.keep = "100ms" }
        #expect(!hasLibrary(daemon))
        let before = try anonymous(daemon)
        var after: [Int] = []
        for round in 0..<4 {
            try speak(daemon)
            #expect(eventually(within: Seconds(10)) { !hasLibrary(daemon) }, "round \(round): the library is still there")
            // 3 MB is the goal; 9 MB stay when the environment is released and the library is not unloaded.
            let isBack = try eventually(within: Seconds(10)) { try anonymous(daemon) < before + 3072 }
            after.append(try anonymous(daemon))
            #expect(isBack, "kB before: \(before), after each round: \(after)")
        }
    }

    @Test("A stream keeps the library, and so does the time in which its client may come back")
    func kept() throws {
        let daemon = try DaemonHarness { $0.keep = "1h" }
        let bystander = try Bystander(daemon)
        try speak(daemon)
        #expect(daemon.journalHas("ended after"))
        try bystander.goOn()
        #expect(hasLibrary(daemon))
        try bystander.verify()
        #expect(eventually(within: Seconds(10)) { (try? daemon.call("io.jouled.Streams.List")["streams"]?.arrayValue?.isEmpty) == true })
        #expect(hasLibrary(daemon))
        try speak(daemon)
    }

    @Test("Without a time to keep it, it goes with the stream")
    func atOnce() throws {
        let daemon = try DaemonHarness { $0.keep = "0s" }
        for _ in 0..<3 { try speak(daemon) }
        #expect(eventually(within: Seconds(10)) { !hasLibrary(daemon) })
    }
}
