import JouledTestKit
import Testing
import Units

@testable import PowerPolicy

@Suite("Budgets")
struct BudgetTests {
    private func state(
        _ energy: Double, of full: Double = 3600, error: Double = 0, rest: Double = 0, restDeviation: Double = 0,
        at seconds: Double = 0, ac: Bool = false
    ) -> PowerState {
        PowerState(
            battery: .init(energy: Joules(energy), full: Joules(full), error: Joules(error)), acOnline: ac, rest: Watts(rest),
            restDeviation: Watts(restDeviation), wall: WallTime(secondsSince1970: 1_700_000_000 + seconds),
            monotonic: MonotonicTime(nanoseconds: UInt64((1000 + seconds) * 1e9)))
    }
    private func lifetime(_ seconds: Double, reserve: Double = 0, margin: Double = 0) -> PowerPolicy {
        PowerPolicy(kind: .lifetime(.init(end: .duration(Seconds(seconds)), reserve: reserve, margin: margin)))
    }

    @Test("Lifetime: what is left over, spread over the time left")
    func lifetimeArithmetic() {
        var memory = PolicyMemory()
        let policy = lifetime(3600, reserve: 0.1, margin: 0.2)
        var budget = policy.budget(for: state(1800, rest: 0.15), memory: &memory)
        // (1800 - 360 - 0.15 * 3600) / 3600 * 0.8
        #expect(abs((budget.watts?.value ?? -1) - 0.2) < 1e-12)
        #expect(budget.goal == .feasible)
        #expect(budget.secondsLeft == Seconds(3600))
        #expect(budget.terms.contains { $0.name == "rest of the device" })
        budget = policy.budget(for: state(1000, rest: 0.15, at: 1800), memory: &memory)
        #expect(abs((budget.watts?.value ?? -1) - (1000 - 360 - 270) / 1800 * 0.8) < 1e-12)
        #expect(budget.secondsLeft == Seconds(1800))
        #expect(policy.budget(for: state(1000, at: 3600), memory: &memory).goal == .none)
    }

    @Test("Lifetime: a hopeless goal is said at once, whether the rest or the critical streams make it so")
    func infeasible() {
        var memory = PolicyMemory()
        var hopeless = state(1000, rest: 0.5)
        var budget = lifetime(3600).budget(for: hopeless, memory: &memory)
        #expect(budget.goal == .infeasible)
        #expect(budget.watts == .zero)
        #expect(budget.reason.contains("cannot be met"))
        hopeless = state(1000, rest: 0.1)
        #expect(lifetime(3600).budget(for: hopeless, memory: &memory).goal == .feasible)
        hopeless.least = Watts(0.2)
        budget = lifetime(3600).budget(for: hopeless, memory: &memory)
        #expect(budget.goal == .infeasible)
        #expect(budget.reason.contains("streams that must run need 200 mW"))
    }

    @Test("Lifetime: less certain means less spent, an old gauge less still, external power unlimited")
    func uncertainty() throws {
        var memory = PolicyMemory()
        let policy = lifetime(3600)
        func watts(_ state: PowerState) -> Double { policy.budget(for: state, memory: &memory).watts?.value ?? .infinity }
        let sure = watts(state(1800, rest: 0.1))
        #expect(watts(state(1800, rest: 0.1, restDeviation: 0.05)) < sure)
        #expect(watts(state(1800, error: 100, rest: 0.1)) < sure)
        #expect(watts(state(1800, error: 1e9, rest: 0.1)) > 0, "doubt may slow inference, not stop it")
        #expect(watts(state(1800, rest: 0.1, restDeviation: 1e9)) >= sure * 0.69, "nor does a forecast without worth")
        var old = state(1800, rest: 0.1)
        old.battery?.age = Seconds(360)
        #expect(abs(watts(old) - (sure - 36 / 3600)) < 1e-9)
        var percentOnly = state(0)
        percentOnly.battery = .init(energy: nil, full: nil, charge: 0.5)
        #expect(watts(percentOnly) == .infinity)
        var policy2 = PowerPolicy.Lifetime(end: .duration(Seconds(3600)), reserve: 0, margin: 0)
        policy2.capacity = Joules(3600)
        let budget = PowerPolicy(kind: .lifetime(policy2)).budget(for: percentOnly, memory: &memory)
        #expect(abs((budget.watts?.value ?? -1) - 0.5) < 1e-12)
        #expect(watts(state(1800, ac: true)) == .infinity)
        percentOnly.battery = nil
        #expect(watts(percentOnly) == .infinity)
    }

    /// Wall time, offset from UTC, second of the day, and the time left until it.
    private static let untilCases: [(wall: Double, offset: Double, second: Int, left: Double)] = [
        (0, 0, 79200, 79200), (79200, 0, 79200, 86400), (79199, 0, 79200, 1), (79201, 0, 79200, 86399),
        (75600, 3600, 79200, 86400), (0, -3600, 79200, 82800), (-10, 0, 0, 10),
        // 2023-11-14 22:13:20 UTC is 80000 s after midnight: exactly now means tomorrow.
        (1_700_000_000, 0, 80000, 86400),
    ]

