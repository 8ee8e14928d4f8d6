/// Choices that are good without a search: the better they are, the less is left to search.
extension Solver {
    /// Keeps a choice that is better than the best so far and within the limits.
    mutating func offer(_ choice: [Int]) {
        let value = choice.reduce(0) { $0 + problem.value[$1] }
        guard value > bestValue + Self.epsilon else { return }
        guard Use(problem, choice).fits(problem) else { return }
        best = choice
        bestValue = value
    }

    /// Makes the picks at the best prices feasible, by the changes that cost the least value for what they give back of what is
    /// over its limit.
    mutating func repair() {
        var choice = picks
        var use = Use(problem, choice)
        for _ in 0..<problem.streamCount {
            if use.fits(problem) { return offer(choice) }
            // It looks at every option, as a relaxation does.
            relaxations += 1
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
    mutating func polish() {
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

    /// Raises the incumbent by changing two streams at once, one up and another down to make room, among the options that lose least at the
    /// prices; as long as that helps.
    mutating func exchange() {
        guard bound - bestValue > Self.epsilon, problem.streamCount > Self.searchedWhole else { return }
        struct Move {
            var stream, option: Int
            var gain, power: Double
        }
        for _ in 0..<Self.exchanges {
            var (ups, downs): ([Move], [Move]) = ([], [])
            for stream in best.indices {
                let own = rows[best[stream]]
                var options = (problem.starts[stream]..<problem.starts[stream + 1]).filter { $0 != best[stream] }.map { ($0, reduced($0, at: prices)) }
                options.sort { ($1.1, $0.0) < ($0.1, $1.0) }
                for (option, _) in options.prefix(Self.alternatives) {
                    let move = Move(stream: stream, option: option, gain: rows[option].value - own.value, power: rows[option].power - own.power)
                    if move.gain > Self.epsilon { ups.append(move) } else { downs.append(move) }
                }
            }
            ups.sort { ($1.gain, $0.option) < ($0.gain, $1.option) }
            downs.sort { ($1.gain, $0.option) < ($0.gain, $1.option) }
            var use = Use(problem, best)
            var changed: Set<Int> = []
            for up in ups where !changed.contains(up.stream) {
                use.remove(best[up.stream], problem)
                use.add(up.option, problem)
                let powerOver = use.scalars.power - Problem.slack(problem.powerCap)
                var taken: Move?
                for down in downs {
                    guard up.gain + down.gain > Self.epsilon else { break }
                    guard down.power <= -powerOver, down.stream != up.stream, !changed.contains(down.stream) else { continue }
                    // Two changes back and forth take as long as a few nodes do.
                    nodes += 4
                    use.remove(best[down.stream], problem)
                    use.add(down.option, problem)
                    if use.fits(problem) {
                        taken = down
                        break
                    }
                    use.remove(down.option, problem)
                    use.add(best[down.stream], problem)
                }
                if let taken {
                    best[up.stream] = up.option
                    best[taken.stream] = taken.option
                    changed.formUnion([up.stream, taken.stream])
                } else {
                    use.remove(up.option, problem)
                    use.add(best[up.stream], problem)
                }
            }
            guard !changed.isEmpty else { break }
            polish()
        }
    }
    /// Smaller problems are searched sooner than improved.
    private static let searchedWhole = 16
    private static let exchanges = 8
    private static let alternatives = 3
}
