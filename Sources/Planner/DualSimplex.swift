/// Prices of lowest Lagrangian bound, by the simplex method over whole choices (Dantzig and Wolfe 1960).
///
/// The linear programme mixes choices, one option per stream each, so that the mix is worth most and keeps to the capacities on average; its
/// value is the lowest bound that prices can give. It has a row per resource and one for the mix, so that its basis is a matrix
/// of five by five at most on a device with two units. The choice that would enter it is what the relaxation picks at the basis's
/// prices: whoever calls runs that, and no choices are kept but those of the basis.
struct DualSimplex {
    /// What is basic in a row: worth and use of a choice, or 0 and one unit of a resource left over.
    private var worth: [Double]
    /// The basis's inverse, row by row.
    private var inverse: [Double]
    /// How much of each row's basic column is in the mix.
    private var amounts: [Double]
    private let rows: Int
    private let resources: Int
    private var pivots = 0
    private var direction: [Double]

    /// Prices per share of each capacity at the basis; the last is `level`.
    private(set) var prices: [Double]
    /// What a choice must be worth beyond its use at `prices` to improve the mix.
    var level: Double { prices[resources] }
    /// Shares of the capacities that the choice which `enter` takes uses.
    var entering: [Double]

    /// Reduced worth below this share of what choices are worth is rounding.
    private static let tolerance = 1e-11
    private static let smallestPivot = 1e-9
    /// Against going in circles for rounding's sake.
    private static let mostPivots = 1000

    /// The mix of one choice that uses nothing, as pausing everything does, with all capacities left over.
    /// - Parameters:
    ///   - resources: number of resources; uses are given as shares of their capacities.
    ///   - worth: what that choice is worth.
    init(resources: Int, worth idle: Double) {
        self.resources = resources
        rows = resources + 1
        worth = [Double](repeating: 0, count: rows)
        worth[resources] = idle
        amounts = [Double](repeating: 1, count: rows)
        direction = worth
        prices = worth
        entering = worth
        inverse = [Double](repeating: 0, count: rows * rows)
        for row in 0..<rows { inverse[row * rows + row] = 1 }
    }

    /// Sets `prices`. Leftovers whose price would be below zero enter the basis first, so none is.
    mutating func price() {
        while true {
            for column in 0..<rows { prices[column] = 0 }
            var scale = 1e-300
            for row in 0..<rows where worth[row] != 0 {
                scale = max(scale, worth[row].magnitude)
                for column in 0..<rows { prices[column] += worth[row] * inverse[row * rows + column] }
            }
            // The first one, not the worst: that keeps degenerate pivots from going in circles (Bland 1977).
            guard let negative = (0..<resources).first(where: { prices[$0] < -Self.tolerance * scale }), pivots < Self.mostPivots else { break }
            for index in 0..<rows { entering[index] = index == negative ? 1 : 0 }
            guard pivot(worth: 0) else { break }
        }
        for index in 0..<resources { prices[index] = max(0, prices[index]) }
    }

    /// Takes the choice of use `entering` into the mix.
    /// - Returns: false if it cannot enter, for rounding's sake: the prices are as good as they get.
    mutating func enter(worth: Double) -> Bool {
        entering[resources] = 1
        return pivots < Self.mostPivots && pivot(worth: worth)
    }

    private mutating func pivot(worth value: Double) -> Bool {
        pivots += 1
        var leaving = -1
        var least = Double.infinity
        for row in 0..<rows {
            direction[row] = 0
            for index in 0..<rows { direction[row] += inverse[row * rows + index] * entering[index] }
            guard direction[row] > Self.smallestPivot else { continue }
            let ratio = amounts[row] / direction[row]
            // Among equals the larger pivot loses least to rounding.
            if ratio < least - 1e-12 || (ratio < least + 1e-12 && leaving >= 0 && direction[row] > direction[leaving]) {
                least = min(least, ratio)
                leaving = row
            }
        }
        guard leaving >= 0 else { return false }
        let by = direction[leaving]
        for column in 0..<rows { inverse[leaving * rows + column] /= by }
        amounts[leaving] /= by
        for row in 0..<rows where row != leaving && direction[row] != 0 {
            let factor = direction[row]
            for column in 0..<rows { inverse[row * rows + column] -= factor * inverse[leaving * rows + column] }
            amounts[row] = max(0, amounts[row] - factor * amounts[leaving])
        }
        worth[leaving] = value
        return true
    }
}
