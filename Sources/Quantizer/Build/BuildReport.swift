import Units
import Wire

/// A build as one HTML page without outside parts.
struct BuildReport {
    var name: String
    var attempts: [ModelBuilder.Attempt]
    var searches: [MixedSearch.Result]
    var notes: [String]
    var recommendation: String
    var thresholds: ValidationLimits
    var data: String
    var device: String
    var runtime: String
    var coalesce: Int
    /// Lines on what the calibration data covers.
    var coverage: [String] = []
    /// After switching from each variant to each other.
    var seams: [ValidationReport.Seam] = []

    var html: String {
        """
        <!doctype html><html lang="en"><meta charset="utf-8"><title>\(escaped(name))</title>
        <style>body{font:15px/1.5 system-ui,sans-serif;max-width:60em;margin:2em auto;padding:0 1em;color:#222}
        table{border-collapse:collapse;margin:1em 0}td,th{padding:.3em .8em;border-bottom:1px solid #ddd;text-align:right}
        td:first-child,th:first-child{text-align:left}.out{color:#a33}svg{background:#fafafa;border:1px solid #ddd}text{font:12px system-ui}</style>
        <h1>\(escaped(name))</h1><p><strong>\(escaped(recommendation))</strong></p>
        <p>Validated on \(escaped(data)); measured on \(escaped(device)), \(escaped(runtime)), \(coalesce) windows a wake-up. Energy here is CPU time: the device has no meter that was read.</p>
        <h2>Variants</h2>\(table)
        <h2>Error against cost</h2>\(plot)
        \(searches.map { "<h2>Sensitivity by operation</h2>" + bars($0) + "<h3>Sets measured</h3><pre>" + escaped($0.lines.joined(separator: "\n")) + "</pre>" }.joined())
        \(seamTable)<h2>Calibration data</h2><pre>\(escaped(coverage.joined(separator: "\n")))</pre>
        <h2>Notes</h2><ul>\(notes.map { "<li>\(escaped($0))</li>" }.joined())</ul></html>
        """
    }

    private var table: String {
        var rows = "<tr><th>variant<th>bytes<th>agreement<th>p50<th>p95<th>p99 error<th>max<th>AUC loss<th>CPU<th>hot</tr>"
        for item in attempts {
            func number(_ value: Double?) -> String { value.map { decimal($0, places: 4) } ?? "" }
            rows += "<tr class=\"\(item.problems.isEmpty ? "" : "out")\"><td>\(escaped(item.id))\(item.isDominated ? " (dominated)" : "")<td>\(item.bytes)<td>\(number(item.report?.agreement))<td>\(number(item.report?.p50Error))<td>\(number(item.report?.p95Error))<td>\(number(item.report?.p99Error))<td>\(number(item.report?.maximumError))<td>\(number(item.report?.aucLoss))<td>\(item.cpu?.description ?? "")<td>\(item.hot?.description ?? escaped("left out: " + item.problems.joined(separator: "; ")))</tr>"
        }
        return "<table>\(rows)</table>"
    }

    private var seamTable: String {
        guard let length = seams.map(\.maximumByWindow.count).max() else { return "" }
        let rows = seams.map { seam in "<tr><td>\(escaped(seam.direction))" + seam.maximumByWindow.map { "<td>\(decimal($0, places: 4))" }.joined() + "</tr>" }
        return "<h2>After switching, state carried over</h2><p>Largest error against float in the n-th window after the switch.</p><table><tr><th>from, to"
            + (1...max(1, length)).map { "<th>\($0)" }.joined() + "</tr>\(rows.joined())</table>"
    }

    /// The same for programs.
    func json(_ coverage: Coverage) -> [UInt8] {
        let value: JSONValue = .object([
            "model": .string(name), "device": .string(device), "runtime": .string(runtime), "evaluation": .string(data), "recommendation": .string(recommendation),
            "variants": .array(attempts.map { item in
                .object([
                    "id": .string(item.id), "scheme": .string(item.scheme), "bytes": .int(Int64(item.bytes)), "problems": .array(item.problems.map { .string($0) }),
                    "validation": item.report?.json ?? .null, "cpu_s": item.cpu.map { .double($0.value) } ?? .null, "hot_s": item.hot.map { .double($0.value) } ?? .null,
                    "dominated": .bool(item.isDominated),
                ])
            }),
            "seams": .array(seams.map(\.json)), "calibration": coverage.json, "notes": .array(notes.map { .string($0) }),
        ])
        return Array(value.description.utf8)
    }

    /// p99 error up, CPU time to the right; the circle's area is the file's size; the Pareto front is joined.
    private var plot: String {
        let points = attempts.compactMap { item in item.cpu.flatMap { cpu in item.report.map { (item, cpu.value, $0.p99Error) } } }
        guard let right = points.map(\.1).max(), let size = points.map(\.0.bytes).max(), right > 0 else { return "" }
        let top = max(thresholds.p99ErrorMax ?? 0, points.map(\.2).max() ?? 0, 1e-9) * 1.1
        func x(_ value: Double) -> Double { 60 + value / (right * 1.1) * 560 }
        func y(_ value: Double) -> Double { 280 - value / top * 250 }
        var body = ""
        if let limit = thresholds.p99ErrorMax {
            body += "<line x1=\"60\" x2=\"620\" y1=\"\(y(limit))\" y2=\"\(y(limit))\" stroke=\"#a33\" stroke-dasharray=\"4\"/><text x=\"62\" y=\"\(y(limit) - 4)\" fill=\"#a33\">threshold</text>"
        }
        let front = points.filter { point in !points.contains { $0.1 <= point.1 && $0.2 <= point.2 && ($0.1 < point.1 || $0.2 < point.2) } }.sorted { $0.1 < $1.1 }
        body += "<polyline fill=\"none\" stroke=\"#58a\" points=\"\(front.map { "\(x($0.1)),\(y($0.2))" }.joined(separator: " "))\"/>"
        for (item, cpu, error) in points {
            let radius = 4 + 10 * (Double(item.bytes) / Double(size)).squareRoot()
            body += "<circle cx=\"\(x(cpu))\" cy=\"\(y(error))\" r=\"\(radius)\" fill=\"#58a8\"/><text x=\"\(x(cpu) + 8)\" y=\"\(y(error) - 8)\">\(escaped(item.id))</text>"
        }
        return "<svg width=\"680\" height=\"310\">\(body)<text x=\"300\" y=\"302\">CPU time per window, up to \(Seconds(right * 1.1))</text><text x=\"4\" y=\"16\">p99 error</text></svg>"
    }

    private func bars(_ search: MixedSearch.Result) -> String {
        let most = max(1.2, min(4, search.ranking.map(\.use).max() ?? 1))
        let rows = search.ranking.enumerated().map { index, item in
            let width = min(item.use, most) / most * 360
            return "<text x=\"4\" y=\"\(index * 22 + 16)\">\(escaped(item.operation))</text><rect x=\"220\" y=\"\(index * 22 + 4)\" width=\"\(width)\" height=\"15\" fill=\"\(item.use > 1 ? "#a33" : "#58a")\"/><text x=\"\(226 + width)\" y=\"\(index * 22 + 16)\">\(decimal(item.use, places: 2))</text>"
        }
        return "<p>Each alone; 1 is the threshold.</p><svg width=\"660\" height=\"\(search.ranking.count * 22 + 8)\">\(rows.joined())</svg>"
    }

    private func escaped(_ text: String) -> String { escapedForHTML(text) }
}
