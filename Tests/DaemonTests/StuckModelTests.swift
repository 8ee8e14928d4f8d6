import Glibc
import JouledTestKit
import Testing
import Units
import Wire

@Suite("A model that does not come back costs its own stream only, and that one no window")
struct StuckModelTests {
    /// How a variant hangs once all samples of a window are at full scale: `loop` heeds ONNX Runtime's flag to end, `kernel` does not.
    /// `load` does not get as far as a window.
    enum Kind: String { case loop, kernel, load }

    /// A daemon whose best variant of the speech model hangs on some windows.
    private struct Scene {
        let bundles: BundleCopies
        let daemon: DaemonHarness
        let bad: String

        init(_ kind: Kind) throws {
            let directory = TemporaryDirectory()
            bundles = try BundleCopies(in: directory)
            let variants = try Installation.variants("silero-vad")
            bad = try #require(variants.dropFirst().first, "silero-vad has one variant only")
            bundles.fixCosts("silero-vad", variants)
            let made = try Subprocess(
                Installation.root + "/.deps/venv/bin/python",
                [Installation.root + "/Tests/DaemonTests/Scripts/hang.py", bundles.path + "/silero-vad/1/fp32.onnx", directory("hang.onnx"), kind.rawValue],
                error: directory("hang.err"))
            try #require(made.wait(atMost: Seconds(60)) == 0, "\(directory.text(of: "hang.err"))")
            for variant in variants where variant != bad { try bundles.setQuality("silero-vad", variant, variant == "fp32" ? 0.97 : 0.96) }
            try bundles.setQuality("silero-vad", bad, 1)
            try Self.replace(bundles, bad, with: "hang.onnx")
            var settings = DaemonHarness.Settings()
            settings.models = bundles.path
            if kind == .load { settings.loadLimit = "1s" }
            daemon = try DaemonHarness(settings, in: directory)
        }

        static func replace(_ bundles: BundleCopies, _ variant: String, with file: String) throws {
            let bytes = try #require(TemporaryDirectory.contents(of: bundles.directory(file)))
            bundles.directory.write("models/silero-vad/1/\(variant).onnx", bytes)
            try bundles.restate("silero-vad", variant, bytes)
        }
    }

    /// Speech with three windows at full scale in the middle. The second of them, whose context is at full scale, is the one.
    private func signal() throws -> (bytes: [UInt8], hangsAt: Int) {
        let speech = try Reference.speech()
        let full = [[UInt8]](repeating: [0xFF, 0x7F], count: 3 * 512).flatMap { $0 }
        return (speech[..<(100 * 1024)] + full + speech[(100 * 1024)..<(150 * 1024)], 101)
    }

    private func threads(of daemon: DaemonHarness) -> [String] { TemporaryDirectory.names(in: "/proc/\(daemon.process.id)/task") }

    /// CPU time of the daemon, in clock ticks.
    private func ticks(of daemon: DaemonHarness) -> Int {
        let text = String(decoding: TemporaryDirectory.contents(of: "/proc/\(daemon.process.id)/stat") ?? [], as: UTF8.self)
        let fields = text.split(separator: " ")
        return fields.count > 14 ? (Int(fields[13]) ?? 0) + (Int(fields[14]) ?? 0) : -1
    }

    @Test("The run is ended, or its thread given up; the window is answered by another variant with the state carried over", arguments: [Kind.loop, .kernel])
    func hang(kind: Kind) throws {
        let scene = try Scene(kind)
        let daemon = scene.daemon
        let process = daemon.process.id
        let threadsBefore = threads(of: daemon).count
        let (bytes, hangsAt) = try signal()
        // What it should be: the same signal without the variant that hangs.
        let reference = try TestStream.speech(daemon, ["variant": "fp32"])
        try reference.send(bytes)
        try reference.finish()
        let bystander = try TestStream.ecg(daemon, ["name": "bystander"])
        let ecg = try Reference.ecg()
        try bystander.send(ecg[..<20_000])

        let stream = try TestStream.speech(daemon)
        // A run may take many windows, and all of one that hangs are answered by another variant: so it begins with the bad one.
        try stream.send(bytes[..<(hangsAt * 1024)])
        #expect(try stream.wait { stream.windows.count == hangsAt })
        // In one piece: the rest of it waits in the daemon while the model hangs.
        try stream.send(bytes[(hangsAt * 1024)...])
        try bystander.send(ecg[20_000..<40_000])
        try stream.finish(within: Seconds(60))
        try bystander.finish(within: Seconds(60))

        #expect(daemon.journalHas("A model does not come back", "its run is ended"))
        #expect(daemon.journalHas("Variant \(scene.bad) of silero-vad failed", "took more than"))
        #expect(daemon.journal.contains("its thread is given up") == (kind == .kernel), "\(daemon.journal)")
        expectEqual(stream.windows, reference.windows, "\(kind)")
        #expect(stream.windows.map(\.variant) == stream.windows.indices.map { $0 < hangsAt ? scene.bad : "fp32" })
        #expect(stream.error == nil)
        #expect(bystander.windows.count == 91)
        #expect(bystander.notices.map(\.notice.kind) == ["end"])

        // Nobody gets that variant again, and all else is as before.
        let (name, reason) = try refusal(daemon, scene.bad)
        #expect(name == "io.jouled.Streams.ModelUnavailable" && reason.contains("took more than"), "\(name): \(reason)")
        let later = try TestStream.speech(daemon)
        try later.send(bytes)
        try later.finish()
        #expect(later.windows.allSatisfy { $0.variant == "fp32" })
        #expect(daemon.process.id == process && daemon.process.exitStatus == nil)
        #expect(threads(of: daemon).count == threadsBefore + (kind == .kernel ? 1 : 0))
        // The thread that was given up does not go on computing.
        let before = ticks(of: daemon)
        sleep(1)
        #expect(ticks(of: daemon) - before <= 5)

        // What was published in its place is used, without a word from the operator.
        try Scene.replace(scene.bundles, scene.bad, with: "models/silero-vad/1/fp32.onnx")
        let repaired = try TestStream.speech(daemon)
        try repaired.send(bytes)
        try repaired.finish()
        #expect(repaired.windows.allSatisfy { $0.variant == scene.bad })
        expectEqual(repaired.windows, reference.windows, "repaired")
        daemon.process.signal(SIGTERM)
        #expect(daemon.process.wait(atMost: Seconds(5)) == 0)
    }

