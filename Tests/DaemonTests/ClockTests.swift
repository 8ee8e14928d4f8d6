import Glibc
import JouledTestKit
import Testing
import Units
import Wire

/// A real daemon whose clocks jump while it runs, through a library that is loaded before all others (Scripts/clocks.c).
@Suite("Clocks that jump", .enabled(if: !Installation.isSanitized, "a sanitizer wants to be loaded first itself"))
struct ClockTests {
    private final class Scene {
        let daemon: DaemonHarness
        let stream: TestStream
        private let clocks: String
        private let speech: [UInt8]
        private(set) var fed = 0

        init(_ policy: String) throws {
            let directory = TemporaryDirectory()
            let bundles = try BundleCopies(in: directory)
            try bundles.answerEveryWindow("silero-vad")
            clocks = directory("clocks")
            directory.write("clocks", [UInt8](repeating: 0, count: 16))
            let compiler = try Subprocess(
                "/usr/bin/env", ["cc", "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o", directory("clocks.so"), "\(Installation.root)/Tests/DaemonTests/Scripts/clocks.c", "-ldl"],
                error: directory("cc.err"))
            try #require(compiler.wait(atMost: Seconds(60)) == 0, "\(directory.text(of: "cc.err"))")
            var settings = DaemonHarness.Settings()
            settings.models = bundles.path
            settings.power = "source = \"virtual\"\npoll = \"200ms\""
            settings.policies["goal"] = policy
            settings.policy = "goal"
            settings.environment = ["LD_PRELOAD": directory("clocks.so"), "CLOCKS": clocks, "TZ": "UTC"]
            daemon = try DaemonHarness(settings, in: directory)
            stream = try TestStream.speech(daemon, ["variant": "fp32", "critical": true])
            speech = try Reference.speech()
        }

        /// Sets by how much the clocks are ahead of the kernel's.
        func set(civil: Int64, boot: Int64 = 0) throws {
            let file = open(clocks, O_WRONLY)
            defer { close(file) }
            var values = [civil, boot].map { $0 * 1_000_000_000 }
            try #require(pwrite(file, &values, 16, 0) == 16)
        }

        /// Feeds a second of speech and expects its windows.
        func feed() throws {
            let bytes = speech[(fed * 1024)..<((fed + 31) * 1024)]
            fed += 31
            try stream.send(bytes)
            #expect(try stream.wait { stream.windows.count >= fed }, "\(stream.windows.count) of \(fed) windows: \(daemon.journal)")
        }

        func secondsLeft() throws -> Double { try daemon.call("io.jouled.Power.GetStatus")["status"]?["secondsLeft"]?.doubleValue ?? -1 }
        /// Ticks go by, with readings and decisions.
        func settle() { usleep(700_000) }

        func joules() throws -> Double {
            (try daemon.call("io.jouled.Streams.Ledger")["entries"]?.arrayValue ?? []).reduce(0) { $0 + ($1["joules"]?.doubleValue ?? 0) }
        }

        func finish() throws {
            try stream.finish(within: Seconds(60))
            let reference = try Reference.load("silero-vad-fp32").prefix(fed)
            expectEqual(stream.windows, Array(reference), "beside clocks that jump")
            #expect(daemon.process.exitStatus == nil)
        }
    }

    private let year: Int64 = 365 * 86400

    @Test("Civil time that is set, forwards or back, moves no goal that counts hours, and no stream")
    func civil() throws {
        let scene = try Scene("kind = \"lifetime\"\nduration = \"8h\"\n")
        try scene.feed()
        let begun = try scene.secondsLeft()
        #expect(begun > 8 * 3600 - 60 && begun <= 8 * 3600)
        var spent = try scene.joules()
        for jump: Int64 in [year, -5 * year, 0, 3600, -1] {
            try scene.set(civil: jump)
            try scene.feed()
            scene.settle()
            let left = try scene.secondsLeft()
            #expect(left > 8 * 3600 - 120 && left <= begun, "set by \(jump) s: \(left) s left")
            let now = try scene.joules()
            #expect(now >= spent, "set by \(jump) s")
            spent = now
        }
        try scene.finish()
    }

    @Test("A goal by time of day goes by the clock that was set")
    func timeOfDay() throws {
        let scene = try Scene("kind = \"lifetime\"\nuntil = \"12:00\"\n")
        for jump: Int64 in [0, 5 * 3600, -7 * 3600, year] {
            try scene.set(civil: jump)
            try scene.feed()
            scene.settle()
            let left = try scene.secondsLeft()
            let second = (Int64(time(nil)) + jump) % 86400
            let expected = Double((12 * 3600 - second + 86400) % 86400)
            // At noon itself the next one is as good.
            let off = abs(left - expected)
            #expect(min(off, abs(off - 86400)) < 10, "set by \(jump) s: \(left) s left, not \(expected)")
        }
        try scene.finish()
    }

    @Test("After a suspend the goal is nearer by the time slept, the journal says so, and streams go on")
    func suspend() throws {
        let scene = try Scene("kind = \"lifetime\"\nduration = \"8h\"\n")
        try scene.feed()
        scene.settle()
        // Civil time and boot time go on while the device sleeps; the monotonic clock stands still.
        try scene.set(civil: 3600, boot: 3600)
        #expect(scene.daemon.journalHas("The device slept for 1h"), "\(scene.daemon.journal)")
        try scene.feed()
        let left = try scene.secondsLeft()
        #expect(left > 7 * 3600 - 120 && left <= 7 * 3600, "\(left) s left")
        // A restart goes on from there: what it kept says how far the goal had come, and no sleep is counted twice.
        try scene.finish()
        try scene.daemon.restart()
        let after = try scene.secondsLeft()
        #expect(after > 7 * 3600 - 180 && after <= left, "\(after) s left")
    }
}
