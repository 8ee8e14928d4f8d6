import Units

/// Streams that let others sleep: whether each gate runs is decided by trying both, so that the plan stays exact.
///
/// Behind a gate that runs, a stream's options cost the share of time that it is awake. That couples streams, which the
/// solver cannot price; with every gate's fate fixed the coupling is gone.
struct Gates {
    /// Indices of the gates, those with the most to save first.
    let gates: [Int]
    /// The gate of each stream, as an index into the demands; nil without.
    private let gateOf: [Int?]

    /// Each gate doubles the work; streams behind further ones are planned at full power.
    static let limit = 6

    init(_ demands: [StreamDemand]) {
        let index = Dictionary(demands.enumerated().map { ($1.id, $0) }, uniquingKeysWith: { first, _ in first })
        gateOf = demands.enumerated().map { position, demand in
            guard let gate = demand.gate, gate.duty >= 0, gate.duty < 1, let other = index[gate.stream], other != position else { return nil }
            return other
        }
        var saving: [Int: Double] = [:]
        for (demand, gate) in zip(demands, gateOf) {
            guard let gate else { continue }
            saving[gate, default: 0] += (demand.options.map(\.power.value).max() ?? 0) * (1 - (demand.gate?.duty ?? 1))
        }
        gates = saving.sorted { ($1.value, $0.key) < ($0.value, $1.key) }.prefix(Self.limit).map(\.key)
    }

    /// A way to fix the gates' fates.
    struct Fates {
        var demands: [StreamDemand]
        /// Gates that must run, and those that must not, by index.
        var running: Set<Int> = []
        var asleep: Set<Int> = []
    }

    /// All ways, none running first.
    func fates(_ demands: [StreamDemand]) -> [Fates] {
        (0..<(1 << gates.count)).map { mask in
            var fates = Fates(demands: demands)
            for (bit, gate) in gates.enumerated() {
                if mask >> bit & 1 == 1 { fates.running.insert(gate) } else { fates.asleep.insert(gate) }
            }
            for stream in demands.indices {
                guard let gate = gateOf[stream], fates.running.contains(gate), let duty = demands[stream].gate?.duty else { continue }
                for option in demands[stream].options.indices {
                    fates.demands[stream].options[option].power = demands[stream].options[option].power * duty
                    fates.demands[stream].options[option].utilization *= duty
                }
            }
            return fates
        }
    }
}
