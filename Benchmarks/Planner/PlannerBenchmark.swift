import Glibc
import JouledTestKit
import Planner
import Units

/// How long plans take: random problems of 8 and 64 streams with 24 options each, from a seed.
///
/// Prints microseconds of CPU time by quantile, how many plans were proven optimal, and how far the others may be from the optimum. Exit status
/// 1 where a goal is missed. Run it pinned; on a shared machine the median says more than the tail.
@main
enum PlannerBenchmark {
    struct Shape {
        var name: String
        var streams: Int
        /// Whether both units' time binds as well as power.
        var isTight = true
        /// Share of the memory that all artefacts together take; nil: no limit.
        var memory: Double?
        /// Goal for the 99th percentile, in microseconds.
        var goal: Double
    }
    static let shapes = [
        Shape(name: "8 x 24, power binds", streams: 8, isTight: false, goal: 200),
        Shape(name: "8 x 24, power and memory", streams: 8, isTight: false, memory: 0.35, goal: 200),
        Shape(name: "8 x 24, power and two units' time", streams: 8, goal: 200),
        Shape(name: "8 x 24, power, time and memory", streams: 8, memory: 0.35, goal: 200),
        Shape(name: "64 x 24, power binds", streams: 64, isTight: false, goal: 3000),
        Shape(name: "64 x 24, power and memory", streams: 64, isTight: false, memory: 0.35, goal: 3000),
        Shape(name: "64 x 24, power and two units' time", streams: 64, goal: 3000),
        Shape(name: "64 x 24, power, time and memory", streams: 64, memory: 0.35, goal: 3000),
    ]

    static func main() {
        let count = CommandLine.arguments.dropFirst().first.flatMap { Int($0) } ?? 500
        var failed = false
        let only = CommandLine.arguments.dropFirst(2).first.flatMap { Int($0) }
        for (index, shape) in shapes.enumerated() where only ?? index == index {
            var times: [Double] = []
            var proven = 0
            var regret = 0.0
            let rounds = shape.streams > 8 ? max(1, count / 4) : count
            for seed in 0..<rounds {
                let (demands, limits) = problem(UInt64(seed), shape)
                // Twice, and the quicker one counts: caches that others emptied are not what is measured.
                var best = Double.infinity
                var plan: Plan?
                for _ in 0..<2 {
                    let clocks = SystemClocks()
                    let begun = clocks.threadCPU()
                    plan = Planner.plan(demands, limits: limits)
                    best = min(best, (clocks.threadCPU() - begun).microseconds)
                }
                times.append(best)
                if let plan {
                    if plan.regretBound <= 1e-9 { proven += 1 }
                    regret = max(regret, plan.regretBound)
                }
            }
            times.sort()
            func quantile(_ share: Double) -> Double { times[min(times.count - 1, Int(share * Double(times.count)))] }
            let misses = quantile(0.99) > shape.goal
            failed = failed || misses
            print(
                "\(shape.name): median \(decimal(quantile(0.5), places: 0)) us, p99 \(decimal(quantile(0.99), places: 0)) us (goal \(decimal(shape.goal, places: 0)))\(misses ? " MISSED" : ""), proven optimal \(proven) of \(rounds), greatest regret bound \(decimal(regret, places: 4))"
            )
        }
        exit(failed ? 1 : 0)
    }

    /// Six models of four variants on two units at three cadences.
    static func problem(_ seed: UInt64, _ shape: Shape) -> ([StreamDemand], PlanLimits) {
        var random = SeededGenerator(seed: seed &* 1_000_003 &+ UInt64(shape.streams))
        func uniform(_ range: ClosedRange<Double>) -> Double { .random(in: range, using: &random) }
        struct Artefact { var model, variant: Int; var unit: String; var quality, power, time: Double; var bytes: Int }
        var artefacts: [Artefact] = []
        for model in 0..<6 {
            for variant in 0..<4 {
                for unit in ["cpu", "npu"] {
                    let cheap = pow(0.55, Double(variant)) * uniform(0.8...1.25) * (unit == "npu" ? 0.5 : 1)
                    artefacts.append(
                        .init(
                            model: model, variant: variant, unit: unit,
                            quality: 1 - Double(variant) * uniform(0.002...0.02), power: cheap * uniform(0.5...2),
                            time: cheap * 0.05, bytes: Int(1e6 * pow(0.6, Double(variant)) * uniform(2...20))))
                }
            }
        }
        var demands: [StreamDemand] = []
        var most = 0.0
        var time = 0.0
        for id in 0..<shape.streams {
            let model = id % 6
            var options: [PlanOption] = []
            for artefact in artefacts where artefact.model == model {
                for (cadence, factor) in [(1, 1.0), (2, 0.93), (4, 0.78)] {
                    let share = 1 / Double(cadence)
                    options.append(
                        PlanOption(
                            variant: "v\(artefact.variant)", unit: artefact.unit, cadence: cadence, coalescing: 1,
                            quality: artefact.quality * factor, variantQuality: artefact.quality, power: Watts(artefact.power * share),
                            utilization: artefact.time * share, latencyP99: Seconds(0.01), residentBytes: artefact.bytes,
                            loadEnergy: Joules(0.1)))
                }
            }
            most += options.map(\.power.value).max() ?? 0
            time += options.map(\.utilization).max() ?? 0
            demands.append(
                StreamDemand(
                    id: UInt64(id + 1), name: "s\(id)", model: "m\(model)", weight: uniform(0.5...3), floor: 0.9, critical: id % 16 == 0,
                    latencyTolerance: Seconds(1), options: options, current: nil, secondsSinceSwitch: Seconds(.infinity)))
        }
        let bytes = artefacts.reduce(0) { $0 + $1.bytes }
        let limits = PlanLimits(
            budget: Watts(most * uniform(0.1...0.5)), unitUtilization: shape.isTight ? ["cpu": time * 0.15, "npu": time * 0.1] : ["cpu": time, "npu": time],
            residentBytes: shape.memory.map { Int(Double(bytes) * $0 * uniform(0.4...1)) }, switchCost: 0.002,
            retimeCost: 0.0005, minimumDwell: .zero, nodeLimit: PlanLimits.liveNodeLimit)
        return (demands, limits)
    }
}
