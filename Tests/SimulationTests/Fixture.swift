import Units

@testable import Simulation

/// Scenarios small enough to be worked out by hand.
enum Fixture {
    /// One model `m` with one option of 1 J and 0.5 s per window.
    static func scenario(capacity: Double, initial: Double, reserve: Double, base: Double, until: Double) -> Scenario {
        Scenario(
            name: "fixture", seed: 1, battery: .init(capacity: Joules(capacity), initialCharge: initial, charger: .zero),
            gauge: .init(period: Seconds(10), quantum: 0, powerNoise: 0), hasMeter: false,
            goal: .init(until: Seconds(until), reserve: reserve),
            options: [
                .init(
                    model: "m", variant: "fp32", unit: "cpu", quality: 1, joules: Joules(1), p50: Seconds(0.5), p99: Seconds(0.9),
                    residentMegabytes: 1, loadJoules: .zero)
            ],
            streams: [], rows: [.init(time: .zero, base: Watts(base))])
    }

    static func stream(_ name: String, until: Double, critical: Bool = false) -> Scenario.Stream {
        Scenario.Stream(
            name: name, model: "m", start: .zero, end: Seconds(until), hop: Seconds(1), deadline: Seconds(2), floor: 0.5, weight: 1,
            critical: critical, cadences: [1, 2], cadenceQuality: [1, 0.5])
    }
}
