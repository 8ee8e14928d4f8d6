import Glibc
import Units

/// How a stream is answered: an option of the scenario at a cadence.
struct Choice: Hashable, Sendable {
    /// Index into the scenario's options.
    var option: Int
    /// Index into the stream's cadences.
    var cadence: Int
}

/// SplitMix64 (Steele, Lea and Flood 2014) with normal deviates: the same draws on every machine.
struct Draws: Sendable {
    private var state: UInt64
    init(seed: UInt64) { state = seed &* 0x9e37_79b9_7f4a_7c15 &+ 0x1234_5678 }

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xbf58_476d_1ce4_e5b9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94d0_49bb_1331_11eb
        return mixed ^ (mixed >> 31)
    }
    /// Above 0, at most 1.
    mutating func uniform() -> Double { (Double(next() >> 11) + 1) / 9007199254740992 }
    /// Mean 0, deviation 1 (Box and Muller).
    mutating func normal() -> Double { (-2 * log(uniform())).squareRoot() * cos(2 * .pi * uniform()) }
}

/// The device as it truly is: battery, loads, and streams that are answered or not.
struct DeviceTwin {
    let scenario: Scenario
    private(set) var time = 0.0
    private(set) var energy: Double
    private(set) var alive = true
    /// By stream; nil: paused, or not there.
    private(set) var choices: [Choice?]
    /// Sum of what inference draws.
    private(set) var inferencePower = 0.0
    private(set) var onTime: [Bool]
    private var row = 0
    /// What the profile says was spent on each unit, and what truly was, loading included; emptied by the reader.
    private(set) var profiledSpent: [String: Double] = [:]
    private(set) var metered = 0.0
    var score = Score()

    /// Figures of FORMAT.md, in seconds and joules.
    struct Score {
        var earned = 0.0
        var asked = 0.0
        var diedAt: Double?
        var dead = 0.0
        var inference = 0.0
        var base = 0.0
        var switches = 0
        var loads = 0
        var floorViolation = 0.0
        var late = 0.0
        var paused = 0.0
        var criticalPaused = 0.0
        var streamSeconds = 0.0
        /// Income that the battery took up or that was used at once; the rest did not fit.
        var stored = 0.0
        /// What a loading variant asked for and an emptying battery did not have.
        var overdrawn = 0.0
    }

    /// Above this share of the capacity a dead device comes back.
    static let revival = 0.02

    init(_ scenario: Scenario) {
        self.scenario = scenario
        energy = scenario.battery.capacity.value * scenario.battery.initialCharge
        choices = [Choice?](repeating: nil, count: scenario.streams.count)
        onTime = [Bool](repeating: false, count: scenario.streams.count)
    }

    var capacity: Double { scenario.battery.capacity.value }
    var currentRow: Scenario.Row { scenario.rows[row] }
    func isLive(_ stream: Int) -> Bool {
        scenario.streams[stream].start.value <= time && time < scenario.streams[stream].end.value
    }

    private var income: Double {
        scenario.rows[row].harvest.value + (scenario.rows[row].acOnline ? scenario.battery.charger.value : 0)
    }
    /// Power out of the battery now; negative while it charges, zero when it is full and would.
    var drain: Double {
        let net = (alive ? scenario.rows[row].base.value + inferencePower : 0) - income
        return net < 0 && energy >= capacity * (1 - 1e-12) ? 0 : net
    }

    /// Puts choices into effect: loads what is not resident, and counts what changed.
    mutating func apply(_ next: [Choice?], first: Set<Int>) {
        let resident = artefacts
        for index in choices.indices where isLive(index) && !first.contains(index) && next[index] != choices[index] { score.switches += 1 }
        choices = next
        load(excluding: resident)
        settle()
    }

    /// True power of a stream that runs `choice`.
    func draw(of choice: Choice, by stream: Int) -> Double {
        let option = scenario.options[choice.option]
        let period = scenario.streams[stream].hop.value * Double(scenario.streams[stream].cadences[choice.cadence])
        return option.joules.value * (scenario.energyScale[option.unit] ?? 1) / period
    }

    private var artefacts: Set<Int> { Set(choices.compactMap { $0?.option }) }

