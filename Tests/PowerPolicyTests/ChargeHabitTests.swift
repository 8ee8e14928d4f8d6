import JouledTestKit
import Testing
import Units

@testable import PowerPolicy

@Suite("Until the next usual charge")
struct ChargeHabitTests {
    /// Looks every ten minutes over so many days; for each the charger is plugged in at the hour given, for two hours.
    private func habit(days: Int, offset: Seconds = .zero, plug: (Int) -> Double?) -> (habit: ChargeHabit, end: Double) {
        var habit = ChargeHabit()
        let start = 1_772_409_600.0
        for step in 0..<days * 144 {
            let hour = Double(step) / 6
            // What was plugged in before midnight may still be.
            let online = [step / 144 - 1, step / 144].filter { $0 >= 0 }.contains { day in
                plug(day).map { (0..<2).contains(hour - Double(day) * 24 - $0) } ?? false
            }
            habit.observe(acOnline: online, at: WallTime(secondsSince1970: start + Double(step) * 600 - offset.value), utcOffset: UTCOffset(offset))
        }
        return (habit, start + Double(days) * 86400 - offset.value)
    }

    @Test("A daily habit is found, with its late end, whatever the time zone", arguments: [0.0, 3600, -18000])
    func daily(offset: Double) {
        let (habit, end) = habit(days: 10, offset: Seconds(offset)) { [18, 18.5, 17.5, 18, 19, 18, 17.5, 18, 18.5, 18][$0] }
        let next = habit.next(at: WallTime(secondsSince1970: end + 8 * 3600), utcOffset: UTCOffset(Seconds(offset)))
        // At 08:00; four fifths of the charges came by half past six.
        #expect(abs(next.left.value - 10.5 * 3600) < 1, "\(next)")
        #expect(next.reason.hasPrefix("usually charged by 18:"), "\(next.reason)")
        #expect(next.reason.contains("10 of 10 days"))
        // After it, the next day's.
        let later = habit.next(at: WallTime(secondsSince1970: end + 20 * 3600), utcOffset: UTCOffset(Seconds(offset)))
        #expect(abs(later.left.value - 22.5 * 3600) < 1, "\(later)")
    }

    @Test("A habit about midnight is one habit")
    func midnight() {
        let (habit, end) = habit(days: 8) { $0 % 2 == 0 ? 23.5 : 24.5 }
        let next = habit.next(at: WallTime(secondsSince1970: end + 12 * 3600), utcOffset: .zero)
        #expect((11 * 3600.0)...(13.1 * 3600) ~= next.left.value, "\(next)")
    }

    @Test("Of two daily charges the nearer one counts")
    func twice() {
        var habit = ChargeHabit()
        for day in 0..<6 {
            for (hour, online) in [(0.0, false), (7, true), (8, false), (19, true), (20, false)] {
                habit.observe(acOnline: online, at: WallTime(secondsSince1970: 1_772_409_600 + Double(day) * 86400 + hour * 3600), utcOffset: .zero)
            }
        }
        let midnight = 1_772_409_600.0 + 6 * 86400
        #expect(habit.next(at: WallTime(secondsSince1970: midnight + 10 * 3600), utcOffset: .zero).left == Seconds(9 * 3600))
        #expect(habit.next(at: WallTime(secondsSince1970: midnight + 21 * 3600), utcOffset: .zero).left == Seconds(10 * 3600))
    }

    @Test("Without a habit a day after the last charge, six hours at least, and words for it")
    func fallback() {
        let start = 1_772_409_600.0
        var habit = ChargeHabit()
        #expect(habit.next(at: WallTime(secondsSince1970: start), utcOffset: .zero).left == Seconds(86400))
        habit.observe(acOnline: false, at: WallTime(secondsSince1970: start), utcOffset: .zero)
        habit.observe(acOnline: true, at: WallTime(secondsSince1970: start + 4 * 3600), utcOffset: .zero)
        habit.observe(acOnline: true, at: WallTime(secondsSince1970: start + 5 * 3600), utcOffset: .zero)
        habit.observe(acOnline: false, at: WallTime(secondsSince1970: start + 6 * 3600), utcOffset: .zero)
        let next = habit.next(at: WallTime(secondsSince1970: start + 9 * 3600), utcOffset: .zero)
        #expect(next.left == Seconds(20 * 3600))
        #expect(next.reason.hasPrefix("1 charge was seen, at no usual time"), "\(next.reason)")
        #expect(habit.next(at: WallTime(secondsSince1970: start + 100 * 3600), utcOffset: .zero).left == Seconds(6 * 3600))
    }

    @Test("Rare charges are no habit, and a loose plug is one charge")
    func rare() {
        let (rare, end) = habit(days: 12) { $0 % 5 == 0 ? 18 : nil }
        #expect(rare.next(at: WallTime(secondsSince1970: end), utcOffset: .zero).reason.contains("at no usual time"))
        var loose = ChargeHabit()
        for minute in 0..<60 { loose.observe(acOnline: minute % 2 == 1, at: WallTime(secondsSince1970: 1_772_409_600 + Double(minute) * 60), utcOffset: .zero) }
        #expect(loose.plugs.count == 1)
    }

