import Wire

/// A model of jouled's that Wyoming clients can use.
public struct ServedModel: Hashable, Sendable {
    /// What it does for them.
    public enum Task: Hashable, Sendable {
        case voiceActivity
        case wakeWord
    }

    public var name: String
    public var version: Int
    /// One line for people.
    public var summary: String
    public var task: Task
    /// What each value of a result means.
    public var labels: [String]

    public init(name: String, version: Int, summary: String, task: Task, labels: [String]) {
        self.name = name
        self.version = version
        self.summary = summary
        self.task = task
        self.labels = labels
    }

    /// Reads one of `io.jouled.Models.List`; nil if it is none for voice, or takes other audio than 16 kHz mono.
    public init?(_ model: JSONValue) {
        guard let name = model["name"]?.stringValue, model["sampleRateHz"]?.intValue == Int64(AudioFormat.native.rate), model["channels"]?.intValue == 1,
            model["kind"]?.stringValue == "audio"
        else { return nil }
        let task: Task
        switch model["task"]?.stringValue {
        case "voice-activity": task = .voiceActivity
        case "keyword", "keyword-spotting", "wake-word": task = .wakeWord
        default: return nil
        }
        self.init(
            name: name, version: model["version"]?.intValue.map(Int.init) ?? 1, summary: model["summary"]?.stringValue ?? "", task: task,
            labels: (model["labels"]?.arrayValue ?? []).compactMap(\.stringValue))
    }

    /// The words that it listens for.
    public var words: [String] { task == .wakeWord ? WakeWords.words(in: labels) : [] }

    /// What an `info` event says of it.
    var info: JSONValue {
        func artefact(_ name: String, _ description: String, _ more: JSONObject) -> JSONValue {
            var object: JSONObject = [
                "name": .string(name), "description": .string(description), "attribution": ["name": "jouled", "url": "https://jouled.io"], "installed": true,
                "version": .string("\(version)"),
            ]
            for member in more.members { object[member.key] = member.value }
            return .object(object)
        }
        let spoken = words.map { word in (word, String(word.map { $0 == "_" ? " " : $0 })) }
        let models =
            task == .voiceActivity
            ? [artefact(name, summary, ["languages": []])]
            : spoken.map { artefact($0.0, $0.1, ["languages": [], "phrase": .string($0.1)]) }
        return artefact(name, summary, ["models": .array(models)])
    }

    /// The `info` event that answers `describe`. The protocol has no place for voice activity: it is told in `vad`, which clients that do not know it ignore.
    public static func info(_ models: [ServedModel]) -> WyomingEvent {
        func programs(_ task: Task) -> JSONValue { .array(models.filter { $0.task == task }.map(\.info)) }
        return WyomingEvent(
            "info",
            [
                "asr": [], "tts": [], "handle": [], "intent": [], "wake": programs(.wakeWord), "mic": [], "snd": [], "vad": programs(.voiceActivity),
            ])
    }
}
