import Glibc
import Units

/// Scenarios drawn at random from a seed, over the whole range that devices are met in: hot and cold
/// energy scales, slow gauges, no meters, suns, chargers for minutes or hours, bursts of streams,
/// and budgets from ample to hopeless. For tuning on days that no one chose.
public enum RandomScenario {
    public enum Kind: String, CaseIterable, Sendable {
        case wearable, satellite, solar, cradle, burst, commute
    }

    /// The scenario of `seed`; the same for the same seed.
    public static func make(seed: UInt64) -> Scenario {
        var draws = Draws(seed: seed &* 77 &+ 5)
        let kind = Kind.allCases[Int(seed % UInt64(Kind.allCases.count))]
        let hasNPU = kind == .satellite || kind == .burst || draws.uniform() < 0.3
        let units = hasNPU ? ["cpu", "npu"] : ["cpu"]
        let hours: Double =
            switch kind {
            case .wearable: 12 + 8 * draws.uniform()
            case .satellite: 6 + 8 * draws.uniform()
            case .solar: draws.uniform() < 0.5 ? 48 : 30 + 18 * draws.uniform()
            case .cradle, .commute: 10 + 10 * draws.uniform()
            case .burst: 5 + 8 * draws.uniform()
            }
        let until = (hours * 12).rounded() * 300
        var scenario = Scenario(
            name: "random-\(seed)-\(kind.rawValue)", seed: seed,
            battery: .init(capacity: Joules(1), initialCharge: (45 + (50 * draws.uniform()).rounded()) / 100, charger: .zero),
            gauge: .init(
                period: Seconds([5, 30, 60, 120, 360][Int(draws.next() % 5)]), quantum: 0.01,
                powerNoise: 0.02 + 0.1 * draws.uniform()),
            hasMeter: draws.uniform() < 0.5,
            goal: .init(until: Seconds(until), reserve: [0.05, 0.1, 0.1, 0.15][Int(draws.next() % 4)]),
            unitUtilization: [:], residentMegabytes: 400, options: catalogue.filter { units.contains($0.unit) }, streams: [], rows: [])
        for unit in units {
            // Skewed like devices are: more profiles are too low than too high.
            scenario.energyScale[unit] = 0.85 * exp(log(3.2 / 0.85) * draws.uniform() * (unit == "cpu" ? 1 : draws.uniform()))
            scenario.latencyScale[unit] = 0.9 + 0.4 * draws.uniform()
            scenario.unitUtilization[unit] = 0.7
        }
        scenario.streams = streams(kind, until, hasNPU, &draws)
        let work = fullPower(scenario)
        rows(&scenario, kind, until, work, &draws)
        size(&scenario, work, &draws)
        return scenario
    }

    // MARK: - Streams

    private static func streams(_ kind: Kind, _ until: Double, _ hasNPU: Bool, _ draws: inout Draws) -> [Scenario.Stream] {
        var list: [Scenario.Stream] = []
        func add(_ model: String, _ start: Double, _ end: Double, weight: Double? = nil, critical: Bool = false, _ draws: inout Draws) {
            let known = contracts[model] ?? (hop: 1, deadline: 500, floor: 0.9)
            list.append(
                Scenario.Stream(
                    name: "\(model)-\(list.count)", model: model, start: Seconds((start / 60).rounded() * 60),
                    end: Seconds(min(until, max(start + 600, (end / 60).rounded() * 60))), hop: Seconds(known.hop),
                    deadline: Seconds(milliseconds: known.deadline), floor: known.floor,
                    weight: weight ?? [1, 1, 1.5, 2, 3][Int(draws.next() % 5)], critical: critical,
                    cadences: model == "asr" ? [1] : [1, 2, 4], cadenceQuality: model == "asr" ? [1] : [1, 0.93, 0.78]))
        }
        func late(_ draws: inout Draws) -> (Double, Double) {
            let start = until * 0.7 * draws.uniform()
            return (start, start + 1800 + (until - start - 1800) * draws.uniform())
        }
        switch kind {
        case .wearable, .cradle:
            add("ecg", 0, until, weight: 3, critical: true, &draws)
            add("har", 0, until, &draws)
            let (start, end) = late(&draws)
            add("vad", start, end, &draws)
        case .satellite, .commute:
            for model in ["vad", "kws", "sound"] { add(model, 0, until, &draws) }
            if hasNPU {
                let (start, end) = late(&draws)
                add("asr", start, end, weight: 2, &draws)
            }
        case .solar:
            for model in ["sound", "vad", "kws"] { add(model, 0, until, &draws) }
        case .burst:
            add("vad", 0, until, &draws)
            add("ecg", 0, until, weight: 3, critical: draws.uniform() < 0.5, &draws)
            let start = until * (0.2 + 0.5 * draws.uniform())
            let length = 900 + 5400 * draws.uniform()
            for index in 0..<14 {
                add(["vad", "kws", "har", "ecg"][index % 4], start + 60 * Double(draws.next() % 4), start + length * (0.7 + 0.6 * draws.uniform()), &draws)
            }
        }
        return list
    }

