import JouledClient
import JouledTestKit
import Testing
import Units
import Wire

/// A daemon that serves silero-vad and `word`: a model without state that answers each second window of 1.2 s with one of its samples, so
/// that its answers are known to the bit.
struct GateFixture {
    static let (window, hop, picked) = (19_200, 2560, 7777)
    let daemon: DaemonHarness

    /// - Parameter gate: the `[gate]` table of the manifest of `word`.
    init(gate: String = "", _ change: (inout DaemonHarness.Settings) -> Void = { _ in }) throws {
        let directory = TemporaryDirectory()
        let copies = try BundleCopies(in: directory, ["silero-vad"])
        let model = TinyOnnx.pick(UInt64(Self.picked), of: UInt64(Self.window))
        directory.write("models/word/1/fp32.onnx", model)
        directory.write("models/word/1/model.toml", Self.manifest(gate))
        try copies.restate("word", "fp32", model)
        copies.fixCosts("word", ["fp32"])
        var settings = DaemonHarness.Settings()
        settings.models = copies.path
        change(&settings)
        daemon = try DaemonHarness(settings, in: directory)
    }

    private static func manifest(_ gate: String) -> String {
        """
        format = 1
        name = "word"
        version = 1
        summary = "One sample of each window"
        licence = "CC0-1.0"
        source = "this test"
        task = "keyword-spotting"
        [signal]
        kind = "audio"
        sample_rate_hz = 16000
        channels = 1
        s16_scale = 3.0517578125e-05
        unit = "full-scale"
        [window]
        samples = \(window)
        hop = \(hop)
        context = 0
        tail = "drop"
        normalize = "none"
        [input]
        name = "x"
        shape = [1, \(window)]
        [[output]]
        name = "y"
        label = "sample"
        shape = [1, 1]
        [latency]
        tolerance = "10s"
        [thresholds]
        agreement_min = 0.9
        p99_error_max = 0.1
        \(gate)
        [[cadence]]
        multiple = 1
        quality = 1.0
        [[variant]]
        name = "fp32"
        scheme = "fp32"
        file = "fp32.onnx"
        bytes = 1
        sha256 = "x"
        quality = 1.0
        [variant.validation]
        data = "none"
        agreement = 1.0
        p99_error = 0.0

        """
    }

    func word(_ more: JSONObject) throws -> TestStream {
        var parameters: JSONObject = ["model": "word", "sampleRateHz": 16000, "name": "word"]
        for member in more.members { parameters[member.key] = member.value }
        return try TestStream(daemon, parameters)
    }

    /// Sends all of `speech` to both, the gate first.
    static func feed(_ speech: [UInt8], _ gate: TestStream, _ stream: TestStream) throws {
        for start in stride(from: 0, to: speech.count, by: 16_000) {
            let piece = speech[start..<min(start + 16_000, speech.count)]
            try gate.send(piece)
            try stream.send(piece)
        }
        gate.connection.end()
        try stream.send([UInt8]())
        try gate.finish()
        try stream.finish()
    }

    /// Three seconds of speech and four of nothing, by turns, for a minute.
    static func signal() throws -> [UInt8] {
        let speech = try Reference.speech()
        var signal: [UInt8] = []
        for part in 0..<9 {
            signal += speech[(part * 96_000)..<(part * 96_000 + 96_000)]
            signal += [UInt8](repeating: 0, count: 128_000)
        }
        return signal
    }

