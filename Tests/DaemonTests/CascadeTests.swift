import JouledTestKit
import Testing
import Wire

/// Five minutes of what `make cascade` runs an hour of: the spotter hears the same words whether or not it sleeps until speech.
@Suite("The keyword spotter behind voice activity")
struct CascadeTests {
    @Test("Same words, a fraction of the windows, and those with the same values")
    func sameWords() throws {
        let daemon = try DaemonHarness()
        func stream(_ arguments: [String]) throws -> String {
            let (status, out, error) = try daemon.run(["stream", "keyword"] + arguments, input: Scenes.samples)
            #expect(status == 0, "\(error) \(daemon.journal)")
            return out
        }
        let (alone, gated) = (try stream([]), try stream(["--gate"]))
        let words = try Scenes.spotted(alone, threshold: 0.9)
        #expect(words.count >= 5)
        #expect(try Scenes.spotted(gated, threshold: 0.9) == words)
        let (all, some) = (try Reference.parse(alone), try Reference.parse(gated))
        #expect(some.count * 3 < all.count, "\(some.count) of \(all.count) windows ran")
        let values = Dictionary(all.map { ($0.end, $0.values) }) { first, _ in first }
        #expect(some.allSatisfy { values[$0.end] == $0.values })
    }
}