    @Test("Until: the next such time on the local clock", arguments: untilCases)
    func until(_ it: (wall: Double, offset: Double, second: Int, left: Double)) {
        let wall = WallTime(secondsSince1970: it.wall)
        #expect(UTCOffset(Seconds(it.offset)).untilNext(secondOfDay: it.second, from: wall).value == it.left)
    }

    @Test("Until 22:00 is 20 h, 22 h or 21 h after 01:00 where the clock is put forward, back or not at all meanwhile", arguments: [(3600.0, 20.0), (-3600, 22), (0, 21)])
    func untilAcrossAChange(_ it: (shift: Double, hours: Double)) {
        let wall = WallTime(secondsSince1970: 0)
        let change = UTCOffset.Change(at: WallTime(secondsSince1970: 3600), offset: Seconds(3600 + it.shift))
        let offset = UTCOffset(Seconds(3600), change: it.shift == 0 ? nil : change)
        let policy = PowerPolicy(kind: .lifetime(.init(end: .until(secondOfDay: 22 * 3600))))
        #expect(policy.secondsLeft(at: MonotonicTime(nanoseconds: 0), wall: wall, utcOffset: offset, memory: PolicyMemory())?.value == it.hours * 3600)
        var now = state(1800)
        (now.wall, now.utcOffset) = (wall, offset)
        var memory = PolicyMemory()
        #expect(policy.budget(for: now, memory: &memory).secondsLeft?.value == it.hours * 3600)
    }

    @Test("Setting the clock does not move the goal of a duration")
    func clockJump() {
        var memory = PolicyMemory()
        let policy = lifetime(3600)
        _ = policy.budget(for: state(1800), memory: &memory)
        var jumped = state(1800, at: 60)
        jumped.wall = WallTime(secondsSince1970: 0)
        #expect(policy.budget(for: jumped, memory: &memory).secondsLeft == Seconds(3540))
    }

    @Test("Lifetime holds: whatever inference makes of its budget, the reserve is there at the end", arguments: 1...200)
    func lifetimeHolds(seed: Int) {
        var random = SeededGenerator(seed: UInt64(seed))
        let hours = Double.random(in: 0.5...24, using: &random)
        let rest = Double.random(in: 0.05...1, using: &random)
        let full = rest * hours * 3600 * Double.random(in: 1.3...4, using: &random)
        let policy = lifetime(hours * 3600, reserve: 0.1, margin: 0.02)
        var energy = full
        var memory = PolicyMemory()
        var time = 0.0
        while time < hours * 3600 {
            let quantum = full / 100
            let shown = (energy / quantum).rounded() * quantum
            let noisyRest = rest * (1 + 0.05 * random.normal())
            let now = state(shown, of: full, error: quantum / 3.46, rest: noisyRest, restDeviation: rest * 0.05, at: time)
            let budget = policy.budget(for: now, memory: &memory)
            let used = (budget.watts?.value ?? 0) * Double.random(in: 0.3...1, using: &random)
            energy -= 60 * (rest + used)
            time += 60
        }
        #expect(energy >= full * 0.095, "seed \(seed): \(percent(energy / full, places: 2)) left of a 10 % reserve")
    }

