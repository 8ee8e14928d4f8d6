import ConfigDocument
import JouledTestKit
import Testing
import Units

@testable import PowerPolicy

@Suite("Schedules and drop-ins of policies")
struct ScheduleTests {
    private let directory = TemporaryDirectory()

    private func load(_ text: String) throws -> PowerPolicy {
        directory.write("p.toml", text)
        return try PowerPolicy.load(directory("p.toml"))
    }

    private func problem(_ text: String) -> String {
        do {
            _ = try load(text)
            return "no error"
        } catch { return "\(error)" }
    }

    /// 2026-03-02, a Monday, 00:00 UTC.
    private static let monday = 1_772_409_600.0
    private func at(_ day: Int, _ hour: Double) -> WallTime { WallTime(secondsSince1970: Self.monday + Double(day) * 86400 + hour * 3600) }

    private static let evening = """
        kind = "fixed"
        watts = 0.1
        [models."*"]
        floor = 0.5
        [[schedule]]
        name = "night"
        from = "22:00"
        until = "06:30"
        [schedule.set]
        watts = 0.02
        [schedule.set.models.ecg]
        critical = true
        [[schedule]]
        from = "23:00"
        until = "01:00"
        days = ["fri-sun"]
        [schedule.set]
        kind = "unlimited"
        """

    @Test("Parts of the day hold over midnight, on their days, and the last that holds counts")
    func hours() throws {
        let policy = try load(Self.evening)
        func kind(_ day: Int, _ hour: Double, offset: Double = 0) -> PowerPolicy.Kind {
            policy.inForce(at: at(day, hour), utcOffset: UTCOffset(Seconds(offset))).policy.kind
        }
        #expect(kind(0, 12) == .fixed(Watts(0.1)))
        #expect(kind(0, 22) == .fixed(Watts(0.02)))
        #expect(kind(1, 6.49) == .fixed(Watts(0.02)))
        #expect(kind(1, 6.5) == .fixed(Watts(0.1)))
        // Friday is day 4; Saturday's first hour belongs to Friday night, Monday's to Sunday's.
        #expect(kind(4, 22.5) == .fixed(Watts(0.02)))
        #expect(kind(4, 23) == .unlimited)
        #expect(kind(5, 0.5) == .unlimited)
        #expect(kind(7, 0.5) == .unlimited)
        #expect(kind(8, 0.5) == .fixed(Watts(0.02)))
        #expect(kind(4, 0.5) == .fixed(Watts(0.02)))
        // The local clock counts: 21:00 UTC is 22:00 an hour east.
        #expect(kind(0, 21, offset: 3600) == .fixed(Watts(0.02)))
        #expect(policy.inForce(at: at(0, 23), utcOffset: .zero).entry == "night")
        #expect(policy.inForce(at: at(4, 23), utcOffset: .zero).entry == "23:00 to 01:00")
        // What is set lies over the rest of the file.
        let night = policy.inForce(at: at(0, 23), utcOffset: .zero).policy
        #expect(night.rules(for: "ecg") == .init(floor: 0.5, weight: 1, critical: true))
        #expect(night.schedule.isEmpty)
    }

    @Test("Where the clock is put forward or back, the local clock still says what holds")
    func summerTime() throws {
        let policy = try load("kind = \"unlimited\"\n[[schedule]]\nfrom = \"02:15\"\nuntil = \"03:30\"\n[schedule.set]\nkind = \"fixed\"\nwatts = 1\n")
        func limited(_ utcHour: Double, _ offset: Double) -> Bool {
            policy.inForce(at: at(0, utcHour), utcOffset: UTCOffset(Seconds(offset * 3600))).policy.kind != .unlimited
        }
        // Forward: 01:59 (UTC+1) is followed by 03:00 (UTC+2); 02:15 never comes, and at 03:00 it is past it.
        #expect(!limited(0.99, 1))
        #expect(limited(1, 2))
        #expect(!limited(1.5, 2))
        // Back: 02:30 comes twice and is in it twice; 03:30 only ends it the second time round.
        #expect(limited(0.5, 2))
        #expect(limited(1.5, 1))
        #expect(!limited(2.5, 1))
        #expect(policy.untilScheduleChanges(from: at(0, 2), utcOffset: .zero) == Seconds(900))
        // Put back at 03:00 to 02:00, a part from 02:15 is left then, 10 minutes ahead, to begin again.
        let back = UTCOffset(Seconds(7200), change: .init(at: at(0, 1), offset: Seconds(3600)))
        #expect(abs((policy.untilScheduleChanges(from: at(0, 1 - 1.0 / 6), utcOffset: back)?.value ?? 0) - 600) < 1e-3)
        #expect(try load("kind = \"unlimited\"\n").untilScheduleChanges(from: at(0, 2), utcOffset: .zero) == nil)
    }

