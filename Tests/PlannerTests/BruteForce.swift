import JouledTestKit
import Planner
import Units

/// The optimum by trying everything. Written from the planner's documentation, sharing no code with it.
struct BruteForce {
    let demands: [StreamDemand]
    let limits: PlanLimits

    struct Best {
        var objective = -Double.infinity
        var power = Double.infinity
        var critical = -1
        var isOverBudget = false
    }

    func eligible(_ demand: StreamDemand) -> [PlanOption] {
        demand.options.filter { $0.variantQuality >= demand.floor && $0.latencyP99 <= demand.latencyTolerance }
    }

    func worth(_ demand: StreamDemand, _ option: PlanOption?) -> Double {
        var quality = option?.quality ?? 0
        let dwelling = demand.secondsSinceSwitch < limits.minimumDwell
        if let current = demand.current {
            if let option, option.variant == current.variant, option.unit == current.unit {
                if option.cadence != current.cadence || option.coalescing != current.coalescing { quality -= limits.retimeCost }
            } else {
                quality -= limits.switchCost + (dwelling ? 1 : 0)
            }
        } else if option != nil, dwelling {
            quality -= 1
        }
        var worth = demand.weight * quality
        if let option, limits.loadHorizon.value.isFinite, !isLoaded(demand.model, option) {
            worth -= limits.energyPrice * option.loadEnergy.value / limits.loadHorizon.value
        }
        return worth
    }

    /// Whether any stream runs the variant on that unit already.
    private func isLoaded(_ model: String, _ option: PlanOption) -> Bool {
        demands.contains { $0.model == model && $0.current?.variant == option.variant && $0.current?.unit == option.unit }
    }

    func best() -> Best {
        // Best within the budget, and the least power for as many critical streams as memory and time allow.
        var within = Best()
        var least = Best()
        var choice: [PlanOption?] = []
        func leaf() {
            var power = 0.0
            var time: [String: Double] = [:]
            var memory: [String: Int] = [:]
            var objective = 0.0
            var critical = 0
            var others = 0
            for (demand, option) in zip(demands, choice) {
                objective += worth(demand, option)
                guard let option else { continue }
                let isBehind = demand.gate.map { gate in zip(demands, choice).contains { $0.id == gate.stream && $1 != nil } } ?? false
                let awake = isBehind ? demand.gate?.duty ?? 1 : 1
                power += option.power.value * awake
                objective -= limits.energyPrice * option.power.value * awake
                time[option.unit, default: 0] += option.utilization * awake
                memory["\(demand.model)/\(option.variant)/\(option.unit)"] = option.residentBytes
                if demand.critical { critical += 1 } else { others += 1 }
            }
            guard time.allSatisfy({ $0.value <= (limits.unitUtilization[$0.key] ?? 0.9) + 1e-9 }),
                memory.values.reduce(0, +) <= limits.residentBytes ?? .max
            else { return }
            if power <= (limits.budget?.value ?? .infinity) + 1e-9,
                critical > within.critical
                    || (critical == within.critical
                        && (objective > within.objective + 1e-9 || (objective > within.objective - 1e-9 && power < within.power)))
            {
                within = Best(objective: objective, power: power, critical: critical)
            }
            if others == 0, critical > least.critical || (critical == least.critical && power < least.power) {
                least = Best(objective: objective, power: power, critical: critical, isOverBudget: true)
            }
        }
        func descend(_ depth: Int) {
            guard depth < demands.count else { return leaf() }
            choice.append(nil)
            descend(depth + 1)
            for option in eligible(demands[depth]) {
                choice[depth] = option
                descend(depth + 1)
            }
            choice.removeLast()
        }
        descend(0)
        return least.critical > within.critical ? least : within
    }
}

/// A random planning problem; the same for the same seed.
func randomCase(_ seed: Int, streams: ClosedRange<Int> = 1...5, options: ClosedRange<Int> = 1...8, leaves: Int = 4000, gates: Bool = false) -> (
    [StreamDemand], PlanLimits
) {
    var random = SeededGenerator(seed: UInt64(seed))
    func number(_ range: ClosedRange<Double>) -> Double { .random(in: range, using: &random) }
    func chance(_ share: Double) -> Bool { number(0...1) < share }
    let units = ["cpu", "npu", "gpu"]
    let variants = ["fp32", "int8", "palette4", "mixed"]
    // Memory belongs to the artefact, whoever uses it.
    var bytes: [String: Int] = [:]
    for model in 0..<2 {
        for variant in variants {
            for unit in units { bytes["\(model)\(variant)\(unit)"] = Int.random(in: 1...100, using: &random) }
        }
    }
    // Coarse figures make ties, which less power has to break.
    let isCoarse = chance(0.3)
    func coarse(_ value: Double) -> Double { isCoarse ? (value * 4).rounded(.up) / 4 : value }
    var demands: [StreamDemand] = []
    var product = 1
    var mostPower = 0.0
    for id in 0..<Int.random(in: streams, using: &random) {
        var count = Int.random(in: options, using: &random)
        while count > 1, product * (count + 1) > leaves { count -= 1 }
        product *= count + 1
        let model = Int.random(in: 0...1, using: &random)
        let list = (0..<count).map { _ in
            let variant = variants.randomElement(using: &random) ?? ""
            let unit = units.randomElement(using: &random) ?? ""
            let own = coarse(number(0.3...1))
            let cadence = Int.random(in: 1...3, using: &random)
            return PlanOption(
                variant: variant, unit: unit, cadence: cadence, coalescing: Int.random(in: 1...2, using: &random),
                quality: own * (1.1 - 0.1 * Double(cadence)), variantQuality: own, power: Watts(number(0.01...1)),
                utilization: number(0...0.6), latencyP99: Seconds(number(0.01...1)),
                residentBytes: bytes["\(model)\(variant)\(unit)"] ?? 0, loadEnergy: Joules(1))
        }
        mostPower += list.map(\.power.value).max() ?? 0
        demands.append(
            StreamDemand(
                id: UInt64(id) * 61 % 97, name: "s\(id)", model: "m\(model)", weight: coarse(number(0.5...3)), floor: chance(0.3) ? number(0.3...0.9) : 0,
                critical: chance(0.3), latencyTolerance: Seconds(chance(0.3) ? number(0.1...1) : 2), options: list,
                current: chance(0.5) ? list.randomElement(using: &random) : nil,
                secondsSinceSwitch: Seconds(chance(0.3) ? number(0...20) : .infinity)))
    }
    if gates {
        for index in demands.indices where chance(0.5) {
            let other = Int.random(in: demands.indices, using: &random)
            // A gate that is gated itself is no chain: each lets the other sleep by its own state.
            if other != index { demands[index].gate = .init(stream: demands[other].id, duty: number(0...0.9)) }
        }
    }
    let limits = PlanLimits(
        budget: chance(0.85) ? Watts(mostPower * number(0...0.8)) : nil,
        unitUtilization: chance(0.5) ? ["cpu": number(0.3...1.2)] : [:],
        residentBytes: chance(0.5) ? Int.random(in: 0...250, using: &random) : nil,
        switchCost: chance(0.5) ? number(0...0.2) : 0, retimeCost: chance(0.5) ? number(0...0.05) : 0,
        minimumDwell: Seconds(chance(0.3) ? 10 : 0), energyPrice: chance(0.3) ? number(0...1) : 0,
        loadHorizon: Seconds(chance(0.5) ? number(1...20) : .infinity))
    return (demands, limits)
}