    /// The same with the header of a WAV file.
    static func wav(_ samples: [UInt8]) -> [UInt8] {
        func little(_ value: Int, _ count: Int) -> [UInt8] { (0..<count).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) } }
        var file = Array("RIFF".utf8)
        file += little(36 + samples.count, 4)
        file += Array("WAVEfmt ".utf8)
        for (value, size) in [(16, 4), (1, 2), (1, 2), (16_000, 4), (32_000, 4), (2, 2), (16, 2)] { file += little(value, size) }
        file += Array("data".utf8)
        file += little(samples.count, 4)
        return file + samples
    }

    /// What silero-vad makes of the signal without anything behind it.
    func answers(_ signal: [UInt8]) throws -> [Window] {
        let stream = try TestStream.speech(daemon)
        try stream.send(signal)
        try stream.finish()
        return stream.windows
    }

    /// Ends of the windows that the documented rule runs.
    static func expected(_ answers: [Window], samples: Int, threshold: Float = 0.5, preroll: Int = 0, hold: Int = 8000) -> [UInt64] {
        var spans: [(from: Int, to: Int)] = []
        for answer in answers where Float(answer.values[0]) >= threshold {
            let end = Int(answer.end)
            spans.append((end - 512 - preroll, min(end, samples) + hold))
        }
        var ends: [UInt64] = []
        for start in stride(from: 0, through: samples - window, by: hop) where spans.contains(where: { start < $0.to && start + window > $0.from }) {
            ends.append(UInt64(start + window))
        }
        return ends
    }
}

@Suite("Streams behind a gate")
struct GateTests {
    @Test("Speech with silences: the windows that the rule names run, bit for bit as without a gate, and no other")
    func speech() throws {
        let fixture = try GateFixture()
        let signal = try GateFixture.signal()
        let ear = try TestStream.speech(fixture.daemon, ["name": "ear"])
        let word = try fixture.word(["gate": ["stream": .int(ear.id)]])
        let contract = try #require(word.connection.contract["contract"]?["gate"])
        #expect(contract == ["stream": .int(ear.id), "output": "speech_probability", "threshold": 0.5, "prerollMs": 0, "holdMs": 500])
        try GateFixture.feed(signal, ear, word)

        let plain = try fixture.word([:])
        try plain.send(signal)
        try plain.finish()
        let all = Dictionary(uniqueKeysWithValues: plain.windows.map { ($0.end, $0) })
        let ends = GateFixture.expected(ear.windows, samples: signal.count / 2)
        #expect(ends.count > 100 && plain.windows.count - ends.count > 100, "\(ends.count) of \(plain.windows.count)")
        #expect(word.windows.map(\.end) == ends)
        #expect(word.windows == ends.compactMap { all[$0] })
        // The gate itself is as ever.
        #expect(try ear.windows == fixture.answers(signal))

        // Sleeping and waking are told, with where.
        let notices = word.notices.filter { ["asleep", "awake"].contains($0.notice.kind) }
        #expect(notices.count >= 10 && !word.has("ungated"), "\(word.notices.map { "\($0.at) \($0.notice.kind): \($0.notice.message)" })")
        #expect(zip(notices, notices.dropFirst()).allSatisfy { $0.notice.kind != $1.notice.kind && $1.at >= $0.at + 16_000 })
        #expect(notices.allSatisfy { $0.at % UInt64(GateFixture.hop) == 0 && $0.notice.fields["gate"]?.intValue == ear.id })
        // The ledger knows of those that ran.
        let entry = try fixture.daemon.call("io.jouled.Streams.Ledger")["entries"]?.arrayValue?.first { $0["stream"]?.intValue == word.id }
        #expect(entry?["windows"]?.intValue == Int64(ends.count))
    }

    @Test("joulectl opens the gate that is asked for, or that the manifest names, and feeds both", arguments: [["--gate", "silero-vad"], ["--gate"]])
    func command(gate: [String]) throws {
        let fixture = try GateFixture(gate: "[gate]\nmodel = \"silero-vad\"\noutput = \"speech_probability\"\npreroll = \"100ms\"\nhold = \"1s\"")
        let signal = try GateFixture.signal()
        let directory = fixture.daemon.directory
        directory.write("signal.wav", GateFixture.wav(signal))
        directory.write("signal", signal)
        let answers = try fixture.answers(signal)
        let ends = GateFixture.expected(answers, samples: signal.count / 2, preroll: 1600, hold: 16_000)
        let fromFile = try fixture.daemon.run(["stream", "word", "--from", directory("signal.wav")] + gate)
        #expect(fromFile.status == 0, "\(fromFile.error)")
        #expect(try Reference.parse(fromFile.out).map(\.end) == ends)
        #expect(fromFile.error.contains("asleep: windows are let go until the gate hears something"), "\(fromFile.error)")
        let fromInput = try fixture.daemon.run(["stream", "word", "--quiet", "--chunk", "3333"] + gate, input: directory("signal"))
        #expect(fromInput.status == 0 && fromInput.error.isEmpty, "\(fromInput.error)")
        #expect(try Reference.parse(fromInput.out) == Reference.parse(fromFile.out))
        let other = try fixture.daemon.run(
            ["stream", "word", "--gate-preroll", "0ms", "--gate-hold", "0ms", "--gate-threshold", "0.6", "--gate-output", "speech_probability"] + gate,
            input: directory("signal"))
        #expect(other.status == 0, "\(other.error)")
        #expect(try Reference.parse(other.out).map(\.end) == GateFixture.expected(answers, samples: signal.count / 2, threshold: 0.6, preroll: 0, hold: 0))
    }

