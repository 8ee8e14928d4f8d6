import Units

/// Why an option is out of the question, whatever the other streams do.
enum Exclusion: Hashable {
    case invalid, floor, latency
    /// Alone it is over a limit.
    case utilization, memory
    /// A gate that does not run, because the streams behind it are better off without it.
    case gate
}

/// The plan as numbers: streams and options interned to indices, dominated options dropped.
///
/// Each stream's options are a contiguous range; the last of each range is the pause.
struct Problem {
    /// Options of stream s are `starts[s]..<starts[s + 1]`.
    var starts: [Int] = [0]
    var value: [Double] = []
    var power: [Double] = []
    var utilization: [Double] = []
    /// Index into `unitCaps`; -1 for none.
    var unit: [Int] = []
    /// Index into `artefactBytes`; -1 for none, also everywhere when memory is unlimited.
    var artefact: [Int] = []
    /// Index into the demand's options; -1 for the pause.
    var source: [Int] = []

    var powerCap = Double.infinity
    var unitCaps: [Double] = []
    var memoryCap = Double.infinity
    var artefactBytes: [Double] = []

    var streamCount: Int { starts.count - 1 }

    /// Sums of doubles are compared with so much relative tolerance.
    static let tolerance = 1e-9
    static func slack(_ cap: Double) -> Double { cap + cap.magnitude * tolerance }
}

/// Names to indices, once per plan.
struct Interner {
    private var indices: [String: Int] = [:]
    private(set) var names: [String] = []
    mutating func index(of name: String) -> Int {
        if let index = indices[name] { return index }
        indices[name] = names.count
        names.append(name)
        return names.count - 1
    }
}

/// Demands in canonical order, with what each option is worth and whether it may be chosen at all.
struct Prepared {
    /// Demands by id, so that the plan does not depend on the caller's order.
    let demands: [StreamDemand]
    let limits: PlanLimits
    private(set) var units = Interner()
    private(set) var artefacts = Interner()
    /// By stream and option.
    private(set) var unitOf: [[Int]] = []
    private(set) var artefactOf: [[Int]] = []
    private(set) var worth: [[Double]] = []
    private(set) var exclusion: [[Exclusion?]] = []
    /// What pausing is worth by stream, never above 0.
    private(set) var pauseWorth: [Double] = []
    private(set) var artefactBytes: [Int] = []
    /// By unit.
    private var unitCaps: [Double] = []

    /// - Parameter asleep: gates (indices) that must not run.
    init(_ demands: [StreamDemand], _ limits: PlanLimits, asleep: Set<Int> = []) {
        self.demands = demands
        self.limits = limits
        for demand in demands {
            var unitRow: [Int] = []
            var artefactRow: [Int] = []
            var previous: PlanOption?
            for option in demand.options {
                // Options of one artefact mostly come together, and names are dear to look up.
                if let previous, option.sameArtefact(as: previous), let unit = unitRow.last, let artefact = artefactRow.last {
                    unitRow.append(unit)
                    artefactRow.append(artefact)
                    artefactBytes[artefact] = max(artefactBytes[artefact], option.residentBytes)
                    continue
                }
                previous = option
                unitRow.append(units.index(of: option.unit))
                let artefact = artefacts.index(of: "\(demand.model)\u{0}\(option.variant)\u{0}\(option.unit)")
                if artefact == artefactBytes.count { artefactBytes.append(0) }
                artefactBytes[artefact] = max(artefactBytes[artefact], option.residentBytes)
                artefactRow.append(artefact)
            }
            unitOf.append(unitRow)
            artefactOf.append(artefactRow)
            worth.append(
                demand.options.map {
                    demand.weight * ($0.quality - Self.penalty($0, demand, limits)) - limits.energyPrice * $0.power.value
                })
            pauseWorth.append(-demand.weight * Self.penalty(nil, demand, limits))
        }
        chargeLoads()
        unitCaps = units.names.map { limits.unitUtilization[$0] ?? PlanLimits.defaultUtilization }
        for (stream, demand) in demands.enumerated() {
            exclusion.append(demand.options.indices.map { option in
                Self.exclusion(
                    demand.options[option], demand, limits, cap: unitCaps[unitOf[stream][option]], bytes: artefactBytes[artefactOf[stream][option]])
                    ?? (asleep.contains(stream) ? .gate : nil)
            })
        }
    }

    /// Artefacts that run already.
    var resident: Set<Int> {
        var resident = Set<Int>()
        for (stream, demand) in demands.enumerated() {
            guard let current = demand.current, let option = demand.options.firstIndex(where: { $0.sameArtefact(as: current) }) else { continue }
            resident.insert(artefactOf[stream][option])
        }
        return resident
    }

