import Units

/// A replay as one HTML page with plots, without scripts or anything from elsewhere.
public struct HTMLReport: Sendable {
    private let scenario: Scenario
    private let report: ScenarioReport
    private static let width = 960.0
    private static let height = 180.0
    private static let left = 60.0

    public init(_ scenario: Scenario, _ report: ScenarioReport) {
        self.scenario = scenario
        self.report = report
    }

    public var text: String {
        let moments = report.outcome.moments
        let watts = moments.flatMap { [$0.inference, min($0.budget ?? 0, 4 * $0.inference)] }.max() ?? 1
        var html = """
            <!doctype html><html lang="en"><head><meta charset="utf-8"><title>\(escapedForHTML(report.name))</title><style>
            body{font:15px/1.5 system-ui,sans-serif;max-width:1060px;margin:2em auto;padding:0 1em;color:#1d2733;background:#fff}
            pre{background:#f3f5f7;padding:1em;overflow-x:auto}h2{font-size:1.1em;margin:1.6em 0 .3em}
            text{font:11px system-ui,sans-serif;fill:#5a6672}
            @media(prefers-color-scheme:dark){body{color:#dfe6ec;background:#14191e}pre{background:#1d242b}text{fill:#9aa7b3}}
            </style></head><body><h1>\(escapedForHTML(report.name))</h1><pre>\(escapedForHTML(report.lines.joined(separator: "\n")))</pre>
            """
        html += plot("Battery, %", 100, [("#2c7fb8", moments.map { ($0.time, $0.charge * 100) })], mark: scenario.goal.reserve * 100)
        html += plot(
            "Inference (solid) and budget (pale), W", watts,
            [("#b9c6d2", moments.map { ($0.time, min($0.budget ?? watts, watts)) }), ("#d95f0e", moments.map { ($0.time, $0.inference) })], mark: nil)
        html += plot("Rest of the device, W", (moments.map(\.base).max() ?? 1) * 1.1, [("#7a5195", moments.map { ($0.time, $0.base) })], mark: nil)
        html += streams(moments)
        return html + "</body></html>\n"
    }

    private func x(_ time: Double) -> String { decimal(Self.left + time / scenario.goal.until.value * (Self.width - Self.left), places: 1) }

    private func axis() -> String {
        (0...8).map { step in
            let time = scenario.goal.until.value * Double(step) / 8
            return "<text x=\"\(x(time))\" y=\"\(decimal(Self.height + 14, places: 0))\" text-anchor=\"middle\">\(clockText(time))</text>"
        }.joined()
    }

    private func plot(_ title: String, _ top: Double, _ lines: [(colour: String, points: [(Double, Double)])], mark: Double?) -> String {
        let top = top > 0 ? top : 1
        func y(_ value: Double) -> String { decimal(Self.height - max(0, value) / top * (Self.height - 10), places: 1) }
        var svg = "<h2>\(title)</h2><svg viewBox=\"0 0 1000 200\" role=\"img\" aria-label=\"\(title)\">"
        for share in [0, 0.5, 1.0] {
            svg += "<text x=\"52\" y=\"\(y(top * share))\" text-anchor=\"end\">\(Self.short(top * share))</text>"
            svg += "<line x1=\"60\" x2=\"960\" y1=\"\(y(top * share))\" y2=\"\(y(top * share))\" stroke=\"#8884\"/>"
        }
        if let mark { svg += "<line x1=\"60\" x2=\"960\" y1=\"\(y(mark))\" y2=\"\(y(mark))\" stroke=\"#c33\" stroke-dasharray=\"4 3\"/>" }
        for line in lines {
            // Steps: what is decided holds until the next decision.
            var path = ""
            for (index, point) in line.points.enumerated() {
                path += index == 0 ? "M\(x(point.0)) \(y(point.1))" : "H\(x(point.0))V\(y(point.1))"
            }
            svg += "<path d=\"\(path)H960\" fill=\"none\" stroke=\"\(line.colour)\" stroke-width=\"1.5\"/>"
        }
        return svg + axis() + "</svg>"
    }

    private func streams(_ moments: [ScenarioOutcome.Moment]) -> String {
        let names = Set(moments.flatMap(\.running)).subtracting([""]).sorted()
        let colours = ["#2c7fb8", "#d95f0e", "#31a354", "#7a5195", "#e6ab02", "#66a61e", "#e7298a", "#1b9e77", "#a6761d", "#666"]
        let height = Double(scenario.streams.count) * 22 + 24
        var svg = "<h2>What each stream runs</h2><svg viewBox=\"0 0 1000 \(decimal(height, places: 0))\" role=\"img\">"
        for (index, stream) in scenario.streams.enumerated() {
            let y = Double(index) * 22
            svg += "<text x=\"55\" y=\"\(decimal(y + 14, places: 0))\" text-anchor=\"end\">\(escapedForHTML(stream.name))</text>"
            for (position, moment) in moments.enumerated() {
                let end = position + 1 < moments.count ? moments[position + 1].time : scenario.goal.until.value
                let from = max(moment.time, stream.start.value)
                let to = min(end, stream.end.value)
                guard to > from, let colour = names.firstIndex(of: moment.running[index]) else { continue }
                let span = decimal((to - from) / scenario.goal.until.value * (Self.width - Self.left), places: 1)
                svg += "<rect x=\"\(x(from))\" y=\"\(decimal(y, places: 0))\" width=\"\(span)\" height=\"18\" fill=\"\(colours[colour % colours.count])\"/>"
            }
        }
        svg += "</svg><p>"
        for (index, name) in names.enumerated() {
            svg += "<span style=\"color:\(colours[index % colours.count])\">&#9632;</span> \(escapedForHTML(name)) &nbsp; "
        }
        return svg + "(variant / unit / one window in)</p>"
    }

    private static func short(_ value: Double) -> String { decimal(value, places: value >= 10 ? 0 : value >= 1 ? 1 : 3) }
}
