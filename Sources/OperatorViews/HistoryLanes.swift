import Glibc
import Units

/// The plots of a period, one above the other.
struct HistoryLanes {
    private let period: DeviceHistory
    private let points: [DeviceHistory.Point]
    private let timeZone: Seconds
    /// Stretches that a lane shows.
    private static let resolution = 460
    private static let left = 64.0
    private static let right = 990.0
    private static let height = 150.0
    /// Distinct to most eyes, also without colour vision (Okabe and Ito 2008), and on both papers.
    private static let colours = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9", "#b8a800", "#7a5195"]
    private static let bands = ["#0072b2", "#009e73", "#cc79a7", "#e69f00"]

    init(_ period: DeviceHistory, _ timeZone: Seconds) {
        self.period = period
        points = period.condensed(to: Self.resolution)
        self.timeZone = timeZone
    }

    var html: String { battery + watts + windows + quality + wakes + decisions }

    // MARK: Lanes

    private var battery: String {
        let policies = unique(points.map(\.policy))
        var svg = ""
        for point in points {
            let colour = Self.bands[(policies.firstIndex(of: point.policy) ?? 0) % Self.bands.count]
            svg += band(point, "0", Self.height, colour, point.goal == "infeasible" ? 0.45 : 0.14, "policy \(point.policy), goal \(point.goal)\(point.isPlugged ? ", external power" : "")")
            if point.isPlugged { svg += band(point, "0", 5, "#009e73", 1, "external power") }
        }
        svg += line(points.map { point in (point, point.charge.map { $0 * 100 }) }, 0...100, "#0072b2", width: 2.5) { "\(decimal($0, places: 1)) %" }
        let keys = policies.enumerated().map { (Self.bands[$0 % Self.bands.count], "policy \($1)") } + [("#009e73", "external power (along the top)")]
        return lane("Battery, % (background: policy; darker while the goal is out of reach)", 0...100, svg, keys) { decimal($0, places: 0) }
    }

    private var watts: String {
        let rows = period.rows
        let highest = points.map { $0.span > 0 ? $0.joules / $0.span : 0 }.max() ?? 0
        // A budget far above what is drawn would press all else to the ground.
        let top = max(highest * 1.15, min(points.compactMap(\.budget).max() ?? 0, highest * 4), 1e-6)
        var svg = ""
        for point in points where point.span > 0 {
            var base = 0.0
            for (index, row) in rows.enumerated() {
                let shares = point.shares.filter { $0.row == row }
                let value = shares.reduce(0) { $0 + $1.joules } / point.span
                guard value > 0 else { continue }
                let (low, high) = (y(base, 0...top), y(base + value, 0...top))
                base += value
                svg += "<rect x=\"\(x(point.start))\" y=\"\(high)\" width=\"\(width(point))\" height=\"\(number((Double(low) ?? 0) - (Double(high) ?? 0)))\" fill=\"\(colour(index))\"><title>\(escapedForHTML(row)): \(Watts(value)), \(escapedForHTML(shares.map(\.variant).joined(separator: ", ")))</title></rect>"
            }
        }
        svg += line(points.map { ($0, $0.budget.map { min($0, top) }) }, 0...top, "var(--ink)", dash: "5 3") { "budget \(Watts($0))" }
        return lane("Inference by stream, stacked, W", 0...top, svg, rows.enumerated().map { (colour($0), $1) } + [("var(--ink)", "budget (dashed)")]) { scaled($0, "W") }
    }

