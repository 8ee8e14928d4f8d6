import Decisions
import Glibc
import JouledClient
import JouledTestKit
import PowerPolicy
import Systemd
import Testing
import Units
import Wire

@testable import JouledDaemon

@Suite("What decisions go on from after a restart")
struct PlanMemoryTests {
    private func engine(_ policy: PowerPolicy, _ name: String = "p") -> DecisionEngine { DecisionEngine(policyName: name, policy: policy) }
    private func stamp(_ bootID: String, boot: Double, wall: Double) -> PlanMemory.Stamp { .init(bootID: bootID, boot: Seconds(boot), wall: wall) }
    private func time(_ seconds: Double) -> MonotonicTime { MonotonicTime(nanoseconds: UInt64(seconds * 1e9)) }
    private let hours = PowerPolicy(kind: .lifetime(.init(end: .duration(Seconds(8 * 3600)))))

    /// What an engine that has run for an hour keeps at the boot's second 5000.
    private func kept(_ policy: PowerPolicy, _ change: (inout PolicyMemory) -> Void = { _ in }) throws -> PlanMemory {
        var engine = engine(policy)
        var memory = PolicyMemory()
        memory.started = time(1000)
        change(&memory)
        engine.restore(memory)
        let memoryNow = PlanMemory(engine, [:], at: time(4600), stamp("a", boot: 5000, wall: 1e9))
        // As it comes back from the file.
        return try #require(PlanMemory(JSONValue(parsing: memoryNow.json.description)))
    }

