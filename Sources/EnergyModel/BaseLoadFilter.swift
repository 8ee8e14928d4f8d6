import Glibc

/// A Kalman filter over the battery's power under one belief of how the base load moves.
///
/// The state is x = (base level in watts, departure of the base load from its level, factor of each unit), seen as
/// draw = level + departure + sum(profiled_u x factor_u) + noise. The level walks; the departure is the jitter that stays
/// for minutes (an Ornstein-Uhlenbeck process), so that a step of the draw within minutes of a change of plan is
/// mostly inference's.
struct BaseLoadFilter: Sendable {
    /// Spread of the departure, as a share of the level.
    let jitter: Double
    /// Random walk of the level: so much of it in an hour.
    let walk: Double
    private(set) var state: [Double]
    private(set) var covariance: [[Double]]
    /// Logarithm of how well the readings fitted, the earlier ones gradually forgotten.
    private(set) var logLikelihood = 0.0

    /// States before the units' factors.
    static let leading = 2
    /// Correlation time of the departure: loads that stay for five minutes on average have it.
    static let correlation = 150.0
    /// Least variance, relative to its square, of a factor that would leave its range.
    static let doubtAtTheEdge = 0.25
    /// Time in which the fit is forgotten, in seconds: habits of the rest of the device change.
    static let memory = 8 * 3600.0

    init(jitter: Double, walk: Double, level: Double, variance: Double) {
        self.jitter = jitter
        self.walk = walk
        state = [level, 0]
        covariance = [[variance, 0], [0, jitter * jitter * level * level]]
    }

    mutating func addUnit(factor: Double, variance: Double) {
        state.append(factor)
        for row in covariance.indices { covariance[row].append(0) }
        covariance.append([Double](repeating: 0, count: state.count))
        covariance[state.count - 1][state.count - 1] = variance
    }

    /// Lets `elapsed` seconds pass.
    mutating func predict(elapsed: Double, level: Double, factorWalkPerSecond: Double) {
        logLikelihood *= exp(-elapsed / Self.memory)
        covariance[0][0] += walk * walk * level * level / 3600 * elapsed
        let decay = exp(-elapsed / Self.correlation)
        state[1] *= decay
        for index in state.indices {
            covariance[1][index] *= decay
            covariance[index][1] *= decay
        }
        covariance[1][1] += jitter * jitter * level * level * (1 - decay * decay)
        for index in state.indices.dropFirst(Self.leading) { covariance[index][index] += factorWalkPerSecond * elapsed }
    }

    /// Takes one reading: `design` is what the profiles say runs, by unit.
    mutating func correct(draw: Double, design: [Double], noise: Double, factors range: ClosedRange<Double>) {
        let row = [1, 1] + design
        var spread = covariance.map { zip($0, row).reduce(0) { $0 + $1.0 * $1.1 } }
        var variance = zip(row, spread).reduce(noise * noise) { $0 + $1.0 * $1.1 }
        guard variance > 0 else { return }
        let surprise = draw - zip(row, state).reduce(0) { $0 + $1.0 * $1.1 }
        logLikelihood -= 0.5 * (min(surprise * surprise / variance, 9) + log(variance))
        if surprise * surprise > 9 * variance {
            // What neither inference nor jitter explains is something else of the device that came or went, or a wild reading: it
            // departs from the level for a while, and tells nothing of the factors.
            covariance[1][1] += surprise * surprise
            spread[0] = covariance[0].indices.reduce(0) { $0 + covariance[0][$1] * row[$1] }
            spread[1] = covariance[1].indices.reduce(0) { $0 + covariance[1][$1] * row[$1] }
            variance += surprise * surprise
        }
        for index in state.indices {
            let gain = spread[index] / variance
            state[index] += gain * surprise
            for column in state.indices { covariance[index][column] -= gain * spread[column] }
        }
        for index in state.indices.dropFirst(Self.leading) where !range.contains(state[index]) {
            state[index] = min(max(state[index], range.lowerBound), range.upperBound)
            // At the edge of what is possible something else is wrong: that is no knowledge.
            covariance[index][index] = max(covariance[index][index], Self.doubtAtTheEdge * state[index] * state[index])
        }
    }
}
