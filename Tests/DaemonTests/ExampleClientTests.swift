import Glibc
import JouledTestKit
import Testing
import Units
import Wire

/// The programs under docs/clients, as a reader would run them, on the whole recordings.
@Suite("Example clients give the results of joulectl stream")
struct ExampleClientTests {
    private static let folder = Installation.root + "/docs/clients/"
    private let daemon: DaemonHarness

    init() throws { daemon = try DaemonHarness() }

    private struct Signal: Sendable {
        let model, rate, format, file: String
        static let all = [
            Signal(model: "silero-vad", rate: "16000", format: "s16le", file: Installation.speech),
            Signal(model: "ecg-rhythm", rate: "100", format: "f32le", file: Installation.ecg),
        ]
        var reference: String { "\(model)-fp32" }
    }

    /// Runs a program to its end and returns what it printed.
    private func run(_ program: String, _ arguments: [String], input: String?, environment: [String: String] = [:]) throws -> String {
        let process = try Subprocess(
            program, arguments, input: input, output: daemon.directory("example.out"), error: daemon.directory("example.err"), environment: environment)
        let status = process.wait(atMost: Seconds(180))
        #expect(status == 0, "\(daemon.directory.text(of: "example.err"))")
        let text = daemon.directory.text(of: "example.out")
        unlink(daemon.directory("example.out"))
        return text
    }

    @Test("Python", arguments: [0, 1])
    func python(index: Int) throws {
        let signal = Signal.all[index]
        let out = try run("/usr/bin/env", ["python3", Self.folder + "stream.py", signal.model, signal.rate, signal.format, daemon.socket], input: signal.file)
        expectEqual(try Reference.parse(out), try Reference.load(signal.reference), signal.model)
    }

    @Test("Shell", arguments: [0, 1])
    func shell(index: Int) throws {
        let signal = Signal.all[index]
        let out = try run(Self.folder + "stream.sh", [signal.model, signal.rate, signal.format, daemon.socket], input: signal.file)
        expectEqual(try Reference.parse(out), try Reference.load(signal.reference), signal.model)
        let joules = try out.split(separator: "\n").compactMap { try JSONValue(parsing: String($0))["joules"]?.doubleValue }
        #expect(joules.allSatisfy { $0 > 1e-7 && $0 < 0.1 }, "\(joules.prefix(5))")
    }

    @Test("C, compiled without a warning", arguments: [0, 1])
    func c(index: Int) throws {
        let signal = Signal.all[index]
        let source = Self.folder + "stream.c"
        let lines = String(decoding: try #require(TemporaryDirectory.contents(of: source)), as: UTF8.self).split(separator: "\n", omittingEmptySubsequences: false)
        #expect(lines.count <= 101)
        _ = try run("/usr/bin/env", ["cc", "-O2", "-Wall", "-Wextra", "-Werror", "-o", daemon.directory("stream"), source], input: nil)
        let out = try run(daemon.directory("stream"), [signal.model, signal.rate, signal.format, daemon.socket], input: signal.file)
        // Its lines name no labels: the values alone are compared.
        let windows = try out.split(separator: "\n").map { line -> Window in
            let value = try JSONValue(parsing: String(line))
            return Window(
                end: UInt64(try #require(value["end"]?.intValue)), variant: "fp32", values: (value["values"]?.arrayValue ?? []).compactMap(\.doubleValue), isPadded: false)
        }
        expectEqual(windows, try Reference.load(signal.reference), signal.model)
    }

    @Test("Refusals end the examples with the daemon's words", arguments: ["stream.py", "stream.sh", "stream.c"])
    func refused(program: String) throws {
        var command = [Self.folder + program]
        if program == "stream.py" { command = ["python3"] + command }
        if program == "stream.c" {
            command = [daemon.directory("stream")]
            _ = try run("/usr/bin/env", ["cc", "-o", daemon.directory("stream"), Self.folder + program], input: nil)
        }
        let process = try Subprocess(
            "/usr/bin/env", command + ["nonesuch", "16000", "s16le", daemon.socket], input: Installation.speech, output: daemon.directory("out"), error: daemon.directory("err"))
        #expect(process.wait(atMost: Seconds(30)).map { $0 != 0 } == true)
        #expect(daemon.directory.text(of: "err").contains("UnknownModel"))
        #expect(daemon.directory.text(of: "out").isEmpty)
    }

    @Test("The microphone example on a recording: speech where the model says so")
    func microphone() throws {
        let out = try run(
            Self.folder + "microphone.sh", [], input: nil,
            environment: ["RECORDER": "cat \(Installation.speech)", "JOULED_SOCKET": daemon.socket, "PATH": Installation.products + ":/usr/bin:/bin"])
        // The rule of the script, over the reference's probabilities.
        var (expected, speaks, quiet) = ([String](), false, 0)
        for window in try Reference.load("silero-vad-fp32") {
            quiet = window.values[0] < 0.35 ? quiet + 1 : 0
            let now = window.values[0] >= 0.5 || (speaks && quiet < 10)
            if now != speaks { expected.append(now ? "speech" : "silence") }
            speaks = now
        }
        let said = out.split(separator: "\n").compactMap { $0.split(separator: " ").last.map(String.init) }
        #expect(said == expected && said.count > 4, "\(out)")
    }
}