    @Test("Another policy file can hold for a part of the day, with its own drop-ins")
    func neighbour() throws {
        directory.write("saving.toml", "kind = \"fixed\"\nwatts = 0.5\n")
        directory.write("saving.toml.d/local.toml", "watts = 0.25\n")
        let policy = try load("kind = \"unlimited\"\n[[schedule]]\nfrom = \"10:00\"\nuntil = \"10:00\"\npolicy = \"saving\"\n")
        // From a time to the same: always.
        for hour in [0.0, 9.9, 10, 23] { #expect(policy.inForce(at: at(2, hour), utcOffset: .zero).policy.kind == .fixed(Watts(0.25))) }
    }

    @Test("A drop-in changes one key, or the kind, and what it makes void goes")
    func dropIns() throws {
        directory.write("p.toml.d/10-goal.toml", "duration = \"5h\"\n")
        #expect(try load("kind = \"lifetime\"\nuntil = \"22:00\"\nreserve_percent = 7\n").kind == .lifetime(.init(end: .duration(Seconds(18000)), reserve: 0.07)))
        directory.write("p.toml.d/10-goal.toml", "until = \"next-charge\"\n")
        #expect(try load("kind = \"lifetime\"\nduration = \"3h\"\n").kind == .lifetime(.init(end: .nextCharge)))
        directory.write("p.toml.d/10-goal.toml", "kind = \"fixed\"\nwatts = 3\n")
        #expect(try load("kind = \"lifetime\"\nduration = \"3h\"\nmargin = 0.2\n").kind == .fixed(Watts(3)))
        directory.write("p.toml.d/10-goal.toml", "\nwatts = -3\n")
        #expect(problem("kind = \"fixed\"\nwatts = 1\n").hasPrefix("\(directory("p.toml.d/10-goal.toml")):2: key 'watts': "))
    }

    @Test(
        "What is wrong in a schedule is named with line and key",
        arguments: [
            ("from = \"22:00\"\n[schedule.set]\nwatts = 1\n", ":3: key 'schedule[0].until': required"),
            ("from = \"25:00\"\nuntil = \"06:00\"\n", ":4: key 'schedule[0].from': '25:00' is no time of day"),
            ("from = \"22:00\"\nuntil = \"06:00\"\n", ":3: key 'schedule[0].policy': give 'policy'"),
            ("from = \"22:00\"\nuntil = \"06:00\"\npolicy = \"x\"\n[schedule.set]\nwatts = 1\n", ":6: key 'schedule[0].policy': give either"),
            ("from = \"22:00\"\nuntil = \"06:00\"\npolicy = \"gone\"\n", ":6: key 'schedule[0].policy': policy 'gone' cannot be used: "),
            ("from = \"22:00\"\nuntil = \"06:00\"\npolicy = \"../gone\"\n", ":6: key 'schedule[0].policy': '../gone' is no name"),
            ("from = \"22:00\"\nuntil = \"06:00\"\npolicy = \"p\"\n", ":6: key 'schedule[0].policy': policy 'p' has a schedule of its own"),
            ("from = \"22:00\"\nuntil = \"06:00\"\ndays = [\"mon\", \"someday\"]\n[schedule.set]\nwatts = 1\n", ":6: key 'schedule[0].days': 'someday' is no day"),
            ("from = \"22:00\"\nuntil = \"06:00\"\ndays = []\n[schedule.set]\nwatts = 1\n", ":6: key 'schedule[0].days': names no day"),
            ("from = \"22:00\"\nuntil = \"06:00\"\n[schedule.set]\nwats = 1\n", ":7: key 'schedule[0].set.wats': unknown key"),
            ("from = \"22:00\"\nuntil = \"06:00\"\nnaem = \"a\"\n[schedule.set]\nwatts = 1\n", ":6: key 'schedule[0].naem': unknown key"),
        ])
    func mistakes(text: String, expected: String) {
        let message = problem("kind = \"fixed\"\nwatts = 1\n[[schedule]]\n" + text)
        #expect(message.hasPrefix(directory("p.toml") + expected), "\(message)")
    }

    @Test("What a schedule changes is listed")
    func differences() throws {
        let list = try load(Self.evening).differences.map { "\($0.key) = \($0.value) (\($0.standard ?? "-"))" }
        #expect(list.contains("schedule night = 22:00 to 06:30 (-)"))
        #expect(list.contains("schedule night.watts = 20.0 mW (100 mW)"), "\(list)")
        #expect(list.contains("schedule night.models.ecg.critical = true (false)"), "\(list)")
        #expect(list.contains("schedule 23:00 to 01:00 = 23:00 to 01:00 on sun, fri, sat (-)"), "\(list)")
        #expect(list.contains("schedule 23:00 to 01:00.kind = unlimited (fixed)"), "\(list)")
        #expect(!list.contains { $0.hasPrefix("schedule night.kind") })
    }
}