    @Test("A load that does not end is given up with its thread; what waits for it gets another variant, and later loads go on")
    func load() throws {
        let scene = try Scene(.load)
        let daemon = scene.daemon
        let process = daemon.process.id
        let speech = try Reference.speech()[..<(50 * 1024)]
        let bystander = try TestStream.ecg(daemon, ["name": "bystander"])
        let ecg = try Reference.ecg()
        try bystander.send(ecg[..<20_000])
        #expect(try bystander.wait { !bystander.windows.isEmpty })
        let threadsBefore = threads(of: daemon).count

        // The best variant is the one that hangs.
        let stream = try TestStream.speech(daemon)
        try stream.send(speech)
        try bystander.send(ecg[20_000..<40_000])
        try stream.finish(within: Seconds(30))
        try bystander.finish(within: Seconds(30))
        #expect(stream.windows.count == 50)
        #expect(stream.windows.allSatisfy { $0.variant == "fp32" })
        #expect(bystander.windows.count == 91)
        #expect(daemon.journalHas("does not load within", "its thread is given up (1 of at most 4)"))
        #expect(daemon.journalHas("Variant \(scene.bad) of silero-vad", "did not load within"))
        let (name, reason) = try refusal(daemon, scene.bad)
        #expect(name == "io.jouled.Streams.ModelUnavailable" && reason.contains("did not load within"), "\(name): \(reason)")

        // What is loaded after it, power and policies go through the thread that took over.
        try daemon.setPolicy("tiny")
        try daemon.setPolicy("unlimited")
        try Scene.replace(scene.bundles, scene.bad, with: "models/silero-vad/1/fp32.onnx")
        let repaired = try TestStream.speech(daemon)
        try repaired.send(speech)
        try repaired.finish()
        #expect(repaired.windows.count == 50)
        #expect(repaired.windows.allSatisfy { $0.variant == scene.bad })
        #expect(threads(of: daemon).count == threadsBefore + 1)
        let before = ticks(of: daemon)
        sleep(1)
        #expect(ticks(of: daemon) - before <= 5)
        #expect(daemon.process.id == process && daemon.process.exitStatus == nil)
        daemon.process.signal(SIGTERM)
        #expect(daemon.process.wait(atMost: Seconds(5)) == 0)
    }

    @Test("A stream that may use no other variant ends with the reason, and no decision is held up")
    func pinned() throws {
        let scene = try Scene(.kernel)
        let daemon = scene.daemon
        let (bytes, hangsAt) = try signal()
        let stream = try TestStream.speech(daemon, ["variant": .string(scene.bad)])
        let other = try TestStream.ecg(daemon)
        try stream.send(bytes[..<(hangsAt * 1024)])
        #expect(try stream.wait { stream.windows.count == hangsAt })
        try stream.send(bytes[(hangsAt * 1024)...])
        #expect(daemon.journalHas("its thread is given up", within: Seconds(30)))
        // No other variant may be used, so this stream ends, and says why.
        try stream.drain()
        #expect(stream.has("closed"), "\(stream.notices)")
        #expect(stream.windows.count == hangsAt)
        try daemon.setPolicy("tiny")
        #expect(try daemon.call("io.jouled.Power.GetStatus")["status"]?["policy"] == "tiny")
        try daemon.setPolicy("unlimited")
        try other.send(try Reference.ecg()[..<40_000])
        try other.finish()
        #expect(other.windows.count == 91)
    }

    private func refusal(_ daemon: DaemonHarness, _ variant: String) throws -> (name: String, reason: String) {
        let parameters: JSONObject = ["model": "silero-vad", "sampleRateHz": 16000, "variant": .string(variant)]
        let call: JSONValue = ["method": "io.jouled.Streams.Open", "parameters": .object(parameters), "upgrade": true]
        let reply = try RawSocket(daemon).call(call.description)
        return (reply["error"]?.stringValue ?? "none", reply["parameters"]?["reason"]?.stringValue ?? "\(reply)")
    }
}
