import Units
import Wire

/// The live view of `joulectl top`: a value that keys change and that draws itself in any size.
public struct TopScreen: Sendable {
    /// What the streams are ordered by.
    public enum Order: String, CaseIterable, Sendable {
        case power, quality, windows, name
    }

    /// What a key asks of the program around the screen.
    public enum Wish: Hashable, Sendable {
        case none, quit, refresh
    }

    /// What is drawn; the time is monotonic, for rates between two samples.
    public struct Sample: Sendable {
        let status: JSONValue
        let streams: [JSONValue]
        let time: MonotonicTime
        let clock: String

        /// - Parameters:
        ///   - status: `status` of `io.jouled.Power.GetStatus`.
        ///   - streams: `streams` of `io.jouled.Streams.List`.
        ///   - time: when they were asked for.
        ///   - clock: the same for people.
        public init(status: JSONValue, streams: [JSONValue], time: MonotonicTime, clock: String) {
            (self.status, self.streams, self.time, self.clock) = (status, streams, time, clock)
        }
    }

    private struct Row {
        let cells: [String]
        let isBad: Bool
        let isPaused: Bool
    }

    private struct Column: Sendable {
        let title: String
        let isRight: Bool
        /// Columns of higher rank are the first to go where the screen is narrow.
        let rank: Int
        let text: @Sendable (JSONValue, Double?, JSONValue?) -> String
    }

    /// What the streams are ordered by.
    public private(set) var order = Order.power
    private var isReversed = false
    private var isFrozen = false
    private var showsHelp = false
    private var offset = 0
    private var sample: Sample?
    private var before: Sample?
    private let hasColour: Bool

    /// - Parameter hasColour: whether the terminal shows colours, and its user wants them.
    public init(hasColour: Bool) { self.hasColour = hasColour }

    /// Takes a new state, unless the user froze the screen.
    public mutating func show(_ new: Sample) {
        guard !isFrozen || sample == nil else { return }
        before = sample
        sample = new
    }

    /// Obeys a key; arrows come as their escape sequences.
    public mutating func press(_ key: String) -> Wish {
        if showsHelp {
            showsHelp = false
            return key == "q" ? .quit : .none
        }
        switch key {
        case "q", "\u{3}": return .quit
        case " ": return .refresh
        case "s": order = Order.allCases[((Order.allCases.firstIndex(of: order) ?? 0) + 1) % Order.allCases.count]
        case "r": isReversed.toggle()
        case "f": isFrozen.toggle()
        case "j", "\u{1B}[B", "\u{1B}OB": offset += 1
        case "k", "\u{1B}[A", "\u{1B}OA": offset = max(0, offset - 1)
        case "g": offset = 0
        case "h", "?": showsHelp = true
        default: break
        }
        return .none
    }

    // MARK: Drawing

    /// Lines of the screen, at most `height`, none wider than `width`.
    public mutating func lines(width: Int, height: Int) -> [String] {
        guard let sample else { return [clip("waiting for jouled", width)] }
        if showsHelp { return Self.help.prefix(height).map { clip($0, width) } }
        let head = header(sample, width)
        let rows = table(sample, width)
        let room = max(0, height - head.count - 3)
        offset = max(0, min(offset, rows.count - 1 - max(1, room)))
        var lines = head + [""]
        lines.append(paint(pad(rows[0].cells[0], width), "7"))
        for row in rows.dropFirst(1 + offset).prefix(room) {
            lines.append(row.isPaused ? paint(row.cells[0], "31") : row.isBad ? paint(row.cells[0], "33") : row.cells[0])
        }
        lines = Array(lines.prefix(max(0, height - 1)))
        while lines.count < height - 1 { lines.append("") }
        let hidden = max(0, rows.count - 1 - room)
        let more = hidden > 0 ? "  \(offset + 1) to \(min(rows.count - 1, offset + room)) of \(rows.count - 1)" : ""
        lines.append(paint(clip("q quit  s order: \(order.rawValue)\(isReversed ? ", reversed" : "")  f \(isFrozen ? "FROZEN" : "freeze")  j/k scroll  h help\(more)", width), "2"))
        return lines
    }

    private static let help = [
        "Keys of joulectl top", "", "  q        quit", "  space    refresh now", "  s        order by power, quality, windows, name", "  r        reverse the order",
        "  f        freeze, and go on", "  j, k     scroll, as do the arrows; g: to the top", "  h, ?     this text", "",
        "POWER is what the stream drew since the last refresh, WIN/S its windows a second. Yellow: below full quality; red: paused.", "", "any key goes back",
    ]

