import Units
import Wire

/// What a client's events and a stream's results ask for next: the whole behaviour of one connection, without a socket.
///
/// A connection is for voice activity until its client sends `detect`, and for wake words from then on.
public struct WyomingSession: Sendable {
    /// What an operator may set.
    public struct Settings: Hashable, Sendable {
        /// Probability from which on a window is speech, 0 to 1.
        public var voiceThreshold: Float = 0.5
        /// Silence that ends speech.
        public var silence = Seconds(0.5)
        /// Probability from which on a wake word is detected, 0 to 1.
        public var wakeThreshold: Float = 0.5
        public init() {}
    }

    /// What is to be done, in order.
    public enum Action: Hashable, Sendable {
        case send(WyomingEvent)
        /// Find out what is served and send `ServedModel.info`.
        case describe
        /// Choose by `model(among:)`, open a stream, and tell `opened` or `failed`. Samples follow.
        case open
        /// For the stream, s16le. To be dropped where it could not be opened.
        case samples([UInt8])
        /// End the stream and tell `finished` after its last result. Until then no event may be taken.
        case finish
        /// Drop the stream with the results that are still to come.
        case abandon
        /// Close the connection once what was sent before is written.
        case close
    }

    private enum Task: Sendable {
        case voiceActivity(VoiceActivity?)
        case wakeWord(wanted: [String], WakeWords?, hasDetected: Bool)
    }
    private enum State: Sendable {
        case idle
        /// Audio is coming in; the stream may have failed to open, and then the rest of the audio is of no use.
        case listening(AudioConverter, hasStream: Bool)
        case finishing
    }

    /// The most words that a client may ask for at once.
    static let wordLimit = 64
    /// The most bytes of one.
    static let nameLimit = 128

    private let settings: Settings
    private var state = State.idle
    private var task = Task.voiceActivity(nil)
    private var speechIndex = 0
    private var window: UInt64 = 0
    /// The client's time of the first sample, in milliseconds.
    private var origin: Int64 = 0
    private var isPaused = false

    public init(settings: Settings = Settings()) { self.settings = settings }

    /// Whether the stream is being ended, so that the client's next event has to wait.
    public var isFinishing: Bool { if case .finishing = state { true } else { false } }
    /// Whether audio is expected, or results of it.
    public var isBusy: Bool { if case .idle = state { false } else { true } }

    // MARK: The client

    /// Takes an event of the client.
    public mutating func take(_ event: WyomingEvent) -> [Action] {
        do throws(JouledError) {
            switch event.type {
            case "describe": return [.describe]
            case "ping": return [.send(WyomingEvent("pong", event.data["text"].map { ["text": $0] } ?? [:]))]
            case "detect": return try detect(event)
            case "audio-start": return try start(event)
            case "audio-chunk": return try chunk(event)
            case "audio-stop":
                guard case .listening(_, let hasStream) = state else { return [] }
                state = hasStream ? .finishing : .idle
                return hasStream ? [.finish] : []
            // Whoever adds events to the protocol expects those who do not know them to pass them over.
            default: return []
            }
        } catch {
            return reject(JouledError(error.code, "\(event.type): \(error.message)"))
        }
    }

    /// Ends the connection over an error: what cannot be read has no end that could be waited for.
    public mutating func reject(_ error: JouledError) -> [Action] {
        state = .idle
        return [.send(.error(Self.code(error), error.message)), .abandon, .close]
    }

    /// The client sends nothing more, and may still wait for results.
    public mutating func inputEnded() -> [Action] {
        switch state {
        case .idle: return [.close]
        case .finishing: return []
        case .listening(_, let hasStream):
            guard hasStream else { return [.close] }
            state = .finishing
            return [.finish]
        }
    }

    private mutating func detect(_ event: WyomingEvent) throws(JouledError) -> [Action] {
        var wanted: [String] = []
        if let names = event.data.present("names") {
            guard let list = names.arrayValue, list.count <= Self.wordLimit else { throw malformed("names: is no list of at most \(Self.wordLimit) names") }
            for name in list {
                guard let name = name.stringValue, name.utf8.count <= Self.nameLimit else {
                    throw malformed("names[\(wanted.count)]: is no text of at most \(Self.nameLimit) bytes")
                }
                wanted.append(name)
            }
        }
        // Audio that is under way is another question's; the next chunk begins anew.
        let isListening = isBusy
        state = .idle
        task = .wakeWord(wanted: wanted, nil, hasDetected: false)
        return isListening ? [.abandon] : []
    }

    private mutating func start(_ event: WyomingEvent) throws(JouledError) -> [Action] {
        guard case .idle = state else { throw malformed("the audio before it has no audio-stop") }
        try begin(event)
        return [.open]
    }

    private mutating func begin(_ event: WyomingEvent) throws(JouledError) {
        let converter = try AudioConverter(format(event))
        origin = 0
        if let timestamp = event.data.present("timestamp") {
            guard let value = timestamp.intValue, value.magnitude < 1 << 53 else { throw malformed("timestamp: is no number of milliseconds") }
            origin = value
        }
        state = .listening(converter, hasStream: false)
    }

    private mutating func chunk(_ event: WyomingEvent) throws(JouledError) -> [Action] {
        var actions: [Action] = []
        // Some clients send chunks alone.
        if case .idle = state {
            try begin(event)
            actions.append(.open)
        }
        guard case .listening(var converter, let hasStream) = state else { return [] }
        let format = try format(event)
        guard format == converter.format else { throw malformed("is in \(format), the audio began in \(converter.format)") }
        let samples = try converter.convert(event.payload)
        state = .listening(converter, hasStream: hasStream)
        if !samples.isEmpty { actions.append(.samples(samples)) }
        return actions
    }

