/// Exact solution of a multiple-choice knapsack with several resources and shared memory, by branch
/// and bound.
///
/// The bound is Lagrangian (Fisher 1981): with prices on power, on each unit's time and on memory,
/// no feasible choice is worth more than `sum of prices x capacities + sum over streams of the best
/// (value - priced use)`. Memory of an artefact that n streams could share is priced at 1/n of its
/// size per user, which never exceeds what is really used. The prices of lowest bound come from `DualSimplex`,
/// once at the root; options that the bound rules out there are dropped, and few nodes remain to search.
struct Solver {
    let problem: Problem
    private let nodeLimit: Int

    /// Values up to here are of no interest: another plan already has them.
    let cutoff: Double

    var best: [Int] = []
    var bestValue = -Double.infinity
    private(set) var bound = Double.infinity
    var nodes = 0
    private(set) var isProven = false
    var relaxations = 0
    /// What the search has cost so far, relaxations included, in nodes of the search tree: an option
    /// looked at in a relaxation takes about a tenth of a node's time, and making the problem as much as thirty relaxations.
    var effort: Int { nodes + (relaxations + 30) * problem.value.count / 10 }
    /// Price of power at the root: value per watt.
    var powerPrice: Double { prices[0] }

    /// Prices and capacities: power, memory, then each unit's time.
    var prices: [Double]
    let caps: [Double]
    /// Shared memory charged to one user, by option.
    private let share: [Double]
    /// The options side by side, as the relaxation reads them.
    let rows: [Row]

    struct Row {
        var value, power, share, time: Double
        var unit: Int
    }
    private(set) var picks: [Int]
    /// Use of each resource by `picks`.
    private var use: [Double]
    /// The prices of the lowest bound so far.
    private var bestPrices: [Double]

    /// Improvements smaller than this are rounding.
    static let epsilon = 1e-13

    init(_ problem: Problem, nodeLimit: Int, cutoff: Double = -.infinity) {
        self.problem = problem
        self.nodeLimit = nodeLimit
        self.cutoff = cutoff
        caps = [problem.powerCap, problem.memoryCap] + problem.unitCaps
        prices = [Double](repeating: 0, count: caps.count)
        use = prices
        bestPrices = prices
        picks = [Int](repeating: 0, count: problem.streamCount)
        var users = [Double](repeating: 0, count: problem.artefactBytes.count)
        var lastUser = [Int](repeating: -1, count: users.count)
        for stream in 0..<problem.streamCount {
            for option in problem.starts[stream]..<problem.starts[stream + 1] {
                let artefact = problem.artefact[option]
                if artefact >= 0, lastUser[artefact] != stream {
                    lastUser[artefact] = stream
                    users[artefact] += 1
                }
            }
        }
        let share = problem.artefact.map { $0 < 0 ? 0 : problem.artefactBytes[$0] / users[$0] }
        self.share = share
        rows = problem.value.indices.map {
            Row(
                value: problem.value[$0], power: problem.power[$0], share: share[$0],
                time: problem.unit[$0] < 0 ? 0 : problem.utilization[$0], unit: max(0, problem.unit[$0]))
        }
    }

    /// Runs the search; `best` then holds an option index per stream: the optimum, unless that is
    /// no better than the cutoff.
    mutating func solve() {
        relaxAndPolish()
        search()
    }

    /// Finds `bound` and a good choice, without search.
    mutating func relaxAndPolish() {
        // Pausing everything is always possible.
        offer((0..<problem.streamCount).map { stream in
            // The pause is an option of every stream, so the fallback is never taken.
            (problem.starts[stream]..<problem.starts[stream + 1]).first { problem.source[$0] == -1 } ?? problem.starts[stream]
        })
        price()
        guard bound > cutoff + Self.epsilon else { return }
        // Below the root there is an incumbent already.
        if cutoff == -.infinity { repair() }
        polish()
        if cutoff == -.infinity { exchange() }
    }

    // MARK: - Relaxation

    func reduced(_ option: Int, at prices: [Double]) -> Double {
        let row = rows[option]
        let time = prices.count > 2 ? prices[2 + row.unit] * row.time : 0
        return row.value - prices[0] * row.power - prices[1] * row.share - time
    }

    /// Picks each stream's best option at the present prices; returns the bound.
    private mutating func relax() -> Double {
        relaxations += 1
        var total = 0.0
        for index in caps.indices {
            use[index] = 0
            // A price on an unlimited resource stays 0, and 0 x infinity is no number.
            if prices[index] > 0 { total += prices[index] * caps[index] }
        }
        let (power, memory) = (prices[0], prices[1])
        rows.withUnsafeBufferPointer { rows in
            prices.withUnsafeBufferPointer { prices in
                for stream in 0..<problem.streamCount {
                    var pick = problem.starts[stream]
                    var top = -Double.infinity
                    for option in problem.starts[stream]..<problem.starts[stream + 1] {
                        let row = rows[option]
                        var value = row.value - power * row.power - memory * row.share
                        if row.time > 0 { value -= prices[2 + row.unit] * row.time }
                        if value > top {
                            top = value
                            pick = option
                        }
                    }
                    picks[stream] = pick
                    total += top
                    let row = rows[pick]
                    use[0] += row.power
                    use[1] += row.share
                    if row.time > 0 { use[2 + row.unit] += row.time }
                }
            }
        }
        return total
    }

