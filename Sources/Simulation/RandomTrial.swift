import Units

/// Many random scenarios beside their optima and the baselines: the distribution that tells a good controller from one
/// that was fitted to a few days.
public struct RandomTrial: Sendable {
    /// One scenario that some controller could do well on.
    public struct Entry: Sendable {
        public var name: String
        public var ratio: Double
        public var goalMet: Bool
        public var switchesPerStreamHour: Double
        /// The baseline of greatest utility among those that met the goal, and its ratio.
        public var best: (name: String, ratio: Double)?
    }
    public private(set) var entries: [Entry] = []
    /// Scenarios of which no controller could meet the goal, or only by leaving most of the work undone (an optimum
    /// below `worthless`).
    public private(set) var hopeless = 0
    /// Of these, those of which it was said at once.
    public private(set) var hopelessSaid = 0
    /// Scenarios with a paused critical stream or time below a floor.
    public private(set) var violations = 0

    static let worthless = 0.4

    /// How well inference's power was known, over all scenarios of a kind.
    public struct Learning: Sendable {
        /// Relative errors, one for each scenario.
        public private(set) var errors: [Double] = []
        private var covered = 0
        private var looks = 0

        /// - Parameter after: when it has to be known, in seconds.
        mutating func note(_ moments: [ScenarioOutcome.Moment], after: Double) {
            let late = moments.filter { $0.time >= after && $0.believedTruth > 0 }
            guard let first = late.first else { return }
            errors.append(abs(first.believed / first.believedTruth - 1))
            looks += late.count
            // 90 % of a normal distribution.
            covered += late.count { abs($0.believed - $0.believedTruth) <= 1.645 * $0.believedDeviation }
        }

        func line(_ name: String, within share: Double) -> String? {
            guard !errors.isEmpty else { return nil }
            let sorted = errors.sorted()
            return
                "\(name): median error \(percent(sorted[sorted.count / 2], places: 1)), below \(percent(share)) in \(percent(Double(errors.count { $0 < share }) / Double(errors.count))) of \(errors.count), 90 % interval covers \(percent(Double(covered) / Double(max(1, looks))))"
        }
    }
    /// With a meter, after half an hour; with a gauge alone that is read every minute, after four hours.
    public private(set) var metered = Learning()
    public private(set) var gauged = Learning()

    /// Runs the scenarios of the seeds from `first` to `first + count` - 1.
    public init(count: Int, first: UInt64 = 0) {
        // Seeds begin anew after the largest.
        for seed in (0..<UInt64(max(0, count))).lazy.map({ first &+ $0 }) {
            let scenario = RandomScenario.make(seed: seed)
            let outcome = ScenarioReplay(scenario).run()
            if scenario.hasMeter {
                metered.note(outcome.moments, after: 1800)
            } else if scenario.gauge.period == Seconds(60) {
                gauged.note(outcome.moments, after: 4 * 3600)
            }
            if outcome.criticalPaused > 0 || outcome.floorViolation > 0 { violations += 1 }
            guard let optimum = Oracle(scenario).utility, optimum > Self.worthless else {
                hopeless += 1
                if outcome.notices.contains(where: { $0.time < 3600 }) { hopelessSaid += 1 }
                continue
            }
            var entry = Entry(
                name: scenario.name, ratio: outcome.utility / optimum, goalMet: outcome.goalMet,
                switchesPerStreamHour: outcome.switchesPerStreamHour, best: nil)
            for baseline in Baseline.allCases {
                let other = ScenarioReplay(scenario, controller: .baseline(baseline)).run()
                if other.goalMet, other.utility / optimum > entry.best?.ratio ?? 0 { entry.best = (baseline.rawValue, other.utility / optimum) }
            }
            entries.append(entry)
        }
    }

    /// The distribution, for people.
    public var lines: [String] {
        let ratios = entries.map(\.ratio).sorted()
        guard !ratios.isEmpty else { return ["no scenario to measure on; \(hopeless) hopeless"] }
        func quantile(_ share: Double) -> String { decimal(ratios[min(ratios.count - 1, Int(share * Double(ratios.count)))], places: 4) }
        let switches = entries.map(\.switchesPerStreamHour)
        let beaten = entries.filter { $0.best?.ratio ?? 0 > $0.ratio + 1e-9 }
        var lines = [
            "\(entries.count) scenarios, and \(hopeless) hopeless ones (said within the hour: \(hopelessSaid))",
            "goal met           \(entries.count { $0.goalMet }) of \(entries.count)",
            "utility / optimum  mean \(decimal(ratios.reduce(0, +) / Double(ratios.count), places: 4)), worst \(quantile(0)), 5 % \(quantile(0.05)), 10 % \(quantile(0.1)), median \(quantile(0.5))",
            "switches           mean \(decimal(switches.reduce(0, +) / Double(switches.count), places: 2)), most \(decimal(switches.max() ?? 0, places: 2)) per stream and hour",
            "violations         \(violations) scenarios with a paused critical stream or time below a floor",
            "beaten             \(beaten.count) times by a baseline that met the goal, \(beaten.count { ($0.best?.ratio ?? 0) > $0.ratio + 0.005 }) times by more than 0.005",
        ]
        lines += [metered.line("metered, 30 min", within: 0.05), gauged.line("gauge alone, 4 h", within: 0.1)].compactMap { $0 }
        for kind in RandomScenario.Kind.allCases {
            let of = entries.filter { $0.name.hasSuffix(kind.rawValue) }
            guard !of.isEmpty else { continue }
            let mean = of.reduce(0) { $0 + $1.ratio } / Double(of.count)
            lines.append(
                "  \(kind.rawValue): \(of.count), goal met \(of.count { $0.goalMet }), mean \(decimal(mean, places: 4)), worst \(decimal(of.map(\.ratio).min() ?? 0, places: 4))")
        }
        for entry in entries where !entry.goalMet || entry.ratio < 0.9 {
            lines.append("  \(entry.name): \(decimal(entry.ratio, places: 4)), goal \(entry.goalMet ? "met" : "missed")")
        }
        return lines
    }
}