    private var windows: String {
        let rows = period.rows
        let values = points.flatMap(\.shares).filter { $0.windows > 0 && $0.joules > 0 }.map { $0.joules / $0.windows }
        guard let smallest = values.min(), let largest = values.max() else { return "" }
        // Whole decades, so that the grid is one.
        let range = log(smallest).rounded(.down)...max(log(largest).rounded(.up), log(smallest).rounded(.down) + 1)
        var svg = ""
        for (index, row) in rows.enumerated() {
            let values = points.map { point -> (DeviceHistory.Point, Double?) in
                let shares = point.shares.filter { $0.row == row }
                let windows = shares.reduce(0) { $0 + $1.windows }
                let joules = shares.reduce(0) { $0 + $1.joules }
                return (point, windows > 0 && joules > 0 ? log(joules / windows) : nil)
            }
            svg += line(values, range, colour(index), width: 2) { "\(row): \(Joules(power($0))) a window" }
        }
        let budget = points.map { point in
            (point, point.budget.flatMap { point.windows > 0 && $0 > 0 ? max(range.lowerBound, min(range.upperBound, log($0 * point.span / point.windows))) : nil })
        }
        svg += line(budget, range, "var(--ink)", dash: "5 3") { "budget: \(Joules(power($0))) a window, all streams together" }
        return lane(
            "Energy a window, J (logarithmic; dashed: what the budget leaves for each)", range, svg, rows.enumerated().map { (colour($0), $1) },
            steps: Int(range.upperBound - range.lowerBound)) { scaled(power($0), "J") }
    }

    private var quality: String {
        let rows = period.rows
        let lowest = points.flatMap(\.shares).map(\.quality).filter { $0 > 0 }.min() ?? 0
        let range = (lowest > 0.9 ? 0.9 : lowest > 0.5 ? 0.5 : 0)...1.0
        var svg = ""
        for (index, row) in rows.enumerated() {
            svg += line(points.map { point in (point, point.shares.first { $0.row == row && $0.quality > 0 }?.quality) }, range, colour(index), width: 2) {
                "\(row): quality \(decimal($0, places: 4))"
            }
        }
        return lane("Quality, relative to the float model", range, svg, rows.enumerated().map { (colour($0), $1) }) { decimal($0, places: 2) }
    }

    private var wakes: String {
        let values = points.map { point in (point, point.span > 0 ? point.shares.reduce(0) { $0 + $1.wakes } / point.span : nil) }
        let top = max(0.1, (values.compactMap(\.1).max() ?? 0) * 1.15)
        return lane("Wake-ups for inference a second", 0...top, line(values, 0...top, "#d55e00", width: 2) { "\(decimal($0, places: 2)) a second" }, []) { decimal($0, places: 1) }
    }

    private var decisions: String {
        var svg = ""
        for decision in period.decisions {
            svg += "<line x1=\"\(x(decision.at))\" x2=\"\(x(decision.at))\" y1=\"4\" y2=\"36\" stroke=\"#d55e00\" stroke-width=\"2.5\"><title>\(stamp(decision.at)) \(escapedForHTML(decision.text))</title></line>"
        }
        return "<h3>Changes of plan: \(period.decisions.count) (hover for each)</h3><div class=\"wide\"><svg viewBox=\"0 0 1000 60\" role=\"img\" aria-label=\"Changes of plan\">\(svg)<line x1=\"64\" x2=\"990\" y1=\"38\" y2=\"38\" stroke=\"var(--line)\"/>\(axis(54))</svg></div>"
    }

    // MARK: Drawing

    private func lane(
        _ title: String, _ range: ClosedRange<Double>, _ content: String, _ keys: [(String, String)], steps: Int = 4, _ label: (Double) -> String
    ) -> String {
        var svg = "<h3>\(escapedForHTML(title))</h3>"
        if !keys.isEmpty {
            svg += "<p class=\"key\">" + keys.map { "<span style=\"color:\($0)\">&#9632;</span> \(escapedForHTML($1))" }.joined(separator: " &nbsp; ") + "</p>"
        }
        svg += "<div class=\"wide\"><svg viewBox=\"0 0 1000 172\" role=\"img\" aria-label=\"\(escapedForHTML(title))\">"
        let count = max(1, min(steps, 6))
        for step in 0...count {
            let value = range.lowerBound + (range.upperBound - range.lowerBound) * Double(step) / Double(count)
            svg += "<line x1=\"64\" x2=\"990\" y1=\"\(y(value, range))\" y2=\"\(y(value, range))\" stroke=\"var(--line)\"/>"
            svg += "<text x=\"58\" y=\"\(number((Double(y(value, range)) ?? 0) + 4))\" text-anchor=\"end\">\(label(value))</text>"
        }
        return svg + content + axis(168) + "</svg></div>"
    }

