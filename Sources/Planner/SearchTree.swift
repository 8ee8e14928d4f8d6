/// Depth-first search over streams in a fixed order, cut off by the root's prices.
struct SearchTree {
    let problem: Problem
    let nodeLimit: Int
    let epsilon: Double
    var bestValue: Double

    /// Streams in branching order, and the candidates of each, best reduced value first.
    var streams: [Int] = []
    var starts: [Int] = [0]
    var indices: [Int] = []
    var reduced: [Double] = []

    private(set) var best: [Int] = []
    private(set) var found = false
    private(set) var nodes = 0
    private var path: [Int] = []
    /// Sum of the best reduced values of the streams from here on.
    private var rest: [Double] = []
    private var use: Use

    init(problem: Problem, nodeLimit: Int, epsilon: Double, bestValue: Double) {
        self.problem = problem
        self.nodeLimit = nodeLimit
        self.epsilon = epsilon
        self.bestValue = bestValue
        use = Use(problem, [])
    }

    /// - Parameter constant: prices x capacities.
    mutating func run(constant: Double) {
        path = [Int](repeating: 0, count: streams.count)
        rest = [Double](repeating: 0, count: streams.count + 1)
        for depth in stride(from: streams.count - 1, through: 0, by: -1) {
            rest[depth] = rest[depth + 1] + reduced[starts[depth]]
        }
        descend(0, priced: constant, value: 0)
    }

    /// - Parameters:
    ///   - priced: constant plus the reduced values chosen so far.
    ///   - value: sum of the values chosen so far.
    private mutating func descend(_ depth: Int, priced: Double, value: Double) {
        guard depth < streams.count else {
            if value > bestValue + epsilon {
                bestValue = value
                best = path
                found = true
            }
            return
        }
        for candidate in starts[depth]..<starts[depth + 1] {
            // Candidates are in order of reduced value, so all after this one are ruled out too.
            if priced + reduced[candidate] + rest[depth + 1] <= bestValue + epsilon { return }
            guard nodes < nodeLimit else { return }
            nodes += 1
            let option = indices[candidate]
            let saved = use.scalars
            use.add(option, problem)
            if use.fits(option, problem) {
                path[depth] = option
                descend(depth + 1, priced: priced + reduced[candidate], value: value + problem.value[option])
            }
            use.remove(option, problem)
            // Restoring rather than subtracting keeps rounding from building up over millions of nodes.
            use.scalars = saved
        }
    }
}

/// What a choice uses of each resource, artefacts counted once.
struct Use {
    struct Scalars {
        var power = 0.0
        var memory = 0.0
    }
    var scalars = Scalars()
    private var units: [Double]
    private var users: [Int]

    init(_ problem: Problem, _ choice: [Int]) {
        units = [Double](repeating: 0, count: problem.unitCaps.count)
        users = [Int](repeating: 0, count: problem.artefactBytes.count)
        for option in choice { add(option, problem) }
    }

    mutating func add(_ option: Int, _ problem: Problem) {
        scalars.power += problem.power[option]
        if problem.unit[option] >= 0 { units[problem.unit[option]] += problem.utilization[option] }
        let artefact = problem.artefact[option]
        if artefact >= 0 {
            if users[artefact] == 0 { scalars.memory += problem.artefactBytes[artefact] }
            users[artefact] += 1
        }
    }

    mutating func remove(_ option: Int, _ problem: Problem) {
        scalars.power -= problem.power[option]
        if problem.unit[option] >= 0 { units[problem.unit[option]] -= problem.utilization[option] }
        let artefact = problem.artefact[option]
        if artefact >= 0 {
            users[artefact] -= 1
            if users[artefact] == 0 { scalars.memory -= problem.artefactBytes[artefact] }
        }
    }

    /// Whether all limits hold.
    func fits(_ problem: Problem) -> Bool {
        guard scalars.power <= Problem.slack(problem.powerCap), scalars.memory <= Problem.slack(problem.memoryCap) else {
            return false
        }
        for unit in units.indices where units[unit] > Problem.slack(problem.unitCaps[unit]) { return false }
        return true
    }

    /// Whether the limits that `option` touches hold.
    func fits(_ option: Int, _ problem: Problem) -> Bool {
        let unit = problem.unit[option]
        return scalars.power <= Problem.slack(problem.powerCap) && scalars.memory <= Problem.slack(problem.memoryCap)
            && (unit < 0 || units[unit] <= Problem.slack(problem.unitCaps[unit]))
    }
}
