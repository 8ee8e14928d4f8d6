import JouledTestKit
import Testing
import Units
import Wire

@Suite("Parity with Python's onnxruntime over the whole recordings")
struct ParityTests {
    @Test("Speech, whatever the pieces in which samples arrive", arguments: [1, 7, 640, 65536, 1 << 20])
    func speech(chunk: Int) throws {
        let daemon = try DaemonHarness()
        let (status, out, error) = try daemon.run(["stream", "silero-vad", "--chunk", "\(chunk)"], input: Installation.speech)
        #expect(status == 0, "\(error) \(daemon.journal)")
        let windows = try Reference.parse(out)
        expectEqual(windows, try Reference.load("silero-vad-fp32"), "chunk \(chunk)")
        #expect(windows.allSatisfy { $0.variant == "fp32" })
    }

    @Test("ECG, whatever the pieces in which samples arrive", arguments: [1, 7, 640, 65536, 1 << 20])
    func ecg(chunk: Int) throws {
        let daemon = try DaemonHarness()
        let (status, out, error) = try daemon.run(
            ["stream", "ecg-rhythm", "--format", "f32le", "--chunk", "\(chunk)"], input: Installation.ecg)
        #expect(status == 0, "\(error) \(daemon.journal)")
        expectEqual(try Reference.parse(out), try Reference.load("ecg-rhythm-fp32"), "chunk \(chunk)")
    }

    @Test("Every variant, pinned", arguments: [("silero-vad", 4), ("ecg-rhythm", 4), ("keyword", 3), ("ppg-peaks", 2)])
    func pinned(model: String, least: Int) throws {
        let daemon = try DaemonHarness()
        let signal = try Installation.signal(model)
        let variants = try Installation.variants(model)
        #expect(variants.count >= least)
        for variant in variants {
            let (status, out, error) = try daemon.run(["stream", model, "--variant", variant, "--format", signal.format], input: signal.file)
            #expect(status == 0, "\(error) \(daemon.journal)")
            let windows = try Reference.parse(out)
            expectEqual(windows, try Reference.load("\(model)-\(variant)"), "\(model) \(variant)")
            #expect(windows.allSatisfy { $0.variant == variant })
        }
    }

    @Test("16 streams from 16 processes at the same time, each checked against its own reference")
    func sixteen() throws {
        let daemon = try DaemonHarness()
        let kinds = try ["silero-vad", "ecg-rhythm"].flatMap { model in try Installation.variants(model).prefix(3).map { (model, $0) } + [(model, "")] }
        let all = kinds + kinds
        // `--chunk` differs, so that the streams are not in step.
        let clients = try all.enumerated().map { index, kind in
            var arguments = ["stream", kind.0, "--chunk", "\(500 + 333 * index)", "--name", "s\(index)"]
            if kind.0 == "ecg-rhythm" { arguments += ["--format", "f32le"] }
            if !kind.1.isEmpty { arguments += ["--variant", kind.1] }
            return try daemon.joulectl(
                arguments, name: "s\(index)", input: kind.0 == "ecg-rhythm" ? Installation.ecg : Installation.speech)
        }
        for (index, client) in clients.enumerated() {
            let kind = all[index]
            let status = client.wait(atMost: Seconds(90))
            #expect(status == 0, "stream \(index): \(daemon.directory.text(of: "s\(index).err"))")
            let windows = try Reference.parse(daemon.directory.text(of: "s\(index).out"))
            let variant = kind.1.isEmpty ? "fp32" : kind.1
            expectEqual(windows, try Reference.load("\(kind.0)-\(variant)"), "stream \(index)")
            #expect(windows.allSatisfy { $0.variant == variant })
        }
        let ledger = try daemon.call("io.jouled.Streams.Ledger")["entries"]?.arrayValue ?? []
        #expect(ledger.count == 16)
        #expect(Set(ledger.compactMap { $0["windows"]?.intValue }) == [1875, 1491])
    }
}
