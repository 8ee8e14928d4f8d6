import Glibc
import Testing
import Units

@Suite("The local clock, put forward and back")
struct UTCOffsetTests {
    /// 2026-03-29 and 2026-10-25, 01:00 UTC: when Europe changes its clocks.
    private static let changes: [(at: Double, before: Double, after: Double)] = [(1_774_746_000, 3600, 7200), (1_792_890_000, 7200, 3600)]

    @Test("The time until a time of day is what watching the clock gives, on the days of a change too", arguments: changes)
    func watching(_ it: (at: Double, before: Double, after: Double)) {
        for hours in [-25.5, -24, -12.25, -3, -1.5, -1, -0.75, -0.25] {
            let now = it.at + hours * 3600
            let isNear = -hours * 3600 <= UTCOffset.horizon.value
            let change = UTCOffset.Change(at: WallTime(secondsSince1970: it.at), offset: Seconds(it.after))
            let offset = UTCOffset(Seconds(it.before), change: isNear ? change : nil)
            for minute in stride(from: 0, to: 1440, by: 15) {
                // A quarter of an hour at a time: does the clock show it, or did it jump over it?
                var watched = now
                var seen = 0.0
                repeat {
                    watched += 900
                    let local = (watched + (watched < it.at ? it.before : it.after)).truncatingRemainder(dividingBy: 86400)
                    let isSkipped = watched == it.at && it.after > it.before && (2 * 3600..<3 * 3600).contains(minute * 60)
                    if local == Double(minute * 60) || isSkipped { seen = watched - now }
                } while seen == 0
                let told = offset.untilNext(secondOfDay: minute * 60, from: WallTime(secondsSince1970: now)).value
                #expect(told == seen, "\(hours) h before, until minute \(minute)")
            }
        }
    }

    @Test("TZ=Europe/Berlin: the change is found to the second, and none is where there is none", .enabled(if: access("/usr/share/zoneinfo/Europe/Berlin", R_OK) == 0, "needs Debian's package tzdata"))
    func berlin() async { await #expect(processExitsWith: .success) { check(zone: "Europe/Berlin") } }

    @Test("The same by a rule in TZ itself")
    func rule() async { await #expect(processExitsWith: .success) { check(zone: "CET-1CEST,M3.5.0,M10.5.0/3") } }
}

/// Ends the process with status 1 where the machine's zone is not told as it is. In a process of its own, since TZ is the process's.
private func check(zone: String) {
    setenv("TZ", zone, 1)
    tzset()
    func expect(_ wall: Double, _ now: Double, _ at: Double?, _ after: Double = 0, line: Int = #line) {
        let told = UTCOffset.local(at: WallTime(secondsSince1970: wall))
        let wanted = UTCOffset(Seconds(now), change: at.map { .init(at: WallTime(secondsSince1970: $0), offset: Seconds(after)) })
        if told != wanted {
            print("line \(line): \(told) is not \(wanted)")
            exit(1)
        }
    }
    expect(1_774_746_000 - 86400, 3600, 1_774_746_000, 7200)
    expect(1_774_746_000 - 0.5, 3600, 1_774_746_000, 7200)
    expect(1_774_746_000, 7200, nil)
    expect(1_774_746_000 - 90_001, 3600, nil)
    expect(1_792_890_000 - 3600, 7200, 1_792_890_000, 3600)
    expect(1_792_890_000 - 1, 7200, 1_792_890_000, 3600)
    expect(1_792_890_000, 3600, nil)
    expect(1_780_000_000, 7200, nil)
    expect(.infinity, 0, nil)
    // 2026-03-28 22:30 in Berlin: 22:00 is 22 hours and a half ahead, for the night has an hour less; in October 24 hours and a half.
    for (start, hours) in [(1_774_746_000.0 - 3.5 * 3600, 22.5), (1_792_890_000.0 - 4.5 * 3600, 24.5)] {
        let wall = WallTime(secondsSince1970: start)
        if UTCOffset.local(at: wall).untilNext(secondOfDay: 22 * 3600, from: wall) != Seconds(hours * 3600) { exit(1) }
    }
}
