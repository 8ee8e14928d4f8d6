import JouledTestKit
import Testing
import Units
import Wire

@testable import Wyoming

@Suite("A Wyoming connection")
struct WyomingSessionTests {
    private let voice = ServedModel(name: "silero-vad", version: 1, summary: "Voice", task: .voiceActivity, labels: ["speech_probability"])
    private let words = ServedModel(name: "words", version: 3, summary: "Words", task: .wakeWord, labels: ["none", "hey_jouled", "stop"])
    private let format: JSONObject = ["rate": 16000, "width": 2, "channels": 1]

    private func with(_ more: JSONObject) -> JSONObject {
        var data = format
        for member in more.members { data[member.key] = member.value }
        return data
    }
    private func sent(_ actions: [WyomingSession.Action]) -> [WyomingEvent] { actions.compactMap { if case .send(let event) = $0 { event } else { nil } } }
    private func hear(_ session: inout WyomingSession, _ model: ServedModel, from timestamp: Int64? = nil) {
        #expect(session.take(WyomingEvent("audio-start", timestamp.map { with(["timestamp": .int($0)]) } ?? format)) == [.open])
        #expect((try? session.model(among: [voice, words])) == model)
        #expect(session.opened(model, labels: model.labels, window: 512) == [])
    }

    @Test("Speech is told from its first window to the begin of the silence behind it, on the client's clock")
    func speech() {
        var session = WyomingSession()
        hear(&session, voice, from: 10_000)
        #expect(session.take(WyomingEvent("audio-chunk", format, payload: [1, 2])) == [.samples([1, 2])])
        var told: [WyomingEvent] = []
        // 32 ms a window: speech in the third to fifth, a pause of ten windows, speech again that fades without ending, silence of 17 windows.
        let fading = [Float](repeating: 0.36, count: 20)
        let probabilities: [Float] = [0.1, 0.49, 0.5, 0.36, 0.9] + [Float](repeating: 0.1, count: 10) + [0.6] + fading + [Float](repeating: 0.2, count: 17)
        for (index, probability) in probabilities.enumerated() { told += sent(session.take(result: [probability], end: UInt64(index + 1) * 512)) }
        #expect(told == [WyomingEvent("voice-started", ["timestamp": 10_064]), WyomingEvent("voice-stopped", ["timestamp": 11_152])])
        // Speech that goes on to the end of the audio ends with it.
        #expect(sent(session.take(result: [0.9], end: 60 * 512)) == [WyomingEvent("voice-started", ["timestamp": .int(10_000 + 59 * 32)])])
        #expect(session.take(WyomingEvent("audio-stop")) == [.finish])
        #expect(session.isFinishing)
        #expect(sent(session.finished()) == [WyomingEvent("voice-stopped", ["timestamp": .int(10_000 + 60 * 32)])])
        #expect(!session.isBusy)
        // The same connection may go on with other audio.
        hear(&session, voice)
    }

    @Test("A wake word is told once for each time that it is said; none is told at the end")
    func wakeWord() {
        var session = WyomingSession()
        #expect(session.take(WyomingEvent("detect", ["names": ["stop"], "context": .null])) == [])
        hear(&session, words, from: 500)
        var told: [WyomingEvent] = []
        for (index, probability) in [Float(0.1), 0.6, 0.9, 0.3, 0.6, 0.2, 0.7].enumerated() {
            told += sent(session.take(result: [1 - probability, 0.99, probability], end: UInt64(index + 1) * 16_000))
        }
        #expect(told == [WyomingEvent("detection", ["name": "stop", "timestamp": 2500]), WyomingEvent("detection", ["name": "stop", "timestamp": 7500])])
        _ = session.take(WyomingEvent("audio-stop"))
        #expect(sent(session.finished()) == [])
        hear(&session, words)
        _ = session.take(result: [0.9, 0.99, 0.1], end: 16_000)
        _ = session.take(WyomingEvent("audio-stop"))
        #expect(sent(session.finished()) == [WyomingEvent("not-detected")])
        // A new question drops what is under way, and chunks alone begin audio.
        hear(&session, words)
        #expect(session.take(WyomingEvent("detect")) == [.abandon])
        #expect(session.take(WyomingEvent("audio-chunk", with(["timestamp": 7]), payload: [0, 0])) == [.open, .samples([0, 0])])
        #expect(session.opened(words, labels: words.labels, window: 512) == [])
        // Logits count as what softmax makes of them.
        #expect(sent(session.take(result: [1, 4, -2], end: 16_000)) == [WyomingEvent("detection", ["name": "hey_jouled", "timestamp": 1007])])
    }

    @Test("What is not there is refused by name, the audio that still comes is dropped, and the connection goes on")
    func refusals() throws {
        var session = WyomingSession()
        _ = session.take(WyomingEvent("detect", ["names": ["computer"]]))
        _ = session.take(WyomingEvent("audio-start", format))
        #expect { try session.model(among: [voice, words]) } throws: { "\($0)".contains("no model listens for computer; there are hey_jouled, stop") }
        #expect { try session.model(among: [voice]) } throws: { "\($0)".contains("no model for wake words is served") }
        // Who only asks what there is loses nothing by not being told.
        #expect(session.undescribed(JouledError(.wyomingUnavailable, "no")) == [.send(.error("unavailable", "no"))] && session.isBusy)
        let told = session.failed(JouledError(.wyomingUnavailable, "no"))
        #expect(told == [.send(.error("unavailable", "no")), .abandon])
        #expect(session.take(WyomingEvent("audio-stop")) == [])
        var voiceless = WyomingSession()
        _ = voiceless.take(WyomingEvent("audio-start", format))
        #expect { try voiceless.model(among: [words]) } throws: { "\($0)".contains("no model for voice activity") }
        #expect(voiceless.opened(voice, labels: voice.labels, window: 512, pauseReason: "empty") == [.send(.error("paused", "not listening: empty"))])
        #expect(voiceless.paused("still empty") == [])
        _ = voiceless.take(result: [0], end: 512)
        #expect(voiceless.paused("empty again") == [.send(.error("paused", "not listening: empty again"))])
    }

