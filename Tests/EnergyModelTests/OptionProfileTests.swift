import JouledTestKit
import ConfigDocument
import Testing
import Units

@testable import EnergyModel

func profile(
    _ variant: String, on unit: String = "cpu", wake: StepCost = .zero, first: StepCost, next: StepCost? = nil,
    latency: Seconds = Seconds(0.001), basis: Basis = .metered
) -> OptionProfile {
    OptionProfile(
        variant: variant, unit: unit, wake: wake, first: first, next: next ?? first,
        latency: LatencyProfile(p50: latency, p99: latency), basis: basis)
}

@Suite("Option profiles")
struct OptionProfileTests {
    @Test("Worked numbers: busy time at a power")
    func workedNumbers() {
        let npu = profile("int8", first: StepCost(busy: Seconds(milliseconds: 8), at: Watts(0.3)))
        let cpu = profile("fp32", first: StepCost(busy: Seconds(milliseconds: 45), at: Watts(1.8)))
        #expect(npu.perWindow(coalescing: 1).energy.description == "2.40 mJ")
        #expect(cpu.perWindow(coalescing: 1).energy.description == "81.0 mJ")
    }

    @Test("A mixed variant with two layers falling back to the CPU loses to full INT8 on the accelerator")
    func fallbackLoses() {
        let full = StepCost(busy: Seconds(milliseconds: 8), at: Watts(0.3))
        let onCPU = StepCost(busy: Seconds(milliseconds: 45), at: Watts(1.8))
        // 90 % of the operations stay on the accelerator; two layers, a tenth of the work, fall back.
        let mixed = full * 0.9 + onCPU * 0.05 + onCPU * 0.05
        let options: [(quality: Double, profile: OptionProfile)] = [
            (0.97, profile("mixed", on: "npu", first: mixed, latency: mixed.cpu)),
            (0.97, profile("int8", on: "npu", first: full, latency: full.cpu)),
        ]
        #expect(mixed.energy > full.energy * 4)
        #expect(EnergyModel().dominated(options) == [1, nil])
    }

    @Test("Cost per window is the sum over a wake-up, divided by its windows")
    func coalescing() {
        let option = profile(
            "v", wake: StepCost(cpu: Seconds(40e-6), energy: Joules(30e-6)),
            first: StepCost(cpu: Seconds(400e-6), energy: Joules(300e-6)),
            next: StepCost(cpu: Seconds(60e-6), energy: Joules(50e-6)))
        var last = Double.infinity
        for k in 1...50 {
            var energy = option.wake.energy + option.first.energy
            for _ in 1..<max(2, k) where k > 1 { energy = energy + option.next.energy }
            let perWindow = option.perWindow(coalescing: k).energy.value
            #expect(abs(perWindow - energy.value / Double(k)) < 1e-12)
            #expect(perWindow < last)
            last = perWindow
        }
    }

    @Test("The worst latency is that of the window that has it", arguments: 1...100)
    func worstLatency(seed: Int) {
        var random = SeededGenerator(seed: UInt64(seed))
        var option = profile("v", first: .zero)
        option.latency.p99 = Seconds(.random(in: 0...0.01, using: &random))
        option.nextLatency.p99 = Seconds(.random(in: 0...0.01, using: &random))
        let period = Seconds(.random(in: 0.001...0.02, using: &random))
        let k = Int.random(in: 1...12, using: &random)
        let each = (1...k).map { period.value * Double(k - $0) + option.latency(ofWindow: $0).p99.value }
        #expect(abs(option.worstLatency(coalescing: k, period: period).value - (each.max() ?? 0)) < 1e-12, "seed \(seed)")
    }

    @Test("A profile read back is the same to the last bit, and written again the same bytes", arguments: 1...50)
    func roundTrip(seed: Int) throws {
        var random = SeededGenerator(seed: UInt64(seed))
        func amount() -> Double { Double.random(in: 0...1, using: &random) * ([1e-9, 1e-4, 1, 1e5].randomElement(using: &random) ?? 1) }
        func cost() -> StepCost { StepCost(cpu: Seconds(amount()), energy: Joules(amount())) }
        func latency() -> LatencyProfile {
            let p50 = amount()
            return LatencyProfile(p50: Seconds(p50), p99: Seconds(p50 + amount()))
        }
        var options: [OptionProfile] = []
        for index in 0..<Int.random(in: 0...5, using: &random) {
            options.append(
                OptionProfile(
                    variant: "v\(index)-\"ü\\\n\u{1}", unit: "cpu", wake: cost(), first: cost(), next: cost(), latency: latency(),
                    nextLatency: latency(), loadTime: Seconds(amount()), loadEnergy: Joules(amount()),
                    residentBytes: .random(in: 0...1 << 40, using: &random), basis: Basis.allCases.randomElement(using: &random) ?? .metered))
        }
        let device = DeviceProfile(device: "board \"x\"", runtime: "onnxruntime 1.24", wattsPerCore: Watts(.random(in: 0...9, using: &random)), options: options)
        let again = try DeviceProfile(reading: ConfigDocument(file: "profile.toml", text: device.text))
        #expect(again == device, "seed \(seed)")
        #expect(again.text == device.text, "seed \(seed)")
    }

    @Test(
        "Wrong profiles are refused with line and key",
        arguments: [
            ("first = { cpu_s = 1, joules = 1 }", "first = { cpu_s = 1, joules = -1 }", "p.toml:9: key 'option[0].first.joules': must be at least 0, is -1"),
            ("basis = \"metered\"", "basis = \"guessed\"", "p.toml:7: key 'option[0].basis': 'guessed' is none of modelled, battery, metered"),
            ("p99_s = 2", "p99_s = 0.5", "p.toml:11: key 'option[0].latency.p99_s': is below p50_s"),
            ("resident_bytes", "residnet_bytes", "p.toml:12: key 'option[0].residnet_bytes': unknown key; did you mean 'resident_bytes'?"),
            ("unit = \"cpu\"", "", "p.toml:4: key 'option[0].unit': required (a string), but missing"),
            ("resident_bytes = 5", "resident_bytes = 5\n[[option]]\nvariant = \"a\"\nunit = \"cpu\"\nbasis = \"metered\"\nwake = { cpu_s = 1, joules = 1 }\nfirst = { cpu_s = 1, joules = 1 }\nnext = { cpu_s = 1, joules = 1 }\nlatency = { p50_s = 1, p99_s = 2 }",
                "p.toml:14: key 'option[1].variant': 'a' on 'cpu' is profiled twice"),
        ])
    func refused(old: String, new: String, expected: String) throws {
        let good = """
            device = "d"
            runtime = "r"
            watts_per_core = 1
            [[option]]
            variant = "a"
            unit = "cpu"
            basis = "metered"
            wake = { cpu_s = 1, joules = 1 }
            first = { cpu_s = 1, joules = 1 }
            next = { cpu_s = 1, joules = 1 }
            latency = { p50_s = 1, p99_s = 2 }
            resident_bytes = 5
            """
        _ = try DeviceProfile(reading: ConfigDocument(file: "p.toml", text: good))
        let start = try #require(good.ranges(of: old).first, "the test must change something")
        let bad = good.replacingCharacters(in: start, with: new)
        do {
            _ = try DeviceProfile(reading: ConfigDocument(file: "p.toml", text: bad))
            Issue.record("accepted: \(bad)")
        } catch {
            #expect(error.message == expected)
        }
    }
}

extension String {
    func replacingCharacters(in range: Range<String.Index>, with text: String) -> String {
        String(self[..<range.lowerBound]) + text + String(self[range.upperBound...])
    }
}
