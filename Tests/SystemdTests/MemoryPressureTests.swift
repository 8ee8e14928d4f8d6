import Glibc
import JouledTestKit
import Synchronization
import Testing
import Units

@testable import Systemd

private final class Alarms: Sendable { let count = Atomic(0) }

/// Watches memory pressure on a loop.
private actor Watcher {
    private let loop: EventLoop
    nonisolated var unownedExecutor: UnownedSerialExecutor { loop.asUnownedSerialExecutor() }
    private var pressure: MemoryPressure?
    init(_ loop: EventLoop) { self.loop = loop }

    /// - Returns: what is watched.
    func watch(_ path: String, _ environment: [String: String], _ alarms: Alarms) throws -> String? {
        pressure = try MemoryPressure.watch(path, on: loop, environment: { environment[$0] }) { alarms.count.add(1, ordering: .releasing) }
        return pressure?.path
    }
    func stop() { pressure = nil }
}

@Suite("Memory pressure")
struct MemoryPressureTests {
    private func fifo(_ directory: TemporaryDirectory) -> String {
        let path = directory("fifo")
        mkfifo(path, 0o600)
        return path
    }

    private func raise(_ path: String) {
        let descriptor = open(path, O_WRONLY | O_NONBLOCK)
        write(descriptor, "xx", 2)
        close(descriptor)
    }

    @Test("Each alarm is told; the service manager's file comes first, and /dev/null means none", arguments: [false, true])
    func alarm(isNamed: Bool) async throws {
        let (directory, alarms) = (TemporaryDirectory(), Alarms())
        let path = fifo(directory)
        let loop = try EventLoop.startThread(named: "pressure")
        defer { loop.stop() }
        let watcher = Watcher(loop)
        let environment = isNamed ? ["MEMORY_PRESSURE_WATCH": path, "MEMORY_PRESSURE_WRITE": "c29tZSAyMDAwMDAgMjAwMDAwMAA="] : [:]
        #expect(try await watcher.watch(isNamed ? "/nonexistent" : path, environment, alarms) == path)
        for number in 1...3 {
            raise(path)
            #expect(eventually { alarms.count.load(ordering: .acquiring) == number })
        }
        #expect(try await watcher.watch(path, ["MEMORY_PRESSURE_WATCH": "/dev/null"], alarms) == nil)
        #expect(try await watcher.watch("", [:], alarms) == nil)
        await watcher.stop()
    }

    @Test("What cannot be watched is named")
    func errors() async throws {
        let (directory, alarms) = (TemporaryDirectory(), Alarms())
        let loop = try EventLoop.startThread(named: "pressure-errors")
        defer { loop.stop() }
        let watcher = Watcher(loop)
        directory.write("plain", "")
        let cases: [(String, [String: String], String)] = [
            ("/nonexistent/memory", [:], "/nonexistent/memory"),
            (directory("plain"), [:], "plain"),
            ("", ["MEMORY_PRESSURE_WATCH": directory("plain"), "MEMORY_PRESSURE_WRITE": "b%d"], "MEMORY_PRESSURE_WRITE"),
        ]
        for (path, environment, word) in cases {
            do {
                _ = try await watcher.watch(path, environment, alarms)
                Issue.record("'\(path)' is watched")
            } catch {
                #expect("\(error)".contains(word), "\(error)")
            }
        }
        #expect(directory.text(of: "plain") == "", "no trigger is written into a file")
    }

    @Test("The kernel takes the trigger from a user without rights", .enabled(if: access(MemoryPressure.devicePath, W_OK) == 0))
    func kernel() async throws {
        let loop = try EventLoop.startThread(named: "pressure-kernel")
        defer { loop.stop() }
        let watcher = Watcher(loop)
        #expect(try await watcher.watch(MemoryPressure.devicePath, [:], Alarms()) == MemoryPressure.devicePath)
        await watcher.stop()
    }

    @Test("Base64 as RFC 4648 gives it")
    func base64() {
        for (text, plain) in [("", ""), ("Zg==", "f"), ("Zm8=", "fo"), ("Zm9v", "foo"), ("Zm9vYmFy", "foobar")] {
            #expect(MemoryPressure.decodeBase64(text) == Array(plain.utf8))
        }
        for wrong in ["Zg", "Z===", "Zm9%", "Zm9vZ"] { #expect(MemoryPressure.decodeBase64(wrong) == nil) }
    }
}
