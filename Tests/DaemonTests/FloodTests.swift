import Glibc
import JouledClient
import JouledTestKit
import Testing
import Units
import Wire

@Suite("What flaps cannot flood the journal")
struct FloodTests {
    @Test("A charger that comes and goes, and a policy that is set again and again: every entry is written or counted")
    func flapping() throws {
        let daemon = try DaemonHarness { settings in
            settings.policies["lasting"] = "kind = \"lifetime\"\nduration = \"8h\"\n"
            settings.policy = "lasting"
        }
        let bystander = try Bystander(daemon)
        try bystander.goOn()
        let connection = try daemon.connect()
        let flaps = 200
        for number in 0..<flaps {
            _ = try connection.call("io.jouled.VirtualDevice.Set", ["chargerPluggedIn": .bool(number % 2 == 0)])
            _ = try connection.call("io.jouled.Policy.Set", ["name": number % 2 == 0 ? "unlimited" : "lasting"])
        }
        try daemon.setPolicy("unlimited")
        try bystander.verify()
        // What is still held back is told at the end.
        daemon.process.signal(SIGTERM)
        #expect(daemon.process.wait(atMost: Seconds(5)) == 0)
        let lines = daemon.journal.split(separator: "\n")
        let power = lines.count { $0.hasPrefix("External power is") }
        let policy = lines.count { $0.hasPrefix("Policy ") && $0.contains(" replaces ") }
        #expect(power < 160 && policy < 160, "\(power) and \(policy) entries")
        func heldBack(_ words: String) -> Int {
            lines.reduce(0) { sum, line in
                guard line.contains("entries of one kind were held back"), line.contains("the first: \(words)") else { return sum }
                return sum + (line.split(separator: " ").first.flatMap { Int($0) } ?? 0)
            }
        }
        #expect(power + heldBack("External power is") == flaps)
        #expect(policy + heldBack("Policy ") == flaps + 1)
        // Decisions are held back, too, and their numbers tell how many.
        let decisions = lines.filter { $0.contains("JOULED_DECISION=") }.count
        #expect(decisions < 160)
        #expect(lines.contains { $0.hasPrefix("jouled stopped") })
    }
}
