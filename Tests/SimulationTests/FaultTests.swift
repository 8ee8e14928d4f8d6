import Testing
import Units

@testable import Simulation

@Suite("Days on which things go wrong")
struct FaultTests {
    /// `joulectl simulate --random 1000 --faults` runs a thousand.
    @Test("Whatever goes wrong, the invariants hold", arguments: 0..<12)
    func invariants(block: Int) {
        let trial = FaultTrial(count: 2, first: UInt64(block * 2 + 5000))
        #expect(trial.days == 2)
        #expect(trial.broken.isEmpty, "\(trial.broken)")
    }

    @Test("Each fault reaches the engine and changes what it does", arguments: Fault.Kind.allCases)
    func reaches(kind: Fault.Kind) {
        // A burst has a second unit; of the seeds with a meter the first that the fault matters to will do.
        let isSeen = [4, 10, 16].contains { seed in
            var scenario = RandomScenario.make(seed: UInt64(seed))
            scenario.hasMeter = true
            let policy = FaultTrial.policy(scenario)
            var replay = ScenarioReplay(scenario, controller: .jouled(policy))
            let calm = replay.run()
            replay.faults = [Fault(kind: kind, start: 3600, end: 4 * 3600)]
            let faulty = replay.run()
            return faulty.moments != calm.moments
        }
        // Power is counted on the monotonic clock; only suns and chargers that were seen the day before are told by the wall's.
        #expect(isSeen != (kind == .clockJump))
    }

    @Test("The accounts of a day balance, and would not if a load were forgotten")
    func ledger() {
        for seed in 0..<6 {
            let outcome = ScenarioReplay(RandomScenario.make(seed: UInt64(seed))).run()
            #expect(abs(outcome.imbalance) < 1e-9, "seed \(seed)")
        }
    }
}
