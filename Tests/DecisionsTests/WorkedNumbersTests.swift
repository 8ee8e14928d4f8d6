import EnergyModel
import Planner
import PowerPolicy
import Testing
import Units

@testable import Decisions

@Suite("Worked numbers, through the whole decision")
struct WorkedNumbersTests {
    private static let now = MonotonicTime(nanoseconds: 1_000_000_000_000)

    /// A window a second. The accelerator takes 8 ms at 0.3 W for full INT8, the CPU 45 ms at 1.8 W for FP32; of the mixed
    /// variant 90 % of the operations stay on the accelerator, and two layers, a tenth of them, fall back to the CPU.
    private func engine(_ watts: Double?) -> DecisionEngine {
        let npu = StepCost(busy: Seconds(milliseconds: 8), at: Watts(0.3))
        let cpu = StepCost(busy: Seconds(milliseconds: 45), at: Watts(1.8))
        func variant(_ name: String, _ quality: Double, _ unit: String, _ cost: StepCost) -> StreamRequest.Variant {
            .init(
                name: name, quality: quality,
                profiles: [
                    OptionProfile(variant: name, unit: unit, wake: .zero, first: cost, next: cost, latency: .init(p50: cost.cpu, p99: cost.cpu), basis: .metered)
                ])
        }
        let request = StreamRequest(
            id: 1, name: "s", model: "m", hopTime: Seconds(1), latencyTolerance: Seconds(2),
            variants: [variant("fp32", 1, "cpu", cpu), variant("int8", 0.97, "npu", npu), variant("mixed", 0.97, "npu", npu * 0.9 + cpu * 0.1)],
            cadences: [.init(multiple: 1, quality: 1)], pacing: .perWindow)
        var engine = DecisionEngine(policyName: "p", policy: PowerPolicy(kind: watts.map { .fixed(Watts($0)) } ?? .unlimited))
        engine.open(request, at: Self.now)
        _ = engine.decide(because: .streamOpened, at: Self.now, wall: WallTime(secondsSince1970: 0), utcOffset: .zero)
        return engine
    }

    @Test("2.4 mJ on the accelerator, 81 mJ on the CPU, and what 80 mW and 82 mW buy of it")
    func energies() {
        let poor = engine(0.080).placements[1]?.option
        #expect(poor?.plan.variant == "int8")
        #expect(abs((poor?.energy.joules.value ?? 0) - 2.4e-3) < 1e-12)
        let rich = engine(0.082).placements[1]?.option
        #expect(rich?.plan.variant == "fp32")
        #expect(abs((rich?.energy.joules.value ?? 0) - 81e-3) < 1e-12)
        #expect(engine(0.0023).placements[1]?.option == nil)
    }

    @Test("A quarter of the power on a device that was never cool is a quarter of what its streams want")
    func neverCool() throws {
        var engine = engine(nil)
        engine.adopt(PowerPolicy(kind: .unlimited, thermal: .init(from: Celsius(60), to: Celsius(80))), named: "warm")
        let reading = DecisionEngine.Reading(battery: nil, draw: nil, acOnline: true, temperature: Celsius(75), takenAt: Self.now)
        engine.observe(reading, usage: .init(span: .zero, profiled: []), wall: WallTime(secondsSince1970: 0), utcOffset: .zero)
        for _ in 0..<2 {
            let decision = engine.decide(because: .policy, at: Self.now, wall: WallTime(secondsSince1970: 0), utcOffset: .zero)
            #expect(abs((decision.budget.watts?.value ?? 0) - 0.081 / 4) < 1e-9, "\(decision.budget)")
        }
        #expect(engine.placements[1]?.option?.plan.variant == "int8")
    }

    @Test("The mixed variant with two layers that fall back loses to full INT8 at any budget")
    func fallback() {
        for milliwatts in [2.5, 5, 9, 10.26, 11, 40, 80] { #expect(engine(milliwatts / 1000).placements[1]?.option?.plan.variant == "int8", "\(milliwatts) mW") }
        #expect(engine(nil).placements[1]?.option?.plan.variant == "fp32")
    }
}
