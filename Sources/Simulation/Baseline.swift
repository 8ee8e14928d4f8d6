import Units

/// What others do, for comparison.
public enum Baseline: String, Sendable, CaseIterable {
    /// Each stream's best quality, whatever it costs.
    case bestStatic = "best-static"
    /// Each stream's least power at or above its floor.
    case cheapestStatic = "cheapest-static"
    /// Best above half charge, the cheapest variant at full cadence above a fifth, cheapest below.
    case socThreshold = "soc-threshold"
    /// Budget = (charge - reserve) / time left - rest, by the profile's figures; upgrades by utility per watt.
    case greedy
    /// The FP32 variant at full cadence.
    case alwaysFP32 = "always-fp32"
}

/// What a baseline sees: the profile and the gauge.
struct BaselineView: Sendable {
    let scenario: Scenario
    private(set) var charge = 0.0
    private(set) var rest = 0.0
    private(set) var online = false

    init(_ scenario: Scenario) { self.scenario = scenario }

    /// - Parameter rest: the battery's power less inference by the profile.
    mutating func observe(charge: Double, rest: Double, online: Bool) {
        self.charge = charge
        self.online = online
        if !online { self.rest = self.rest == 0 ? rest : self.rest + 0.05 * (rest - self.rest) }
    }

    struct Candidate {
        var choice: Choice
        var utility: Double
        var power: Double
        var time: Double
        var unit: String
        var isFullCadence: Bool
    }

    /// Who chooses first where not everything fits: the weightiest, and among equals in the file's order.
    func byWeight(_ live: [Int]) -> [Int] {
        live.sorted { (scenario.streams[$1].weight, $0) < (scenario.streams[$0].weight, $1) }
    }

    /// What a stream may run by the profile: at or above its floor, on time.
    func candidates(_ stream: Int) -> [Candidate] {
        let contract = scenario.streams[stream]
        var list: [Candidate] = []
        for (index, option) in scenario.options.enumerated()
        where option.model == contract.model && option.quality >= contract.floor && option.p99 <= contract.deadline {
            for (cadence, multiple) in contract.cadences.enumerated() {
                let period = contract.hop.value * Double(multiple)
                list.append(
                    Candidate(
                        choice: Choice(option: index, cadence: cadence),
                        utility: contract.weight * option.quality * contract.cadenceQuality[cadence],
                        power: option.joules.value / period, time: option.p50.value / period, unit: option.unit,
                        isFullCadence: multiple == contract.cadences.min()))
            }
        }
        return list
    }
}

extension Baseline {
    func choose(_ view: BaselineView, live: [Int], at time: Double) -> [Choice?] {
        var choices = [Choice?](repeating: nil, count: view.scenario.streams.count)
        let charge = view.charge / view.scenario.battery.capacity.value
        if self == .greedy { return greedy(view, live, time) }
        var artefacts = Artefacts(view.scenario)
        for stream in view.byWeight(live) {
            let free = artefacts.free(without: nil)
            let all = view.candidates(stream).filter { artefacts.fits($0.choice.option, in: free, without: nil) }
            let best = all.max { ($0.utility, -$0.power) < ($1.utility, -$1.power) }
            let cheapest = all.min { ($0.power, -$0.utility) < ($1.power, -$1.utility) }
            let middle = all.filter(\.isFullCadence).min { $0.power < $1.power }
            let full = all.first { $0.isFullCadence && view.scenario.options[$0.choice.option].variant == "fp32" }
            switch self {
            case .bestStatic: choices[stream] = best?.choice
            case .cheapestStatic: choices[stream] = cheapest?.choice
            case .socThreshold: choices[stream] = (charge > 0.5 ? best : charge > 0.2 ? middle : cheapest)?.choice
            case .alwaysFP32: choices[stream] = (full ?? best)?.choice
            case .greedy: break
            }
            if let choice = choices[stream] { artefacts.uses[choice.option] += 1 }
        }
        return choices
    }

    private func greedy(_ view: BaselineView, _ live: [Int], _ time: Double) -> [Choice?] {
        let scenario = view.scenario
        let left = max(60, scenario.goal.until.value - time)
        let usable = view.charge - scenario.battery.capacity.value * scenario.goal.reserve
        var budget = max(0, usable / left - max(0, view.rest))
        if view.online { budget = .infinity }
        var choices = [Choice?](repeating: nil, count: scenario.streams.count)
        var use: [String: Double] = [:]
        var chosen: [Int: BaselineView.Candidate] = [:]
        var artefacts = Artefacts(scenario)
        let candidates = live.map(view.candidates)
        while true {
            var best: (stream: Int, candidate: BaselineView.Candidate, rate: Double)?
            for (position, stream) in live.enumerated() {
                let now = chosen[stream]
                let free = artefacts.free(without: now?.choice.option)
                for candidate in candidates[position] where candidate.utility > now?.utility ?? 0 {
                    guard artefacts.fits(candidate.choice.option, in: free, without: now?.choice.option) else { continue }
                    let more = candidate.power - (now?.power ?? 0)
                    let time = candidate.time - (now?.unit == candidate.unit ? now?.time ?? 0 : 0)
                    guard more <= budget, use[candidate.unit, default: 0] + time <= scenario.unitUtilization[candidate.unit] ?? .infinity
                    else { continue }
                    let rate = (candidate.utility - (now?.utility ?? 0)) / max(more, 1e-12)
                    if rate > best?.rate ?? 0 { best = (stream, candidate, rate) }
                }
            }
            guard let best else { break }
            if let old = chosen[best.stream] {
                budget += old.power
                use[old.unit, default: 0] -= old.time
                artefacts.uses[old.choice.option] -= 1
            }
            budget -= best.candidate.power
            use[best.candidate.unit, default: 0] += best.candidate.time
            chosen[best.stream] = best.candidate
            artefacts.uses[best.candidate.choice.option] += 1
        }
        for (stream, candidate) in chosen { choices[stream] = candidate.choice }
        return choices
    }
}

/// By how many streams each variant on a unit is used: in memory it counts once.
private struct Artefacts {
    private let megabytes: [Double]
    private let limit: Double
    /// By index into the scenario's options.
    var uses: [Int]

    init(_ scenario: Scenario) {
        megabytes = scenario.options.map(\.residentMegabytes)
        limit = scenario.residentMegabytes ?? .infinity
        uses = [Int](repeating: 0, count: megabytes.count)
    }

    /// Memory that is left should one stream stop using `option`.
    func free(without option: Int?) -> Double {
        uses.indices.reduce(limit) { uses[$1] > ($1 == option ? 1 : 0) ? $0 - megabytes[$1] : $0 }
    }

    /// Whether others have `option` loaded, or there is room for it.
    func fits(_ option: Int, in free: Double, without own: Int?) -> Bool {
        uses[option] > (option == own ? 1 : 0) || megabytes[option] <= free * (1 + 1e-12)
    }
}