    private func header(_ sample: Sample, _ width: Int) -> [String] {
        let (status, battery) = (sample.status, sample.status["battery"] ?? .null)
        func text(_ key: String) -> String { status[key]?.stringValue ?? "" }
        func watts(_ key: String) -> String { status[key]?.doubleValue.map { Watts($0).description } ?? "-" }
        let left = status["secondsLeft"]?.doubleValue.map { ", \(clockText($0)) left" } ?? ""
        let title = "jouled  policy \(text("policy"))  goal \(text("goal"))\(left)  \(sample.streams.count) streams"
        var lines = [paint(clip(title, width - sample.clock.count - 2), "1") + String(repeating: " ", count: max(2, width - min(title.count, width - sample.clock.count - 2) - sample.clock.count)) + sample.clock]
        if battery.isNull {
            lines.append("battery  none")
        } else {
            let charge = battery["charge"]?.doubleValue
            let bar = charge.map { Self.bar($0, width: min(40, max(10, width - 66))) } ?? ""
            let colour = charge.map { $0 > 0.5 ? "32" : $0 > 0.25 ? "33" : "31" } ?? "0"
            let draw = battery["drawWatts"]?.doubleValue.map { $0 < 0 ? "charging with \(Watts(-$0))" : "\(Watts($0)) drawn" } ?? "draw unknown"
            let rest = "\(charge.map { percent($0, places: 1) } ?? "?")  \(draw)\(battery["acOnline"]?.boolValue == true ? ", external power" : "")"
            lines.append("battery  " + paint(bar, colour) + "  " + clip(rest, width - bar.count - 11))
        }
        let budget = status["budgetWatts"]?.doubleValue.map { Watts($0).description } ?? "no limit"
        lines.append(clip("budget   \(budget)  planned \(watts("plannedWatts"))  drawn \(watts("inferenceWatts"))  rest of device \(watts("restWatts"))", width))
        lines.append(paint(clip("because  \(text("reason"))", width), "2"))
        for problem in (battery["problems"]?.arrayValue ?? []) + (status["problems"]?.arrayValue ?? []) { lines.append(paint(clip("problem  \(problem.stringValue ?? "")", width), "31")) }
        return lines
    }

    /// The table's heading and rows, already cut to `width`.
    private func table(_ sample: Sample, _ width: Int) -> [Row] {
        let span = before.map { sample.time.since($0.time).value }.flatMap { $0 > 0.05 ? $0 : nil }
        let earlier = Dictionary((before?.streams ?? []).map { ($0["stream"]?.intValue ?? 0, $0) }) { $1 }
        let streams = sample.streams.sorted { isBefore($0, $1) != isReversed }
        let columns = Self.columns.filter { $0.title != Self.gateTitle || streams.contains { $0["gating"]?.isNull == false } }
        let cells = streams.map { stream in columns.map { $0.text(stream, span, earlier[stream["stream"]?.intValue ?? 0]) } }
        let widths = columns.indices.map { index in min(28, max(columns[index].title.count, cells.map { $0[index].count }.max() ?? 0)) }
        // The columns of lowest rank that fit side by side.
        var chosen: [Int] = []
        var used = 0
        for index in columns.indices.sorted(by: { columns[$0].rank < columns[$1].rank }) where used + widths[index] + (chosen.isEmpty ? 0 : 2) <= width {
            used += widths[index] + (chosen.isEmpty ? 0 : 2)
            chosen.append(index)
        }
        chosen.sort()
        func line(_ texts: [String], _ reason: String) -> String {
            var parts = chosen.map { index in
                let text = clip(texts[index], widths[index])
                let padding = String(repeating: " ", count: widths[index] - text.count)
                return columns[index].isRight ? padding + text : text + padding
            }
            // The reason takes what is left, if that is enough to read.
            if chosen.count == columns.count, width - used > 22 { parts.append(clip(reason, width - used - 2)) }
            return clip(parts.joined(separator: "  "), width)
        }
        var rows = [Row(cells: [line(columns.map(\.title), "REASON")], isBad: false, isPaused: false)]
        for (stream, texts) in zip(streams, cells) {
            rows.append(
                Row(
                    cells: [line(texts, stream["reason"]?.stringValue ?? "")], isBad: (stream["quality"]?.doubleValue ?? 0) < 0.999, isPaused: stream["paused"]?.boolValue == true))
        }
        return rows
    }

    /// Of the column that is there only where a stream has a gate.
    private static let gateTitle = "AWAKE"

    /// Whether a stream is awake behind its gate, and how much of the time.
    private static func gate(_ stream: JSONValue) -> String {
        guard let gating = stream["gating"], !gating.isNull else { return "" }
        if let silence = gating["silence"]?.stringValue { return "gate \(silence)" }
        return "\(gating["awake"]?.boolValue == true ? "awake" : "asleep") \(percent(gating["duty"]?.doubleValue ?? 1))"
    }