    @Test("Bad events close the connection with the event and the field at fault")
    func malformed() {
        let cases: [(WyomingEvent, String)] = [
            (WyomingEvent("audio-start"), "audio-start: rate"), (WyomingEvent("audio-start", with(["width": "2"])), "audio-start: width"),
            (WyomingEvent("audio-start", with(["rate": 44100])), "audio-start: rate: 44100 Hz"), (WyomingEvent("audio-start", with(["timestamp": "now"])), "audio-start: timestamp"),
            (WyomingEvent("audio-chunk", format, payload: [1]), "audio-chunk: payload: 1 bytes"), (WyomingEvent("detect", ["names": "x"]), "detect: names"),
            (WyomingEvent("detect", ["names": [1]]), "detect: names[0]"), (WyomingEvent("detect", ["names": ["", .string(String(repeating: "n", count: 129))]]), "detect: names[1]"), (WyomingEvent("detect", ["names": .array([JSONValue](repeating: "x", count: 65))]), "detect: names"),
        ]
        for (event, words) in cases {
            var session = WyomingSession()
            let actions = session.take(event)
            #expect(sent(actions).first?.data["text"]?.stringValue?.hasPrefix(words) == true, "\(actions)")
            #expect(actions.suffix(2) == [.abandon, .close])
        }
        var session = WyomingSession()
        hear(&session, voice)
        #expect(sent(session.take(WyomingEvent("audio-chunk", with(["rate": 8000]), payload: [1, 1]))).first?.data["text"]?.stringValue?.contains("the audio began in 16000 Hz") == true)
        hear(&session, voice)
        #expect(sent(session.take(WyomingEvent("audio-start", format))).first?.data["text"]?.stringValue?.contains("has no audio-stop") == true)
    }

    @Test("Others: ping, describe, what is not known; a client that has nothing more to say")
    func others() {
        var session = WyomingSession()
        #expect(session.take(WyomingEvent("ping", ["text": "hi"])) == [.send(WyomingEvent("pong", ["text": "hi"]))])
        #expect(session.take(WyomingEvent("ping")) == [.send(WyomingEvent("pong"))])
        #expect(session.take(WyomingEvent("describe")) == [.describe])
        #expect(session.take(WyomingEvent("transcribe", ["language": "en"])) == [])
        #expect(session.take(WyomingEvent("audio-stop")) == [])
        let info = ServedModel.info([voice, words]).data
        #expect(info["wake"]?[0]?["models"]?.arrayValue?.compactMap { $0["phrase"]?.stringValue } == ["hey jouled", "stop"])
        #expect(info["vad"]?[0]?["name"] == "silero-vad")
        hear(&session, voice)
        #expect(session.inputEnded() == [.finish])
        #expect(session.inputEnded() == [])
        _ = session.finished()
        #expect(session.inputEnded() == [.close])
    }

    @Test("Whatever a client sends: samples only go to a stream, no second one is opened, and an end is waited for once", arguments: seeds(200))
    func anything(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        var session = WyomingSession()
        var (hasStream, isFinishing, end) = (false, false, UInt64(0))
        func check(_ actions: [WyomingSession.Action]) {
            for action in actions {
                switch action {
                case .open:
                    #expect(!hasStream && !isFinishing, "seed \(seed)")
                    if Bool.random(using: &random), let model = try? session.model(among: [voice, words]) {
                        (hasStream, end) = (true, 0)
                        check(session.opened(model, labels: model.labels, window: 512))
                    } else {
                        check(session.failed(JouledError(.wyomingUnavailable, "no")))
                    }
                case .finish:
                    #expect(hasStream && !isFinishing, "seed \(seed)")
                    isFinishing = true
                case .abandon: (hasStream, isFinishing) = (false, false)
                case .samples(let samples): #expect(samples.count % 2 == 0)
                case .send, .describe, .close: break
                }
            }
        }
        for _ in 0..<60 {
            #expect(session.isFinishing == isFinishing, "seed \(seed)")
            if hasStream, isFinishing || Int.random(in: 0..<3, using: &random) == 0 {
                end += 512
                check(session.take(result: (0..<3).map { _ in Float.random(in: 0...1, using: &random) }, end: end))
            }
            if isFinishing {
                (hasStream, isFinishing) = (false, false)
                check(Int.random(in: 0..<4, using: &random) == 0 ? session.failed(JouledError(.wyomingUnavailable, "gone")) : session.finished())
            }
            let type = ["audio-start", "audio-chunk", "audio-chunk", "audio-chunk", "audio-stop", "detect", "ping"].randomElement(using: &random) ?? ""
            let data = Int.random(in: 0..<12, using: &random) == 0 ? [:] : format
            check(session.take(WyomingEvent(type, data, payload: type == "audio-chunk" ? random.bytes(Int.random(in: 0...9, using: &random)) : [])))
        }
    }
}
