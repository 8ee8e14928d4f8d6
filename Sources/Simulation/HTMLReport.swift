import Units

/// A replay as one HTML page with plots, without scripts or anything from elsewhere.
///
/// However long the scenario, a plot has no more points than can be told apart, and the table of decisions an end.
public struct HTMLReport: Sendable {
    private let scenario: Scenario
    private let report: ScenarioReport
    private let samples: [ScenarioTrack.Sample]
    private let changes: [ScenarioTrack.Change]
    private var until: Double { scenario.goal.until.value }

    /// Readable on light and dark paper.
    private static let colours = ["#2c7fb8", "#d95f0e", "#31a354", "#9467bd", "#c9a002", "#17a2b8", "#e7298a", "#1b9e77", "#a6761d", "#7f7f7f"]
    private static let baselineColours = ["#d95f0e", "#31a354", "#9467bd", "#c9a002", "#e7298a"]
    private static func colour(_ index: Int) -> String { colours[index % colours.count] }
    /// Beyond so many streams a line for each is a tangle.
    private static let mostLines = 8
    /// Rows of the table of decisions.
    private static let mostRows = 120

    /// - Parameter report: of replays that kept their tracks.
    public init(_ scenario: Scenario, _ report: ScenarioReport) {
        self.scenario = scenario
        self.report = report
        samples = Self.thinned(report.outcome.track?.samples ?? [], scenario)
        changes = report.outcome.track?.changes ?? []
    }

    /// The last sample of each column; of many streams fewer columns.
    private static func thinned(_ samples: [ScenarioTrack.Sample], _ scenario: Scenario) -> [ScenarioTrack.Sample] {
        let columns = max(24, min(ScenarioTrack.columns, 7200 / Double(max(1, scenario.streams.count))))
        var kept: [ScenarioTrack.Sample] = []
        var last = -1.0
        for sample in samples {
            let column = (sample.time / scenario.goal.until.value * columns).rounded(.down)
            if column == last, kept.count > 1 { kept[kept.count - 1] = sample } else { kept.append(sample) }
            last = column
        }
        return kept
    }

    public var text: String {
        var html = """
            <!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1"><title>\(escapedForHTML(report.name))</title><style>
            :root{--ink:#1d2733;--soft:#5a6672;--box:#f3f5f7;--line:#8884;--paper:#fff;color-scheme:light dark}
            @media(prefers-color-scheme:dark){:root{--ink:#dfe6ec;--soft:#9aa7b3;--box:#1d242b;--paper:#14191e}}
            body{font:15px/1.5 system-ui,sans-serif;max-width:1060px;margin:2em auto;padding:0 1em;color:var(--ink);background:var(--paper)}
            pre{background:var(--box);padding:1em;overflow-x:auto}h2{font-size:1.1em;margin:1.6em 0 .3em}
            svg{display:block;width:100%;height:auto}text{font:11px system-ui,sans-serif;fill:var(--soft)}.key{color:var(--soft);font-size:.9em;margin:.2em 0}
            .wide{overflow-x:auto}table{border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:.9em}
            td,th{padding:.15em .8em .15em 0;text-align:left;vertical-align:top;border-bottom:1px solid var(--line)}td:first-child{white-space:nowrap}small{color:var(--soft)}
            </style></head><body><h1>\(escapedForHTML(report.name))</h1><pre>\(escapedForHTML(report.lines.joined(separator: "\n")))</pre>

            """
        html += comparison + battery + watts + quality + rest + lanes + decisions
        return html + "</body></html>\n"
    }

    private var baselines: [(name: String, samples: [ScenarioTrack.Sample], colour: String)] {
        report.baselines.enumerated().map { index, baseline in
            (baseline.name, Self.thinned(baseline.outcome.track?.samples ?? [], scenario), Self.baselineColours[index % Self.baselineColours.count])
        }
    }

    private func row(_ cells: [String], _ tag: String = "td") -> String { "<tr>" + cells.map { "<\(tag)>\($0)</\(tag)>" }.joined() + "</tr>\n" }

    // MARK: Beside others