    /// Takes off what loading costs where an artefact is not in memory yet, spread over the time that it is expected to serve. Streams
    /// that begin to share one at the same time are charged each: a load too many is held against a change, never one too few.
    private mutating func chargeLoads() {
        guard limits.energyPrice > 0, limits.loadHorizon.value > 0 else { return }
        let resident = resident
        for (stream, demand) in demands.enumerated() {
            for (option, plan) in demand.options.enumerated() where plan.loadEnergy.value > 0 && !resident.contains(artefactOf[stream][option]) {
                worth[stream][option] -= limits.energyPrice * (plan.loadEnergy / limits.loadHorizon).value
            }
        }
    }

    func unitCap(_ index: Int) -> Double { unitCaps[index] }

    /// Quality lost by changing to `option` (nil: to a pause).
    static func penalty(_ option: PlanOption?, _ demand: StreamDemand, _ limits: PlanLimits) -> Double {
        if let current = demand.current, let option, option.sameArtefact(as: current) {
            return option.sameChoice(as: current) ? 0 : limits.retimeCost
        }
        let settled = demand.secondsSinceSwitch >= limits.minimumDwell
        switch (demand.current, option) {
        case (nil, nil): return 0
        // A new stream starts for nothing; one just paused stays so for the dwell.
        case (nil, .some): return settled ? 0 : 1
        // Pausing costs as much as changing, else a pause would be a way around the cost.
        default: return limits.switchCost + (settled ? 0 : 1)
        }
    }

    private static func exclusion(
        _ option: PlanOption, _ demand: StreamDemand, _ limits: PlanLimits, cap: Double, bytes: Int
    ) -> Exclusion? {
        guard option.quality.isFinite, option.power.isFinite, option.power.value >= 0, option.utilization.isFinite,
            option.utilization >= 0, demand.weight.isFinite, demand.weight > 0, !option.latencyP99.value.isNaN
        else { return .invalid }
        if option.variantQuality < demand.floor || option.variantQuality.isNaN { return .floor }
        if option.latencyP99 > demand.latencyTolerance { return .latency }
        if option.utilization > Problem.slack(cap) { return .utilization }
        if let memory = limits.residentBytes, bytes > memory { return .memory }
        return nil
    }

    /// The problem in numbers.
    /// - Parameters:
    ///   - include: the streams (indices) to plan; the others are left out.
    ///   - budget: power limit; infinite for none.
    ///   - value: worth of an option (index; -1 for the pause) of a stream.
    func problem(include: [Int], budget: Double, value: (_ stream: Int, _ option: Int) -> Double) -> Problem {
        var problem = Problem()
        problem.powerCap = budget
        problem.unitCaps = units.names.indices.map(unitCap)
        problem.memoryCap = limits.residentBytes.map(Double.init) ?? .infinity
        problem.artefactBytes = artefactBytes.map(Double.init)
        let hasMemory = limits.residentBytes != nil
        for stream in include {
            let options = demands[stream].options
            struct Candidate { var value, power, utilization: Double; var unit, artefact, source: Int }
            var candidates: [Candidate] = []
            for option in options.indices where exclusion[stream][option] == nil {
                let power = options[option].power.value
                if power > Problem.slack(budget) { continue }
                candidates.append(
                    Candidate(
                        value: value(stream, option), power: power, utilization: options[option].utilization,
                        unit: unitOf[stream][option], artefact: hasMemory ? artefactOf[stream][option] : -1, source: option))
            }
            candidates.append(
                Candidate(value: value(stream, -1), power: 0, utilization: 0, unit: -1, artefact: -1, source: -1))
            // Best first; among equals the cheaper, then the given order: what dominates an option
            // stands before it.
            candidates.sort {
                if $0.value != $1.value { return $0.value > $1.value }
                if $0.power != $1.power { return $0.power < $1.power }
                if $0.utilization != $1.utilization { return $0.utilization < $1.utilization }
                return $0.source < $1.source
            }
            var kept: [Candidate] = []
            for candidate in candidates {
                let dominated = kept.contains {
                    $0.power <= candidate.power
                        && ($0.utilization == 0 || ($0.unit == candidate.unit && $0.utilization <= candidate.utilization))
                        && ($0.artefact == -1 || $0.artefact == candidate.artefact)
                }
                if !dominated || candidate.source == -1 { kept.append(candidate) }
            }
            for candidate in kept {
                problem.value.append(candidate.value)
                problem.power.append(candidate.power)
                problem.utilization.append(candidate.utilization)
                problem.unit.append(candidate.unit)
                problem.artefact.append(candidate.artefact)
                problem.source.append(candidate.source)
            }
            problem.starts.append(problem.value.count)
        }
        return problem
    }
}
