/// Exact solution of a multiple-choice knapsack with several resources and shared memory, by branch
/// and bound.
///
/// The bound is Lagrangian (Fisher 1981): with prices on power, on each unit's time and on memory,
/// no feasible choice is worth more than `sum of prices x capacities + sum over streams of the best
/// (value - priced use)`. Memory of an artefact that n streams could share is priced at 1/n of its
/// size per user, which never exceeds what is really used. Good prices come from bisection, once at
/// the root; options that the bound rules out there are dropped, and few nodes remain to search.
struct Solver {
    private let problem: Problem
    private let nodeLimit: Int

    /// Values up to here are of no interest: another plan already has them.
    private let cutoff: Double

    private(set) var best: [Int] = []
    private(set) var bestValue = -Double.infinity
    private(set) var bound = Double.infinity
    private(set) var nodes = 0
    private(set) var isProven = false
    private var relaxations = 0
    /// What the search has cost so far, relaxations included, in nodes of the search tree: an option
    /// looked at in a relaxation takes about a third of a node's time, and making the problem as much as six of them.
    var effort: Int { nodes + (relaxations + 6) * problem.value.count / 3 }
    /// Price of power at the root: value per watt.
    var powerPrice: Double { prices[0] }

    /// Prices and capacities: power, memory, then each unit's time.
    private var prices: [Double]
    private let caps: [Double]
    /// Shared memory charged to one user, by option.
    private let share: [Double]
    /// The options side by side, as the relaxation reads them.
    private let rows: [Row]

    private struct Row {
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
        // Below the root there is an incumbent already.
        if cutoff == -.infinity { repair() }
        polish()
    }

    // MARK: - Relaxation

