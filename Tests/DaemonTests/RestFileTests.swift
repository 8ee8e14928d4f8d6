import Decisions
import JouledTestKit
import PowerPolicy
import Systemd
import Testing
import Units

@testable import JouledDaemon

@Suite("The file of what was seen of the rest of the device")
struct RestFileTests {
    private struct Silence: JournalSink {
        func send(_ record: JournalRecord) {}
    }

    @Test("What was seen by a clock that is yet to be set does not replace what was seen before", arguments: [-3.0, 3])
    func clockBehind(daysOff: Double) throws {
        let clocks = SystemClocks()
        let directory = TemporaryDirectory()
        let written = WallTime(secondsSince1970: clocks.wall().secondsSince1970 - daysOff * 86400)
        var known = RestForecaster()
        for minute in 0..<120 {
            let wall = WallTime(secondsSince1970: written.secondsSince1970 - Double(120 - minute) * 60)
            known.observe(net: Watts(2), acOnline: false, span: Seconds(60), secondOfDay: 36_000 + Double(minute) * 60, wall: wall)
        }
        let text = known.persistentText(at: written, secondOfDay: 43_200)
        directory.write("rest", text)
        var file = RestFile(path: directory("rest"))
        var engine = DecisionEngine(policyName: "p", policy: PowerPolicy(kind: .unlimited))
        let loaded = file.load(Silence(), at: clocks.wall())
        let hasBins = loaded.map { $0.persistentText(at: clocks.wall(), secondOfDay: 0).contains("bin ") } == true
        #expect(hasBins == (daysOff < 0), "what is three days old is forgotten, what is ahead is not")
        engine.restore(known)
        file.save(engine, clocks, Silence())
        #expect((directory.text(of: "rest") == text) == (daysOff < 0))
    }
}
