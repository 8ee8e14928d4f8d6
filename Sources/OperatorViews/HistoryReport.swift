import Units

/// A period of the device's life as one HTML page: lanes one above the other on a common axis of time, and the sums below.
///
/// Nothing is loaded from elsewhere and nothing runs, so that the page can be sent to somebody. Hover texts are the `title`s of SVG.
public struct HistoryReport: Sendable {
    private let periods: [DeviceHistory]
    private let timeZone: Seconds

    /// - Parameters:
    ///   - periods: one, or two to be compared.
    ///   - timeZone: local time minus UTC.
    public init(_ periods: [DeviceHistory], timeZone: Seconds) {
        self.periods = periods
        self.timeZone = timeZone
    }

    /// The whole page.
    public var text: String {
        var html = """
            <!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1"><title>jouled report</title><style>
            :root{--ink:#1d2733;--soft:#5a6672;--line:#8883;--paper:#fff}
            @media(prefers-color-scheme:dark){:root{--ink:#dfe6ec;--soft:#9aa7b3;--line:#fff2;--paper:#14191e}}
            body{font:15px/1.5 system-ui,sans-serif;max-width:1060px;margin:1em auto;padding:0 1em;color:var(--ink);background:var(--paper)}
            h1{font-size:1.4em}h2{font-size:1.15em;margin:2em 0 0}h3{font-size:1em;margin:1.2em 0 .2em}
            svg{display:block;width:100%;height:auto}text{font:12px system-ui,sans-serif;fill:var(--soft)}.key{color:var(--soft);font-size:.9em;margin:.2em 0}
            @media(max-width:600px){svg{width:760px}text{font-size:15px}}
            table{border-collapse:collapse;margin:1em 0;font-variant-numeric:tabular-nums}td,th{padding:.15em .8em .15em 0;text-align:right;border-bottom:1px solid var(--line)}
            td:first-child,th:first-child,td.word,th.word{text-align:left}td:first-child{white-space:nowrap}.wide{overflow-x:auto}
            </style></head><body><h1>jouled report</h1>
            """
        if periods.count > 1 { html += comparison }
        for (index, period) in periods.enumerated() {
            let name = periods.count > 1 ? "\(["A", "B"][index % 2]): " : ""
            html += "<h2>\(name)\(stamp(period.range.lowerBound)) to \(stamp(period.range.upperBound))</h2>"
            html += period.points.isEmpty ? "<p>Nothing was recorded in this period.</p>" : HistoryLanes(period, timeZone).html + table(period)
        }
        return html + "</body></html>\n"
    }

    private func stamp(_ seconds: Double) -> String { CivilTime(seconds + timeZone.value).text }

    // MARK: Tables

    private var comparison: String {
        func charge(_ period: DeviceHistory) -> String {
            let charges = period.points.compactMap(\.charge)
            guard let first = charges.first, let last = charges.last else { return "-" }
            return "\(percent(first)) &rarr; \(percent(last))"
        }
        let rows: [(String, (DeviceHistory) -> String)] = [
            ("recorded", { clockText($0.total.seconds) }), ("battery", charge),
            ("inference", { "\(Joules($0.total.joules))" }),
            ("inference, mean", { $0.total.seconds > 0 ? "\(Watts($0.total.joules / $0.total.seconds))" : "-" }),
            ("windows", { "\(Int($0.total.windows))" }),
            ("energy a window", { $0.total.windows > 0 ? "\(Joules($0.total.joules / $0.total.windows))" : "-" }),
            ("quality, mean over windows", { decimal($0.total.quality, places: 4) }),
            ("wake-ups a second", { $0.total.seconds > 0 ? decimal($0.total.wakes / $0.total.seconds, places: 2) : "-" }),
            ("changes of plan", { "\($0.decisions.count)" }),
        ]
        var html = "<div class=\"wide\"><table><tr><th></th>" + periods.indices.map { "<th>\(["A", "B"][$0 % 2])</th>" }.joined() + "</tr>"
        for (name, value) in rows { html += "<tr><td>\(name)</td>" + periods.map { "<td>\(value($0))</td>" }.joined() + "</tr>" }
        return html + "</table></div>"
    }

    private func table(_ period: DeviceHistory) -> String {
        var html = "<h3>What each stream did</h3><div class=\"wide\"><table><tr><th>stream</th><th class=\"word\">variant</th><th>windows</th><th>energy</th><th>a window</th><th>quality</th></tr>"
        func row(_ name: String, _ variant: String, _ sum: DeviceHistory.Sum) -> String {
            let each = sum.windows > 0 ? "\(Joules(sum.joules / sum.windows))" : "-"
            return "<tr><td>\(escapedForHTML(name))</td><td class=\"word\">\(escapedForHTML(variant))</td><td>\(Int(sum.windows))</td><td>\(Joules(sum.joules))</td><td>\(each)</td><td>\(decimal(sum.quality, places: 3))</td></tr>"
        }
        for (name, variant, sum) in period.sums { html += row(name, variant, sum) }
        return html + row("all", "", period.total) + "</table></div>"
    }
}

/// A point in civil time as a person writes it; seconds since 1970 with the time zone added already.
///
/// Days are turned into dates by the proleptic Gregorian calendar (Hinnant, "chrono-compatible low-level date algorithms").
public struct CivilTime: Sendable {
    private let seconds: Int64

    /// - Parameter seconds: local seconds since 1970.
    public init(_ seconds: Double) { self.seconds = Int64(max(-6e10, min(2.5e11, seconds.rounded(.down)))) }

    private static func two(_ number: Int64) -> String { number < 10 ? "0\(number)" : "\(number)" }
    private var ofDay: Int64 { ((seconds % 86400) + 86400) % 86400 }

    /// `14:05`.
    public var clock: String { "\(Self.two(ofDay / 3600)):\(Self.two(ofDay / 60 % 60))" }

    /// `2026-11-25`.
    public var date: String {
        let days = (seconds - ofDay) / 86400 + 719_468
        let era = (days >= 0 ? days : days - 146_096) / 146_097
        let dayOfEra = days - era * 146_097
        let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let shifted = (5 * dayOfYear + 2) / 153
        let month = shifted < 10 ? shifted + 3 : shifted - 9
        return "\(yearOfEra + era * 400 + (month <= 2 ? 1 : 0))-\(Self.two(month))-\(Self.two(dayOfYear - (153 * shifted + 2) / 5 + 1))"
    }

    /// `2026-11-25 14:05`.
    public var text: String { "\(date) \(clock)" }
}
