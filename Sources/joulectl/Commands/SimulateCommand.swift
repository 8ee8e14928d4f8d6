import ArgumentParser
import DecisionRecords
import PowerPolicy
import Simulation
import Units

/// Replays a scenario under the daemon's own policy, model and planner.
struct SimulateCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "simulate",
        abstract: "Replay a scenario in virtual time and score it beside the clairvoyant optimum.",
        discussion: """
            The same file and seed give the same bytes. Planner times are CPU time, and given as upper bounds in steps \
            (50, 200, 1000, 5000, 20000, 100000 us); --timings prints them exactly, on standard error.
            """)

    @Argument(help: "The scenario, a TOML file that names its trace.")
    var file: String?
    @Option(help: "Instead of a file: so many random scenarios, and the distribution over them.")
    var random: Int?
    @Flag(help: "With --random: let things go wrong (gauge stuck, battery unplugged, clock jump, meter wrap, heat, a dying unit, policy reload) and check what must always hold; exit status 1 if it did not.")
    var faults = false
    @Option(help: "With --random: the first seed; 0 if left out.")
    var seed: UInt64?
    @Option(help: "The policy to run; a lifetime policy takes its goal from the scenario.")
    var policy: String?
    @Flag(help: "Print one JSON object.")
    var json = false
    @Option(help: "Also run a baseline: best-static, cheapest-static, soc-threshold, greedy, always-fp32, or all.")
    var baseline: String?
    @Option(help: "Write a report with plots to this HTML file; - is standard output, and the lines go to standard error then.")
    var report: String?
    @Option(help: "Write every decision with its inputs to this file, as journalctl -o export would; joulectl replay reads it. - is standard output, as with --report.")
    var journal: String?
    @Flag(help: "Print exact planner times on standard error.")
    var timings = false

    func validate() throws {
        guard (file == nil) != (random == nil) else { throw ValidationError("give a scenario file, or --random COUNT, and not both") }
        if let random {
            guard (1...1_000_000).contains(random) else { throw ValidationError("--random must be 1 to 1000000") }
            let largest = UInt64.max - UInt64(random) + 1
            guard (seed ?? 0) <= largest else { throw ValidationError("--seed must be 0 to \(largest): \(random) seeds are counted from it") }
            guard policy == nil, baseline == nil, report == nil, journal == nil, !json, !timings else {
                throw ValidationError("--policy, --baseline, --report, --journal, --json and --timings need a scenario file")
            }
        } else {
            guard !faults, seed == nil else { throw ValidationError("--faults and --seed need --random") }
        }
        guard [report == "-", journal == "-", json].count(where: { $0 }) <= 1 else {
            throw ValidationError("one of --json, --report - and --journal - can have standard output")
        }
        _ = try baselines()
    }

    func run() throws {
        try reporting {
            let seed = seed ?? 0
            if let random, faults {
                let trial = FaultTrial(count: random, first: seed)
                trial.lines.forEach(Console.out)
                if !trial.broken.isEmpty { throw ExitCode(1) }
                return
            }
            if let random { return RandomTrial(count: random, first: seed).lines.forEach(Console.out) }
            guard let file else { return }
            let scenario = try Scenario.load(file)
            for notice in scenario.notices { Console.error("joulectl: note: \(notice)") }
            let chosen = try policy.map { path throws(JouledError) in try PowerPolicy.load(path) }
            var replay = ScenarioReplay(scenario, controller: .jouled(chosen))
            replay.recordsDecisions = journal != nil
            replay.keepsTrack = report != nil
            let outcome = replay.run()
            if let journal { try Console.write(SimulatedJournal.bytes(of: outcome, scenario), file: journal, mode: 0o644) }
            var result = ScenarioReport(
                name: scenario.name, controller: policy ?? "jouled",
                outcome: outcome, oracle: Oracle(scenario).utility)
            for baseline in try baselines() {
                replay.controller = .baseline(baseline)
                result.baselines.append((baseline.rawValue, replay.run()))
            }
            if let report { try Console.write(HTMLReport(scenario, result).text, file: report, mode: 0o644) }
            // A file on standard output is alone there.
            if json { Console.out(result.json) } else { result.lines.forEach(report == "-" || journal == "-" ? Console.error : Console.out) }
            if timings {
                Console.error(
                    "planner p50 \(decimal(result.outcome.plannerTime(0.5), places: 1)) us, p99 \(decimal(result.outcome.plannerTime(0.99), places: 1)) us, \(result.outcome.plannerTimes.count) decisions")
            }
        }
    }

    private func baselines() throws -> [Baseline] {
        guard let baseline else { return [] }
        if baseline == "all" { return Baseline.allCases }
        guard let known = Baseline(rawValue: baseline) else {
            let names = Baseline.allCases.map(\.rawValue).joined(separator: ", ")
            throw ValidationError("--baseline: no baseline '\(baseline)'; there are: \(names), all")
        }
        return [known]
    }
}
