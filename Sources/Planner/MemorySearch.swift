/// Branch and bound over which artefacts are loaded, for problems where memory decides.
///
/// An artefact's memory is worth its price only to all its users together, which the solver's own
/// price per user sees badly: with many streams its bound is far off. Deciding artefact by artefact
/// closes that gap: what is loaded costs nothing more, what is not is out of the choice, and once
/// all that is left fits, memory is no constraint.
struct MemorySearch {
    private let problem: Problem
    private let nodeLimit: Int

    private(set) var best: [Int]
    private(set) var bestValue: Double
    private(set) var nodes = 0
    /// Greatest bound of what the node limit left unsearched.
    private(set) var openBound = -Double.infinity
    var isProven: Bool { openBound <= bestValue + Solver.epsilon }

    private enum Fate { case open, loaded, out }

    /// - Parameters:
    ///   - best: a feasible choice to improve on, an option index per stream.
    init(_ problem: Problem, nodeLimit: Int, best: [Int], bestValue: Double) {
        self.problem = problem
        self.nodeLimit = nodeLimit
        self.best = best
        self.bestValue = bestValue
    }

    mutating func solve() {
        descend([Fate](repeating: .open, count: problem.artefactBytes.count), loadedBytes: 0)
    }

    private mutating func descend(_ fates: [Fate], loadedBytes: Double) {
        var fates = fates
        let free = problem.memoryCap - loadedBytes
        for artefact in fates.indices where fates[artefact] == .open && problem.artefactBytes[artefact] > Problem.slack(free) {
            fates[artefact] = .out
        }
        let (part, map) = restricted(fates, free: free)
        let isOpen = part.memoryCap.isFinite
        var solver = Solver(part, nodeLimit: max(0, nodeLimit - nodes), cutoff: bestValue)
        if isOpen { solver.relaxAndPolish() } else { solver.solve() }
        nodes += solver.effort
        if solver.bestValue > bestValue + Solver.epsilon {
            bestValue = solver.bestValue
            best = solver.best.map { map[$0] }
        }
        guard solver.bound > bestValue + Solver.epsilon else { return }
        guard isOpen else {
            if !solver.isProven { openBound = max(openBound, solver.bound) }
            return
        }
        guard nodes < nodeLimit, let artefact = branch(fates, solver.picks.map { map[$0] }) else {
            openBound = max(openBound, solver.bound)
            return
        }
        fates[artefact] = .loaded
        descend(fates, loadedBytes: loadedBytes + problem.artefactBytes[artefact])
        fates[artefact] = .out
        descend(fates, loadedBytes: loadedBytes)
    }

    /// The open artefact that most streams would use; among equals the largest.
    private func branch(_ fates: [Fate], _ picks: [Int]) -> Int? {
        var users = [Int](repeating: 0, count: fates.count)
        for option in picks where problem.artefact[option] >= 0 { users[problem.artefact[option]] += 1 }
        return fates.indices.filter { fates[$0] == .open }.max {
            (users[$0], problem.artefactBytes[$0]) < (users[$1], problem.artefactBytes[$1])
        }
    }

    /// The problem without options of artefacts that are out, and loaded ones for free; with the
    /// original index of each option.
    private func restricted(_ fates: [Fate], free: Double) -> (Problem, [Int]) {
        var part = problem
        var map: [Int] = []
        var openBytes = 0.0
        for artefact in fates.indices where fates[artefact] == .open { openBytes += problem.artefactBytes[artefact] }
        let isOpen = openBytes > Problem.slack(free)
        part.memoryCap = isOpen ? free : .infinity
        part.starts = [0]
        part.value = []
        part.power = []
        part.utilization = []
        part.unit = []
        part.artefact = []
        part.source = []
        let count = problem.value.count
        map.reserveCapacity(count)
        part.value.reserveCapacity(count)
        part.power.reserveCapacity(count)
        part.utilization.reserveCapacity(count)
        part.unit.reserveCapacity(count)
        part.artefact.reserveCapacity(count)
        part.source.reserveCapacity(count)
        for stream in 0..<problem.streamCount {
            for option in problem.starts[stream]..<problem.starts[stream + 1] {
                let artefact = problem.artefact[option]
                if artefact >= 0, fates[artefact] == .out { continue }
                map.append(option)
                part.value.append(problem.value[option])
                part.power.append(problem.power[option])
                part.utilization.append(problem.utilization[option])
                part.unit.append(problem.unit[option])
                part.artefact.append(isOpen && artefact >= 0 && fates[artefact] == .open ? artefact : -1)
                part.source.append(problem.source[option])
            }
            part.starts.append(part.value.count)
        }
        return (part, map)
    }
}
