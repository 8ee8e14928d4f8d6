import JouledTestKit
import Testing
import Units
import Wire

@Suite("A variant switch in mid-stream")
struct SwitchTests {
    /// A daemon whose variants' costs are fixed and which answers every window.
    private func daemon() throws -> DaemonHarness {
        let directory = TemporaryDirectory()
        let bundles = try BundleCopies(in: directory)
        for model in ["silero-vad", "ecg-rhythm"] {
            let variants = try Installation.variants(model)
            try bundles.answerEveryWindow(model)
            bundles.fixCosts(model, variants)
            // So much better that fp32 is worth a switch whenever there is power for it.
            for variant in variants.dropFirst() { try bundles.setQuality(model, variant, 0.93) }
        }
        var settings = DaemonHarness.Settings()
        settings.models = bundles.path
        // A short poll makes the shortest dwell short.
        settings.power = "source = \"virtual\"\npoll = \"100ms\""
        return try DaemonHarness(settings, in: directory)
    }

    @Test("loses no window, duplicates none, and carries the state over")
    func speech() throws {
        let daemon = try daemon()
        let reference = try Reference.load("silero-vad-fp32")
        let speech = try Reference.speech()
        let stream = try TestStream.speech(daemon)
        var boundaries: [Int] = []
        var fed = 0
        func feed(windows: Int) throws {
            let bytes = speech[(fed * 1024)..<((fed + windows) * 1024)]
            fed += windows
            // Pieces that are no multiple of a window, so that switches fall between samples of one.
            try stream.send(bytes.prefix(700))
            try stream.send(bytes.dropFirst(700))
            #expect(try stream.wait { stream.windows.count >= fed }, "\(stream.windows.count) of \(fed) windows")
        }
        try feed(windows: 100)
        for round in 0..<6 {
            let policy = round % 2 == 0 ? "tiny" : "unlimited"
            let before = stream.count("variant")
            try daemon.setPolicy(policy)
            #expect(try stream.wait { stream.count("variant") > before }, "no switch to \(policy): \(daemon.journal)")
            boundaries.append(fed)
            try feed(windows: 20 + round)
        }
        // The rest is pushed at once with a switch somewhere inside.
        try daemon.setPolicy("unlimited")
        let rest = Array(speech[(fed * 1024)...])
        try stream.send(rest.prefix(rest.count / 2))
        try daemon.setPolicy("tiny")
        try daemon.setPolicy("unlimited")
        try stream.send(rest.dropFirst(rest.count / 2))
        try stream.finish(within: Seconds(60))

        #expect(stream.windows.map(\.end) == reference.map(\.end))
        for (index, boundary) in boundaries.enumerated() {
            let (before, after) = (stream.windows[boundary - 1].variant, stream.windows[boundary].variant)
            #expect(index % 2 == 0 ? before == "fp32" && after != "fp32" : before != "fp32" && after == "fp32", "switch \(index): \(before) -> \(after)")
        }
        expectEqual(Array(stream.windows.prefix(100)), Array(reference.prefix(100)), "before the first switch")
        let errors = zip(stream.windows, reference).map { $0.error(against: $1) }
        #expect(errors.reduce(0, +) / Double(errors.count) < 0.02)
        // A state that began anew would answer speech with about 0.2 instead of 1 at first.
        for boundary in boundaries {
            #expect(errors[boundary..<(boundary + 3)].max() ?? 1 < 0.25, "errors after the switch at window \(boundary): \(errors[boundary..<(boundary + 3)])")
        }
    }

