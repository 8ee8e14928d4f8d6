import Units

/// One plot over the time of a scenario, as SVG.
struct ReportPlot {
    static let left = 60.0
    static let right = 960.0
    static let height = 180.0
    private static let top = 10.0

    let title: String
    let until: Double
    /// The value at the upper edge.
    let most: Double
    private var body = ""

    init(_ title: String, until: Double, most: Double) {
        self.title = title
        self.until = until
        self.most = most > 0 ? most : 1
    }

    static func x(_ time: Double, of until: Double) -> String { decimal(left + min(1, max(0, time / until)) * (right - left), places: 1) }
    private func x(_ time: Double) -> String { Self.x(time, of: until) }
    private func y(_ value: Double) -> String { decimal(Self.height - min(1, max(0, value / most)) * (Self.height - Self.top), places: 1) }

    /// The times below a plot of that height.
    static func axis(_ until: Double, y: Double) -> String {
        (0...8).map { step in
            let time = until * Double(step) / 8
            return "<text x=\"\(x(time, of: until))\" y=\"\(decimal(y, places: 0))\" text-anchor=\"middle\">\(clockText(time))</text>"
        }.joined()
    }

    /// A line that holds each value until the next, or goes straight to it; with gaps where there is none.
    mutating func line(_ points: [(time: Double, value: Double?)], colour: String, width: Double = 1.5, dash: String? = nil, opacity: Double = 1, isStraight: Bool = false) {
        var path = ""
        var last: String?
        for point in points {
            guard let value = point.value.map(y) else {
                if last != nil, !isStraight { path += "H\(x(point.time))" }
                last = nil
                continue
            }
            let time = x(point.time)
            if last == nil { path += "M\(time) \(value)" } else if isStraight { path += "L\(time) \(value)" } else if value != last { path += "H\(time)V\(value)" }
            last = value
        }
        if last != nil, !isStraight { path += "H\(x(until))" }
        body += "<path d=\"\(path)\" fill=\"none\" stroke=\"\(colour)\" stroke-width=\"\(decimal(width, places: 1))\""
        if let dash { body += " stroke-dasharray=\"\(dash)\"" }
        if opacity < 1 { body += " stroke-opacity=\"\(decimal(opacity, places: 2))\"" }
        body += "/>"
    }

    /// The area between two rows of values that hold until the next time.
    mutating func area(_ times: [Double], from lower: [Double], to upper: [Double], colour: String) {
        guard let first = times.first, zip(lower, upper).contains(where: { $0 != $1 }) else { return }
        var path = "M\(x(first)) \(y(upper[0]))"
        for index in times.indices.dropFirst() where upper[index] != upper[index - 1] { path += "H\(x(times[index]))V\(y(upper[index]))" }
        path += "H\(x(until))V\(y(lower[times.count - 1]))"
        for index in times.indices.dropFirst().reversed() where lower[index] != lower[index - 1] { path += "H\(x(times[index]))V\(y(lower[index - 1]))" }
        body += "<path d=\"\(path)H\(x(first))Z\" fill=\"\(colour)\"/>"
    }

    /// A level across the plot.
    mutating func mark(_ value: Double) {
        body += "<line x1=\"60\" x2=\"960\" y1=\"\(y(value))\" y2=\"\(y(value))\" stroke=\"#c33\" stroke-dasharray=\"4 3\"/>"
    }

    var svg: String {
        let name = escapedForHTML(title)
        var svg = "<h2>\(name)</h2><svg viewBox=\"0 0 1000 200\" role=\"img\" aria-label=\"\(name)\">"
        for share in [0, 0.5, 1.0] {
            svg += "<text x=\"52\" y=\"\(y(most * share))\" text-anchor=\"end\">\(Self.short(most * share))</text>"
            svg += "<line x1=\"60\" x2=\"960\" y1=\"\(y(most * share))\" y2=\"\(y(most * share))\" stroke=\"#8884\"/>"
        }
        return svg + body + Self.axis(until, y: Self.height + 14) + "</svg>"
    }

    private static func short(_ value: Double) -> String {
        value == 0 ? "0" : value >= 10 ? decimal(value, places: 0) : value >= 1 ? decimal(value, places: 1) : value >= 0.01 ? decimal(value, places: 3) : "\(scaled(value, ""))"
    }

    /// Names beside their colours.
    static func key(_ entries: [(colour: String, name: String)]) -> String {
        "<p class=\"key\">" + entries.map { "<span style=\"color:\($0.colour)\">&#9632;</span> \(escapedForHTML($0.name))" }.joined(separator: " &nbsp; ") + "</p>"
    }
}
