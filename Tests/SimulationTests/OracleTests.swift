import Testing
import Units

@testable import Simulation

@Suite("Clairvoyant optimum")
struct OracleTests {
    /// By a general linear programme: Tests/Reference/clairvoyant.py over the scenarios of these seeds.
    static let reference: [(seed: UInt64, optimum: Double?)] = [
        (0, 0.983471447),
        (1, 0.986014697),
        (2, 0.996362671),
        (3, 0.997980198),
        (4, 0.996618732),
        (5, 0.856198752),
        (6, 0.991316576),
        (7, 1.000000000),
        (8, 0.998323758),
        (9, 0.993299645),
        (10, 1.000000000),
        (11, 0.951113809),
        (12, 0.054779772),
        (13, 0.993283280),
        (14, 0.998299809),
        (15, 0.997059753),
        (16, 0.995864424),
        (17, 0.969298116),
        (18, 0.990214299),
        (19, 0.990460238),
        (20, 0.951760638),
        (21, 0.925104579),
        (22, 0.997080895),
        (23, 0.998865279),
        (24, 0.923764851),
        (25, 0.998828093),
        (26, 0.999345529),
        (27, 0.999104723),
        (28, 0.919367555),
        (29, 0.996426848),
        (30, 0.991299343),
        (31, 0.994284888),
        (32, 0.997621648),
        (33, 0.992537398),
        (34, nil),
        (35, 0.991446899),
    ]

    @Test("Agrees with a general solver on random scenarios", arguments: reference)
    func agrees(_ entry: (seed: UInt64, optimum: Double?)) throws {
        let found = Oracle(RandomScenario.make(seed: entry.seed)).utility
        guard let optimum = entry.optimum else {
            #expect(found == nil, "seed \(entry.seed)")
            return
        }
        let utility = try #require(found, "seed \(entry.seed)")
        #expect(abs(utility - optimum) < 1e-6 * optimum, "seed \(entry.seed): \(utility), \(optimum) by the reference")
    }

    @Test("The scale of weights changes neither the optimum nor what is decided", arguments: [UInt64(1), 5, 12], [1e-14, 1e-6, 1e6])
    func scale(seed: UInt64, factor: Double) throws {
        let scenario = RandomScenario.make(seed: seed)
        var scaled = scenario
        for index in scaled.streams.indices { scaled.streams[index].weight *= factor }
        let (optimum, same) = (try #require(Oracle(scenario).utility), try #require(Oracle(scaled).utility))
        #expect(abs(same - optimum) < 1e-9, "\(same), \(optimum) before")
        let (outcome, other) = (ScenarioReplay(scenario).run(), ScenarioReplay(scaled).run())
        #expect(abs(other.utility - outcome.utility) < 1e-9, "\(other.utility), \(outcome.utility) before")
        #expect(other.switches == outcome.switches && other.goalMet == outcome.goalMet)
    }

    @Test("A stream with one option earns as long as the battery gives")
    func byHand() throws {
        // 100 J stored, 20 J reserve, 0.5 W of base over 100 s: 30 J left for a stream that takes 1 W: 30 s of 100.
        var scenario = Fixture.scenario(capacity: 200, initial: 0.5, reserve: 0.1, base: 0.5, until: 100)
        scenario.streams = [Fixture.stream("a", until: 100)]
        #expect(abs(try #require(Oracle(scenario).utility) - 0.3) < 1e-12)
        scenario.rows[0].base = Watts(0.81)
        #expect(Oracle(scenario).utility == nil)
    }

    @Test("What does not fit into the battery is lost")
    func spill() throws {
        // Full at 100 J, 1 W of income for 50 s, then 1 W of base for 50 s: what is not used in the first half is lost.
        var scenario = Fixture.scenario(capacity: 100, initial: 1, reserve: 0.5, base: 0, until: 100)
        scenario.rows = [
            .init(time: .zero, base: .zero, harvest: Watts(1)), .init(time: Seconds(50), base: Watts(1)),
        ]
        scenario.streams = [Fixture.stream("a", until: 100)]
        // The first 50 s are free; the 50 J above the reserve are the base's.
        #expect(abs(try #require(Oracle(scenario).utility) - 0.5) < 1e-12)
    }

    @Test("Streams on one unit share its time")
    func utilization() throws {
        var scenario = Fixture.scenario(capacity: 1e6, initial: 1, reserve: 0, base: 0, until: 100)
        scenario.streams = [Fixture.stream("a", until: 100), Fixture.stream("b", until: 100)]
        // Each takes half of the unit's time.
        scenario.unitUtilization = ["cpu": 0.75]
        #expect(abs(try #require(Oracle(scenario).utility) - 0.75) < 1e-12)
        scenario.latencyScale = ["cpu": 1.5]
        #expect(abs(try #require(Oracle(scenario).utility) - 0.5) < 1e-12)
    }
}
