import ConfigDocument
import Glibc
import Units

/// The CSV beside a scenario: what the device draws and gets over time.
enum TraceFile {
    static let columns = ["time_s", "base_w", "harvest_w", "ac_online", "temperature_c"]
    private static let sizeLimit = 64 << 20

    /// - Throws: `unreadableFile`, or `invalidValue` as `FILE:LINE: column 'NAME': ...`.
    static func load(_ path: String) throws(JouledError) -> [Scenario.Row] {
        try rows(of: TextFile.read(path, limit: sizeLimit), file: path)
    }

    static func rows(of text: String, file: String) throws(JouledError) -> [Scenario.Row] {
        var rows: [Scenario.Row] = []
        var hasHeader = false
        for (index, raw) in text.utf8.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false).enumerated() {
            var line = Substring(raw)
            // A byte order mark, as spreadsheets write one.
            if index == 0, line.unicodeScalars.first == "\u{FEFF}" { line.unicodeScalars.removeFirst() }
            while let last = line.utf8.last, last == UInt8(ascii: "\r") || last == UInt8(ascii: " ") { line = Substring(line.utf8.dropLast()) }
            if line.isEmpty { continue }
            let cells = line.split(separator: ",", omittingEmptySubsequences: false)
            guard hasHeader else {
                guard cells.map(String.init) == columns else {
                    throw JouledError(.invalidValue, "\(file):\(index + 1): the header must be '\(columns.joined(separator: ","))'")
                }
                hasHeader = true
                continue
            }
            guard cells.count == columns.count else {
                throw JouledError(.invalidValue, "\(file):\(index + 1): \(cells.count) columns where \(columns.count) belong")
            }
            func refusal(_ column: Int, _ message: String) -> JouledError {
                JouledError(.invalidValue, "\(file):\(index + 1): column '\(columns[column])': \(message)")
            }
            var values: [Double] = []
            for (column, cell) in cells.enumerated() {
                guard let value = Double(cell), value.isFinite else { throw refusal(column, "'\(cell)' is no number") }
                if column < 3, value < 0 { throw refusal(column, "must not be negative") }
                values.append(value)
            }
            if let last = rows.last, values[0] <= last.time.value { throw refusal(0, "must be after the row before") }
            guard values[3] == 0 || values[3] == 1 else { throw refusal(3, "must be 0 or 1") }
            rows.append(
                Scenario.Row(
                    time: Seconds(values[0]), base: Watts(values[1]), harvest: Watts(values[2]), acOnline: values[3] == 1,
                    temperature: Celsius(values[4])))
        }
        guard !rows.isEmpty else { throw JouledError(.invalidValue, "\(file):1: no rows") }
        return rows
    }
}
