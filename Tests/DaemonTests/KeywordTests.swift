import JouledTestKit
import Testing
import Wire

/// A word that the spotter heard, or that was placed in a recording.
struct SpottedWord: Hashable {
    var word: String
    /// Samples.
    var at: UInt64
}

/// Two scenes of the hour that `make cascade` runs over: recorded words in speech, music and silence.
enum Scenes {
    static let samples = Installation.root + "/.deps/signals/five-minutes.s16le"
    static let rate: UInt64 = 16000

    /// The words that set-up placed there, with where each ends.
    static func placed() throws -> [SpottedWord] {
        let path = Installation.root + "/.deps/signals/five-minutes.json"
        let bytes = try #require(TemporaryDirectory.contents(of: path), "\(path) is not there: run setup/setup.sh")
        return try (JSONValue(parsing: bytes)["words"]?.arrayValue ?? []).map {
            SpottedWord(word: try #require($0["word"]?.stringValue), at: UInt64(try #require($0["end"]?.intValue)))
        }
    }

    /// Onsets in the JSON lines of `joulectl stream keyword`: a word at the threshold that was below it for a second.
    static func spotted(_ text: String, threshold: Double) throws -> [SpottedWord] {
        var last: [String: UInt64] = [:]
        var found: [SpottedWord] = []
        for line in text.utf8.split(separator: 0x0A) {
            let object = try #require(try JSONValue(parsing: Array(line)).objectValue)
            let end = UInt64(try #require(object["end"]?.intValue))
            for member in object.members where !["end", "variant", "joules", "none", "padded"].contains(member.key) {
                let word = member.key
                guard let value = member.value.doubleValue, value >= threshold else { continue }
                if last[word].map({ end > $0 + rate }) ?? true { found.append(SpottedWord(word: word, at: end)) }
                last[word] = end
            }
        }
        return found
    }
}

@Suite("Keyword spotting")
struct KeywordTests {
    @Test("Words in speech, music and silence are heard where they are, and little else is")
    func words() throws {
        let daemon = try DaemonHarness()
        let (status, out, error) = try daemon.run(["stream", "keyword"], input: Scenes.samples)
        #expect(status == 0, "\(error) \(daemon.journal)")
        let spotted = try Scenes.spotted(out, threshold: 0.9)
        let placed = try Scenes.placed()
        #expect(placed.count >= 5)
        /// Heard from just before a word's end to the window that still holds all of it.
        func isHeard(_ word: SpottedWord, as other: SpottedWord) -> Bool {
            other.word == word.word && other.at + Scenes.rate / 4 >= word.at && other.at <= word.at + Scenes.rate
        }
        let missed = placed.filter { word in !spotted.contains { isHeard(word, as: $0) } }
        let alarms = spotted.filter { other in !placed.contains { isHeard($0, as: other) } }
        #expect(missed.count * 4 <= placed.count, "missed \(missed) of \(placed)")
        #expect(alarms.count <= 3, "\(alarms)")
    }
}
