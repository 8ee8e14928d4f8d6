/// The most utility per second that a set of streams can have for each power, when each mixes its
/// options freely over time: a concave, piecewise linear function.
///
/// It is the value of the linear programme
/// `max sum u_j x_j  s.t.  sum_{j of stream s} x_j <= 1,  sum_{j on unit k} t_j x_j <= cap_k,  sum p_j x_j <= P`
/// as a function of P, found for all P at once by the parametric simplex method (Gass and Saaty
/// 1955): with a price on power that falls from infinity to zero, the optimal basis changes at each
/// vertex of the curve.
struct UtilityCurve: Sendable {
    struct Column: Sendable {
        var stream: Int
        /// -1: on no unit that limits anything.
        var unit: Int
        /// Weight x quality x cadence quality.
        var utility: Double
        /// True watts.
        var power: Double
        /// Share of the unit's time.
        var time: Double
    }
    /// A straight piece: so much more utility per joule, for so many watts.
    struct Segment: Sendable {
        var slope: Double
        var width: Double
    }

    /// Utility per second that costs nothing.
    let free: Double
    /// Steepest first.
    let segments: [Segment]

    init(streamCount: Int, unitCaps: [Double], columns: [Column]) {
        // The tableau's tolerances are of figures around 1.
        let unit = columns.map(\.utility).max().flatMap { $0 > 0 ? $0 : nil } ?? 1
        var tableau = Tableau(streamCount: streamCount, unitCaps: unitCaps, columns: columns, unit: unit)
        var segments: [Segment] = []
        var free = 0.0
        while let step = tableau.step() {
            if step.power > 1e-15 {
                let slope = step.utility * unit / step.power
                // Rounding may let two pieces of one slope come in either order.
                let bounded = min(slope, segments.last?.slope ?? slope)
                segments.append(Segment(slope: bounded, width: step.power))
            } else if step.utility > 0 {
                free += step.utility * unit
            }
        }
        self.segments = segments
        self.free = free
    }
}

/// The simplex tableau in which power is priced instead of limited.
private struct Tableau {
    private let width: Int
    private let height: Int
    /// Rows of the constraints; the last column is the right-hand side.
    private var cells: [Double]
    /// What a unit of each column would still add, in utility and in power.
    private var utility: [Double]
    private var power: [Double]
    private var price = Double.infinity
    private var pivots = 0

    /// - Parameter unit: the utility that counts as 1.
    init(streamCount: Int, unitCaps: [Double], columns: [UtilityCurve.Column], unit: Double) {
        height = streamCount + unitCaps.count
        let slackStart = columns.count
        width = slackStart + height + 1
        cells = [Double](repeating: 0, count: width * height)
        utility = [Double](repeating: 0, count: width)
        power = utility
        for (index, column) in columns.enumerated() {
            cells[column.stream * width + index] = 1
            if column.unit >= 0 { cells[(streamCount + column.unit) * width + index] = column.time }
            utility[index] = column.utility / unit
            power[index] = column.power
        }
        for row in 0..<height {
            cells[row * width + slackStart + row] = 1
            cells[row * width + width - 1] = row < streamCount ? 1 : unitCaps[row - streamCount]
        }
    }

    /// Goes to the next vertex as the price falls; nil when the price is zero.
    mutating func step() -> (utility: Double, power: Double)? {
        // Degenerate vertices could in principle cycle; no real curve has this many.
        guard pivots < 50_000 else { return nil }
        var entering = -1
        var next = 0.0
        for column in 0..<width - 1 {
            let gain = utility[column]
            guard gain > 1e-13 || (gain > -1e-13 && power[column] < -1e-13) else {
                continue
            }
            if power[column] <= 1e-15 {
                // Better and no dearer: worth it at any price.
                if gain > 1e-13 {
                    entering = column
                    next = price
                    break
                }
                continue
            }
            let ratio = gain / power[column]
            if ratio > next {
                next = ratio
                entering = column
            }
        }
        guard entering >= 0 else { return nil }
        var leaving = -1
        var least = Double.infinity
        for row in 0..<height {
            let cell = cells[row * width + entering]
            guard cell > 1e-11 else { continue }
            let ratio = cells[row * width + width - 1] / cell
            if ratio < least {
                least = ratio
                leaving = row
            }
        }
        guard leaving >= 0 else { return nil }
        price = next
        pivots += 1
        let step = (utility: utility[entering] * least, power: power[entering] * least)
        pivot(row: leaving, column: entering)
        return step
    }

    private mutating func pivot(row: Int, column: Int) {
        let factor = 1 / cells[row * width + column]
        for index in 0..<width { cells[row * width + index] *= factor }
        cells[row * width + column] = 1
        for other in 0..<height where other != row {
            let share = cells[other * width + column]
            if share == 0 { continue }
            for index in 0..<width { cells[other * width + index] -= share * cells[row * width + index] }
            cells[other * width + column] = 0
            // Rounding below zero would let a later ratio test go backwards.
            if cells[other * width + width - 1] < 0 { cells[other * width + width - 1] = 0 }
        }
        let gain = utility[column]
        let cost = power[column]
        for index in 0..<width {
            utility[index] -= gain * cells[row * width + index]
            power[index] -= cost * cells[row * width + index]
        }
        utility[column] = 0
        power[column] = 0
    }
}
