import Glibc
import JouledClient
import JouledTestKit
import Testing
import Units
import Wire

@Suite("On the day on which the clock is put forward")
struct ClockChangeTests {
    @Test("The time left until a goal by time of day is an hour less")
    func goal() throws {
        // A zone whose summer begins in an hour, whenever this runs: UTC before, an hour east of it after.
        let now = SystemClocks().wall().secondsSince1970
        var (change, parts) = (time_t(now) + 3600, tm())
        gmtime_r(&change, &parts)
        let zone = "AAA0BBB-1,\(parts.tm_yday)/\(parts.tm_hour):\(parts.tm_min):\(parts.tm_sec),\((parts.tm_yday + 60) % 365)/0"
        let goal = ((now + 3 * 3600) / 60).rounded(.down) * 60
        let shown = Int(goal + 3600) % 86400
        func two(_ number: Int) -> String { number < 10 ? "0\(number)" : "\(number)" }
        let daemon = try DaemonHarness { settings in
            settings.policy = "evening"
            settings.policies["evening"] = "kind = \"lifetime\"\nuntil = \"\(two(shown / 3600)):\(two(shown / 60 % 60))\"\n"
            settings.environment["TZ"] = zone
        }
        let stream = try daemon.connect().openStream(["model": "silero-vad", "sampleRateHz": 16000])
        let left = try #require(try daemon.call("io.jouled.Power.GetStatus")["status"]?["secondsLeft"]?.doubleValue)
        #expect(left <= goal - now && left > goal - now - 60, "\(left) s left of \(goal - now), TZ=\(zone)")
        withExtendedLifetime(stream) {}
    }
}
