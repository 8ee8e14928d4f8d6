import Decisions
import Glibc
import InferenceRuntime
import StreamSessions
import Systemd
import Units

// What is given back when programs wait for memory.
extension Scheduler {
    /// A stream that answered nothing for so long can do without its model.
    static let idleTime = Seconds(10)
    /// What was given back once takes a while to be felt.
    static let reliefInterval = Seconds(10)

    /// Watches memory pressure; without it the daemon goes on as it is.
    func watchMemory() {
        do throws(JouledError) {
            memoryPressure = try MemoryPressure.watch(configuration.memoryPressure, on: loop) { [weak self] in
                self?.assumeIsolated { $0.memoryIsShort() }
            }
        } catch {
            journal.send(JournalRecord(.info, "Memory pressure is not watched: \(error)", messageID: MessageID.memoryPressure))
        }
    }

    private func memoryIsShort() {
        let now = clocks.monotonic()
        guard !isStopping, relievedAt.map({ now.since($0) >= Self.reliefInterval }) ?? true else { return }
        relievedAt = now
        Task(executorPreference: loop) { await self.relieveMemory(at: now) }
    }

    /// Unloads the models of streams that are paused or have nothing to do, and gives what is free back to the kernel.
    private func relieveMemory(at now: MonotonicTime) async {
        let before = Self.residentBytes()
        let asleep = await pump.sleep(idleSince: now.advanced(by: -Self.idleTime))
        for (id, stream) in streams where asleep.contains(id) || (stream.isRunning && engine.placements[id]?.option == nil) {
            streams[id]?.loaded = [:]
        }
        await keepWhatIsUsed()
        await models.trim()
        let freed = max(0, before - Self.residentBytes())
        journal.send(
            JournalRecord(
                .notice, "Memory is short: \(asleep.count) idle streams let go of their models, \(freed >> 10) kB given back",
                messageID: MessageID.memoryPressure,
                fields: [.init("JOULED_STREAMS_ASLEEP", "\(asleep.count)"), .init("JOULED_FREED_BYTES", "\(freed)")]))
    }

    /// Has models forgotten that no stream uses.
    func keepWhatIsUsed() async { await models.keep(only: Set(streams.values.flatMap { $0.loaded.values.map(\.modelPath) })) }

    private static func residentBytes() -> Int {
        guard let file = fopen("/proc/self/statm", "r") else { return 0 }
        defer { fclose(file) }
        var buffer = [CChar](repeating: 0, count: 128)
        guard fgets(&buffer, Int32(buffer.count), file) != nil else { return 0 }
        let fields = buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }.split(separator: UInt8(ascii: " "))
        return fields.count > 1 ? (Int(String(decoding: fields[1], as: UTF8.self)) ?? 0) * Int(getpagesize()) : 0
    }
}
