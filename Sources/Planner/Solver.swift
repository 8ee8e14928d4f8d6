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
    /// looked at in a relaxation takes about a quarter of a node's time.
    var effort: Int { nodes + relaxations * problem.value.count / 4 }
    /// Price of power at the root: value per watt.
    var powerPrice: Double { prices[0] }

    /// Prices and capacities: power, memory, then each unit's time.
    private var prices: [Double]
    private let caps: [Double]
    /// Shared memory charged to one user, by option.
    private var share: [Double]
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
        share = problem.artefact.map { $0 < 0 ? 0 : problem.artefactBytes[$0] / users[$0] }
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
        polish()
    }

    // MARK: - Relaxation

    private func reduced(_ option: Int) -> Double {
        let unit = problem.unit[option]
        var value = problem.value[option] - prices[0] * problem.power[option] - prices[1] * share[option]
        if unit >= 0 { value -= prices[2 + unit] * problem.utilization[option] }
        return value
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
        for stream in 0..<problem.streamCount {
            var pick = problem.starts[stream]
            var top = reduced(pick)
            for option in problem.starts[stream] + 1..<problem.starts[stream + 1] {
                let value = reduced(option)
                if value > top {
                    top = value
                    pick = option
                }
            }
            picks[stream] = pick
            total += top
            use[0] += problem.power[pick]
            use[1] += share[pick]
            if problem.unit[pick] >= 0 { use[2 + problem.unit[pick]] += problem.utilization[pick] }
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
        for _ in 0..<4 {
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
                while high - low > 1e-6 * high {
                    prices[index] = (low + high) / 2
                    step()
                    if isOver(index) { low = prices[index] } else { high = prices[index] }
                    if high < 1e-15 { break }
                }
                prices[index] = high
                step()
            }
            // One resource alone is solved by one pass; several by as many as still help.
            if prices.count(where: { $0 > 0 }) < 2 || before - bound <= 1e-6 * bound.magnitude { break }
        }
        prices = bestPrices
        bound = relax()
    }

    // MARK: - Incumbent

    private mutating func offer(_ choice: [Int]) {
        let value = choice.reduce(0) { $0 + problem.value[$1] }
        guard value > bestValue + Self.epsilon else { return }
        guard Use(problem, choice).fits(problem) else { return }
        best = choice
        bestValue = value
    }

    /// Raises the incumbent one stream at a time, as long as that helps.
    private mutating func polish() {
        var use = Use(problem, best)
        var improved = true
        while improved {
            improved = false
            for stream in 0..<problem.streamCount {
                let old = best[stream]
                for option in problem.starts[stream]..<problem.starts[stream + 1] {
                    guard problem.value[option] > problem.value[best[stream]] + Self.epsilon else { continue }
                    use.remove(best[stream], problem)
                    use.add(option, problem)
                    if use.fits(problem) {
                        best[stream] = option
                    } else {
                        use.remove(option, problem)
                        use.add(best[stream], problem)
                    }
                }
                if best[stream] != old { improved = true }
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
            var options = (problem.starts[stream]..<problem.starts[stream + 1]).map { (index: $0, reduced: reduced($0)) }
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
            tree.reduced.append(contentsOf: list.options.map(\.reduced))
            tree.starts.append(tree.indices.count)
        }
        var constant = bound
        for list in lists { constant -= list.options[0].reduced }
        tree.run(constant: constant)
        nodes = tree.nodes
        if tree.found {
            for (position, stream) in tree.streams.enumerated() { best[stream] = tree.best[position] }
            bestValue = tree.bestValue
        }
        isProven = nodes < nodeLimit
    }
}
