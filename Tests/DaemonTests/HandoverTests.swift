import JouledTestKit
import StreamSessions
import Systemd
import Testing
import Units
import Wire

@testable import JouledDaemon

@Suite("Restarts under open streams")
struct HandoverTests {
    @Test("Eight streams over four restarts: no client is closed, every window comes once, the recurrent state is carried over, and so is what gates told", arguments: seeds(2), [[], ["gated"]])
    func restarts(seed: UInt64, mode: [String]) throws {
        // For its configuration; the daemons are the script's.
        let daemon = try DaemonHarness()
        daemon.process.signal(15)
        #expect(daemon.process.wait(atMost: Seconds(5)) == 0)
        let script = "\(Installation.root)/Tests/DaemonTests/Scripts/restarts.py"
        let references = "\(Installation.root)/.deps/references/silero-vad-fp32.jsonl"
        let manager = try Subprocess(
            "/usr/bin/python3",
            [script, Installation.jouled, daemon.directory("jouled.toml"), daemon.directory("r"), Installation.speech, references, "\(seed)", "8", "4"] + mode,
            output: daemon.directory("result"), error: daemon.directory("errors"))
        #expect(manager.wait(atMost: Seconds(60)) == 0, "seed \(seed): \(daemon.directory.text(of: "errors").suffix(3000))")
        #expect(daemon.directory.text(of: "result").contains("8 streams over 4 restarts: all 1875 windows"))
    }

    @Test("What the file holds is exact to the bit", arguments: seeds(50))
    func json(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        let request = try OpenRequest(
            VarlinkCall(
                method: "io.jouled.Streams.Open",
                parameters: ["model": "m", "sampleRateHz": 100, "format": "f32le", "name": "n", "weight": 0.3, "critical": true, "latencyToleranceMs": 77,
                    "gate": ["stream": 3, "output": "o", "threshold": 0.25, "prerollMs": 1, "holdMs": 2]]))
        let bits = { (count: Int) in (0..<count).map { _ in Float(bitPattern: UInt32.random(in: 0...0x7f7f_ffff, using: &random)) } }
        let stream = Handover.Stream(
            request: request, version: Int.random(in: 1...99, using: &random),
            position: StreamPosition(
                frame: .init(ordinal: .random(in: 1...1 << 60, using: &random), header: random.bytes(.random(in: 0...24, using: &random)), received: 17, partialGap: .random(in: 0 ... .max, using: &random)),
                pendingBytes: random.bytes(3), values: bits(200), nextWindowStart: .random(in: 0...1 << 62, using: &random), windowNumber: 9,
                hasOrigin: .random(using: &random), states: [bits(256), []], backlog: random.bytes(1000),
                gate: Bool.random(using: &random)
                    ? nil : GateMemory(spans: [0, 5, 9, 1 << 60], settled: .random(in: 0...1 << 62, using: &random), hearing: Bool.random(using: &random) ? nil : 77, hasSlept: true, finish: Bool.random(using: &random) ? nil : 1 << 40)),
            gate: Bool.random(using: &random)
                ? nil
                : StreamGate(
                    contract: GateContract(
                        stream: 3, output: 1, threshold: .random(in: -1...1, using: &random), preroll: Seconds(.random(in: 0...10, using: &random)), hold: Seconds(0.3),
                        gateRateHz: 16000, rateHz: 8000, reserve: Seconds(.random(in: 0...30, using: &random))),
                    model: "m", label: "speech probability"))
        let text = JSONValue.object(stream.json).description
        #expect(Handover.Stream(try JSONValue(parsing: text)) == stream, "seed \(seed)")
    }

    @Test("A file that is damaged, or gone, loses its streams and nothing else")
    func damaged() throws {
        let directory = TemporaryDirectory()
        let journal = Remembering()
        let handover = Handover(directory: directory.path)
        #expect(handover.take(journal).isEmpty && journal.count == 1)
        try handover.give([:])
        let whole = directory.text(of: "handover")
        for cut in [0, 5, whole.utf8.count - 1] {
            directory.write("handover", String(whole.prefix(cut)))
            #expect(handover.take(journal).isEmpty)
        }
        #expect(journal.count == 4)
        try handover.give([:])
        #expect(handover.take(journal).isEmpty && journal.count == 4)
    }
}

/// Counts what it is told.
private final class Remembering: JournalSink, @unchecked Sendable {
    // Safe: used by one test on one thread.
    private(set) var count = 0
    func send(_ record: JournalRecord) { count += 1 }
}
