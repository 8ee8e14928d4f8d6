import Glibc
import Units
import Wire

/// Draws battery, budget and streams as a screen for a person, or as one line a second for a log.
struct LiveView {
    private let hasColour = Console.hasColour
    private let isScreen = Console.isTerminal && environment("TERM") != "dumb"
    private var drawnLines = 0
    private var budgets: [Double?] = []

    private enum Colour: String {
        case bold = "1", dim = "2", red = "31", green = "32", yellow = "33", cyan = "36"
    }

    /// Draws one state.
    /// - Parameters:
    ///   - elapsed: since the start.
    ///   - news: lines that scroll away above the screen, e.g. decisions.
    mutating func draw(elapsed: Seconds, status: JSONValue, streams: [JSONValue], news: [String]) {
        budgets.append(status.number("budgetWatts"))
        guard isScreen else {
            for line in news { Console.out(line) }
            Console.out(logLine(elapsed, status, streams))
            return
        }
        var text = drawnLines > 0 ? "\u{1B}[\(drawnLines)A\u{1B}[J" : ""
        for line in news.flatMap({ $0.split(separator: "\n") }) { text += clipped(String(line)) + "\n" }
        let screen = lines(elapsed, status, streams)
        for line in screen { text += line + "\n" }
        drawnLines = screen.count
        Console.raw(text)
    }

    // MARK: A screen

    private func lines(_ elapsed: Seconds, _ status: JSONValue, _ streams: [JSONValue]) -> [String] {
        let battery = status["battery"] ?? .null
        let charge = battery.number("charge") ?? 0
        let isCharging = battery.flag("acOnline")
        let budget = status.number("budgetWatts")
        let colour: Colour = isCharging ? .cyan : (charge > 0.5 ? .green : (charge > 0.25 ? .yellow : .red))
        var lines = [
            "",
            "  \(paint("jouled", .bold))   \(Seconds(elapsed.value.rounded(.down)))   policy \(status.text("policy"))\(status.number("secondsLeft").map { ", goal in \(Seconds($0.rounded()))" } ?? "")   goal \(status.text("goal"))",
            "",
            "  battery  \(paint(bar(charge, width: 30), colour)) \(pad(percent(charge, places: 1), 7)) \(isCharging ? paint("charger on", .cyan) : "\(battery.watts("drawWatts")) drawn")",
            "  budget   \(paint(sparkline(), .cyan)) \(budget.map { pad(Watts($0).description, 9) } ?? "no limit ") planned \(status.watts("plannedWatts"))",
            "           \(paint(clipped(status.text("reason"), indent: 11), .dim))",
            "",
            "  " + paint(row("STREAM", "VARIANT", "PACE", "QUALITY", "PER WINDOW", "POWER", "WINDOWS", "LAST RESULT"), .dim),
        ]
        for stream in streams { lines.append("  " + streamRow(stream)) }
        lines.append("")
        return lines
    }

    private func streamRow(_ stream: JSONValue) -> String {
        let paused = stream.flag("paused")
        let pace = paused ? "-" : (stream.integer("cadence") == 1 ? "all" : "1 in \(stream.integer("cadence"))") + ", \(stream.integer("coalescing"))/wake"
        let quality = stream.number("quality") ?? 0
        let text = row(
            stream.text("name"), paused ? "paused" : stream.text("variant"), pace, decimal(quality, places: 3), stream.joules("joulesPerWindow"),
            stream.watts("plannedWatts"), "\(stream.integer("windows"))", Self.result(stream))
        return quality >= 0.999 ? text : paint(text, paused ? .red : .yellow)
    }

    private func row(_ cells: String...) -> String {
        zip(cells, [12, 11, 15, 7, 11, 9, 7, 0]).map { pad($0, $1) }.joined(separator: "  ")
    }

    /// The last result in words that fit the known tasks, else the numbers.
    static func result(_ stream: JSONValue) -> String {
        let values = stream.list("lastValues").compactMap(\.doubleValue)
        guard let first = values.first else { return "..." }
        switch stream.text("model") {
        case "silero-vad": return "\(first >= 0.5 ? "speech" : "silence") \(bar(first, width: 8)) \(percent(first))"
        case "ecg-rhythm":
            let best = values.indices.max { values[$0] < values[$1] } ?? 0
            let names = ["sinus rhythm", "atrial fibrillation", "other rhythm", "noise"]
            return "\(best < names.count ? names[best] : "class \(best)") \(percent(values[best]))"
        default: return values.map { decimal($0, places: 3) }.joined(separator: " ")
        }
    }

    private static func bar(_ fraction: Double, width: Int) -> String {
        let eighths = Int((min(1, max(0, fraction)) * Double(width) * 8).rounded())
        let parts = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"]
        let text = String(repeating: "█", count: eighths / 8) + parts[eighths % 8]
        return text + String(repeating: "·", count: width - text.count)
    }
    private func bar(_ fraction: Double, width: Int) -> String { Self.bar(fraction, width: width) }

    /// The budget of the last 30 s; a full block where there is no limit.
    private func sparkline() -> String {
        let shown = budgets.suffix(30)
        let top = shown.compactMap { $0 }.max() ?? 0
        let blocks = Array("▁▂▃▄▅▆▇█")
        let text = shown.map { budget -> Character in
            guard let budget, top > 0 else { return "█" }
            return blocks[min(7, Int(budget / top * 7))]
        }
        return String(repeating: " ", count: 30 - text.count) + String(text)
    }

    private func logLine(_ elapsed: Seconds, _ status: JSONValue, _ streams: [JSONValue]) -> String {
        let battery = status["battery"] ?? .null
        let budget = status.number("budgetWatts").map { Watts($0).description } ?? "no limit"
        let parts = streams.map { "\($0.text("name")) \($0.flag("paused") ? "paused" : $0.text("variant")) q \(decimal($0.number("quality") ?? 0, places: 3)) \($0.joules("joulesPerWindow")) \(Self.result($0))" }
        return "\(pad(Seconds(elapsed.value.rounded(.down)).description, 7)) battery \(percent(battery.number("charge") ?? 0, places: 1))\(battery.flag("acOnline") ? " charging" : ""), budget \(budget) | " + parts.joined(separator: " | ")
    }

    private func paint(_ text: String, _ colour: Colour) -> String { hasColour ? "\u{1B}[\(colour.rawValue)m\(text)\u{1B}[0m" : text }

    private func pad(_ text: String, _ width: Int) -> String { text + String(repeating: " ", count: max(0, width - text.count)) }

    private func clipped(_ text: String, indent: Int = 0) -> String {
        var size = winsize()
        let columns = ioctl(STDOUT_FILENO, UInt(TIOCGWINSZ), &size) == 0 && size.ws_col > 0 ? Int(size.ws_col) : 100
        let room = max(20, columns - indent - 1)
        return text.count > room ? String(text.prefix(room - 1)) + "…" : text
    }
}
