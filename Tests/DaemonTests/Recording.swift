import Glibc
import JouledClient
import JouledTestKit
import Testing
import Units
import Wire

/// One window's outputs, from a reference file, from `joulectl` or from a stream.
struct Window: Equatable, CustomStringConvertible {
    var end: UInt64
    var variant = ""
    var values: [Double]
    var isPadded = false
    var description: String { "\(end) \(variant) \(values)" }

    /// The largest difference of an output.
    func error(against other: Window) -> Double {
        guard values.count == other.values.count else { return .infinity }
        return zip(values, other.values).map { abs($0 - $1) }.max() ?? 0
    }
}

/// What Python's onnxruntime made of the recordings, window by window.
enum Reference {
    static func load(_ name: String) throws -> [Window] {
        let path = "\(Installation.root)/.deps/references/\(name).jsonl"
        let bytes = try #require(TemporaryDirectory.contents(of: path), "\(path) is not there: run make bundles")
        return try bytes.split(separator: 0x0A).map { line in
            let value = try JSONValue(parsing: Array(line))
            return Window(
                end: UInt64(try #require(value["end"]?.intValue)),
                values: (value["values"]?.arrayValue ?? []).compactMap(\.doubleValue))
        }
    }

    /// Parses the JSON lines of `joulectl stream`.
    static func parse(_ text: String) throws -> [Window] {
        try text.utf8.split(separator: 0x0A).map { line in
            let object = try #require(try JSONValue(parsing: Array(line)).objectValue)
            let values = object.members.filter { !["end", "variant", "joules", "padded"].contains($0.key) }
            return Window(
                end: UInt64(try #require(object["end"]?.intValue)), variant: object["variant"]?.stringValue ?? "",
                values: values.compactMap(\.value.doubleValue), isPadded: object["padded"] == true)
        }
    }

    static func speech() throws -> [UInt8] { try #require(TemporaryDirectory.contents(of: Installation.speech)) }
    static func ecg() throws -> [UInt8] { try #require(TemporaryDirectory.contents(of: Installation.ecg)) }
}

/// Every window of the reference is there once, in order, and within `tolerance`.
func expectEqual(
    _ windows: [Window], _ reference: [Window], tolerance: Double = 1e-4, _ what: String = "", at location: SourceLocation = #_sourceLocation
) {
    let firstDifference = zip(windows, reference).first { $0.end != $1.end }
    let same = windows.count == reference.count && firstDifference == nil
    #expect(
        same, "\(what): \(windows.count) windows of \(reference.count), first other one \(firstDifference.map { "\($0)" } ?? "none")",
        sourceLocation: location)
    let errors = zip(windows, reference).map { $0.error(against: $1) }
    let worst = errors.indices.max { errors[$0] < errors[$1] }
    if let worst, !(errors[worst] <= tolerance) {
        Issue.record("\(what): window \(windows[worst]) differs from \(reference[worst]) by \(errors[worst])", sourceLocation: location)
    }
}

/// A stream of this process to the daemon that keeps all that it is told.
final class TestStream {
    let connection: StreamConnection
    private let variants: [String]
    private(set) var windows: [Window] = []
    private(set) var notices: [(notice: Notice, at: UInt64)] = []
    private(set) var error: Notice?
    private(set) var isClosed = false

    init(_ daemon: DaemonHarness, _ parameters: JSONObject) throws {
        connection = try daemon.connect().openStream(parameters)
        let contract = connection.contract["contract"]
        variants = (contract?["variants"]?.arrayValue ?? []).compactMap(\.stringValue)
    }

    static func speech(_ daemon: DaemonHarness, _ more: JSONObject = [:]) throws -> TestStream {
        try TestStream(daemon, merged(["model": "silero-vad", "sampleRateHz": 16000], more))
    }

    static func ecg(_ daemon: DaemonHarness, _ more: JSONObject = [:]) throws -> TestStream {
        try TestStream(daemon, merged(["model": "ecg-rhythm", "sampleRateHz": 100, "format": "f32le"], more))
    }

    private static func merged(_ first: JSONObject, _ second: JSONObject) -> JSONObject {
        var object = first
        for member in second.members { object[member.key] = member.value }
        return object
    }

    var id: Int64 { connection.contract["stream"]?.intValue ?? -1 }
    func has(_ kind: String) -> Bool { notices.contains { $0.notice.kind == kind } }
    func count(_ kind: String) -> Int { notices.filter { $0.notice.kind == kind }.count }

    private func take(_ event: StreamEvent) {
        switch event {
        case .result(let result, let end, _):
            windows.append(
                Window(
                    end: end, variant: variants.indices.contains(Int(result.variant)) ? variants[Int(result.variant)] : "?",
                    values: result.values.map { Double($0) }, isPadded: result.isPadded))
        case .notice(let notice, let index): notices.append((notice, index))
        case .error(let notice): error = notice
        }
    }

    /// Sends, and takes what comes meanwhile.
    func send(_ bytes: some Collection<UInt8>) throws {
        connection.send(Array(bytes))
        note(try connection.pump(until: .written, timeout: Seconds(20)) { take($0); return true })
    }

    /// Waits until `condition` holds.
    @discardableResult
    func wait(within limit: Seconds = Seconds(20), until condition: () -> Bool) throws -> Bool {
        let clocks = SystemClocks()
        let deadline = clocks.monotonic().advanced(by: limit)
        while !condition() {
            let left = deadline.since(clocks.monotonic())
            guard left > .zero, !isClosed else { return false }
            note(try connection.pump(until: .event, timeout: left) { take($0); return true })
        }
        return true
    }

    /// Ends the stream and takes all that is left.
    func finish(within limit: Seconds = Seconds(30)) throws {
        connection.end()
        try drain(within: limit)
    }

    /// Takes everything until the daemon closes the stream.
    func drain(within limit: Seconds = Seconds(30)) throws {
        note(try connection.pump(until: .closed, timeout: limit) { take($0); return true })
        if !isClosed { throw JouledError(.timedOut, "the stream did not close; \(windows.count) windows came") }
    }

    private func note(_ outcome: StreamConnection.Outcome) {
        if outcome == .closed { isClosed = true }
        if outcome == .reached, let last = lastGoalClosed() { isClosed = last }
    }

    /// `.reached` of the goal `.closed` is told apart by asking again, which returns at once.
    private func lastGoalClosed() -> Bool? {
        guard let outcome = try? connection.pump(until: .now, { take($0); return true }) else { return true }
        return outcome == .closed ? true : nil
    }
}
