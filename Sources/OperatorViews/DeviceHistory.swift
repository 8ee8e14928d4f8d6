import Units
import Wire

/// What `io.jouled.Power.History` told of a period.
public struct DeviceHistory: Sendable {
    /// What a stream did on one variant within a stretch.
    struct Share: Sendable {
        let stream: Int64
        let name, model, variant: String
        let windows, joules, wakes, quality: Double
        /// Streams of one name and model are one row, whichever process they ran in.
        var row: String { name == model ? name : "\(name) (\(model))" }
    }
    /// A stretch of time.
    struct Point: Sendable {
        let end, span: Double
        let charge, draw, budget, rest: Double?
        let isPlugged: Bool
        let policy, goal: String
        let shares: [Share]
        var start: Double { end - span }
        var joules: Double { shares.reduce(0) { $0 + $1.joules } }
        var windows: Double { shares.reduce(0) { $0 + $1.windows } }
    }
    /// A change of plan.
    struct Decision: Sendable {
        let at: Double
        let text: String
    }

    /// The period asked for, in seconds since 1970.
    public let range: ClosedRange<Double>
    var points: [Point] = []
    var decisions: [Decision] = []

    /// An empty history of a period.
    public init(_ range: ClosedRange<Double>) { self.range = range }

    /// Takes a page; what lies outside of the period is left out.
    public mutating func add(_ page: JSONValue) {
        func text(_ value: JSONValue, _ key: String) -> String { value[key]?.stringValue ?? "" }
        func number(_ value: JSONValue, _ key: String) -> Double { value[key]?.doubleValue ?? 0 }
        for value in page["points"]?.arrayValue ?? [] where range.contains(number(value, "timeSeconds")) {
            let shares = (value["streams"]?.arrayValue ?? []).map { share in
                Share(
                    stream: share["stream"]?.intValue ?? 0, name: text(share, "name"), model: text(share, "model"), variant: text(share, "variant"),
                    windows: number(share, "windows"), joules: number(share, "joules"), wakes: number(share, "wakes"), quality: number(share, "quality"))
            }
            points.append(
                Point(
                    end: number(value, "timeSeconds"), span: number(value, "spanSeconds"), charge: value["charge"]?.doubleValue, draw: value["drawWatts"]?.doubleValue,
                    budget: value["budgetWatts"]?.doubleValue, rest: value["restWatts"]?.doubleValue, isPlugged: value["acOnline"]?.boolValue ?? false,
                    policy: text(value, "policy"), goal: text(value, "goal"), shares: shares))
        }
        for value in page["decisions"]?.arrayValue ?? [] where range.contains(number(value, "timeSeconds")) {
            let words = "#\(value["number"]?.intValue ?? 0) \(text(value, "streamName")): \(text(value, "from")) -> \(text(value, "to"))\n\(text(value, "reason")) (\(text(value, "trigger")))"
            decisions.append(Decision(at: number(value, "timeSeconds"), text: words))
        }
    }

    /// One line on what is there.
    public var summary: String {
        "\(points.count) stretches of together \(clockText(total.seconds)), \(decisions.count) changes of plan, \(Joules(total.joules)) for \(Int(total.windows)) windows"
    }

    /// The same period in at most `count` stretches: a plot has no more pixels to show, and a page of a month must still be sent.
    func condensed(to count: Int) -> [Point] {
        guard points.count > count else { return points }
        let width = (range.upperBound - range.lowerBound) / Double(count)
        var result: [Point] = []
        var bin: [Point] = []
        func merged() -> Point? {
            guard let last = bin.last else { return nil }
            var shares: [Share] = []
            for share in bin.flatMap(\.shares) {
                guard let index = shares.firstIndex(where: { $0.row == share.row && $0.variant == share.variant }) else {
                    shares.append(share)
                    continue
                }
                let sum = shares[index]
                shares[index] = Share(
                    stream: sum.stream, name: sum.name, model: sum.model, variant: sum.variant, windows: sum.windows + share.windows, joules: sum.joules + share.joules,
                    wakes: sum.wakes + share.wakes, quality: share.quality)
            }
            return Point(
                end: last.end, span: bin.reduce(0) { $0 + $1.span }, charge: last.charge, draw: last.draw, budget: last.budget, rest: last.rest, isPlugged: last.isPlugged,
                policy: last.policy, goal: last.goal, shares: shares)
        }
        for point in points {
            if let first = bin.first, point.end - first.start > width {
                if let merged = merged() { result.append(merged) }
                bin = []
            }
            bin.append(point)
        }
        return result + [merged()].compactMap { $0 }
    }

    /// Sums of one row of the table.
    struct Sum {
        var windows = 0.0, joules = 0.0, wakes = 0.0, weightedQuality = 0.0, seconds = 0.0
        /// Mean quality, by windows.
        var quality: Double { windows > 0 ? weightedQuality / windows : 0 }
        mutating func add(_ share: Share) {
            windows += share.windows
            joules += share.joules
            wakes += share.wakes
            weightedQuality += share.quality * share.windows
        }
    }

    /// What all streams did.
    var total: Sum {
        var sum = Sum()
        for point in points {
            sum.seconds += point.span
            for share in point.shares { sum.add(share) }
        }
        return sum
    }

    /// Sums by row and variant, in the order of their first appearance.
    var sums: [(row: String, variant: String, sum: Sum)] {
        var result: [(row: String, variant: String, sum: Sum)] = []
        for share in points.flatMap(\.shares) {
            let index = result.firstIndex { $0.row == share.row && $0.variant == share.variant } ?? result.count
            if index == result.count { result.append((share.row, share.variant, Sum())) }
            result[index].sum.add(share)
        }
        return result
    }

    /// Names of the rows in the order of their first appearance.
    var rows: [String] {
        var seen: Set<String> = []
        return points.flatMap(\.shares).map(\.row).filter { seen.insert($0).inserted }
    }
}
