import Units

/// The clairvoyant optimum: with perfect knowledge of trace and truth, each stream mixing its
/// options freely, what is the most utility within the battery and the goal?
///
/// Exact, without a general solver. In an interval between trace rows and stream starts and ends,
/// utility is a concave piecewise linear function of power (`UtilityCurve`). What a battery that
/// spills when full can serve over time is a polymatroid (a flow on a path whose sources are the
/// incomes), so taking the pieces of all intervals in order of utility per joule, each as far as the
/// battery allows, is optimal (Edmonds 1970; Federgruen and Groenevelt 1986). Memory and load
/// energy are left out, hence an upper bound.
public struct Oracle: Sendable {
    /// Utility of the optimum, 0 to 1; nil when no controller could meet the goal.
    public let utility: Double?

    private struct Interval {
        var length: Double
        /// Income less base.
        var net: Double
        /// Index into the curves.
        var curve: Int
    }

    public init(_ scenario: Scenario) {
        let until = scenario.goal.until.value
        var cuts: Set<Double> = [0, until]
        for row in scenario.rows where row.time.value > 0 && row.time.value < until { cuts.insert(row.time.value) }
        for stream in scenario.streams {
            for cut in [stream.start.value, stream.end.value] where cut > 0 && cut < until { cuts.insert(cut) }
        }
        let times = cuts.sorted()
        var curves: [UtilityCurve] = []
        var known: [[Int]: Int] = [:]
        var intervals: [Interval] = []
        var asked = 0.0
        for (from, to) in zip(times, times.dropFirst()) {
            let live = scenario.streams.indices.filter { scenario.streams[$0].start.value <= from && scenario.streams[$0].end.value > from }
            let curve: Int
            if let index = known[live] {
                curve = index
            } else {
                curve = curves.count
                known[live] = curve
                curves.append(Self.curve(scenario, live))
            }
            let row = scenario.rows[scenario.row(at: from)]
            let income = row.harvest.value + (row.acOnline ? scenario.battery.charger.value : 0)
            intervals.append(Interval(length: to - from, net: income - row.base.value, curve: curve))
            asked += (to - from) * live.reduce(0) { $0 + scenario.streams[$1].weight }
        }
        guard let earned = Self.allocate(scenario, intervals, curves) else {
            utility = nil
            return
        }
        utility = asked > 0 ? earned / asked : 0
    }

    private static func curve(_ scenario: Scenario, _ live: [Int]) -> UtilityCurve {
        let units = Set(scenario.options.map(\.unit)).sorted()
        var columns: [UtilityCurve.Column] = []
        for (position, index) in live.enumerated() {
            let stream = scenario.streams[index]
            for option in scenario.options where option.model == stream.model && option.quality >= stream.floor {
                let latency = scenario.latencyScale[option.unit] ?? 1
                guard option.p99.value * latency <= stream.deadline.value * (1 + 1e-12) else { continue }
                for (cadence, factor) in zip(stream.cadences, stream.cadenceQuality) {
                    let period = stream.hop.value * Double(cadence)
                    columns.append(
                        .init(
                            stream: position,
                            unit: scenario.unitUtilization[option.unit] == nil ? -1 : units.firstIndex(of: option.unit) ?? -1,
                            utility: stream.weight * option.quality * factor,
                            power: option.joules.value * (scenario.energyScale[option.unit] ?? 1) / period,
                            time: option.p50.value * latency / period))
                }
            }
        }
        return UtilityCurve(
            streamCount: live.count, unitCaps: units.map { scenario.unitUtilization[$0] ?? 1e18 }, columns: columns)
    }

    /// Utility x seconds of the best allocation; nil when even without inference the goal is missed.
    private static func allocate(_ scenario: Scenario, _ intervals: [Interval], _ curves: [UtilityCurve]) -> Double? {
        let capacity = scenario.battery.capacity.value
        let initial = capacity * scenario.battery.initialCharge
        let reserve = capacity * scenario.goal.reserve
        let slack = capacity * 1e-12
        var battery = Spill(intervals: intervals.map { $0.net * $0.length }, initial: initial, capacity: capacity)
        for (index, energy) in battery.energy.enumerated() {
            if energy < (index == intervals.count - 1 ? reserve : 0) - slack { return nil }
        }
        var earned = intervals.reduce(0) { $0 + $1.length * curves[$1.curve].free }
        // All pieces of one slope and one curve are served in one sweep over time.
        var pieces: [(slope: Double, curve: Int, width: Double)] = []
        for (index, curve) in curves.enumerated() {
            for segment in curve.segments { pieces.append((segment.slope, index, segment.width)) }
        }
        pieces.sort { ($1.slope, $0.curve) < ($0.slope, $1.curve) }
        for piece in pieces {
            var room = Double.infinity
            for index in intervals.indices.reversed() {
                let floor = index == intervals.count - 1 ? reserve : 0
                room = max(0, battery.spill[index] + min(battery.energy[index] - floor, room))
                guard intervals[index].curve == piece.curve else { continue }
                let given = min(room, piece.width * intervals[index].length)
                battery.drain[index] += given
                room -= given
                earned += given * piece.slope
            }
            battery.settle()
        }
        return earned
    }
}

/// A battery over intervals that loses what it cannot hold.
private struct Spill {
    let intervals: [Double]
    let initial: Double
    let capacity: Double
    /// Energy taken by inference in each interval.
    var drain: [Double]
    /// Stored energy at the end of each interval, and what was lost in it.
    private(set) var energy: [Double]
    private(set) var spill: [Double]

    init(intervals: [Double], initial: Double, capacity: Double) {
        self.intervals = intervals
        self.initial = initial
        self.capacity = capacity
        drain = [Double](repeating: 0, count: intervals.count)
        energy = drain
        spill = drain
        settle()
    }

    mutating func settle() {
        var stored = initial
        for index in intervals.indices {
            let full = stored + intervals[index] - drain[index]
            stored = min(capacity, full)
            energy[index] = stored
            spill[index] = full - stored
        }
    }
}