    private func isOver(_ index: Int) -> Bool { use[index] > Problem.slack(caps[index]) }

    /// Relaxes, keeps the prices with the lowest bound, and takes feasible picks as an incumbent.
    @discardableResult
    private mutating func step() -> Double {
        let total = relax()
        if total < bound {
            bound = total
            bestPrices = prices
        }
        if !caps.indices.contains(where: isOver) { offer(picks) }
        return total
    }

    /// Lowers the bound to where no prices lower it further, or nearly so.
    private mutating func price() {
        let limited = caps.indices.filter { caps[$0].isFinite }
        step()
        guard !limited.isEmpty, limited.contains(where: isOver) else { return }
        // Pausing everything is the incumbent at the root; below it the pause is what a stream has as its last option.
        var idle = 0.0
        for stream in 0..<problem.streamCount { idle += rows[problem.starts[stream + 1] - 1].value }
        var simplex = DualSimplex(resources: limited.count, worth: idle)
        // What is in shares of a capacity; of one that is zero nothing can be used, at a price above all others.
        let scales = limited.map { max(caps[$0], 1e-9) }
        for _ in 0..<Self.mostSteps {
            simplex.price()
            for (index, resource) in limited.enumerated() { prices[resource] = simplex.prices[index] / scales[index] }
            let total = step()
            let gap = bound - max(bestValue, cutoff)
            guard gap > Self.epsilon else { break }
            // What the picks are worth beyond the mix is what the bound may still fall by, or more.
            var beyond = total - simplex.level
            for resource in limited { beyond -= prices[resource] * caps[resource] }
            guard beyond > Self.precision * gap else { break }
            var worth = 0.0
            for pick in picks { worth += rows[pick].value }
            for (index, resource) in limited.enumerated() { simplex.entering[index] = use[resource] / scales[index] }
            guard simplex.enter(worth: worth) else { break }
        }
        prices = bestPrices
        bound = relax()
    }
    /// Relaxations at most: a few tens suffice for as many resources as a device has.
    private static let mostSteps = 100
    /// The search closes a smaller gap sooner than prices do.
    private static let precision = 0.005

    // MARK: - Search

    /// Searches first for what lies just below the bound, where few options are left to try, and lower as long as nothing is there. Nothing
    /// found lowers the bound; something found is the optimum once its search is through.
    private mutating func search() {
        let root = bound
        var width = (root - max(bestValue, cutoff)) / Self.firstWidths
        while true {
            let target = max(bestValue, cutoff)
            guard bound > target + Self.epsilon else {
                isProven = true
                return
            }
            // A step that would hardly be narrower than the gap is the gap.
            let aim = width > (root - target) / 2 ? target : root - width
            let isLast = aim == target
            let limit = isLast ? nodeLimit : min(nodeLimit, nodes + max(Self.fewestNodes, nodeLimit / 8))
            guard nodes < limit else { return }
            let (isThrough, found) = search(above: aim, root: root, limit: limit)
            if isThrough {
                // What was found is the best of all above the aim.
                bound = min(bound, found ? bestValue : aim)
            } else if isLast {
                return
            }
            width *= Self.widening
        }
    }
    /// A good incumbent is this much farther from the bound than the optimum is: found by trial on problems of 64 streams.
    private static let firstWidths = 64.0
    private static let widening = 4.0
    private static let fewestNodes = 2000

    /// Looks for choices worth more than `target`.
    /// - Parameter root: the bound at `prices`.
    /// - Returns: whether all that could be worth more was looked at, and whether there was something.
    private mutating func search(above target: Double, root: Double, limit: Int) -> (isThrough: Bool, found: Bool) {
        // What the bound cannot rule out, best first; streams with the most to lose first.
        var lists: [(stream: Int, options: [(index: Int, reduced: Double)], spread: Double)] = []
        for stream in 0..<problem.streamCount {
            var options = (problem.starts[stream]..<problem.starts[stream + 1]).map { (index: $0, reduced: reduced($0, at: prices)) }
            let top = options.reduce(-Double.infinity) { max($0, $1.reduced) }
            options.removeAll { root - top + $0.reduced <= target + Self.epsilon }
            // Rounding may rule out even the top; then nothing better exists.
            guard !options.isEmpty else { return (true, false) }
            options.sort { ($1.reduced, $0.index) < ($0.reduced, $1.index) }
            lists.append((stream, options, options.count > 1 ? top - options[1].reduced : .infinity))
        }
        lists.sort { ($1.spread, $0.stream) < ($0.spread, $1.stream) }
        var tree = SearchTree(problem: problem, nodeLimit: limit - nodes, epsilon: Self.epsilon, bestValue: target)
        for list in lists {
            tree.streams.append(list.stream)
            tree.indices.append(contentsOf: list.options.map(\.index))
            tree.starts.append(tree.indices.count)
        }
        tree.reduced = tree.indices.map { reduced($0, at: prices) }
        tree.run(constant: lists.reduce(root) { $0 - $1.options[0].reduced })
        nodes += tree.nodes
        if tree.found {
            for (position, stream) in tree.streams.enumerated() { best[stream] = tree.best[position] }
            bestValue = tree.bestValue
        }
        return (tree.isThrough, tree.found)
    }
}
