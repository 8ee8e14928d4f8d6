import Glibc
import JouledTestKit
import Testing
import Units

@Suite("Power events of the kernel")
struct UeventTests {
    /// umockdev puts a mock of /sys and udev's netlink messages below the real, unchanged daemon.
    @Test("A charger that is plugged in is known at once, however rarely power is polled", .enabled(if: access("/usr/bin/umockdev-wrapper", X_OK) == 0, "needs umockdev"))
    func plug() throws {
        var settings = DaemonHarness.Settings()
        settings.power = "poll = \"1h\""
        // The harness writes the configuration; its own daemon, on the real /sys, is not needed.
        let daemon = try DaemonHarness(settings)
        daemon.process.signal(SIGTERM)
        #expect(daemon.process.wait(atMost: Seconds(5)) == 0)
        let script = "\(Installation.root)/Tests/DaemonTests/Scripts/uevents.py"
        let mock = try Subprocess(
            "/usr/bin/umockdev-wrapper",
            ["/usr/bin/python3", script, Installation.jouled, daemon.directory("jouled.toml"), daemon.directory("mock-journal")],
            error: daemon.directory("mock-errors"))
        #expect(mock.wait(atMost: Seconds(40)) == 0, "\(daemon.directory.text(of: "mock-errors")) (umockdev is installed by setup/setup.sh)")
    }
}