    private func reduced(_ option: Int, at prices: [Double]) -> Double {
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
    private mutating func step() {
        let total = relax()
        if total < bound {
            bound = total
            bestPrices = prices
        }
        if !caps.indices.contains(where: isOver) { offer(picks) }
    }

    /// Lowers the bound by bisecting one price after another.
    private mutating func price() {
        step()
        let mostValue = problem.value.reduce(0) { max($0, $1.magnitude) }
        // The first passes need not be exact: what they find moves with the other prices.
        for precision in [1e-2, 1e-3, 1e-4, 1e-5] {
            let before = bound
            for index in caps.indices where caps[index].isFinite {
                guard isOver(index) || prices[index] > 0 else { continue }
                var low = 0.0
                // A good price is about the worth of a stream over the capacity.
                var high = prices[index] > 0 ? prices[index] : max(1e-12, 0.01 * mostValue / max(caps[index], 1e-9))
                prices[index] = high
                step()
                while isOver(index), high < 1e30 {
                    low = high
                    high *= 4
                    prices[index] = high
                    step()
                }
                while high - low > precision * high {
                    prices[index] = (low + high) / 2
                    step()
                    if isOver(index) { low = prices[index] } else { high = prices[index] }
                    if high < 1e-15 { break }
                }
                prices[index] = high
                step()
            }
            // As many passes as still help: the search closes a small gap sooner than prices do.
            if before - bound <= 0.02 * (bound - bestValue) { break }
        }
        descend()
        prices = bestPrices
        bound = relax()
    }

    /// Lowers the bound by all prices at once: one after another gets stuck where the bound has an edge. Subgradient steps whose
    /// length is what is left to the incumbent (Polyak 1969).
    private mutating func descend() {
        guard prices.count(where: { $0 > 0 }) > 1 else { return }
        prices = bestPrices
        _ = relax()
        var reach = 1.0
        var last = bound
        for round in 1...Self.descents {
            var norm = 0.0
            var slopes = prices
            for index in caps.indices {
                guard caps[index].isFinite, caps[index] > 0 else { slopes[index] = 0; continue }
                // In shares of the capacity, so that watts and bytes weigh alike.
                let slope = use[index] / caps[index] - 1
                slopes[index] = prices[index] > 0 || slope > 0 ? slope : 0
                norm += slopes[index] * slopes[index]
            }
            let left = bound - bestValue
            guard norm > 1e-18, left > Self.epsilon else { return }
            for index in caps.indices where slopes[index] != 0 {
                prices[index] = max(0, prices[index] + reach * 0.5 * left / norm * slopes[index] / caps[index])
            }
            step()
            if round.isMultiple(of: 8) {
                if last - bound < 0.01 * left { reach *= 0.5 }
                last = bound
            }
        }
    }
    private static let descents = 32

    // MARK: - Incumbent

    private mutating func offer(_ choice: [Int]) {
        let value = choice.reduce(0) { $0 + problem.value[$1] }
        guard value > bestValue + Self.epsilon else { return }
        guard Use(problem, choice).fits(problem) else { return }
        best = choice
        bestValue = value
    }

    /// Makes the picks at the best prices feasible, by the changes that cost the least value for what they give back of what is
    /// over its limit.
    private mutating func repair() {
        var choice = picks
        var use = Use(problem, choice)
        for _ in 0..<4 * problem.streamCount {
            if use.fits(problem) { return offer(choice) }
            let over = caps.indices.map { max(0, use.amount($0) / max(caps[$0], 1e-12) - 1) / max(caps[$0], 1e-12) }
            func weighed(_ option: Int) -> Double {
                let row = rows[option]
                return over[0] * row.power + over[1] * row.share + (row.time > 0 ? over[2 + row.unit] * row.time : 0)
            }
            var best: (stream: Int, option: Int, rate: Double)?
            for stream in choice.indices {
                let now = weighed(choice[stream])
                guard now > 0 else { continue }
                for option in problem.starts[stream]..<problem.starts[stream + 1] {
                    let relief = now - weighed(option)
                    guard relief > 1e-12 * now else { continue }
                    let rate = (rows[choice[stream]].value - rows[option].value) / relief
                    if rate < best?.rate ?? .infinity { best = (stream, option, rate) }
                }
            }
            guard let best else { return }
            use.remove(choice[best.stream], problem)
            use.add(best.option, problem)
            choice[best.stream] = best.option
        }
    }

    /// Raises the incumbent one stream at a time, what gains most for its price first, as long as that helps.
    private mutating func polish() {
        var use = Use(problem, best)
        var improved = true
        while improved {
            improved = false
            var moves: [(stream: Int, option: Int, rate: Double)] = []
            for stream in best.indices {
                let value = rows[best[stream]].value
                let reduced = self.reduced(best[stream], at: prices)
                for option in problem.starts[stream]..<problem.starts[stream + 1] where rows[option].value > value + Self.epsilon {
                    let gain = rows[option].value - value
                    let price = gain - (self.reduced(option, at: prices) - reduced)
                    moves.append((stream, option, gain / max(price, 1e-12)))
                }
            }
            moves.sort { ($1.rate, $0.option) < ($0.rate, $1.option) }
            for move in moves where rows[move.option].value > rows[best[move.stream]].value + Self.epsilon {
                use.remove(best[move.stream], problem)
                use.add(move.option, problem)
                if use.fits(problem) {
                    best[move.stream] = move.option
                    improved = true
                } else {
                    use.remove(move.option, problem)
                    use.add(best[move.stream], problem)
                }
            }
        }
        bestValue = best.reduce(0) { $0 + problem.value[$1] }
    }

    // MARK: - Search

    private mutating func search() {
        let target = max(bestValue, cutoff)
        guard bound > target + Self.epsilon else {
            isProven = true
            return
        }
        // What the bound cannot rule out, best first; streams with the most to lose first.
        var lists: [(stream: Int, options: [(index: Int, reduced: Double)], spread: Double)] = []
        for stream in 0..<problem.streamCount {
            var options = (problem.starts[stream]..<problem.starts[stream + 1]).map { (index: $0, reduced: reduced($0, at: prices)) }
            options.sort { ($1.reduced, $0.index) < ($0.reduced, $1.index) }
            let top = options[0].reduced
            options.removeAll { bound - top + $0.reduced <= target + Self.epsilon }
            // Rounding may rule out even the top; then nothing better than the incumbent exists.
            guard !options.isEmpty else {
                isProven = true
                return
            }
            lists.append((stream, options, options.count > 1 ? top - options[1].reduced : .infinity))
        }
        lists.sort { ($1.spread, $0.stream) < ($0.spread, $1.stream) }
        var tree = SearchTree(problem: problem, nodeLimit: nodeLimit, epsilon: Self.epsilon, bestValue: target)
        for list in lists {
            tree.streams.append(list.stream)
            tree.indices.append(contentsOf: list.options.map(\.index))
            tree.starts.append(tree.indices.count)
        }
        tree.reduced = tree.indices.map { reduced($0, at: prices) }
        tree.run(constant: lists.reduce(bound) { $0 - $1.options[0].reduced })
        nodes = tree.nodes
        if tree.found {
            for (position, stream) in tree.streams.enumerated() { best[stream] = tree.best[position] }
            bestValue = tree.bestValue
        }
        isProven = nodes < nodeLimit
    }
}
