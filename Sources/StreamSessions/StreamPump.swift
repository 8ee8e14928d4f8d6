import Glibc
import InferenceRuntime
import Systemd
import Units

/// Gives every stream its turns: one timer for all on the inference loop, so that streams share wake-ups.
public actor StreamPump {
    /// What the pump tells the daemon.
    public enum Event: Sendable, Equatable {
        /// The stream is gone; its final figures.
        case ended(id: UInt64, StreamEnd, StreamStatistics)
        /// The variant failed in this stream, which waits for another assignment.
        case faulted(id: UInt64, variant: String, message: String)
        /// A window is complete in a stream whose model was unloaded; it waits for an assignment with it.
        case awoken(id: UInt64)
    }

    /// What the streams' models do, for whoever watches that they come back.
    public nonisolated let watch = RunGuard()
    private nonisolated let loop: EventLoop
    public nonisolated var unownedExecutor: UnownedSerialExecutor { loop.asUnownedSerialExecutor() }
    private let notify: @Sendable (Event) -> Void
    private let clocks = SystemClocks()
    private var entries: [UInt64: Entry] = [:]
    private var timer: LoopTimer?
    private var isRoundQueued = false
    /// The stream whose turn it is.
    private var turning: UInt64?
    private let buffer = ReadBuffer()

    /// Memory that the sessions of this loop read into by turns.
    private final class ReadBuffer: @unchecked Sendable {
        // Safe: the pump and its sessions share one serial executor, and a turn keeps nothing of it.
        let bytes = UnsafeMutableRawBufferPointer.allocate(byteCount: 64 * 1024, alignment: 16)
        deinit { bytes.deallocate() }
    }

    private final class Entry {
        let session: StreamSession
        var wait: DrainSchedule.Wait
        var watch: DescriptorWatch?
        /// Why the stream is to end once it has had its turn.
        var closing: String?
        init(session: StreamSession, wait: DrainSchedule.Wait) {
            self.session = session
            self.wait = wait
        }
    }

    /// - Parameters:
    ///   - loop: the inference loop.
    ///   - notify: called on the inference loop; must not block.
    public init(loop: EventLoop, notify: @escaping @Sendable (Event) -> Void) {
        self.loop = loop
        self.notify = notify
    }

    // MARK: Control

    /// Takes over a connected, non-blocking socket on which frames begin. The socket is closed when the stream ends.
    /// - Parameter position: where an earlier process left the stream.
    public func open(
        id: UInt64, contract: StreamContract, descriptor: Int32, variantCount: Int, assignment: Assignment, from position: StreamPosition? = nil
    ) {
        let session = StreamSession(id: id, contract: contract, descriptor: descriptor, variantCount: variantCount, assignment: assignment, loop: loop, watch: watch)
        session.assumeIsolated { $0.assign(assignment) }
        if let position { session.assumeIsolated { $0.resume(from: position) } }
        let entry = Entry(session: session, wait: .readable)
        entries[id] = entry
        do {
            let turn: () -> Void = { [weak self] in self?.assumeIsolated { $0.run([id]) } }
            entry.watch = try loop.watch(descriptor, for: []) { [loop] _ in loop.afterCallback(turn) }
            apply(.readable, to: entry)
            // A model that does not fit has ended the stream already; its client may wait for word before it sends anything.
            if session.assumeIsolated({ $0.isLeaving }) { run([id]) }
        } catch {
            end(id, .failed(error.description))
        }
    }

    /// Lets go of a stream, so that another process can go on with it: its socket, which the caller owns from now on, and
    /// where it is. Nil for a stream that is on its way out.
    public func handOver(_ id: UInt64) -> (descriptor: Int32, position: StreamPosition)? {
        guard let entry = entries[id], let position = entry.session.assumeIsolated({ $0.position() }) else { return nil }
        let descriptor = fcntl(entry.session.assumeIsolated { $0.descriptor }, F_DUPFD_CLOEXEC, 3)
        guard descriptor >= 0 else { return nil }
        entry.watch?.cancel()
        entry.session.assumeIsolated { $0.hangUp() }
        entries[id] = nil
        return (descriptor, position)
    }

    /// Closes a socket for which there is no stream any more.
    public func discard(_ descriptor: Int32) { Glibc.close(descriptor) }

    /// Changes how a stream runs, from its next window on.
    public func assign(_ id: UInt64, _ assignment: Assignment) {
        guard let entry = entries[id] else { return }
        entry.session.assumeIsolated { $0.assign(assignment) }
        // The turn writes the notice and sets the new pace. Nobody waits for it: the model might hang.
        apply(.now, to: entry)
        queueRound()
    }

    /// Ends a stream, telling its client why.
    ///
    /// What the client has sent already is answered first, within one turn's limits.
    public func close(_ id: UInt64, because reason: String) {
        guard let entry = entries[id] else { return }
        entry.closing = reason
        apply(.now, to: entry)
        queueRound()
    }

    /// Goes on after the thread of this loop was replaced, because it hangs in a model: its stream waits for another variant,
    /// and all others get the turns that they missed.
    public func recover() {
        isRoundQueued = false
        if let id = turning, let entry = entries[id] {
            entry.session.assumeIsolated { $0.recover() }
            run([id])
        }
        round()
    }

    /// Has streams that answered no window since `time` let go of their models.
    /// - Returns: their ids.
    public func sleep(idleSince time: MonotonicTime) -> [UInt64] {
        entries.filter { $0.value.session.assumeIsolated { $0.sleep(idleSince: time) } }.map(\.key).sorted()
    }

    /// Figures of all open streams.
    public func report() -> [UInt64: StreamStatistics] {
        entries.mapValues { $0.session.assumeIsolated { $0.report() } }
    }

    // MARK: Turns

    private func timerFired() {
        let now = clocks.monotonic()
        // Streams due within a millisecond ride along: their wake-up would cost more than they wait.
        let horizon = now.advanced(by: Seconds(milliseconds: 1))
        run(entries.filter { if case .until(let time) = $0.value.wait { time <= horizon } else { false } }.map(\.key).sorted())
    }

    private func run(_ ids: [UInt64]) {
        let buffer = buffer
        for id in ids {
            guard let entry = entries[id] else { continue }
            turning = id
            var turn = entry.session.assumeIsolated { $0.turn(reading: buffer.bytes) }
            if let reason = entry.closing, !turn.isEnd {
                entry.closing = nil
                entry.session.assumeIsolated { $0.end(because: reason) }
                turn = entry.session.assumeIsolated { $0.turn(reading: buffer.bytes) }
            }
            turning = nil
            switch turn {
            case .wait(let wait, let hasBacklog): apply(wait, hasBacklog: hasBacklog, to: entry)
            case .ended(let end): self.end(id, end)
            case .faulted(let variant, let message):
                apply(.assignment, to: entry)
                notify(.faulted(id: id, variant: variant, message: message))
            case .awoken:
                apply(.assignment, to: entry)
                notify(.awoken(id: id))
            }
        }
        arm()
    }

    private func apply(_ wait: DrainSchedule.Wait, hasBacklog: Bool = false, to entry: Entry) {
        entry.wait = wait
        switch wait {
        case .readable: entry.watch?.setEnabled(true); entry.watch?.setEvents(hasBacklog ? [.readable, .writable] : .readable)
        // A client may wait for these results before it sends more.
        case .until where hasBacklog: entry.watch?.setEnabled(true); entry.watch?.setEvents(.writable)
        case .writable: entry.watch?.setEnabled(true); entry.watch?.setEvents(.writable)
        // Out of epoll altogether, for it would report a hang-up again and again.
        case .until, .now, .assignment: entry.watch?.setEnabled(false)
        }
    }

    /// Sets the timer to the earliest stream, or queues another round at once.
    private func arm() {
        var earliest: MonotonicTime?
        for entry in entries.values {
            switch entry.wait {
            case .now: return queueRound()
            case .until(let time): if time < earliest ?? MonotonicTime(nanoseconds: .max) { earliest = time }
            case .readable, .writable, .assignment: break
            }
        }
        guard let earliest else { timer?.disarm(); return }
        if timer == nil { timer = makeTimer() }
        timer?.arm(at: earliest, accuracy: Seconds(milliseconds: 1))
    }

    private func makeTimer() -> LoopTimer? {
        let fire: () -> Void = { [weak self] in self?.assumeIsolated { $0.timerFired() } }
        return try? loop.timer { [loop] in loop.afterCallback(fire) }
    }

    /// Streams with more to do take turns with each other and with timers, descriptors and control.
    private func queueRound() {
        guard !isRoundQueued else { return }
        isRoundQueued = true
        Task(executorPreference: loop) { await self.round() }
    }

    private func round() {
        isRoundQueued = false
        let now = clocks.monotonic()
        run(entries.filter {
            switch $0.value.wait {
            case .now: true
            case .until(let time): time <= now
            case .readable, .writable, .assignment: false
            }
        }.map(\.key).sorted())
    }

    private func end(_ id: UInt64, _ end: StreamEnd) {
        guard let entry = entries.removeValue(forKey: id) else { return }
        entry.watch?.cancel()
        entry.session.assumeIsolated { $0.hangUp() }
        notify(.ended(id: id, end, entry.session.assumeIsolated { $0.report() }))
    }
}
