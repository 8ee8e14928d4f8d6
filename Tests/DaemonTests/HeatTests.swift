import JouledTestKit
import Testing
import Units
import Wire

@testable import JouledDaemon

@Suite("Heat")
struct HeatTests {
    @Test("A zone that nears its trip point takes power away, also where the policy names no temperature, and gives it back")
    func tripPoint() throws {
        let sysfs = FakeSysfs.laptop()
        sysfs.thermalZone(0, type: "cpu", millidegrees: 60_000, trips: [("passive", 85_000), ("critical", 105_000)])
        let daemon = try DaemonHarness { settings in
            settings.power = "source = \"sysfs\"\nsysfs_root = \"\(sysfs.path)\"\npoll = \"100ms\"\ndwell = \"0s\""
            settings.policy = "warm"
            settings.policies["warm"] = "kind = \"fixed\"\nwatts = 0.08\n[thermal]\n"
        }
        let stream = try TestStream.speech(daemon)
        defer { withExtendedLifetime(stream) {} }
        func budget() throws -> Double? { try daemon.call("io.jouled.Power.GetStatus")["status"]?["budgetWatts"]?.doubleValue }
        #expect(try budget() == 0.08)
        sysfs.thermalZone(0, type: "cpu", millidegrees: 79_000)
        #expect(try eventually { try budget().map { abs($0 - 0.04) < 1e-9 } ?? false })
        let reason = try daemon.call("io.jouled.Power.GetStatus")["status"]?["reason"]?.stringValue
        #expect(reason?.hasSuffix("derated to 50 % at 79.0 °C, 6.0 °C below a passive trip point") == true, "\(reason ?? "-")")
        sysfs.thermalZone(0, type: "cpu", millidegrees: 86_000)
        #expect(try eventually { try budget() == 0.02 })
        sysfs.thermalZone(0, type: "cpu", millidegrees: 103_000)
        #expect(try eventually { try budget() == 0 })
        sysfs.thermalZone(0, type: "cpu", millidegrees: 60_000)
        #expect(try eventually { try budget() == 0.08 })
    }
}