    @Test("A duration goes on over a restart, a sleep and a reboot; a clock that went backwards takes nothing back")
    func duration() throws {
        let kept = try kept(hours)
        let cases: [(PlanMemory.Stamp, Double)] = [
            (stamp("a", boot: 5010, wall: 0), 3610), (stamp("a", boot: 8600, wall: 5e9), 7200),
            (stamp("b", boot: 20, wall: 1e9 + 600), 4200), (stamp("b", boot: 20, wall: 1e9 - 600), 3600), (stamp("", boot: 9000, wall: 1e9 + 60), 3660),
        ]
        for (now, elapsed) in cases {
            let memory = try #require(kept.memory(for: engine(hours), at: time(7), now))
            #expect(abs(memory.elapsed(at: time(7)).value - elapsed) < 1e-6, "\(now)")
            let left = hours.secondsLeft(at: time(107), wall: WallTime(secondsSince1970: 0), utcOffset: .zero, memory: memory)
            #expect(abs((left?.value ?? 0) - (8 * 3600 - elapsed - 100)) < 1e-6)
        }
        var sleeper = engine(hours)
        sleeper.restore(try #require(kept.memory(for: sleeper, at: time(7), stamp("a", boot: 5000, wall: 0))))
        sleeper.slept(Seconds(100))
        #expect(abs(sleeper.memory.elapsed(at: time(7)).value - 3700) < 1e-6, "a sleeping device's day goes by, too")
        sleeper.adopt(hours, named: "p")
        #expect(sleeper.memory.elapsed(at: time(7)) > .zero, "a reload of the same policy changes nothing")
        sleeper.adopt(hours, named: "p", beginsAnew: true)
        #expect(sleeper.memory.elapsed(at: time(7)) == .zero)
    }

    @Test("Another policy, or another text under its name, begins anew")
    func another() throws {
        let kept = try kept(hours)
        let now = stamp("a", boot: 5010, wall: 0)
        #expect(kept.memory(for: engine(hours, "q"), at: time(1), now) == nil)
        for other in [PowerPolicy(kind: .lifetime(.init(end: .duration(Seconds(9 * 3600))))), PowerPolicy(kind: .unlimited)] {
            #expect(kept.memory(for: engine(other), at: time(1), now) == nil)
        }
        var described = hours
        described.description = "other words"
        #expect(kept.memory(for: engine(described), at: time(1), now) != nil)
    }

    @Test("A level is kept, so that hysteresis holds, if the policy has it")
    func level() throws {
        let levels = PowerPolicy(kind: .levels(.init(levels: [.init(above: 0.5, watts: Watts(1)), .init(above: 0, watts: Watts(0.1))])))
        for (level, expected) in [(1, 1), (7, nil)] as [(Int, Int?)] {
            let kept = try kept(levels) { memory in
                memory.level = level
                memory.peak = Watts(0.3)
                memory.hopelessSince = Joules(77)
            }
            let memory = try #require(kept.memory(for: engine(levels), at: time(1), stamp("a", boot: 5010, wall: 0)))
            #expect(memory.level == expected && memory.peak == Watts(0.3) && memory.hopelessSince == Joules(77))
        }
    }

    @Test("What is no such state is left out")
    func damaged() throws {
        var text = try kept(hours).json.description
        for key in ["policy", "digest", "peak", "bootID", "boot", "wall", "streams"] {
            #expect(try PlanMemory(JSONValue(parsing: text.split(separator: "\"\(key)\"").joined(separator: "\"no\""))) == nil, "without \(key)")
        }
        text = text.split(separator: "3600").joined(separator: "-1")
        #expect(try PlanMemory(JSONValue(parsing: text)) == nil)
    }

    @Test("A real daemon goes on with its goal after kill -9 and after a restart, and begins anew when it is set again")
    func daemon() throws {
        let directory = TemporaryDirectory()
        var settings = DaemonHarness.Settings()
        settings.policies["hour"] = "kind = \"lifetime\"\nduration = \"1h\"\n"
        settings.policy = "hour"
        // Half an hour ago, by the clock that counts through sleep.
        let policy = PowerPolicy(kind: .lifetime(.init(end: .duration(Seconds(3600)))))
        var before = engine(policy, "hour")
        var memory = PolicyMemory()
        memory.started = time(0)
        before.restore(memory)
        var file = LedgerFile(directory: directory.path, volatile: directory.path)
        file.write(
            .init(nextStream: 9, decisions: 3, plan: PlanMemory(before, [:], at: time(1800), .now(SystemClocks()))), at: time(0), isDurable: true, Quiet())
        let daemon = try DaemonHarness(settings, in: directory)
        func left() throws -> Double { try daemon.call("io.jouled.Power.GetStatus")["status"]?["secondsLeft"]?.doubleValue ?? -1 }
        var last = try left()
        #expect(last < 1800 && last > 1600)
        for how in ["crash", "restart", "crash"] {
            if how == "crash" { try daemon.crash() } else { try daemon.restart() }
            let now = try left()
            #expect(now < last && now > last - 60, "\(how): \(now) s after \(last) s")
            last = now
        }
        try daemon.call("io.jouled.Policy.Reload")
        #expect(try left() < last)
        try daemon.setPolicy("hour")
        #expect(try left() > 3500)
        try daemon.crash()
        #expect(try left() > 3500)
    }

    @Test("A stream that comes back after kill -9 finds its plan")
    func placement() throws {
        let directory = TemporaryDirectory()
        let bundles = try BundleCopies(in: directory)
        let variants = try Installation.variants("silero-vad")
        bundles.fixCosts("silero-vad", variants)
        var settings = DaemonHarness.Settings()
        settings.models = bundles.path
        let daemon = try DaemonHarness(settings, in: directory)
        func variant() throws -> String {
            let stream = try TestStream.speech(daemon, ["name": "mic"])
            return stream.connection.contract["variant"]?.stringValue ?? ""
        }
        #expect(try variant() == "fp32")
        // While nobody looks, another variant becomes better by less than a switch is worth.
        try bundles.setQuality("silero-vad", "fp32", 0.99995)
        try bundles.setQuality("silero-vad", variants[1], 1)
        for other in variants.dropFirst(2) { try bundles.setQuality("silero-vad", other, 0.9) }
        try daemon.crash()
        #expect(try variant() == "fp32")
        // Whoever never ran gets the best.
        let fresh = try TestStream.speech(daemon, ["name": "other"])
        #expect(fresh.connection.contract["variant"]?.stringValue == variants[1])
    }
}

private struct Quiet: JournalSink {
    func send(_ record: JournalRecord) {}
}
