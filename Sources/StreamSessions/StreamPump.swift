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
    /// Whether any stream was ever behind another.
    private var hasGates = false
    /// Of streams that listen to their gates, or will when those open, and are not open yet.
    private var listening: [UInt64: (keeper: GateKeeper, hasGate: Bool)] = [:]

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
        /// The streams behind this one, in the order of their taps.
        var behind: [UInt64] = []
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
        if let gate = contract.gate {
            listen(to: gate, for: id, from: position?.gate)
            var listener = listening.removeValue(forKey: id)
            if listener?.hasGate == false { listener?.keeper.attach(to: nil) }
            let keeper = listener?.keeper
            session.assumeIsolated { $0.listen(keeper) }
        }
        if let position { session.assumeIsolated { $0.resume(from: position) } }
        let entry = Entry(session: session, wait: .readable)
        entries[id] = entry
        tellCompany()
        for (other, listener) in listening where !listener.hasGate && listener.keeper.contract.stream == id { attach(other) }
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
        // Those behind it go the same way, or hear in the next process that it is gone.
        leaveGate(id, entry.session.contract.gate)
        return (descriptor, position)
    }

    /// Closes a socket for which there is no stream any more.
    public func discard(_ descriptor: Int32) { Glibc.close(descriptor) }

    /// Changes how a stream runs, from its next window on.
    public func assign(_ id: UInt64, _ assignment: Assignment) {
        guard let entry = entries[id] else { return }
        entry.session.assumeIsolated { $0.assign(assignment) }
        tellCompany()
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

    /// Tells each stream how long the others may keep it waiting.
    private func tellCompany() {
        let all = entries.values.reduce(Seconds.zero) { $0 + $1.session.assumeIsolated { $0.runTime } }
        for entry in entries.values { entry.session.assumeIsolated { $0.company = all - $0.runTime } }
    }

    // MARK: Turns

    private func timerFired() {
        let now = clocks.monotonic()
        // Streams due within a millisecond ride along: their wake-up would cost more than they wait.
        let horizon = now.advanced(by: Seconds(milliseconds: 1))
        run(entries.filter { $0.value.wait.isDue(at: horizon) }.map(\.key).sorted())
    }

    private func run(_ ids: [UInt64]) {
        if hasGates { runRelaying(ids) } else { for id in ids { takeTurn(id) } }
        arm()
    }

    private func takeTurn(_ id: UInt64) {
        guard let entry = entries[id] else { return }
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

    private func apply(_ wait: DrainSchedule.Wait, hasBacklog: Bool = false, to entry: Entry) {
        entry.wait = wait
        switch wait {
        case .readable, .readableUntil: entry.watch?.setEnabled(true); entry.watch?.setEvents(hasBacklog ? [.readable, .writable] : .readable)
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
            case .until(let time), .readableUntil(let time): if time < earliest ?? MonotonicTime(nanoseconds: .max) { earliest = time }
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
        run(entries.filter { $0.value.wait == .now || $0.value.wait.isDue(at: now) }.map(\.key).sorted())
    }

    private func end(_ id: UInt64, _ end: StreamEnd) {
        guard let entry = entries.removeValue(forKey: id) else { return }
        tellCompany()
        entry.watch?.cancel()
        entry.session.assumeIsolated { $0.hangUp() }
        leaveGate(id, entry.session.contract.gate)
        // What it said in its last turn comes first.
        let words = entry.session.assumeIsolated { $0.takeWords() + [$0.lastWord(end)] }
        for (tap, stream) in entry.behind.enumerated() where tell(stream, words, tap: tap) {
            guard let behind = entries[stream] else { continue }
            apply(.now, to: behind)
            queueRound()
        }
        notify(.ended(id: id, end, entry.session.assumeIsolated { $0.report() }))
    }

    // MARK: Gates

    /// Listens to a gate for a stream that will be opened: its client may send to the gate before the stream's socket is here. The gate
    /// may be opened later, too, but before the stream.
    /// - Parameter memory: what the gate had told an earlier process.
    public func listen(to gate: GateContract, for id: UInt64, from memory: GateMemory? = nil) {
        guard listening[id] == nil else { return }
        var keeper = GateKeeper(gate)
        if let memory { keeper.resume(memory) }
        listening[id] = (keeper, false)
        attach(id)
    }

    /// Begins to listen, if the gate is there.
    private func attach(_ id: UInt64) {
        guard let gate = listening[id]?.keeper.contract, let begin = tap(gate, for: id) else { return }
        listening[id]?.keeper.attach(to: begin)
        listening[id]?.hasGate = true
    }

    /// The stream will not be opened.
    public func forget(_ id: UInt64) {
        guard let listener = listening.removeValue(forKey: id) else { return }
        leaveGate(id, listener.keeper.contract)
    }

    /// - Returns: where the gate is; nil if there is no such gate.
    private func tap(_ gate: GateContract, for id: UInt64) -> GateKeeper.Begin? {
        guard let entry = entries[gate.stream] else { return nil }
        let begin = entry.session.assumeIsolated { $0.add(GateTap(stream: id, output: gate.output, threshold: gate.threshold)) }
        if begin != nil { entry.behind.append(id) }
        hasGates = true
        return begin
    }

    private func leaveGate(_ id: UInt64, _ gate: GateContract?) {
        guard let gate, let entry = entries[gate.stream] else { return }
        entry.behind.removeAll { $0 == id }
        entry.session.assumeIsolated { $0.remove(tapOf: id) }
    }

    /// Gives turns, and passes on what gates say in theirs: a gate is opened before those behind it, and mostly has its turn before theirs.
    private func runRelaying(_ ids: [UInt64]) {
        var ids = ids
        var index = 0
        while index < ids.count {
            let gate = entries[ids[index]]
            takeTurn(ids[index])
            index += 1
            guard let gate, !gate.behind.isEmpty else { continue }
            for stream in relay(from: gate) where !ids[index...].contains(stream) { ids.append(stream) }
        }
    }

    /// Passes on what a gate said in its turn.
    /// - Returns: the streams that want a turn for it.
    private func relay(from gate: Entry) -> [UInt64] {
        let words = gate.session.assumeIsolated { $0.takeWords() }
        guard !words.isEmpty else { return [] }
        return gate.behind.enumerated().filter { tell($0.element, words, tap: $0.offset) }.map(\.element)
    }

    private func tell(_ stream: UInt64, _ words: [GateWord], tap: Int) -> Bool {
        guard listening[stream] == nil else {
            for word in words { listening[stream]?.keeper.hear(word, tap: tap) }
            return false
        }
        return entries[stream]?.session.assumeIsolated { $0.hear(words, tap: tap) } ?? false
    }
}