    private mutating func load(excluding resident: Set<Int>) {
        guard alive else { return }
        for index in artefacts.subtracting(resident).sorted() {
            let option = scenario.options[index]
            let joules = option.loadJoules.value * (scenario.energyScale[option.unit] ?? 1)
            score.loads += 1
            score.inference += joules
            metered += joules
            profiledSpent[option.unit, default: 0] += option.loadJoules.value
            take(joules)
        }
    }

    private mutating func take(_ joules: Double) {
        energy -= joules
        score.overdrawn += max(0, -energy)
        if energy <= 0 { die() }
    }

    /// Works out power and punctuality of what runs.
    private mutating func settle() {
        inferencePower = 0
        var use: [String: Double] = [:]
        for (index, choice) in choices.enumerated() {
            guard let choice, isLive(index) else { continue }
            let option = scenario.options[choice.option]
            let period = scenario.streams[index].hop.value * Double(scenario.streams[index].cadences[choice.cadence])
            inferencePower += draw(of: choice, by: index)
            use[option.unit, default: 0] += option.p50.value * (scenario.latencyScale[option.unit] ?? 1) / period
        }
        for (index, choice) in choices.enumerated() {
            guard let choice else { continue }
            let option = scenario.options[choice.option]
            let cap = scenario.unitUtilization[option.unit] ?? .infinity
            onTime[index] =
                option.p99.value * (scenario.latencyScale[option.unit] ?? 1) <= scenario.streams[index].deadline.value * (1 + 1e-12)
                && use[option.unit, default: 0] <= cap * (1 + 1e-9)
        }
    }

    /// Drops choices of streams that are over.
    mutating func dropEnded() {
        for index in choices.indices where choices[index] != nil && !isLive(index) { choices[index] = nil }
        settle()
    }

    /// Takes what was spent since the last time.
    mutating func takeSpent() -> (profiled: [String: Double], metered: Double) {
        defer {
            profiledSpent = [:]
            metered = 0
        }
        return (profiledSpent, metered)
    }

    private mutating func die() {
        energy = 0
        guard alive else { return }
        alive = false
        if score.diedAt == nil { score.diedAt = time }
    }

    /// Lets time pass; no stream may start or end in between.
    mutating func advance(to end: Double) {
        while time < end {
            let next = row + 1 < scenario.rows.count ? min(end, max(time, scenario.rows[row + 1].time.value)) : end
            live(until: next)
            if row + 1 < scenario.rows.count, time >= scenario.rows[row + 1].time.value { row += 1 }
        }
    }

    private mutating func live(until end: Double) {
        while time < end {
            var span = end - time
            if alive {
                let rate = income - scenario.rows[row].base.value - inferencePower
                if rate < 0 { span = min(span, energy / -rate) }
                account(span)
                let before = energy
                energy = min(capacity, energy + rate * span)
                score.stored += income * span - max(0, before + rate * span - capacity)
                time += span
                // What rounding leaves of a battery that was to be empty would make steps of no length.
                if rate < 0, energy <= 1e-12 * capacity || (span == 0 && before > 0) { die() }
            } else {
                let rate = income
                if rate > 0 { span = min(span, max(0, (capacity * Self.revival - energy) / rate) + 1e-6) }
                account(span)
                score.stored += min(capacity - energy, rate * span)
                energy = min(capacity, energy + rate * span)
                time += span
                if energy > capacity * Self.revival {
                    alive = true
                    load(excluding: [])
                    settle()
                }
            }
            if span == 0, alive { time = min(end, time + 1e-6) }
        }
    }

    private mutating func account(_ span: Double) {
        if alive {
            score.inference += inferencePower * span
            metered += inferencePower * span
            score.base += scenario.rows[row].base.value * span
        } else {
            score.dead += span
        }
        for (index, stream) in scenario.streams.enumerated() where isLive(index) {
            score.asked += stream.weight * span
            score.streamSeconds += span
            guard alive else { continue }
            guard let choice = choices[index] else {
                score.paused += span
                if stream.critical { score.criticalPaused += span }
                continue
            }
            let option = scenario.options[choice.option]
            profiledSpent[option.unit, default: 0] +=
                option.joules.value / (stream.hop.value * Double(stream.cadences[choice.cadence])) * span
            if option.quality < stream.floor {
                score.floorViolation += span
            } else if !onTime[index] {
                score.late += span
            } else {
                score.earned += stream.weight * option.quality * stream.cadenceQuality[choice.cadence] * span
            }
        }
    }
}
