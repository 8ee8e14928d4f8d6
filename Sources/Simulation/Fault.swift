import Decisions
import EnergyModel
import Planner
import PowerPolicy
import Units

/// Something that goes wrong in a replayed day, from `start` to `end` in seconds.
public struct Fault: Sendable, Equatable {
    public enum Kind: Sendable, Equatable, CaseIterable {
        /// The gauge goes on giving its last reading as if it were new.
        case gaugeStuck
        /// There is no battery to read.
        case batteryUnplugged
        /// The wall clock is off by hours.
        case clockJump
        /// The energy counter wraps around and is taken for an enormous difference.
        case meterWrap
        /// The device is far above where derating begins.
        case thermalTrip
        /// Runs on one unit take thirty times as long.
        case unitDying
        /// The policy is read again, with another margin.
        case policyReload
    }
    public var kind: Kind
    public var start: Double
    public var end: Double

    func holds(at time: Double) -> Bool { start <= time && time < end }

    /// One to five faults at random times of a scenario; the same for the same seed.
    public static func random(seed: UInt64, in scenario: Scenario) -> [Fault] {
        var draws = Draws(seed: seed &* 131 &+ 17)
        let until = scenario.goal.until.value
        return (0..<1 + Int(draws.next() % 5)).map { _ in
            let kind = Kind.allCases[Int(draws.next() % UInt64(Kind.allCases.count))]
            let start = until * draws.uniform()
            return Fault(kind: kind, start: start, end: start + 120 + 3 * 3600 * draws.uniform())
        }
    }
}

/// Bends what telemetry shows by the faults that hold.
struct FaultyTelemetry {
    let faults: [Fault]
    private var last: DecisionEngine.Reading?
    private var reloaded: Set<Int> = []

    init(_ faults: [Fault]) { self.faults = faults }

    private func holds(_ kind: Fault.Kind, _ time: Double) -> Bool { faults.contains { $0.kind == kind && $0.holds(at: time) } }

    mutating func bend(_ reading: inout DecisionEngine.Reading, _ usage: inout DecisionEngine.Usage, at time: Double) {
        if holds(.gaugeStuck, time), let last {
            reading.battery = last.battery
            reading.draw = last.draw
        }
        last = reading
        if holds(.batteryUnplugged, time) {
            reading.battery = nil
            reading.draw = nil
        }
        if holds(.thermalTrip, time) { reading.temperature = Celsius(88) }
        // A counter of 32 bits in microjoules.
        if holds(.meterWrap, time), let metered = usage.metered { usage.metered = Joules(4294.967296) - metered }
    }

    func slowDown(of unit: String, at time: Double) -> Double { unit == "npu" && holds(.unitDying, time) ? 30 : 1 }

    func wall(at time: Double) -> WallTime { WallTime(secondsSince1970: time + (holds(.clockJump, time) ? 5 * 3600 : 0)) }

    /// Whether the policy is to be read again now, once for each such fault.
    mutating func reload(at time: Double) -> Bool {
        guard let index = faults.indices.first(where: { faults[$0].kind == .policyReload && faults[$0].start <= time && !reloaded.contains($0) })
        else { return false }
        reloaded.insert(index)
        return true
    }
}

/// What must hold in every decision, whatever goes wrong.
enum Invariants {
    /// - Returns: what is broken, in words.
    static func broken(_ decision: DecisionEngine.Decision, _ engine: DecisionEngine, live: [UInt64]) -> [String] {
        var broken: [String] = []
        if decision.budget.reason.isEmpty { broken.append("a decision without a reason") }
        if let watts = decision.budget.watts, !watts.isFinite || watts.value < 0 { broken.append("a budget of \(watts.value) W") }
        if decision.plan.assignments.map(\.stream) != live { broken.append("a plan for \(decision.plan.assignments.map(\.stream)), not \(live)") }
        if !decision.plan.totalPower.isFinite { broken.append("a plan of no power") }
        for id in live {
            guard let placement = engine.placements[id] else { continue }
            if let option = placement.option, option.plan.variantQuality < placement.rules.floor { broken.append("stream \(id) below its floor") }
            guard placement.rules.critical, placement.option == nil else { continue }
            let could = RunOption.all(for: placement.request, by: engine.energy, latency: engine.latency).contains {
                $0.plan.latencyP99 <= placement.request.latencyTolerance && $0.plan.variantQuality >= placement.rules.floor
            }
            if could { broken.append("critical stream \(id) is paused") }
        }
        return broken
    }
}

/// Random days on which random things go wrong.
public struct FaultTrial: Sendable {
    public private(set) var days = 0
    /// What was broken, with the seed.
    public private(set) var broken: [String] = []

    /// Most changes per stream and hour, on the mean of a day with faults.
    static let mostSwitches = 6.0

    public init(count: Int, first: UInt64 = 0) {
        // Seeds begin anew after the largest.
        for seed in (0..<UInt64(max(0, count))).lazy.map({ first &+ $0 }) {
            days += 1
            let scenario = RandomScenario.make(seed: seed)
            var replay = ScenarioReplay(scenario, controller: .jouled(Self.policy(scenario)))
            replay.faults = Fault.random(seed: seed, in: scenario)
            let outcome = replay.run()
            var problems = outcome.broken
            if outcome.switchesPerStreamHour > Self.mostSwitches {
                problems.append("\(decimal(outcome.switchesPerStreamHour, places: 2)) changes per stream and hour")
            }
            if outcome.floorViolation > 0 { problems.append("time below a floor") }
            if !(outcome.utility >= 0 && outcome.utility <= 1) { problems.append("a utility of \(outcome.utility)") }
            if abs(outcome.imbalance) > 1e-6 { problems.append("the ledger is off by \(outcome.imbalance) of the battery") }
            if let first = problems.first {
                broken.append("seed \(seed) (\(scenario.name)): \(first)" + (problems.count > 1 ? " and \(problems.count - 1) more" : ""))
            }
        }
    }

    static func policy(_ scenario: Scenario) -> PowerPolicy {
        PowerPolicy(kind: .lifetime(.init(end: .duration(scenario.goal.until))), thermal: .init(from: Celsius(70), to: Celsius(90)))
    }

    public var lines: [String] {
        ["\(days) days with faults, invariants broken on \(broken.count)"] + broken.map { "  \($0)" }
    }
}