    private func format(_ event: WyomingEvent) throws(JouledError) -> AudioFormat {
        func field(_ key: String) throws(JouledError) -> Int {
            guard let value = event.data[key]?.intValue, (0...1 << 31).contains(value) else { throw malformed("\(key): is no whole number, or missing") }
            return Int(value)
        }
        return AudioFormat(rate: try field("rate"), width: try field("width"), channels: try field("channels"))
    }

    private func malformed(_ what: String) -> JouledError { JouledError(.malformedWyoming, what) }

    // MARK: The stream

    /// The model for what the client wants.
    /// - Throws: `.wyomingUnavailable`, naming what is not there.
    public func model(among models: [ServedModel]) throws(JouledError) -> ServedModel {
        switch task {
        case .voiceActivity:
            guard let model = models.first(where: { $0.task == .voiceActivity }) else {
                throw JouledError(.wyomingUnavailable, "no model for voice activity at 16 kHz is served; see joulectl models")
            }
            return model
        case .wakeWord(let wanted, _, _):
            let all = models.filter { $0.task == .wakeWord }
            guard let model = all.first(where: { model in wanted.allSatisfy(model.words.contains) }) else {
                let words = all.flatMap(\.words)
                let there = words.isEmpty ? "no model for wake words is served" : "there are \(words.joined(separator: ", "))"
                throw JouledError(.wyomingUnavailable, wanted.isEmpty ? there : "no model listens for \(wanted.joined(separator: ", ")); \(there)")
            }
            return model
        }
    }

    /// The stream is open.
    /// - Parameters:
    ///   - model: what it runs.
    ///   - labels: of a result's values, by the stream's contract.
    ///   - window: samples that a result speaks of.
    ///   - pauseReason: why it is paused from the beginning; nil: it runs.
    public mutating func opened(_ model: ServedModel, labels: [String], window: UInt64, pauseReason: String? = nil) -> [Action] {
        guard case .listening(let converter, _) = state else { return [.abandon] }
        state = .listening(converter, hasStream: true)
        self.window = window
        isPaused = false
        switch task {
        case .voiceActivity:
            speechIndex = labels.firstIndex { $0.contains("speech") } ?? 0
            let silence = UInt64(max(0, min(settings.silence.value, 60)) * Double(AudioFormat.native.rate))
            task = .voiceActivity(VoiceActivity(threshold: settings.voiceThreshold, silence: silence))
        case .wakeWord(let wanted, _, _):
            task = .wakeWord(wanted: wanted, WakeWords(labels: labels, wanted: wanted, threshold: settings.wakeThreshold), hasDetected: false)
        }
        return pauseReason.map { paused($0) } ?? []
    }

    /// What is served cannot be told. Audio that is under way goes on.
    public func undescribed(_ error: JouledError) -> [Action] { [.send(.error(Self.code(error), error.message))] }

    /// The stream could not be opened, or broke. The audio that still comes is dropped.
    public mutating func failed(_ error: JouledError) -> [Action] {
        switch state {
        case .idle: break
        case .listening(let converter, _): state = .listening(converter, hasStream: false)
        case .finishing: state = .idle
        }
        return [.send(.error(Self.code(error), error.message)), .abandon]
    }

    /// Takes the values of the window that ends before sample `end`.
    public mutating func take(result values: [Float], end: UInt64) -> [Action] {
        isPaused = false
        switch task {
        case .voiceActivity(var activity?):
            guard speechIndex < values.count else { return [] }
            let change = activity.take(values[speechIndex], begin: end - min(end, window), end: end)
            task = .voiceActivity(activity)
            return change.map { [.send(event($0))] } ?? []
        case .wakeWord(let wanted, var words?, let hasDetected):
            let detected = words.take(values)
            task = .wakeWord(wanted: wanted, words, hasDetected: hasDetected || !detected.isEmpty)
            return detected.map { .send(WyomingEvent("detection", ["name": .string($0), "timestamp": .int(time(end))])) }
        case .voiceActivity(nil), .wakeWord(_, nil, _): return []
        }
    }

    /// The daemon pauses the stream: a client that hears nothing must know that nobody listens. Told once.
    public mutating func paused(_ reason: String) -> [Action] {
        guard !isPaused else { return [] }
        isPaused = true
        return [.send(.error("paused", "not listening: \(reason)"))]
    }

    /// All results are there.
    public mutating func finished() -> [Action] {
        state = .idle
        switch task {
        case .voiceActivity(var activity):
            let change = activity?.finish()
            task = .voiceActivity(nil)
            return change.map { [.send(event($0))] } ?? []
        case .wakeWord(let wanted, _, let hasDetected):
            task = .wakeWord(wanted: wanted, nil, hasDetected: false)
            return hasDetected ? [] : [.send(WyomingEvent("not-detected"))]
        }
    }

    private func event(_ change: VoiceActivity.Change) -> WyomingEvent {
        switch change {
        case .started(let sample): WyomingEvent("voice-started", ["timestamp": .int(time(sample))])
        case .stopped(let sample): WyomingEvent("voice-stopped", ["timestamp": .int(time(sample))])
        }
    }

    /// Milliseconds on the client's clock at a sample.
    private func time(_ sample: UInt64) -> Int64 { origin + Int64(min(sample, 1 << 58) * 1000 / UInt64(AudioFormat.native.rate)) }

    private static func code(_ error: JouledError) -> String {
        switch error.code {
        case .malformedWyoming: "malformed"
        case .wyomingFormat: "format"
        case .wyomingUnavailable: "unavailable"
        default: "jouled"
        }
    }
}
