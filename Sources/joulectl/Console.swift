import ArgumentParser
import Glibc
import JouledClient
import Units
import Wire

/// The value of an environment variable, nil if it is unset or empty.
func environment(_ name: String) -> String? {
    guard let value = getenv(name), value.pointee != 0 else { return nil }
    return String(cString: value)
}

/// Standard output and error, written at once: no line is lost when the other end of a pipe goes away.
enum Console {
    static func out(_ text: String) { write(text + "\n", to: STDOUT_FILENO) }
    static func error(_ text: String) { write(text + "\n", to: STDERR_FILENO) }
    static func raw(_ text: String) { write(text, to: STDOUT_FILENO) }

    /// Writes a file whole, or to standard output where it is called `-`.
    /// - Parameter mode: permissions of the file.
    /// - Throws: what `AtomicFile.write` throws.
    static func write(_ content: String, file: String, mode: mode_t) throws(JouledError) {
        guard file != "-" else { return raw(content) }
        try AtomicFile.write(content, to: file, mode: mode, isDurable: false)
    }

    /// The same for bytes.
    static func write(_ content: [UInt8], file: String, mode: mode_t) throws(JouledError) {
        guard file != "-" else { return write(content, to: STDOUT_FILENO) }
        try AtomicFile.write([content], to: file, mode: mode)
    }

    /// True where a person watches and did not ask for plain text (https://no-color.org).
    static var hasColour: Bool { isatty(STDOUT_FILENO) == 1 && environment("NO_COLOR") == nil && environment("TERM") != "dumb" }
    static var isTerminal: Bool { isatty(STDOUT_FILENO) == 1 }

    private static func write(_ text: String, to descriptor: Int32) { write(Array(text.utf8), to: descriptor) }

    private static func write(_ content: [UInt8], to descriptor: Int32) {
        var bytes = content[...]
        while !bytes.isEmpty {
            let count = bytes.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
            if count >= 0 {
                bytes = bytes.dropFirst(count)
            } else if !canGoOn(after: errno, descriptor) {
                return
            }
        }
    }

    /// Whether writing can be tried again. Ends the program if standard output takes nothing more.
    private static func canGoOn(after problem: Int32, _ descriptor: Int32) -> Bool {
        switch problem {
        case EINTR: return true
        case EAGAIN:
            // Whoever shares the descriptor made it non-blocking.
            var polled = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
            poll(&polled, 1, -1)
            return true
        // Nobody reads any more: `joulectl ... | head` ends here, quietly.
        case EPIPE: exit(0)
        // A complaint that nobody can read is no reason to stop.
        case _ where descriptor == STDERR_FILENO: return false
        default:
            // What did not come out must not look as if it had.
            error("joulectl: standard output: \(String(cString: strerror(problem)))")
            exit(1)
        }
    }
}

/// Runs a command's body; errors become one line on standard error and exit status 1.
func reporting(_ body: () throws -> Void) throws {
    // A reader that goes away is an error code of write, not a signal.
    signal(SIGPIPE, SIG_IGN)
    // A closed standard input would lend its number to the next socket, which would then be read as input.
    while true {
        let descriptor = open("/dev/null", O_RDWR)
        guard (0...2).contains(descriptor) else {
            if descriptor > 2 { close(descriptor) }
            break
        }
    }
    do {
        try body()
    } catch let error as JouledError {
        Console.error("joulectl: \(explanation(error))")
        throw ExitCode(1)
    }
}

/// An error as a person wants it: Varlink errors without their envelope.
private func explanation(_ error: JouledError) -> String {
    guard let refusal = error.cause as? VarlinkError else { return error.description }
    return explanation(refusal)
}

func explanation(_ error: VarlinkError) -> String {
    func text(_ key: String) -> String { error.parameters[key]?.stringValue ?? "?" }
    func list(_ key: String) -> String {
        let items = (error.parameters[key]?.arrayValue ?? []).compactMap(\.stringValue)
        return items.isEmpty ? "none" : items.joined(separator: ", ")
    }
    switch error.name {
    case "io.jouled.Streams.UnknownModel": return "no model '\(text("model"))'; there are: \(list("known"))"
    case "io.jouled.Streams.UnknownVariant": return "model '\(text("model"))' has no variant '\(text("variant"))'; there are: \(list("known"))"
    case "io.jouled.Streams.SignalMismatch": return "\(text("field")): the model takes \(text("wanted")), not \(text("got"))\(text("field") == "sampleRateHz" ? "; jouled does not resample" : "")"
    case "io.jouled.Streams.InvalidGate": return "\(text("field")): \(text("reason"))"
    case "io.jouled.Streams.ModelUnavailable": return "model '\(text("model"))' cannot be served: \(text("reason"))"
    case "io.jouled.Streams.TooManyStreams": return "too many streams are open already"
    case "io.jouled.Streams.EnergyQuotaExceeded": return "your streams have spent the energy that one user may spend in an hour; ask an admin, or wait"
    case "io.jouled.TooManyConnections": return text("reason")
    case "org.varlink.service.PermissionDenied": return "permission denied: this is for root and members of jouled-admin"
    case "io.jouled.Policy.UnknownPolicy": return "no policy '\(text("name"))'; there are: \(list("known"))"
    case "io.jouled.Policy.InvalidPolicy": return text("problem")
    case "io.jouled.Policy.UnknownModel": return "no model '\(text("model"))'; there are: \(list("known"))"
    case "io.jouled.Policy.TooManyHolds": return text("reason")
    case "org.varlink.service.InvalidParameter": return "parameter '\(text("parameter"))' is missing, unknown, of the wrong type or out of range"
    case "org.varlink.service.InterfaceNotFound": return "this jouled has no interface \(text("interface"))"
    case "org.varlink.service.MethodNotFound": return "this jouled has no method \(text("method"))"
    default: return error.description
    }
}

/// A table with aligned columns.
struct TextTable {
    enum Alignment { case left, right }
    private let headers: [String]
    private let alignments: [Alignment]
    private var rows: [[String]] = []

    init(_ columns: [(String, Alignment)]) {
        headers = columns.map(\.0)
        alignments = columns.map(\.1)
    }

    mutating func add(_ row: [String]) { rows.append(row) }

    var lines: [String] {
        let all = [headers] + rows
        let widths = headers.indices.map { column in all.map { $0[column].count }.max() ?? 0 }
        return all.map { row in
            var line = ""
            for (column, text) in row.enumerated() {
                let padding = String(repeating: " ", count: widths[column] - text.count)
                line += (column == 0 ? "" : "  ") + (alignments[column] == .right ? padding + text : text + padding)
            }
            while line.last == " " { line.removeLast() }
            return line
        }
    }
}

extension JSONValue {
    /// Fields of a reply for printing: absent ones as `-`.
    func text(_ key: String) -> String { self[key]?.stringValue ?? "-" }
    func number(_ key: String) -> Double? { self[key]?.doubleValue }
    func integer(_ key: String) -> Int { self[key]?.intValue.map(Int.init) ?? 0 }
    func flag(_ key: String) -> Bool { self[key]?.boolValue ?? false }
    func list(_ key: String) -> [JSONValue] { self[key]?.arrayValue ?? [] }
    func watts(_ key: String) -> String { number(key).map { Watts($0).description } ?? "-" }
    func joules(_ key: String) -> String { number(key).map { Joules($0).description } ?? "-" }
}