    private static let columns: [Column] = [
        Column(title: "#", isRight: true, rank: 0) { stream, _, _ in "\(stream["stream"]?.intValue ?? 0)" },
        Column(title: "NAME", isRight: false, rank: 1) { stream, _, _ in stream["name"]?.stringValue ?? "" },
        Column(title: "MODEL", isRight: false, rank: 9) { stream, _, _ in stream["model"]?.stringValue ?? "" },
        Column(title: "VARIANT", isRight: false, rank: 2) { stream, _, _ in stream["paused"]?.boolValue == true ? "paused" : stream["variant"]?.stringValue ?? "" },
        Column(title: "UNIT", isRight: false, rank: 11) { stream, _, _ in stream["unit"]?.stringValue ?? "" },
        Column(title: gateTitle, isRight: false, rank: 15) { stream, _, _ in gate(stream) },
        Column(title: "EVERY", isRight: true, rank: 6) { stream, _, _ in stream["paused"]?.boolValue == true ? "-" : "\(stream["cadence"]?.intValue ?? 0)" },
        Column(title: "WAKE", isRight: true, rank: 7) { stream, _, _ in stream["paused"]?.boolValue == true ? "-" : "\(stream["coalescing"]?.intValue ?? 0)" },
        Column(title: "QUALITY", isRight: true, rank: 3) { stream, _, _ in decimal(stream["quality"]?.doubleValue ?? 0, places: 3) },
        Column(title: "WIN/S", isRight: true, rank: 8) { stream, span, before in rate("windows", stream, span, before).map { decimal($0, places: 1) } ?? "-" },
        Column(title: "WAKES/S", isRight: true, rank: 10) { stream, span, before in rate("wakes", stream, span, before).map { decimal($0, places: 2) } ?? "-" },
        Column(title: "A WINDOW", isRight: true, rank: 5) { stream, _, _ in stream["joulesPerWindow"]?.doubleValue.map { Joules($0).description } ?? "-" },
        Column(title: "POWER", isRight: true, rank: 4) { stream, span, before in rate("joules", stream, span, before).map { Watts($0).description } ?? "-" },
        Column(title: "PLANNED", isRight: true, rank: 12) { stream, _, _ in stream["plannedWatts"]?.doubleValue.map { Watts($0).description } ?? "-" },
        Column(title: "SPENT", isRight: true, rank: 13) { stream, _, _ in stream["joules"]?.doubleValue.map { Joules($0).description } ?? "-" },
        Column(title: "LOST", isRight: true, rank: 14) { stream, _, _ in "\(stream["lostSamples"]?.intValue ?? 0)" },
    ]

    private static func rate(_ field: String, _ stream: JSONValue, _ span: Double?, _ before: JSONValue?) -> Double? {
        guard let span, let now = stream[field]?.doubleValue, let then = before?[field]?.doubleValue else { return nil }
        return max(0, now - then) / span
    }

    private func isBefore(_ left: JSONValue, _ right: JSONValue) -> Bool {
        func number(_ value: JSONValue, _ key: String) -> Double { value[key]?.doubleValue ?? 0 }
        func tie() -> Bool { number(left, "stream") < number(right, "stream") }
        func compare(_ left: Double, _ right: Double) -> Bool { left == right ? tie() : left < right }
        switch order {
        case .power: return compare(-number(left, "plannedWatts"), -number(right, "plannedWatts"))
        case .quality: return compare(number(left, "quality"), number(right, "quality"))
        case .windows: return compare(-number(left, "windows"), -number(right, "windows"))
        case .name: return left["name"]?.stringValue ?? "" == right["name"]?.stringValue ?? "" ? tie() : left["name"]?.stringValue ?? "" < right["name"]?.stringValue ?? ""
        }
    }

    private static func bar(_ fraction: Double, width: Int) -> String {
        let full = Int((min(1, max(0, fraction)) * Double(width)).rounded())
        return String(repeating: "█", count: full) + String(repeating: "·", count: width - full)
    }

    private func paint(_ text: String, _ code: String) -> String { hasColour ? "\u{1B}[\(code)m\(text)\u{1B}[0m" : text }
    private func pad(_ text: String, _ width: Int) -> String { hasColour ? text + String(repeating: " ", count: max(0, width - text.count)) : text }
    private func clip(_ text: String, _ width: Int) -> String {
        guard text.count > width else { return text }
        return width > 1 ? String(text.prefix(width - 1)) + "…" : String(text.prefix(max(0, width)))
    }
}