    /// True power over time, on average, of running everything at full cadence in its cheapest variant; and at least.
    private static func fullPower(_ scenario: Scenario) -> (full: Double, least: Double, peak: Double) {
        var full = 0.0
        var least = 0.0
        var peak = 0.0
        for stream in scenario.streams {
            let powers = scenario.options.filter {
                $0.model == stream.model && $0.quality >= stream.floor
                    && $0.p99.value * (scenario.latencyScale[$0.unit] ?? 1) <= stream.deadline.value
            }.map { $0.joules.value * (scenario.energyScale[$0.unit] ?? 1) / stream.hop.value }
            let share = (stream.end - stream.start) / scenario.goal.until
            full += (powers.min() ?? 0) * share
            peak += (powers.max() ?? 0) * share
            least += (powers.min() ?? 0) * share / Double(stream.cadences.max() ?? 1)
        }
        return (full, least, peak)
    }

    // MARK: - Trace

    private static func rows(_ scenario: inout Scenario, _ kind: Kind, _ until: Double, _ work: (full: Double, least: Double, peak: Double), _ draws: inout Draws) {
        // Inference is between a tenth and half of what the device takes.
        let level = work.full * (1 + 5 * draws.uniform() * draws.uniform()) * (kind == .satellite ? 3 : 1)
        let jitter = 0.03 + 0.12 * draws.uniform()
        let busyFrom = until * draws.uniform()
        let busyFor = draws.uniform() < 0.5 ? 0 : until * 0.25 * draws.uniform()
        let busyFactor = 1.2 + 0.5 * draws.uniform()
        let drift = 0.2 * (draws.uniform() - 0.5)
        let sun = level * (1.5 + 2.5 * draws.uniform())
        let rise = 5.5 + 2 * draws.uniform()
        var windows: [(from: Double, to: Double)] = []
        switch kind {
        case .cradle:
            // Two minutes on the cradle, every one to three hours.
            let every = 3600 * (1 + 2 * draws.uniform())
            var at = every * draws.uniform()
            while at < until {
                windows.append(((at / 60).rounded() * 60, (at / 60).rounded() * 60 + 120))
                at += every * (0.6 + 0.8 * draws.uniform())
            }
            scenario.battery.charger = Watts(level * (5 + 15 * draws.uniform()))
        case .commute:
            let at = until * (0.2 + 0.5 * draws.uniform())
            windows.append((at, at + 600 + 5400 * draws.uniform()))
            scenario.battery.charger = Watts(level * (2 + 4 * draws.uniform()))
        default: break
        }
        var time = 0.0
        var clouds = 1.0
        var cuts = Set((0...Int(until / 300)).map { Double($0) * 300 })
        for window in windows { cuts.formUnion([(window.from / 60).rounded() * 60, (window.to / 60).rounded() * 60]) }
        for cut in cuts.sorted() where cut < until {
            time = cut
            clouds += 0.15 * (1 - clouds) + 0.12 * draws.normal()
            let hour = (time / 3600).truncatingRemainder(dividingBy: 24)
            let shine = sin(.pi * (hour - rise) / (24 - 2 * rise))
            let harvest = kind == .solar && hour > rise && hour < 24 - rise ? max(0, sun * shine * min(1.2, max(0.2, clouds))) : 0
            let busy = time >= busyFrom && time < busyFrom + busyFor ? busyFactor : 1
            let base = max(0.2 * level, level * (1 + drift * (time / until - 0.5)) * busy * (1 + jitter * draws.normal()))
            let online = windows.contains { ($0.from / 60).rounded() * 60 <= time && time < ($0.to / 60).rounded() * 60 }
            scenario.rows.append(.init(time: Seconds(time), base: Watts(base), harvest: Watts(harvest), acOnline: online))
        }
    }

    /// Gives the battery the capacity that leaves inference a drawn share of what it could use.
    private static func size(_ scenario: inout Scenario, _ work: (full: Double, least: Double, peak: Double), _ draws: inout Draws) {
        let until = scenario.goal.until.value
        let isHopeless = draws.uniform() < 0.07
        let richness = draws.uniform()
        // Between the least that keeps all streams up and more than the best needs; most often about enough for the cheap variants.
        let wanted =
            richness < 0.2 ? work.least + (work.full - work.least) * draws.uniform()
            : richness < 0.8 ? work.full * (0.8 + 0.7 * draws.uniform()) : work.full + (work.peak - work.full) * 1.2 * draws.uniform()
        var base = 0.0
        var income = 0.0
        for (index, row) in scenario.rows.enumerated() {
            let span = (index + 1 < scenario.rows.count ? scenario.rows[index + 1].time.value : until) - row.time.value
            base += row.base.value * span
            income += (row.harvest.value + (row.acOnline ? scenario.battery.charger.value : 0)) * span
        }
        // A part of the income may not fit.
        let need = max(base + wanted * until - 0.9 * income, 0.3 * (base + wanted * until))
        let usable = max(0.2, scenario.battery.initialCharge - scenario.goal.reserve)
        scenario.battery.initialCharge = scenario.goal.reserve + usable
        scenario.battery.capacity = Joules(need / usable * (isHopeless ? 0.6 : 1))
    }
}