    private func axis(_ y: Double) -> String {
        let span = period.range.upperBound - period.range.lowerBound
        let ticks = (0...8).map { step -> String in
            let time = period.range.lowerBound + span * Double(step) / 8
            let civil = CivilTime(time + timeZone.value)
            let text = span > 2 * 86400 ? String(civil.text.dropFirst(5)) : civil.clock
            let anchor = step == 0 ? "start" : step == 8 ? "end" : "middle"
            return "<text x=\"\(x(time))\" y=\"\(number(y))\" text-anchor=\"\(anchor)\">\(text)</text>"
        }
        return "<g class=\"axis\">\(ticks.joined())</g>"
    }

    /// Steps that hold over each stretch; a gap where nothing is known. A transparent bar over each stretch carries the hover text.
    private func line(
        _ points: [(point: DeviceHistory.Point, value: Double?)], _ range: ClosedRange<Double>, _ colour: String, width: Double = 1.5, dash: String = "", _ hover: (Double) -> String
    ) -> String {
        var (path, last, titles) = ("", -Double.infinity, "")
        for (point, value) in points {
            guard let value else {
                last = -.infinity
                continue
            }
            let (from, to, level) = (x(point.start), x(point.end), y(value, range))
            // Stretches follow each other to the rounding of a second.
            path += point.start - last > 2 ? "M\(from) \(level)H\(to)" : "V\(level)H\(to)"
            last = point.end
            let middle = Double(level) ?? 0
            titles += "<rect x=\"\(from)\" y=\"\(number(middle - 6))\" width=\"\(self.width(point))\" height=\"12\" fill=\"transparent\"><title>\(stamp(point.end)) \(escapedForHTML(hover(value)))</title></rect>"
        }
        guard !path.isEmpty else { return "" }
        return "<path d=\"\(path)\" fill=\"none\" stroke=\"\(colour)\" stroke-width=\"\(number(width))\"\(dash.isEmpty ? "" : " stroke-dasharray=\"\(dash)\"")/>\(titles)"
    }

    private func band(_ point: DeviceHistory.Point, _ y: String, _ height: Double, _ colour: String, _ opacity: Double, _ title: String) -> String {
        "<rect x=\"\(x(point.start))\" y=\"\(y)\" width=\"\(width(point))\" height=\"\(number(height))\" fill=\"\(colour)\" fill-opacity=\"\(number(opacity))\"><title>\(stamp(point.end)) \(escapedForHTML(title))</title></rect>"
    }

    private func position(_ time: Double) -> Double {
        let share = (time - period.range.lowerBound) / max(1, period.range.upperBound - period.range.lowerBound)
        return Self.left + max(0, min(1, share)) * (Self.right - Self.left)
    }
    private func x(_ time: Double) -> String { number(position(time)) }
    private func width(_ point: DeviceHistory.Point) -> String { number(max(0.3, position(point.end) - position(point.start))) }
    private func y(_ value: Double, _ range: ClosedRange<Double>) -> String {
        let share = (value - range.lowerBound) / max(1e-12, range.upperBound - range.lowerBound)
        return number(Self.height - max(0, min(1, share)) * (Self.height - 8))
    }
    private func stamp(_ time: Double) -> String { CivilTime(time + timeZone.value).clock }
    private func number(_ value: Double) -> String { decimal(value, places: 2) }
    private func colour(_ index: Int) -> String { Self.colours[index % Self.colours.count] }
    private func unique(_ texts: [String]) -> [String] {
        var seen: Set<String> = []
        return texts.filter { seen.insert($0).inserted }
    }
    private func log(_ value: Double) -> Double { Glibc.log10(value) }
    private func power(_ exponent: Double) -> Double { Glibc.pow(10, exponent) }
}