    @Test("It is the same after a restart; damage is told with its line")
    func persistence() throws {
        let (habit, end) = habit(days: 20) { Double($0 % 7) + 12 }
        let text = habit.persistentText
        let read = try ChargeHabit(persistentText: text, name: "f")
        #expect(read.plugs == habit.plugs && read.since == habit.since)
        #expect(read.next(at: WallTime(secondsSince1970: end), utcOffset: .zero) == habit.next(at: WallTime(secondsSince1970: end), utcOffset: .zero))
        for damaged in ["", text.replacing("plug", with: "plog"), String(text.dropLast(3)), text.replacing("since", with: "sinse")] {
            #expect { try ChargeHabit(persistentText: damaged, name: "f") } throws: { "\($0)".hasPrefix("f:") }
        }
    }

    @Test("A boot whose clock is not set yet forgets nothing and learns nothing until it is", arguments: [false, true])
    func unsetClock(restarted: Bool) throws {
        var (habit, end) = habit(days: 14) { _ in 18 }
        let before = habit.plugs
        if restarted { habit = try ChargeHabit(persistentText: habit.persistentText, name: "f") }
        for (minute, online) in [(0.0, false), (1, true), (2, false)] {
            habit.observe(acOnline: online, at: WallTime(secondsSince1970: end - 200 * 86400 + minute * 60), utcOffset: .zero)
        }
        #expect(habit.plugs == before)
        habit.observe(acOnline: false, at: WallTime(secondsSince1970: end), utcOffset: .zero)
        #expect(habit.next(at: WallTime(secondsSince1970: end), utcOffset: .zero).left == Seconds(18 * 3600))
        habit.observe(acOnline: true, at: WallTime(secondsSince1970: end + 18 * 3600), utcOffset: .zero)
        #expect(habit.plugs == before + [end + 18 * 3600])
    }

    @Test("A clock that is set back by seconds is as good as before, and a plug while it is behind counts when it has caught up")
    func corrected() {
        var habit = ChargeHabit()
        let start = 1_772_409_600.0
        func look(_ second: Double, _ online: Bool) { habit.observe(acOnline: online, at: WallTime(secondsSince1970: start + second), utcOffset: .zero) }
        look(0, false)
        look(-60, true)
        #expect(habit.plugs == [start - 60])
        look(7200, false)
        look(6900, true)
        #expect(habit.plugs.count == 1)
        look(7210, true)
        #expect(habit.plugs == [start - 60, start + 7210])
    }

    @Test("A clock that stays behind for a day was set back for good: what lies ahead is dropped, and learning begins again")
    func setBackForGood() {
        let start = 1_772_409_600.0
        var habit = ChargeHabit()
        func look(_ hour: Double, _ online: Bool) { habit.observe(acOnline: online, at: WallTime(secondsSince1970: start + hour * 3600), utcOffset: .zero) }
        look(0, false)
        look(18, true)
        // A clock that was a year ahead for an hour.
        look(8760, false)
        look(8761, true)
        #expect(habit.plugs.count == 2)
        for hour in 20..<44 { look(Double(hour), false) }
        #expect(habit.plugs.count == 2)
        look(44, false)
        #expect(habit.plugs == [start + 18 * 3600])
        look(45, true)
        #expect(habit.plugs == [start + 18 * 3600, start + 45 * 3600])
    }

    @Test("A flight west, where the local clock goes back, is learned on and can be read again; so are plugs in any order")
    func flight() throws {
        let start = 1_772_409_600.0
        var habit = ChargeHabit()
        func look(_ hour: Double, _ online: Bool, _ offset: Double) {
            habit.observe(acOnline: online, at: WallTime(secondsSince1970: start + hour * 3600), utcOffset: UTCOffset(Seconds(offset * 3600)))
        }
        look(0, false, 1)
        look(1, true, 1)
        look(2, false, 1)
        look(5, false, -5)
        look(5.5, true, -5)
        #expect(habit.plugs == [start + 0.5 * 3600, start + 2 * 3600])
        #expect(try ChargeHabit(persistentText: habit.persistentText, name: "f").plugs == habit.plugs)
        let unsorted = SealedLines.seal("jouled-charges 1\nsince 10.0\nplug 30.0\nplug 20.0\n")
        #expect(try ChargeHabit(persistentText: unsorted, name: "f").plugs == [20, 30])
    }

    @Test("A lifetime policy lasts until the next usual charge, and says how it knows")
    func budget() {
        let policy = PowerPolicy(kind: .lifetime(.init(end: .nextCharge)))
        var state = PowerState(
            battery: .init(energy: Joules(36000), full: Joules(36000)), rest: Watts(0.1), wall: WallTime(secondsSince1970: 0),
            monotonic: MonotonicTime(nanoseconds: 0))
        func budget(_ hours: Double) -> Budget {
            state.nextCharge = .init(left: Seconds(hours * 3600), reason: "usually charged by 18:00 (5 of 7 days)")
            var memory = PolicyMemory()
            return policy.budget(for: state, memory: &memory)
        }
        #expect(budget(10).secondsLeft == Seconds(36000))
        #expect(budget(10).watts ?? .zero < budget(5).watts ?? .zero)
        #expect(budget(10).terms.contains(.init("next charge", "usually charged by 18:00 (5 of 7 days)")))
    }
}