    @Test("of a model without state gives each window exactly as its variant does")
    func ecg() throws {
        let daemon = try daemon()
        let references = try Dictionary(uniqueKeysWithValues: Installation.variants("ecg-rhythm").map { ($0, try Reference.load("ecg-rhythm-\($0)")) })
        let ecg = try Reference.ecg()
        let stream = try TestStream.ecg(daemon)
        var sent = 0
        for round in 0..<4 {
            // While energy is limited samples are taken at their own pace but for a burst of 15 s.
            let count = round % 2 == 0 ? 100_000 : 2_000
            try stream.send(ecg[sent..<(sent + count)])
            sent += count
            #expect(try stream.wait { stream.windows.count == sent / 400 - 9 })
            let before = stream.count("variant")
            try daemon.setPolicy(round % 2 == 0 ? "tiny" : "unlimited")
            #expect(try stream.wait { stream.count("variant") > before })
        }
        try stream.send(ecg[sent...])
        try stream.finish()
        #expect(stream.windows.map(\.end) == references["fp32"]?.map(\.end))
        #expect(Set(stream.windows.map(\.variant)).count > 1)
        for (index, window) in stream.windows.enumerated() {
            let expected = try #require(references[window.variant]?[index])
            #expect(window.error(against: expected) <= 1e-4, "\(window) differs from \(expected)")
        }
    }

    @Test("to less power pauses a stream that is not critical, says so, and goes on when there is power again")
    func pause() throws {
        let daemon = try daemon()
        let stream = try TestStream.speech(daemon)
        let speech = try Reference.speech()
        try stream.send(speech[..<102_400])
        #expect(try stream.wait { stream.windows.count == 100 })
        try daemon.setPolicy("starved")
        #expect(try stream.wait { stream.has("paused") })
        let reason = stream.notices.first { $0.notice.kind == "paused" }?.notice.message ?? ""
        #expect(!reason.isEmpty)
        try daemon.setPolicy("unlimited")
        #expect(try stream.wait { stream.has("variant") })
        try stream.send(speech[102_400..<204_800])
        try stream.finish()
        #expect(stream.windows.map(\.end) == (1...200).map { UInt64($0 * 512) })
    }

    @Test("A recording pushed while power is unlimited is no debt once it is limited")
    func noDebt() throws {
        let daemon = try daemon()
        let stream = try TestStream.speech(daemon)
        let speech = try Reference.speech()
        try stream.send(speech[..<1_536_000])
        #expect(try stream.wait { stream.windows.count == 1500 })
        try daemon.setPolicy("tiny")
        #expect(try stream.wait { stream.has("variant") })
        try stream.send(speech[1_536_000..<1_552_000])
        // Half a second of signal; the debt would have been most of a minute.
        #expect(try stream.wait(within: Seconds(5)) { stream.windows.count == 1515 }, "\(stream.windows.count)")
        try stream.finish()
    }

    @Test("A limit that comes while a stream keeps its option paces it all the same, and goes again")
    func pacedWithoutChange() throws {
        let daemon = try daemon()
        let stream = try TestStream.speech(daemon, ["variant": "fp32"])
        let decisions = { try daemon.call("io.jouled.Power.ListDecisions")["decisions"]?.arrayValue?.count }
        #expect(try decisions() == 1)
        try daemon.setPolicy("tiny")
        #expect(try decisions() == 1, "the only option there is")
        let speech = try Reference.speech()
        let clocks = SystemClocks()
        let start = clocks.monotonic()
        try stream.send(speech[..<153_600])
        #expect(try stream.wait { stream.windows.count == 150 })
        #expect(clocks.monotonic().since(start) > Seconds(2.4))
        try daemon.setPolicy("unlimited")
        try stream.send(speech[153_600..<1_536_000])
        #expect(try stream.wait(within: Seconds(20)) { stream.windows.count == 1500 }, "\(stream.windows.count)")
        try stream.finish()
    }

    @Test("While energy is limited, a recording is taken at its own rate, not as fast as it is pushed")
    func paced() throws {
        let daemon = try daemon()
        try daemon.setPolicy("tiny")
        let stream = try TestStream.speech(daemon)
        let clocks = SystemClocks()
        let start = clocks.monotonic()
        try stream.send(try Reference.speech()[..<160_000])
        try stream.finish()
        // Five seconds of signal less two of burst.
        #expect(clocks.monotonic().since(start) > Seconds(2.4))
        #expect(stream.windows.count == 157)
    }
}