    @Test("joulectl says what is wrong with a gate")
    func commandErrors() throws {
        let fixture = try GateFixture()
        let none = try fixture.daemon.run(["stream", "word", "--gate"], input: Installation.speech)
        #expect(none.status == 1 && none.error.contains("the manifest of word names no gate"), "\(none.error)")
        let short = try fixture.daemon.run(["stream", "word", "--tolerance", "150ms", "--gate", "silero-vad"], input: Installation.speech)
        #expect(short.status == 1 && short.error.contains("latencyToleranceMs: 150 ms is too short"), "\(short.error)")
        let alone = try fixture.daemon.run(["stream", "word", "--gate-hold", "1s"], input: Installation.speech)
        #expect(alone.status == 64 && alone.error.contains("need --gate"), "\(alone.error)")
    }

    @Test("Every fault of a gate is an error that names its field")
    func errors() throws {
        let fixture = try GateFixture()
        let ear = try TestStream.speech(fixture.daemon, ["name": "ear"])
        let word = try fixture.word(["gate": ["name": "ear"]])
        #expect(word.connection.contract["contract"]?["gate"]?["stream"]?.intValue == ear.id)
        func refusal(_ gate: JSONObject, _ more: JSONObject = [:]) -> VarlinkError? {
            do {
                var parameters = more
                parameters["gate"] = .object(gate)
                _ = try fixture.word(parameters)
                return nil
            } catch {
                return (error as? JouledError)?.cause as? VarlinkError
            }
        }
        func field(_ gate: JSONObject, _ more: JSONObject = [:]) -> String? {
            guard let error = refusal(gate, more) else { return nil }
            return error.name == "io.jouled.Streams.InvalidGate" ? error.parameters["field"]?.stringValue : error.parameters["parameter"]?.stringValue
        }
        #expect(field(["stream": 99]) == "gate.stream")
        // The number that the new stream itself would get.
        #expect(field(["stream": 5]) == "gate.stream")
        #expect(field(["name": "nobody"]) == "gate.name")
        #expect(field([:]) == "gate")
        #expect(field(["stream": .int(ear.id), "name": "ear"]) == "gate.name")
        #expect(field(["stream": .int(word.id)]) == "gate.stream")
        #expect(refusal(["stream": .int(word.id)])?.parameters["reason"]?.stringValue?.contains("sleeps behind stream 1 itself") == true)
        #expect(field(["name": "ear", "output": "speech"]) == "gate.output")
        #expect(refusal(["name": "ear", "output": "speech"])?.parameters["reason"]?.stringValue == "silero-vad has no 'speech'; there are: speech_probability")
        #expect(field(["name": "ear", "threshold": "high"]) == "gate.threshold")
        #expect(field(["name": "ear", "prerollMs": -1]) == "gate.prerollMs")
        #expect(field(["name": "ear", "prerollMs": 10_001]) == "gate.prerollMs")
        #expect(field(["name": "ear", "holdMs": 1e9]) == "gate.holdMs")
        #expect(field(["name": "ear", "colour": 1]) == "gate.colour")
        #expect(field(["name": "ear"], ["latencyToleranceMs": 300]) == "latencyToleranceMs")
        // None of it left anything open.
        #expect(try fixture.daemon.call("io.jouled.Streams.List")["streams"]?.arrayValue?.count == 2)
        withExtendedLifetime((ear, word)) {}
    }