    private var comparison: String {
        guard !report.baselines.isEmpty else { return "" }
        var html = "<h2>Beside others</h2><div class=\"wide\"><table>" + row(["", "utility", "goal", "left at the end", "inference", "changes", "paused", "critical paused", "late"], "th")
        if let oracle = report.oracle { html += row(["perfect knowledge", decimal(oracle, places: 4), "met", "", "", "", "", "", ""]) }
        for (name, outcome) in [(report.controller, report.outcome)] + report.baselines {
            html += row([
                escapedForHTML(name), decimal(outcome.utility, places: 4), outcome.goalMet ? "met" : "missed", "\(decimal(outcome.endPercent, places: 1)) %",
                "\(decimal(outcome.inference, places: 3)) Wh", "\(outcome.switches)", clockText(outcome.paused), clockText(outcome.criticalPaused), clockText(outcome.late),
            ])
        }
        return html + "</table></div>\n"
    }

    // MARK: Plots

    private var battery: String {
        var plot = ReportPlot("Battery, %", until: until, most: 100)
        plot.mark(scenario.goal.reserve * 100)
        for baseline in baselines {
            plot.line(baseline.samples.map { ($0.time, $0.charge * 100) }, colour: baseline.colour, width: 1.2, dash: "5 3", isStraight: true)
        }
        plot.line(samples.map { ($0.time, $0.charge * 100) }, colour: Self.colour(0), width: 2.2, isStraight: true)
        return plot.svg + ReportPlot.key([(Self.colour(0), report.controller)] + baselines.map { ($0.colour, "\($0.name) (dashed)") } + [("#c33", "reserve")]) + "\n"
    }

    private var watts: String {
        let streams = scenario.streams.indices
        let sums = samples.map { $0.watts.reduce(0, +) }
        let most = sums.max() ?? 0
        // A budget far above what could be used would flatten all else.
        let top = max(most, min(2 * most, samples.compactMap(\.budget).max() ?? 0)) * 1.05
        var plot = ReportPlot("Inference by stream, W, and the budget", until: until, most: top)
        var lower = samples.map { _ in 0.0 }
        let times = samples.map(\.time)
        for stream in streams {
            let upper = samples.indices.map { lower[$0] + samples[$0].watts[stream] }
            plot.area(times, from: lower, to: upper, colour: Self.colour(stream))
            lower = upper
        }
        plot.line(samples.map { ($0.time, $0.budget) }, colour: "currentColor", width: 1.2, dash: "2 2")
        return plot.svg + streamKey + "<p class=\"key\">Dotted: the budget, cut off at the upper edge; none where nothing limits.</p>\n"
    }

    private var streamKey: String { ReportPlot.key(scenario.streams.enumerated().prefix(64).map { (Self.colour($0.offset), $0.element.name) }) }

    private func weighted(_ samples: [ScenarioTrack.Sample]) -> [(time: Double, value: Double?)] {
        samples.map { sample in
            var (sum, weights) = (0.0, 0.0)
            for (stream, quality) in zip(scenario.streams, sample.quality) {
                guard let quality else { continue }
                sum += stream.weight * quality
                weights += stream.weight
            }
            return (sample.time, weights > 0 ? sum / weights : nil)
        }
    }

    private var quality: String {
        var plot = ReportPlot("Quality of what is answered on time", until: until, most: 1)
        let isEach = scenario.streams.count <= Self.mostLines
        if isEach {
            for stream in scenario.streams.indices {
                plot.line(samples.map { ($0.time, $0.quality[stream]) }, colour: Self.colour(stream), opacity: 0.8)
            }
        }
        plot.line(weighted(samples), colour: "currentColor", width: 2.2)
        var html = plot.svg + (isEach ? streamKey : "") + "<p class=\"key\">Thick: all streams by weight.</p>\n"
        guard !baselines.isEmpty else { return html }
        var beside = ReportPlot("Quality by weight beside the baselines", until: until, most: 1)
        for baseline in baselines { beside.line(weighted(baseline.samples), colour: baseline.colour, width: 1.2, dash: "5 3") }
        beside.line(weighted(samples), colour: Self.colour(0), width: 2.2)
        html += beside.svg + ReportPlot.key([(Self.colour(0), report.controller)] + baselines.map { ($0.colour, "\($0.name) (dashed)") }) + "\n"
        return html
    }

