import Decisions
import EnergyModel
import JouledTestKit
import PowerPolicy
import StreamSessions
import Testing
import Units
import Wire

@testable import JouledDaemon

@Suite("What is learned about energy")
struct LearningTests {
    private func reading(taken second: Double, battery: Bool = true) -> DecisionEngine.Reading {
        .init(
            battery: battery ? .init(energy: Joules(1000), full: Joules(2000)) : nil, draw: Watts(1), acOnline: !battery,
            temperature: nil, takenAt: MonotonicTime(nanoseconds: UInt64(second * 1e9)))
    }

    private func work(_ joules: Double) -> UnitWork {
        var work = UnitWork(unit: "cpu")
        work.profiled = WindowCost(energy: Joules(joules), cpu: Seconds(joules), latency: Seconds(joules))
        work.cpu = Seconds(joules * 3)
        return work
    }

    @Test("A gauge that shows the same as before tells nothing; what was done meanwhile counts when it is refreshed")
    func refresh() throws {
        var learned = LearnedEnergy(path: "/nonexistent/energy-model")
        learned.add([work(2)], span: Seconds(30))
        #expect(learned.usage(upTo: reading(taken: 10), drawError: .zero)?.usage.profiled.first?.energy == Joules(2))
        for _ in 0..<3 {
            learned.add([work(1)], span: Seconds(30))
            #expect(learned.usage(upTo: reading(taken: 10), drawError: .zero) == nil)
        }
        learned.add([work(1)], span: Seconds(30))
        let fresh = learned.usage(upTo: reading(taken: 130), drawError: .zero)
        let (seen, usage) = try #require(fresh)
        #expect(seen == reading(taken: 130))
        #expect(usage.span == Seconds(120) && usage.profiled.first?.energy == Joules(4))
        #expect(usage.timed.first?.energy == Joules(12))
    }

    @Test("What was done beside a gauge that never changes counts after the slowest gauge's period, and no battery is no gauge to wait for")
    func stuck() {
        var learned = LearnedEnergy(path: "/nonexistent/energy-model")
        _ = learned.usage(upTo: reading(taken: 10), drawError: .zero)
        learned.add([work(1)], span: LearnedEnergy.slowestGauge)
        #expect(learned.usage(upTo: reading(taken: 10), drawError: .zero)?.usage.profiled.first?.energy == Joules(1))
        learned.add([work(1)], span: Seconds(1))
        let without = learned.usage(upTo: reading(taken: 10, battery: false), drawError: .zero)
        #expect(without?.reading == reading(taken: 10, battery: false))
    }

    @Test("A gauge that is stuck teaches neither what inference costs nor what the rest draws, whatever runs")
    func stuckTeachesNothing() {
        var learned = LearnedEnergy(path: "/nonexistent/energy-model")
        var engine = DecisionEngine(policyName: "p", policy: PowerPolicy(kind: .fixed(Watts(5))))
        /// Ticks by the minute: the work's watts, the draw shown and when that was taken.
        func tick(_ minute: Int, _ watts: Double, draw: Double, taken: Int) {
            learned.add([work(watts * 60)], span: Seconds(60))
            var seen = reading(taken: Double(taken) * 60 + 10)
            seen.draw = Watts(draw)
            guard let fresh = learned.usage(upTo: seen, drawError: Watts(draw * 0.05)) else { return engine.observe(seen, own: Watts(watts)) }
            engine.observe(fresh.reading, usage: fresh.usage, wall: WallTime(secondsSince1970: Double(minute) * 60), utcOffset: .zero)
        }
        func watts(_ minute: Int) -> Double { minute / 20 % 2 == 0 ? 0.2 : 0.05 }
        for minute in 0..<120 { tick(minute, watts(minute), draw: 1 + watts(minute), taken: minute) }
        let before = engine.energy.scale(of: "cpu")
        #expect(before.basis == .battery && abs(before.factor - 1) < 0.2)
        for minute in 120..<240 { tick(minute, watts(minute), draw: 1.05, taken: 119) }
        #expect(engine.energy.scale(of: "cpu") == before)
        tick(240, 0.2, draw: 1.2, taken: 240)
        #expect(engine.energy.scale(of: "cpu") != before)
    }

    @Test("A restart goes on with what was learned; a damaged file is told and begun anew")
    func restart() throws {
        var settings = DaemonHarness.Settings()
        let sysfs = FakeSysfs()
        settings.power = "source = \"sysfs\"\nsysfs_root = \"\(sysfs.path)\"\npoll = \"200ms\""
        let daemon = try DaemonHarness(settings)
        let bystander = try Bystander(daemon)
        let profiled = try price(daemon)
        try bystander.goOn()
        // Without battery and meter, CPU time is what is learned from.
        #expect(eventually(within: Seconds(10)) { (try? price(daemon)) != profiled })
        try bystander.verify()
        try daemon.restart()
        let kept = daemon.directory.text(of: "energy-model")
        #expect(kept.contains("\nunit 0 modelled "), "\(kept)")
        #expect(!daemon.journalHas("learning begins anew", within: .zero))
        daemon.directory.write("energy-model", kept.replacingFirst("modelled", "metered"))
        try daemon.restart()
        #expect(daemon.journalHas("learning begins anew", "energy-model", "the checksum does not match"))
        let later = try Bystander(daemon)
        try later.goOn()
        try later.verify()
    }

    @Test("What was seen of the rest of the device is kept over a restart; a damaged file is told and begun anew")
    func restOfTheDevice() throws {
        let daemon = try DaemonHarness { $0.power = "source = \"virtual\"\npoll = \"100ms\"" }
        #expect(eventually { (try? daemon.call("io.jouled.Power.GetStatus")["status"]?["restWatts"]?.doubleValue) != nil })
        let bystander = try Bystander(daemon)
        try bystander.goOn()
        try bystander.verify()
        try daemon.restart()
        let kept = daemon.directory.text(of: "rest")
        #expect(kept.hasPrefix("jouled-rest 1\nat ") && kept.contains("\nlong ") && kept.contains("\nchecksum "), "\(kept)")
        #expect(!daemon.journalHas("learning begins anew", within: .zero))
        // One that stops writes it anew; one that is killed does not.
        daemon.directory.write("rest", kept.replacingFirst("elapsed ", "elapsed 9"))
        try daemon.crash()
        #expect(daemon.journalHas("base load, sun and charger is lost, learning begins anew", "rest", "the checksum does not match"))
        let later = try Bystander(daemon)
        try later.goOn()
        try later.verify()
    }

    private func price(_ daemon: DaemonHarness) throws -> Double? {
        try daemon.call("io.jouled.Streams.List")["streams"]?.arrayValue?.first?["joulesPerWindow"]?.doubleValue
    }
}

extension String {
    fileprivate func replacingFirst(_ old: String, _ new: String) -> String {
        let parts = split(separator: old, maxSplits: 1, omittingEmptySubsequences: false)
        return parts.joined(separator: new)
    }
}