    @Test("Status, top, explanations and the journal tell of the gate; what was learned outlives the daemon")
    func views() throws {
        let fixture = try GateFixture { $0.power = "source = \"virtual\"\npoll = \"1s\"" }
        let daemon = fixture.daemon
        let signal = try GateFixture.signal()
        let ear = try TestStream.speech(daemon, ["name": "ear"])
        let word = try fixture.word(["gate": ["stream": .int(ear.id)]])
        for start in stride(from: 0, to: signal.count, by: 16_000) {
            try ear.send(signal[start..<(start + 16_000)])
            try word.send(signal[start..<(start + 16_000)])
        }
        func gating() throws -> JSONValue? {
            try daemon.call("io.jouled.Streams.List")["streams"]?.arrayValue?.first { $0["stream"]?.intValue == word.id }?["gating"]
        }
        var last: JSONValue?
        let decided = try waiting { last = try gating(); return (last?["letGo"]?.intValue ?? 0) + (last?["heard"]?.intValue ?? 0) > 370 }
        #expect(decided, "\(String(describing: last))")
        #expect(last?["gate"]?.intValue == ear.id && last?["gateName"]?.stringValue == "ear" && last?["silence"]?.isNull == true)
        let ran = Double(last?["heard"]?.intValue ?? 0) + Double(last?["late"]?.intValue ?? 0)
        let share = ran / (ran + Double(last?["letGo"]?.intValue ?? 0))
        let duty = try #require(last?["duty"]?.doubleValue)
        // A minute of signal outweighs as much of the guess.
        #expect(abs(duty - (share + 0.25) / 2) < 0.08, "\(duty) of a share of \(share)")
        let status = try daemon.run(["status"])
        #expect(status.out.contains("word is asleep behind ear: awake "), "\(status.out)")
        let lines = try daemon.run(["explain", "word"]).out
        #expect(lines.contains("It sleeps behind stream \(ear.id) (ear) until speech_probability is 0.5 or more"), "\(lines)")
        #expect(daemon.journalHas("JOULED_GATE=\(ear.id)", "JOULED_DUTY=0.2500"), "\(daemon.journal)")
        #expect(daemon.journalHas("asleep behind ear: awake 25 % of the time"), "\(daemon.journal)")
        let decisions = try daemon.call("io.jouled.Power.ListDecisions")["decisions"]?.arrayValue
        let decision = try #require(decisions?.last { $0["stream"]?.intValue == word.id })
        #expect(decision["gate"]?.intValue == ear.id && decision["duty"]?.doubleValue == 0.25)
        // Half of it is paid.
        let planned = try daemon.call("io.jouled.Streams.Explain", ["stream": .int(word.id)])
        #expect(planned["duty"]?.doubleValue.map { $0 < 1 } == true && planned["gate"]?["stream"]?.intValue == ear.id)

        // The gate goes; the stream goes on without it.
        try ear.finish()
        try word.send(signal.suffix(16_000))
        #expect(try waiting { try gating()?["silence"]?.stringValue == "gone" })
        #expect(try daemon.run(["status"]).out.contains("always awake, for its gate stream \(ear.id) is gone"))
        #expect(try daemon.run(["explain", "word"]).out.contains("is gone: every window is run"))
        try word.finish()
        try daemon.restart()
        let again = try TestStream.speech(daemon, ["name": "ear"])
        let next = try fixture.word(["gate": ["name": "ear"]])
        let learned = try daemon.call("io.jouled.Streams.List")["streams"]?.arrayValue?.first { $0["stream"]?.intValue == next.id }?["gating"]?["duty"]?.doubleValue
        #expect(try abs(#require(learned) - duty) < 0.1 && learned != 0.25)
        withExtendedLifetime(again) {}
    }

    private func waiting(_ condition: () throws -> Bool) throws -> Bool {
        var problem: (any Error)?
        let reached = eventually(within: Seconds(20)) {
            do { return try condition() } catch {
                problem = error
                return true
            }
        }
        if let problem { throw problem }
        return reached
    }
}
