/// Depth-first search over streams in a fixed order, cut off by the root's prices.
///
/// The last streams in that order are those whose options differ least: most of a tree's leaves are combinations of them. These
/// combinations are listed once, best value first, and gone through instead of being searched again below every node (Horowitz
/// and Sahni 1974 split subset sums that way).
struct SearchTree {
    let problem: Problem
    private var nodeLimit: Int
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
    /// Whether the limit left nothing out.
    var isThrough: Bool { nodes < nodeLimit }
    private var path: [Int] = []
    /// Sum of the best reduced values of the streams from here on.
    private var rest: [Double] = []
    /// What the candidates take.
    private var rows: [Row] = []
    private var tail = Tail()
    /// What is chosen so far takes.
    private var power = 0.0
    private var memory = 0.0
    private var times: [Double]
    private var users: [Int]
    private let powerLimit: Double
    private let memoryLimit: Double
    private let timeLimits: [Double]

    private struct Row {
        var option: Int
        var value, power, time, bytes: Double
        var unit, artefact: Int
    }

    /// Combinations of the last streams' options, greatest value first.
    private struct Tail {
        /// Streams that it covers.
        var length = 0
        var entries: [Entry] = [Entry()]

        struct Entry {
            var value = 0.0
            var power = 0.0
            var time = SIMD4<Double>.zero
            /// Its candidates, a byte each, counted from the start of its stream's; the last stream's in the lowest byte.
            var choices: UInt64 = 0
            var loss = 0.0
        }
        static let mostEntries = 128
        /// Nodes that a search may take before a tail is made.
        static let patience = 1000
        /// Entries looked at that take about a node's time.
        static let perNode = 8
    }

    init(problem: Problem, nodeLimit: Int, epsilon: Double, bestValue: Double) {
        self.problem = problem
        self.nodeLimit = nodeLimit
        self.epsilon = epsilon
        self.bestValue = bestValue
        powerLimit = Problem.slack(problem.powerCap)
        memoryLimit = Problem.slack(problem.memoryCap)
        timeLimits = problem.unitCaps.map(Problem.slack)
        times = problem.unitCaps.map { _ in 0 }
        users = problem.artefactBytes.map { _ in 0 }
    }

    /// - Parameter constant: prices x capacities.
    mutating func run(constant: Double) {
        path = [Int](repeating: 0, count: streams.count)
        rest = [Double](repeating: 0, count: streams.count + 1)
        for depth in stride(from: streams.count - 1, through: 0, by: -1) {
            rest[depth] = rest[depth + 1] + reduced[starts[depth]]
        }
        rows = indices.map { option in
            let artefact = problem.artefact[option]
            return Row(
                option: option, value: problem.value[option], power: problem.power[option],
                time: problem.unit[option] < 0 ? 0 : problem.utilization[option],
                bytes: artefact < 0 ? 0 : problem.artefactBytes[artefact], unit: problem.unit[option], artefact: artefact)
        }
        // Most searches are short and need no tail.
        let limit = nodeLimit
        nodeLimit = min(limit, Tail.patience)
        descend(0, priced: constant, value: 0)
        guard nodes >= nodeLimit, nodeLimit < limit else { return }
        nodeLimit = limit
        makeTail(gap: constant + rest[0] - bestValue - epsilon)
        descend(0, priced: constant, value: 0)
    }

    /// - Parameter gap: what the bound may lose, all streams together.
    private mutating func makeTail(gap: Double) {
        // Four units' time in a vector; a device with more is searched without a tail.
        guard times.count <= 4 else { return }
        for length in 1...min(8, streams.count - 1) {
            let depth = streams.count - length
            guard starts[depth + 1] - starts[depth] < 256 else { return }
            var next: [Tail.Entry] = []
            for entry in tail.entries {
                for candidate in starts[depth]..<starts[depth + 1] {
                    var grown = entry
                    grown.loss += reduced[starts[depth]] - reduced[candidate]
                    if grown.loss >= gap { break }
                    guard next.count < Tail.mostEntries else { return tail.entries.sort { $0.value > $1.value } }
                    let row = rows[candidate]
                    grown.value += row.value
                    grown.power += row.power
                    if row.unit >= 0 { grown.time[row.unit] += row.time }
                    grown.choices |= UInt64(candidate - starts[depth]) << UInt64(8 * (length - 1))
                    next.append(grown)
                }
            }
            tail.entries = next
            tail.length = length
        }
        tail.entries.sort { $0.value > $1.value }
    }