    private var rest: String {
        var plot = ReportPlot("Rest of the device, W", until: until, most: (samples.map(\.base).max() ?? 0) * 1.1)
        plot.line(samples.map { ($0.time, $0.base) }, colour: "#9467bd")
        return plot.svg + "\n"
    }

    // MARK: Decisions

    /// The first and the last of many.
    private var listed: [ScenarioTrack.Change] {
        changes.count <= Self.mostRows ? changes : Array(changes.prefix(Self.mostRows / 2) + changes.suffix(Self.mostRows / 2))
    }

    private func name(_ stream: Int) -> String { escapedForHTML(scenario.streams[stream].name) }

    private func move(_ change: ScenarioTrack.Change) -> String {
        escapedForHTML(change.from) + (change.from.isEmpty ? "" : " &#8594; ") + escapedForHTML(change.to)
    }

    private var lanes: String {
        let names = Set(samples.flatMap(\.running)).subtracting([""]).sorted()
        let indices = Dictionary(uniqueKeysWithValues: names.enumerated().map { ($1, $0) })
        let height = Double(scenario.streams.count) * 22
        var svg = "<h2>What each stream runs, and where that was decided</h2><svg viewBox=\"0 0 1000 \(decimal(height + 24, places: 0))\" role=\"img\" aria-label=\"What each stream runs\">"
        for (stream, contract) in scenario.streams.enumerated() {
            let y = decimal(Double(stream) * 22 + 4, places: 0)
            svg += "<text x=\"55\" y=\"\(decimal(Double(stream) * 22 + 17, places: 0))\" text-anchor=\"end\">\(escapedForHTML(contract.name))</text>"
            var index = 0
            while index < samples.count {
                var end = index + 1
                while end < samples.count, samples[end].running[stream] == samples[index].running[stream] { end += 1 }
                if let colour = indices[samples[index].running[stream]] {
                    let (from, to) = (samples[index].time, end < samples.count ? samples[end].time : until)
                    let span = decimal((to - from) / until * (ReportPlot.right - ReportPlot.left), places: 1)
                    svg += "<rect x=\"\(ReportPlot.x(from, of: until))\" y=\"\(y)\" width=\"\(span)\" height=\"16\" fill=\"\(Self.colour(colour))\"/>"
                }
                index = end
            }
        }
        for change in listed {
            let y = decimal(Double(change.stream) * 22, places: 0)
            svg += "<path d=\"M\(ReportPlot.x(change.time, of: until)) \(y)m-3 0h6l-3 6z\" fill=\"currentColor\"><title>\(clockText(change.time)) \(name(change.stream)): \(move(change)): \(escapedForHTML(change.reason))</title></path>"
        }
        svg += ReportPlot.axis(until, y: height + 18) + "</svg>"
        return svg + ReportPlot.key(names.enumerated().map { (Self.colour($0.offset), $0.element) }) + "<p class=\"key\">Variant / unit / one window in. A triangle is a decision below; it tells its reason.</p>\n"
    }

    private var decisions: String {
        guard !changes.isEmpty else { return "" }
        var html = "<h2>Decisions</h2><div class=\"wide\"><table>" + row(["time", "stream", "what", "why", "budget"], "th")
        for (index, change) in listed.enumerated() {
            if index == Self.mostRows / 2, listed.count < changes.count {
                html += "<tr><td colspan=\"5\">and \(changes.count - listed.count) changes in between (--journal writes all)</td></tr>\n"
            }
            html += row([
                clockText(change.time), name(change.stream), move(change), "\(escapedForHTML(change.reason)) <small>(\(escapedForHTML(change.trigger)))</small>",
                "<small>\(escapedForHTML(change.budgetReason))</small>",
            ])
        }
        return html + "</table></div>\n"
    }
}
