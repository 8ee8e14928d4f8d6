import Glibc
import JouledTestKit
import Testing
import Units
import Wire

@Suite("When memory is short")
struct MemoryTests {
    @Test("Idle streams let go of their models, and go on with their next window as if nothing had been")
    func pressure() throws {
        let directory = TemporaryDirectory()
        let alarm = directory("pressure")
        mkfifo(alarm, 0o600)
        var settings = DaemonHarness.Settings()
        settings.more = "[memory]\npressure = \"\(alarm)\""
        let daemon = try DaemonHarness(settings, in: directory)
        let reference = try Reference.load("silero-vad-fp32")
        let speech = try Reference.speech()
        // Half a window more than ten, so that there is a rest to keep, too.
        let idle = try TestStream.speech(daemon)
        try idle.send(speech[..<10_752])
        #expect(try idle.wait { idle.windows.count == 10 })
        let busy = try TestStream.ecg(daemon, ["name": "busy"])
        let ecg = try Reference.ecg()
        var fed = 0
        // The first alarms find that the stream was at work a moment ago.
        let isAsleep = try eventually(within: Seconds(60)) {
            try busy.send(ecg[fed..<(fed + 400)])
            fed += 400
            usleep(200_000)
            let descriptor = open(alarm, O_WRONLY | O_NONBLOCK)
            write(descriptor, "x", 1)
            close(descriptor)
            return daemon.journal.contains("Memory is short: 1 idle streams")
        }
        #expect(isAsleep, "\(daemon.journal)")
        #expect(idle.notices.isEmpty)
        let status = try daemon.call("io.jouled.Streams.List")["streams"]?.arrayValue?.first
        #expect(status?["paused"] == false)

        try idle.send(speech[10_752...])
        try idle.finish()
        expectEqual(idle.windows, reference, "after the model was unloaded")
        #expect(idle.notices.map(\.notice.kind) == ["end"])
        try busy.finish()
        #expect(busy.notices.map(\.notice.kind) == ["end"])
        #expect(busy.error == nil)
    }

    @Test("A daemon that cannot watch memory says so, and serves")
    func unwatched() throws {
        let daemon = try DaemonHarness { $0.more = "[memory]\npressure = \"/nonexistent/pressure\"" }
        #expect(daemon.journalHas("Memory pressure is not watched", "/nonexistent/pressure"))
        try Bystander(daemon).verify()
    }
}
