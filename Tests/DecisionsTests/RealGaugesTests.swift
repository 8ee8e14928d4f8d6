import EnergyModel
import JouledTestKit
import Planner
import PowerPolicy
import Testing
import Units

@testable import Decisions

@Suite("Gauges and goals as devices have them")
struct RealGaugesTests {
    private typealias Ahead = PlanningAheadTests

    /// Ten hours on a battery of 10 Wh that only says whole percents, with a rest of the device of 0.8 W.
    @Test("A gauge that knows only percents is enough to last until the goal", arguments: [true, false])
    func percent(onlyPercent: Bool) {
        let full = 36_000.0
        var engine = DecisionEngine(
            policyName: "test",
            policy: PowerPolicy(kind: .lifetime(.init(end: .duration(Seconds(36_000)), reserve: 0.05, capacity: Joules(full)))),
            limits: .init(minimumDwell: Seconds(600)))
        for id in 1...3 { engine.open(Ahead.request(UInt64(id)), at: Ahead.time(0)) }
        var energy = full
        var ran = 0.0
        for minute in 0..<600 {
            let own = engine.runningPower().profiled.reduce(0) { $0 + $1.watts.value }
            energy -= (0.8 + own) * 60
            ran += own / 600
            var usage = DecisionEngine.Usage(span: Seconds(60), profiled: [.init(unit: "cpu", energy: Joules(own * 60))])
            usage.running = usage.profiled
            let shown = (energy / full * 100).rounded() / 100
            engine.observe(
                .init(
                    battery: onlyPercent
                        ? .init(energy: nil, full: nil, charge: shown) : .init(energy: Joules(shown * full), full: Joules(full), error: Joules(full * 0.01)),
                    draw: nil, acOnline: false, temperature: nil, takenAt: Ahead.time(Double(minute) * 60)),
                usage: usage, wall: WallTime(secondsSince1970: Double(minute) * 60), utcOffset: .zero)
            _ = engine.decide(
                because: minute == 0 ? .streamOpened : .tick, at: Ahead.time(Double(minute) * 60), wall: WallTime(secondsSince1970: Double(minute) * 60),
                utcOffset: .zero)
        }
        #expect(energy > 0.03 * full, "\(energy / full) left")
        #expect(ran > 0.05, "and it was used: \(ran) W on average")
        #expect(abs(engine.forecaster.baseLoad.value - 0.8) < 0.1)
    }

    /// After a restart, with one stream that runs: its unit takes `factor` of what is profiled, by what was learned before.
    private func restarted(knowing factor: Double) -> DecisionEngine {
        var known = EnergyModel()
        known.adopt(unit: "cpu", factor: factor, variance: 0.0004)
        var engine = Ahead.engine(hours: 10)
        engine.restore(known)
        engine.open(Ahead.request(1), at: Ahead.time(0))
        _ = engine.decide(because: .streamOpened, at: Ahead.time(0), wall: WallTime(secondsSince1970: 0), utcOffset: .zero)
        return engine
    }

    @Test("What was learned before a restart is not forgotten with the first readings")
    func restart() {
        var engine = restarted(knowing: 0.9)
        for minute in 0..<10 {
            Ahead.look(&engine, at: Double(minute) * 60, energy: 9000 - Double(minute) * 60, draw: 1, profiled: 3)
        }
        let scale = engine.energy.scale(of: "cpu")
        #expect(abs(scale.factor - 0.9) < 0.1 && scale.variance < 0.01, "\(scale)")
    }

    @Test("What inference draws is told by what was learned before a restart, from the first moment on")
    func restartedPower() {
        let engine = restarted(knowing: 0.5)
        let profiled = engine.runningPower().profiled.reduce(0) { $0 + $1.watts.value }
        #expect(profiled > 0 && abs(engine.inferencePower.watts.value / profiled - 0.5) < 1e-9)
    }

    /// A burst every three seconds, which the gauge shows a second late.
    @Test("A gauge that lags behind bursts does not make inference cheap")
    func bursts() throws {
        var engine = Ahead.engine(hours: 10)
        var random = SeededGenerator(seed: 11)
        var before = 0.0
        for second in 0..<3600 {
            // Streams come and go every two minutes, so that there is something to tell it by.
            let burst = second % 3 == 0 ? (second / 120 % 2 == 0 ? 1.5 : 0.3) : 0
            var usage = DecisionEngine.Usage(span: Seconds(1), profiled: [.init(unit: "cpu", energy: Joules(burst))], drawError: Watts(0.02))
            usage.running = usage.profiled
            engine.observe(
                .init(
                    battery: .init(energy: Joules(9000 - Double(second)), full: Joules(10_000), error: Joules(1)),
                    draw: Watts(0.6 * (1 + 0.02 * random.normal()) + before), acOnline: false, temperature: nil, takenAt: Ahead.time(Double(second))),
                usage: usage, wall: WallTime(secondsSince1970: Double(second)), utcOffset: .zero)
            before = burst
        }
        let factor = try #require(engine.attribution.factor(of: "cpu"))
        #expect(abs(factor.factor - 1) < 0.2, "\(factor)")
    }

    @Test("A goal by time of day is as old as its day, not as its policy")
    func everyDay() throws {
        let policy = PowerPolicy(kind: .lifetime(.init(end: .until(secondOfDay: 22 * 3600), reserve: 0.05)))
        let slots = [Outlook.Slot](repeating: .init(length: Seconds(900), drain: Watts(0.5), deviation: Watts(0.025)), count: 48)
        var worths: [Double] = []
        for day in [1.0, 5, 30] {
            var memory = PolicyMemory()
            memory.started = Ahead.time(0)
            var state = PowerState(
                battery: .init(energy: Joules(30_000), full: Joules(36_000), error: Joules(100)), rest: Watts(0.5), restDeviation: Watts(0.025),
                least: Watts(0.05), wall: WallTime(secondsSince1970: 10 * 3600 + day * 86400), monotonic: Ahead.time(day * 86400),
                outlook: Outlook(slots: slots), hopefulOutlook: Outlook(slots: slots))
            state.rungs = [
                .init(worth: 5, now: Watts(0.1), mean: Watts(0.1)), .init(worth: 1.2, now: Watts(0.3), mean: Watts(0.3)),
                .init(worth: 0.3, now: Watts(1), mean: Watts(1)),
            ]
            state.ordinary = 1
            worths.append(policy.budget(for: state, memory: &memory).worth)
        }
        #expect(worths.allSatisfy { $0 == worths[0] }, "\(worths)")
    }

    @Test("A goal given up on an empty battery does not keep it poor when it was filled again")
    func refilled() throws {
        let slots = [Outlook.Slot](repeating: .init(length: Seconds(900), drain: Watts(1), deviation: Watts(0.05)), count: 96)
        let policy = PowerPolicy(kind: .lifetime(.init(end: .duration(Seconds(48 * 3600)), reserve: 0.05)))
        var memory = PolicyMemory()
        var left: [Double?] = []
        for (minute, energy) in [(0.0, 0.0), (60, 20_000), (600, 60_000)] {
            let state = PowerState(
                battery: .init(energy: Joules(energy), full: Joules(72_000), error: Joules(10)), wall: WallTime(secondsSince1970: 0),
                monotonic: Ahead.time(minute * 60), outlook: Outlook(slots: slots), hopefulOutlook: Outlook(slots: slots))
            left.append(policy.budget(for: state, memory: &memory).hopeless?.left)
        }
        #expect(left.dropFirst().allSatisfy { $0 == 1 }, "\(left)")
    }
}
