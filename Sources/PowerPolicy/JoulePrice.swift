import Glibc
import Units

/// What a joule is worth: the mean, over what may come, of what the last joule earns that can be afforded then.
///
/// Along the best path that mean stays what it is, whatever comes to be known (the price is a martingale): were it lower
/// now than later, spending less now and more then would earn more. Utility is steep where streams would pause and flat
/// where only a dearer variant is at stake, so that a small chance of the former outweighs a large one of the latter.
struct JoulePrice {
    /// Standard deviations of the forecast, and how likely each is taken to be: a normal distribution.
    static let futures: [(deviations: Double, weight: Double)] = {
        let grid = stride(from: -2.5, through: 4.0, by: 0.25).map { (deviations: $0, weight: exp(-0.5 * $0 * $0)) }
        let sum = grid.reduce(0) { $0 + $1.weight }
        return grid.map { ($0.deviations, $0.weight / sum) }
    }()
    /// Nothing earns more than this many times what a joule earns on the whole: where all but nothing is left, the
    /// forecast is not good enough to tell the cheapest stream from the next.
    static let most = 20.0
    /// Chance, when all time is left, that streams will come which leave the present ones `share` of the power. It falls with
    /// the square of the time left: later they have less time to come in, and less to take from.
    static let arrivals = (chance: 0.15, share: 0.4)
    /// Weight of futures in which there is something for inference, but less than it ordinarily needs. Operators ask
    /// for what a device does on an ordinary day.
    static let poorWeight = 0.5
    /// From this worth on, what streams buy counts as ordinarily needed.
    static let neededWorth = 0.5
    /// Chance, when all time is left, of an income or a lull of which nothing was seen yet. A goal that only such luck
    /// can meet was most likely set in view of it. It falls with the square root of the time left.
    static let luckChance = 0.7
    /// What a joule must then earn, relative to where every stream just has nearly all of its best utility.
    static let luckyWorth = 0.6

    let rungs: [PowerState.Rung]
    /// What streams that must not pause need at least.
    let least: Watts
    /// Share of the time until the goal that is left, 1 to 0.
    let share: Double
    /// What a joule must earn where every stream just has nearly all of its best utility.
    let ordinary: Double

    /// What the last joule earns at a steady mean power.
    func worth(at power: Watts) -> Double { min(Self.most, rungs.first { $0.mean > power }.map(\.worth) ?? 0) }

    /// - Parameter affordable: the steady mean power if the rest of the device takes so many standard deviations more.
    /// - Returns: the price, relative to what a joule earns on the whole, and how likely the goal can be met.
    func expected(_ affordable: (Double) -> Watts) -> (worth: Double, chance: Double) {
        let needed = rungs.last { $0.worth > Self.neededWorth }?.mean ?? .zero
        let arrival = Self.arrivals.chance * share * share
        var sum = 0.0
        var weight = 0.0
        var chance = 0.0
        // A future in which nothing helps says nothing of what to do now.
        for future in Self.futures {
            let power = affordable(future.deviations)
            guard power > least else { continue }
            chance += future.weight
            let part = future.weight * (power < needed ? Self.poorWeight : 1)
            weight += part
            sum += part * ((1 - arrival) * worth(at: power) + arrival * worth(at: power * Self.arrivals.share))
        }
        let mean = weight > 0 ? sum / weight : min(Self.most, rungs.first { $0.worth.isFinite }?.worth ?? 0)
        let luck = Self.luckChance * share.squareRoot()
        let lucky = luck / (luck + (1 - luck) * max(chance, 1e-6))
        return (mean + (min(mean, ordinary * Self.luckyWorth) - mean) * lucky, chance)
    }
}