    @Test("Levels: a turn back takes more than the hysteresis, so noise never flaps", arguments: 1...200)
    func hysteresis(seed: Int) {
        var random = SeededGenerator(seed: UInt64(seed))
        let hysteresis = Double.random(in: 0.005...0.1, using: &random)
        var thresholds = (0..<Int.random(in: 1...4, using: &random)).map { _ in Double.random(in: 0.01...0.88, using: &random) }
        thresholds = Array(Set(thresholds)).sorted(by: >) + [0]
        let levels = PowerPolicy.Levels(
            levels: thresholds.enumerated().map { .init(above: $1, watts: Watts(Double(10 - $0))) }, hysteresis: hysteresis)
        let policy = PowerPolicy(kind: .levels(levels))
        var memory = PolicyMemory()
        var charge = Double.random(in: 0...1, using: &random)
        var lastSwitch: (charge: Double, up: Bool)?
        var level: Int?
        var switches = 0
        for _ in 0..<2000 {
            charge = min(1, max(0, charge + 0.01 * random.normal()))
            let budget = policy.budget(for: state(charge, of: 1), memory: &memory)
            guard let now = memory.level else { return #expect(Bool(false), "seed \(seed): no level") }
            #expect(budget.watts == levels.levels[now].watts)
            #expect(charge >= levels.levels[now].above, "seed \(seed): never more than the charge allows")
            if let before = level, before != now {
                let up = now < before
                if let last = lastSwitch, last.up != up {
                    #expect(abs(charge - last.charge) > hysteresis * 0.999, "seed \(seed)")
                }
                lastSwitch = (charge, up)
                switches += 1
            }
            level = now
        }
        // A walk over the whole range that never switched would prove nothing.
        if thresholds.count > 2, hysteresis < 0.03, seed % 10 == 0 { #expect(switches > 0, "seed \(seed)") }
    }

    @Test("Heat: nothing is left before a trip point, whatever temperatures the policy names")
    func tripPoints() throws {
        func share(_ thermal: PowerPolicy.Thermal, _ celsius: Double?, below: Double?, passive: Double? = nil) -> Double? {
            var memory = PolicyMemory()
            var now = state(3600)
            now.temperature = celsius.map { Celsius($0) }
            now.tripMargin = below.map { Celsius($0) }
            now.passiveMargin = passive.map { Celsius($0) }
            return PowerPolicy(kind: .fixed(Watts(1)), thermal: thermal).budget(for: now, memory: &memory).watts?.value
        }
        let plain = PowerPolicy.Thermal()
        #expect(share(plain, 60, below: 10) == 1 && share(plain, 60, below: 6) == 0.5 && share(plain, 60, below: 2) == 0 && share(plain, 60, below: -5) == 0)
        #expect(share(plain, 60, below: 40, passive: 6) == 0.5 && share(plain, 60, below: 40, passive: -9) == 0.25, "the kernel only slows down")
        #expect(share(plain, 60, below: 3, passive: -9) == 0.125, "the least of both")
        #expect(share(plain, 99, below: nil) == 1, "nothing to go by")
        #expect(share(plain, nil, below: 6) == 0.5)
        let warm = PowerPolicy.Thermal(from: Celsius(80), to: Celsius(100))
        #expect(share(warm, 85, below: nil) == 0.75)
        #expect(share(warm, 85, below: 40) == 0.75, "far from any trip the policy's word counts")
        #expect(share(warm, 85, below: 4) == 0.25, "never the rest of it at a trip point")
        #expect(share(.init(fromBelowTrip: Celsius(20), toBelowTrip: Celsius(0)), 60, below: 5) == 0.25)
        let deaf = PowerPolicy.Thermal(from: Celsius(80), to: Celsius(100), fromBelowTrip: .zero, toBelowTrip: .zero)
        #expect(share(deaf, 60, below: -5, passive: -9) == 1 && share(deaf, 85, below: 0, passive: -9) == 0.75, "trip points do not count")
        #expect(share(deaf, nil, below: 6, passive: 6) == 1)
        var memory = PolicyMemory()
        var now = state(3600)
        (now.temperature, now.tripMargin) = (Celsius(79), Celsius(6))
        let budget = PowerPolicy(kind: .fixed(Watts(1)), thermal: plain).budget(for: now, memory: &memory)
        #expect(budget.reason.hasSuffix("derated to 50 % at 79.0 °C, 6.0 °C below a trip point"), "\(budget.reason)")
    }

    @Test("Heat: linear from full to nothing, also where the budget is unlimited")
    func thermal() {
        let thermal = PowerPolicy.Thermal(from: Celsius(60), to: Celsius(80))
        var memory = PolicyMemory()
        func watts(_ kind: PowerPolicy.Kind, _ celsius: Double, own: Double = 0) -> Double? {
            var now = state(3600)
            now.temperature = Celsius(celsius)
            now.own = Watts(own)
            return PowerPolicy(kind: kind, thermal: thermal).budget(for: now, memory: &memory).watts?.value
        }
        #expect(watts(.fixed(Watts(2)), 60) == 2)
        #expect(watts(.fixed(Watts(2)), 70) == 1)
        #expect(watts(.fixed(Watts(2)), 90) == 0)
        #expect(watts(.fixed(Watts(2)), .nan) == 2)
        #expect(watts(.unlimited, 50, own: 3) == nil)
        #expect(watts(.unlimited, 70, own: 1.6) == 1.5, "a share of the most seen while cool, not of what is left")
        #expect(watts(.unlimited, 70, own: 0.7) == 1.5)
        #expect(watts(.unlimited, 80) == 0)
    }

    @Test("Heat: a device that was never cool goes by what its streams take at their best, not by what came first")
    func neverCool() {
        var memory = PolicyMemory()
        func watts(_ celsius: Double, own: Double, most: Double) -> Double? {
            var now = state(3600)
            (now.temperature, now.own, now.most) = (Celsius(celsius), Watts(own), Watts(most))
            return PowerPolicy(kind: .unlimited, thermal: .init(from: Celsius(60), to: Celsius(80))).budget(for: now, memory: &memory).watts?.value
        }
        #expect(watts(75, own: 0, most: 0) == nil, "no stream, no share of it")
        #expect(watts(75, own: 0.001, most: 0.001) == 0.00025)
        #expect(watts(75, own: 0.00025, most: 2) == 0.5)
        #expect(watts(50, own: 1.6, most: 2) == nil)
        #expect(watts(75, own: 1, most: 1) == 0.4, "once it was cool, what was seen counts")
        #expect(watts(75, own: 1, most: 2) == 0.5, "but not if more is wanted by now")
    }
}
