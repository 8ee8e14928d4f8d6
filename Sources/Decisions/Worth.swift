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

    /// Shares of `price` at which the streams' power is looked at.
    static let steps = [16, 8, 4, 2, 1, 0.5, 0.25, 0.12, 0.06, 0.03, 0.015, 0.007, 0]

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

    /// - Parameter lasting: for each stream, the share of the time left that it is expected to run.
    func rungs(lasting: [Double]) -> [PowerState.Rung] {
        var rungs: [PowerState.Rung] = []
        func add(_ worth: Double, _ power: (Int) -> Double) {
            // What is not needed is bought only if it can be kept up for good.
            let isNeeded = worth >= 0.1
            var now = 0.0
            var mean = 0.0
            for stream in candidates.indices {
                let watts = power(stream)
                now += watts
                mean += watts * (isNeeded ? lasting[stream] : 1)
            }
            // A budget must not fail to fit the plan that it was made from by rounding.
            rungs.append(.init(worth: worth, now: Watts(now * (1 + 1e-6)), mean: Watts(mean)))
        }
        for step in Self.steps {
            add(step) { stream in Self.choice(candidates[stream], price * step, critical[stream]).power }
        }
        return rungs
    }
}
