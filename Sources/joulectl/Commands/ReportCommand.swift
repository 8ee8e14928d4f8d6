import ArgumentParser
import ConfigDocument
import Glibc
import JouledClient
import OperatorViews
import Units
import Wire

/// A period of the device's life as a page.
struct ReportCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "report", abstract: "A period as one HTML page: battery, watts by stream, energy a window, quality, wake-ups, changes of plan.",
        discussion: """
            Times are spans before now (8h, 2d), today, yesterday, or local times (2026-11-25, "2026-11-25 08:00"):
              joulectl report --since 24h -o day.html
              joulectl report --since today --versus yesterday..today -o two-days.html
            The page needs nothing else and runs no script. For root and members of jouled-admin.
            """)
    @OptionGroup var daemon: DaemonOptions
    @Option(help: "Where the period begins.")
    var since = "24h"
    @Option(help: "Where it ends; now if left out.")
    var until: String?
    @Option(help: "Another period to compare with, FROM..UNTIL.")
    var versus: String?
    @Option(name: .shortAndLong, help: "The page; - writes it to standard output.", completion: .file(extensions: ["html"]))
    var output: String

    func validate() throws { _ = try ranges(SystemClocks().wall().secondsSince1970) }

    /// The periods at a moment, in seconds since 1970.
    private func ranges(_ now: Double) throws -> [ClosedRange<Double>] {
        let period = try Self.range(since, until, now)
        guard let versus else { return [period] }
        let parts = versus.split(separator: ".", omittingEmptySubsequences: false).map(String.init)
        guard parts.count == 3, parts[1].isEmpty else { throw ValidationError("--versus '\(versus)': write FROM..UNTIL, e.g. yesterday..today") }
        return [period, try Self.range(parts[0], parts[2], now)]
    }

    func run() throws {
        try reporting {
            let connection = try daemon.connect()
            // Who asks makes the daemon write down what went on until then; only what ended by now belongs to the period.
            _ = try connection.call("io.jouled.Power.History", ["sinceSeconds": .double(SystemClocks().wall().secondsSince1970)])
            let periods = try ranges(SystemClocks().wall().secondsSince1970).map { try Self.history($0, connection) }
            try Console.write(HistoryReport(periods, timeZone: localTimeOffset()).text, file: output, mode: 0o644)
            let summary = periods.map(\.summary).joined(separator: "; ")
            if output == "-" { Console.error(summary) } else { Console.out("\(output): \(summary)") }
        }
    }

    /// The latest moment that jouled takes, in seconds since 1970.
    private static let latest = 1e11

    private static func range(_ since: String, _ until: String?, _ now: Double) throws -> ClosedRange<Double> {
        func moment(_ text: String) throws -> Double {
            guard let moment = MomentText.seconds(text, now: now) else {
                throw ValidationError("'\(text)' is no time: write 8h, today, yesterday, 2026-11-25 or \"2026-11-25 08:00\"")
            }
            guard (0...Self.latest).contains(moment) else { throw ValidationError("'\(text)' is not within the years 1970 to 5138") }
            return moment
        }
        let (start, end) = (try moment(since), try until.map(moment) ?? now)
        guard start < end else { throw ValidationError("the period from '\(since)' to '\(until ?? "now")' is empty") }
        return start...end
    }

    /// All pages of a period.
    private static func history(_ range: ClosedRange<Double>, _ connection: JouledConnection) throws -> DeviceHistory {
        var history = DeviceHistory(range)
        var parameters: JSONObject = ["sinceSeconds": .double(range.lowerBound)]
        while true {
            let page = try connection.call("io.jouled.Power.History", parameters)
            history.add(page)
            guard let next = page["next"]?.intValue else { return history }
            parameters["after"] = .int(next)
        }
    }
}

/// Times as people write them.
enum MomentText {
    /// Seconds since 1970; nil if `text` is no time.
    static func seconds(_ text: String, now: Double) -> Double? {
        if let span = DurationText.seconds(text) { return now - span }
        var local = tm()
        var moment = time_t(now)
        localtime_r(&moment, &local)
        if text == "today" || text == "yesterday" {
            (local.tm_hour, local.tm_min, local.tm_sec) = (0, 0, 0)
            if text == "yesterday" { local.tm_mday -= 1 }
        } else {
            let parts = text.split(whereSeparator: { $0 == " " || $0 == "T" })
            let date = (parts.first ?? "").split(separator: "-").map { Int32($0) }
            let clock = parts.count > 1 ? parts[1].split(separator: ":").map { Int32($0) } : [0, 0]
            guard (1...2).contains(parts.count), date.count == 3, (2...3).contains(clock.count), let year = date[0], let month = date[1], let day = date[2], let hour = clock[0],
                let minute = clock[1], (1970...9999).contains(year), (1...12).contains(month), (1...31).contains(day), (0...24).contains(hour), (0...59).contains(minute)
            else { return nil }
            (local.tm_year, local.tm_mon, local.tm_mday) = (year - 1900, month - 1, day)
            // The library makes 2 March of 30 February.
            var noon = local
            noon.tm_hour = 12
            guard mktime(&noon) != -1, noon.tm_mday == day else { return nil }
            (local.tm_hour, local.tm_min, local.tm_sec) = (hour, minute, clock.count > 2 ? clock[2] ?? 0 : 0)
        }
        // Whether daylight saving holds there is for the library to say.
        local.tm_isdst = -1
        let result = mktime(&local)
        return result == -1 ? nil : Double(result)
    }
}