    /// - Parameters:
    ///   - priced: constant plus the reduced values chosen so far.
    ///   - value: sum of the values chosen so far.
    private mutating func descend(_ depth: Int, priced: Double, value: Double) {
        guard depth < streams.count - tail.length else { return finish(value) }
        for candidate in starts[depth]..<starts[depth + 1] {
            // Candidates are in order of reduced value, so all after this one are ruled out too.
            if priced + reduced[candidate] + rest[depth + 1] <= bestValue + epsilon { return }
            guard nodes < nodeLimit else { return }
            nodes += 1
            let row = rows[candidate]
            // Restoring rather than subtracting keeps rounding from building up over millions of nodes.
            let (powerBefore, memoryBefore) = (power, memory)
            guard powerBefore + row.power <= powerLimit else { continue }
            let isNew = row.artefact >= 0 && users[row.artefact] == 0
            if isNew, memoryBefore + row.bytes > memoryLimit { continue }
            let timeBefore = row.unit >= 0 ? times[row.unit] : 0
            if row.unit >= 0 {
                guard timeBefore + row.time <= timeLimits[row.unit] else { continue }
                times[row.unit] = timeBefore + row.time
            }
            power = powerBefore + row.power
            if isNew { memory = memoryBefore + row.bytes }
            if row.artefact >= 0 { users[row.artefact] += 1 }
            path[depth] = row.option
            descend(depth + 1, priced: priced + reduced[candidate], value: value + row.value)
            if row.artefact >= 0 { users[row.artefact] -= 1 }
            if row.unit >= 0 { times[row.unit] = timeBefore }
            (power, memory) = (powerBefore, memoryBefore)
        }
    }

    /// The best combination of the last streams that fits beside what is chosen.
    private mutating func finish(_ value: Double) {
        let least = bestValue + epsilon - value
        let powerLeft = powerLimit - power
        var timeLeft = SIMD4<Double>(repeating: .infinity)
        for unit in times.indices where unit < 4 { timeLeft[unit] = timeLimits[unit] - times[unit] }
        var fitting: Tail.Entry?
        var looked = 0
        // They are in order of value, so none after the first that fits is better.
        for entry in tail.entries {
            guard entry.value > least else { break }
            looked += 1
            if entry.power <= powerLeft, tail.length == 0 || all(entry.time .<= timeLeft), fitsMemory(entry) {
                fitting = entry
                break
            }
        }
        nodes += looked / Tail.perNode
        guard let fitting else { return }
        bestValue = value + fitting.value
        for length in 0..<tail.length { path[streams.count - 1 - length] = rows[candidate(of: fitting, length)].option }
        best = path
        found = true
    }

    private func candidate(of entry: Tail.Entry, _ position: Int) -> Int {
        starts[streams.count - 1 - position] + Int(entry.choices >> UInt64(8 * position) & 0xFF)
    }

    /// Whether the artefacts of a combination fit beside those that are chosen.
    private mutating func fitsMemory(_ entry: Tail.Entry) -> Bool {
        guard memoryLimit.isFinite else { return true }
        var needed = memory
        for position in 0..<tail.length {
            let row = rows[candidate(of: entry, position)]
            guard row.artefact >= 0 else { continue }
            if users[row.artefact] == 0 { needed += row.bytes }
            users[row.artefact] += 1
        }
        for position in 0..<tail.length {
            let row = rows[candidate(of: entry, position)]
            if row.artefact >= 0 { users[row.artefact] -= 1 }
        }
        return needed <= memoryLimit
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

    /// Use of a resource: power, memory, then each unit's time.
    func amount(_ resource: Int) -> Double {
        switch resource {
        case 0: scalars.power
        case 1: scalars.memory
        default: units[resource - 2]
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
}
