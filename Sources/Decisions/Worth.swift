import Planner
import PowerPolicy
import Units

/// What joules are worth to the streams that are there: how their power falls as a joule must earn more.
///
/// Limits that streams share (a unit's time, memory) are left to the planner.
struct Worth {
    /// Utility per joule, the rest of the device's joules included, of the plan that makes most of the battery if
    /// nothing but its end limits its use: saved, a joule lets everything run on for longer. That is the fixed point
    /// price = utility / (rest + inference) of the plan at that price (Dinkelbach 1967).
    let price: Double
    private let candidates: [[(utility: Double, power: Double)]]
    private let critical: [Bool]

    static let nearly = 0.97

    /// - Parameter near: where to begin to look for the price.
    init(_ demands: [StreamDemand], rest: Watts, near: Double) {
        candidates = demands.map { demand in
            demand.options.lazy.filter { $0.variantQuality >= demand.floor && $0.latencyP99 <= demand.latencyTolerance }
                .map { (demand.weight * $0.quality, $0.power.value) }
        }
        critical = demands.map(\.critical)
        var price = near
        for _ in 0..<12 {
            var utility = 0.0
            var power = max(rest.value, 0)
            for stream in candidates.indices {
                let choice = Self.choice(candidates[stream], price, critical[stream])
                utility += choice.utility
                power += choice.power
            }
            guard power > 0 else { break }
            let next = utility / power
            let isSettled = abs(next - price) <= 1e-6 * next
            price = next
            if isSettled { break }
        }
        self.price = price
    }

    private static func choice(_ options: [(utility: Double, power: Double)], _ price: Double, _ critical: Bool) -> (utility: Double, power: Double) {
        var best = (utility: 0.0, power: 0.0)
        var worth = critical ? -Double.infinity : 0
        for option in options where option.utility - price * option.power > worth {
            worth = option.utility - price * option.power
            best = option
        }
        return best
    }

    /// The concave hull of each stream's options, all streams' pieces together from the steepest down.
    /// - Parameter lasting: for each stream, the share of the time left that it is expected to run.
    /// - Returns: also what a joule must earn where every stream just has `nearly` all of its best utility.
    func rungs(lasting: [Double]) -> (rungs: [PowerState.Rung], ordinary: Double) {
        guard price > 0 else { return ([], 0) }
        var ordinary = Double.infinity
        var pieces: [(worth: Double, power: Double, stream: Int)] = []
        var must = (now: 0.0, mean: 0.0)
        for stream in candidates.indices {
            let sorted = candidates[stream].sorted { ($0.power, -$0.utility) < ($1.power, -$1.utility) }
            var at = (utility: 0.0, power: 0.0)
            let most = sorted.map(\.utility).max() ?? 0
            if critical[stream], let least = sorted.first {
                at = least
                must.now += least.power
                must.mean += least.power * lasting[stream]
            }
            while true {
                var best: (slope: Double, option: (utility: Double, power: Double))?
                for option in sorted where option.utility > at.utility + 1e-12 && option.power >= at.power {
                    let slope = (option.utility - at.utility) / max(option.power - at.power, 1e-15)
                    if slope > (best?.slope ?? 0) * (1 + 1e-12) { best = (slope, option) }
                }
                guard let best else { break }
                if best.option.utility >= Self.nearly * most, at.utility < Self.nearly * most { ordinary = min(ordinary, best.slope / price) }
                pieces.append((best.slope / price, best.option.power - at.power, stream))
                at = best.option
            }
        }
        pieces.sort { ($1.worth, $0.stream) < ($0.worth, $1.stream) }
        var rungs = must.now > 0 ? [PowerState.Rung(worth: .infinity, now: Watts(must.now * (1 + 1e-6)), mean: Watts(must.mean))] : []
        var (now, mean) = must
        for piece in pieces {
            now += piece.power
            // What is not needed is bought only if it can be kept up for good.
            mean += piece.power * (piece.worth >= 0.1 ? lasting[piece.stream] : 1)
            // A budget must not fail to fit the plan that it was made from by rounding.
            rungs.append(.init(worth: piece.worth, now: Watts(now * (1 + 1e-6)), mean: Watts(mean)))
        }
        return (rungs, ordinary.isFinite ? ordinary : 0)
    }
}
