import Glibc
import InferenceRuntime
import Systemd
import Units
import Wire

/// One client's stream: reads its socket, runs the assigned variant on each window, writes the results.
///
/// Lives on the inference loop's thread. A change of assignment takes effect between two windows and carries
/// the recurrent state over, so that no window is lost or answered twice. Memory is bounded: when the client does not
/// read its results, its samples stay in its socket.
public actor StreamSession {
    /// Windows answered before other streams get their turn.
    static let windowsPerTurn = 64
    /// Bytes read before other streams get their turn: frames without samples take time as well.
    static let bytesPerTurn = 128 * 1024
    /// Result bytes that may wait for a slow client before its samples are no longer read.
    static let backlogLimit = 256 * 1024

    public nonisolated let id: UInt64
    public nonisolated let contract: StreamContract
    private nonisolated let loop: EventLoop
    private nonisolated let watch: RunGuard
    public nonisolated var unownedExecutor: UnownedSerialExecutor { loop.asUnownedSerialExecutor() }

    private(set) var descriptor: Int32
    let clocks = SystemClocks()
    var parser: FrameParser
    var decoder: SampleDecoder
    var assembler: WindowAssembler
    var assignment: Assignment
    var engine: InferenceRun?
    var pacer: IntakePacer
    private var schedule = DrainSchedule()
    var writer = FrameWriter()
    var backlog: [UInt8] = []
    private var scratch: [Float] = []
    var statistics: StreamStatistics
    var phase = Phase.receiving
    var hasOrigin = false
    /// The ordinal number of the frame being handled. The parser knows it too, but cannot be asked while it calls.
    var frame: UInt64 = 0
    private var windowsThisTurn = 0
    /// The first window after sleep pays for the wake-up and for cold caches.
    private var isCold = true
    /// True while the parser is in the middle of a piece, and cannot be left there.
    private(set) var isParsing = false
    /// The recurrent state while the model is unloaded, because there was nothing to do; nil while it is not.
    var asleep: [[Float]]?
    /// When windows were last answered.
    private(set) var lastActive: MonotonicTime
    /// What the stream has to do with gates; nil if nothing.
    var gateway: Gateway?
    /// Where the samples end that zeros were put behind, for the last window.
    var realEnd: UInt64?
    /// What the client asked for and did not get yet. A flush is kept as the end of the samples that came before it.
    var owed: (flushes: [UInt64], end: Bool) = ([], false)

    enum Phase: Equatable {
        case receiving
        /// No more samples; leaves when the backlog is written.
        case leaving(StreamEnd)
        /// Waits for another variant after a failure, or for its own after it was unloaded.
        case faulted
    }

    /// What a turn came to.
    enum Turn: Equatable {
        /// `hasBacklog`: results wait for room in the socket.
        case wait(DrainSchedule.Wait, hasBacklog: Bool)
        case faulted(variant: String, message: String)
        /// A window is complete and the model is unloaded.
        case awoken
        case ended(StreamEnd)

        var isEnd: Bool { if case .ended = self { true } else { false } }
    }

    /// - Parameters:
    ///   - descriptor: a non-blocking stream socket, owned by this session from now on.
    ///   - variantCount: entries of the contract's list of variants.
    init(id: UInt64, contract: StreamContract, descriptor: Int32, variantCount: Int, assignment: Assignment, loop: EventLoop, watch: RunGuard) {
        self.id = id
        self.contract = contract
        self.descriptor = descriptor
        self.loop = loop
        self.watch = watch
        self.assignment = assignment
        parser = FrameParser(role: .daemon(sampleSize: contract.bytesPerSample))
        decoder = SampleDecoder(contract.format)
        assembler = WindowAssembler(window: contract.window, hop: contract.hop, context: contract.context, channels: contract.channels, slack: contract.slack)
        gateway = contract.gate.map { Gateway(GateKeeper($0)) }
        // What a client may send at once does not grow with its tolerance: energy was budgeted for the stated rate.
        let burst = min(max(contract.latencyTolerance.value, 2), 5) * contract.sampleRateHz + Double(contract.window)
        pacer = IntakePacer(sampleRateHz: contract.sampleRateHz, burst: burst, at: clocks.monotonic())
        lastActive = clocks.monotonic()
        statistics = StreamStatistics(variantCount: variantCount)
        statistics.gate = gateway?.keeper?.counts
    }

    deinit { if descriptor >= 0 { close(descriptor) } }

    /// Closes the socket. Not left to the end of this object's life: a thread that was given up may hold it for ever.
    func hangUp() {
        close(descriptor)
        descriptor = -1
    }

    // MARK: Control

    /// Runs the stream as `new` says from the next window on.
    func assign(_ new: Assignment) {
        let old = assignment
        assignment = new
        schedule.set(period: new.drainPeriod)
        statistics.joulesPerWindow = new.firstWindow.energy * new.energyFactor
        if new.session != nil { statistics.runs(on: new.unit) } else { gateway?.say(.silent(.paused)) }
        guard engine?.session !== new.session || phase == .faulted || engine == nil else {
            if !new.looksTheSame(as: old) { tellChange(from: old, to: new) }
            return
        }
        do {
            try install(new.session)
            if phase == .faulted { phase = .receiving }
            if !new.looksTheSame(as: old) { tellChange(from: old, to: new) }
        } catch {
            fail(error)
        }
    }

    func report() -> StreamStatistics {
        statistics.gate = gateway?.keeper?.counts
        return statistics
    }

    /// Time that the windows of other streams on this thread take, if all come due with this one's.
    var company = Seconds.zero
    /// The same of this stream, for the others.
    var runTime: Seconds { assignment.session == nil ? .zero : assignment.nextWindow.latency * 2 }

    /// True once nothing but the last words to the client remains to be done.
    var isLeaving: Bool { if case .leaving = phase { true } else { false } }

    /// Builds the tensors of a session and carries the recurrent state over.
    private func install(_ session: InferenceSession?) throws(JouledError) {
        guard let session else {
            // State is kept only while a model runs; after a pause the past is too old to matter.
            engine = nil
            asleep = nil
            return
        }
        let next = try InferenceRun(
            session: session, inputs: contract.inputs, outputs: contract.allOutputs, rows: assignment.windowsPerRun, rowOutputs: contract.outputs.count)
        if let engine {
            for index in contract.states.indices { _ = next.input(index + 1).update(from: engine.input(index + 1)) }
        } else if let states = asleep {
            for (index, state) in states.enumerated() { _ = next.input(index + 1).update(fromContentsOf: state) }
        }
        asleep = nil
        engine = next
    }

    // MARK: A turn on the socket

    /// Reads what the socket holds, within one turn's limits, and answers it.
    /// - Parameter buffer: memory for reading, shared by the sessions of a loop.
    func turn(reading buffer: UnsafeMutableRawBufferPointer) -> Turn {
        let cpuBefore = clocks.threadCPU()
        let begun = clocks.monotonic()
        windowsThisTurn = 0
        let isAwakeAnyway = schedule.wait == .now
        isCold = !isAwakeAnyway
        defer {
            if windowsThisTurn > 0 {
                lastActive = begun
                statistics.wakes += isAwakeAnyway ? 0 : 1
                statistics.count(cpu: clocks.threadCPU() - cpuBefore, latency: clocks.monotonic().since(begun))
            }
        }
        if phase == .receiving { settle() }
        if phase == .receiving { receive(buffer) }
        guard write() else { return .ended(.clientGone) }
        switch phase {
        case .leaving(let end):
            return backlog.isEmpty ? .ended(end) : .wait(.writable, hasBacklog: true)
        case .faulted:
            return asleep == nil ? .faulted(variant: assignment.variantName, message: statistics.fault) : .awoken
        case .receiving:
            if backlog.count > Self.backlogLimit { schedule.blocked() }
            return .wait(isWaiting ? waitForGate(schedule.wait) : schedule.wait, hasBacklog: !backlog.isEmpty)
        }
    }

    private func receive(_ buffer: UnsafeMutableRawBufferPointer) {
        guard backlog.count <= Self.backlogLimit else { return }
        let gateway = gateway
        var read = 0
        let framesBefore = parser.frameOrdinal
        let samplesBefore = assembler.endOfSamples
        func tookAll(at now: MonotonicTime) {
            let load = SocketLoad(
                bytes: read, frames: parser.frameOrdinal - framesBefore,
                time: Seconds(Double(assembler.endOfSamples &- samplesBefore) / contract.sampleRateHz))
            if load.isNearlyFull { return schedule.wasFull(at: now) }
            schedule.tookAll(
                at: now, time: load.time, within: load.timeToHalfFull, missing: missing, tolerance: contract.latencyTolerance,
                further: furtherWindow)
        }
        while phase == .receiving {
            let now = clocks.monotonic()
            guard windowsThisTurn < Self.windowsPerTurn, read < Self.bytesPerTurn, writer.bytes.count < Self.backlogLimit else {
                return schedule.leftMore()
            }
            if let gateway, gateway.isWaiting, hasFullRing { return schedule.limited(until: gateDue(or: now)) }
            // All that is read fits into the assembler, even if the model fails on the first window of it.
            var limit = min(buffer.count, assembler.freeSamples * contract.bytesPerSample)
            if assignment.isPaced {
                let samples = pacer.allowance(at: now)
                // A wake-up for a handful of samples is waste: wait until half a hop is allowed.
                let least = max(1, contract.hop / 2)
                guard samples >= least else { return schedule.limited(until: pacer.time(for: contract.hop)) }
                limit = min(limit, samples * contract.bytesPerSample + FrameHeader.size)
            }
            let count = Glibc.read(descriptor, buffer.baseAddress, limit)
            if count < 0 && errno == EINTR { continue }
            if count < 0 && errno == EAGAIN {
                return read == 0 ? schedule.foundNothing(at: now) : tookAll(at: now)
            }
            guard count > 0 else { return endOfInput(error: count < 0 ? errno : 0) }
            read += count
            isParsing = true
            do throws(JouledError) {
                try parser.receive(UnsafeRawBufferPointer(rebasing: buffer[..<count])) { (event) throws(JouledError) in try handle(event) }
            } catch {
                answerWindows()
                isParsing = false
                return fail(error)
            }
            isParsing = false
            gateway?.keeper?.arrivals.note(upTo: assembler.endOfSamples, at: now, wait: assignment.drainPeriod ?? .zero)
            // Models run here, between two pieces, and not while the parser is at work: a run that never comes back then
            // leaves everything as another thread needs it to go on.
            settle()
            if count < limit { return tookAll(at: now) }
        }
    }

    /// How much signal the next window that will be answered still needs.
    private var missing: Seconds {
        let cadence = UInt64(max(1, assignment.cadence))
        // Windows that are complete already wait for the gate, not for samples.
        let complete = isWaiting ? (assembler.pendingSamples - contract.window) / contract.hop + 1 : 0
        let skipped = (cadence - (assembler.windowNumber + UInt64(complete)) % cadence) % cadence
        return Seconds(Double(contract.window + (complete + Int(skipped)) * contract.hop - assembler.pendingSamples) / contract.sampleRateHz)
    }

    /// What a window waits for that may be answered together with the next. Not beside a gate, whose word a window may wait for instead.
    private var furtherWindow: DrainSchedule.Further {
        guard gateway == nil else { return .init() }
        return .init(
            signal: contract.hopTime * Double(max(1, assignment.cadence)), run: assignment.nextWindow.latency,
            busy: assignment.firstWindow.latency + company)
    }

    private func endOfInput(error number: Int32) {
        guard number == 0 else {
            phase = .leaving(.clientGone)
            return
        }
        do throws(JouledError) {
            try parser.finish()
            // The client closed without END: what was complete has been answered.
            phase = .leaving(.clientGone)
        } catch {
            fail(error)
        }
    }

    // MARK: Windows

    /// Answers what is complete, then what the client asked for after it.
    private func settle() {
        guard answerWindows(), phase == .receiving else { return }
        tellFlushed(before: .max)
        guard owed.end else { return }
        let end = assembler.endOfSamples
        if contract.padsTail && assembler.padTail() {
            realEnd = end
            guard answerWindows() else { return }
        }
        guard phase == .receiving else { return }
        let windows = statistics.totalWindows
        tell("end", "\(windows) windows answered", ["windows": JSONValue(windows), "joules": .double(statistics.totalJoules.value)])
        phase = .leaving(.finished)
    }

    /// Answers complete windows in order. A failing model stops this before the window it failed on is passed, and a gate that has
    /// not spoken yet before the window that it must speak on.
    /// - Parameter waits: false where nobody can wait for the gate.
    /// - Returns: false if a window waits.
    @discardableResult
    func answerWindows(waits: Bool = true) -> Bool {
        let (gateway, isPadded) = (gateway, realEnd != nil)
        gateway?.isWaiting = false
        // Windows of a run that failed, which are tried one by one: the others are not to pay for the one that fails.
        var single = 0
        while phase == .receiving, assembler.hasWindow {
            // What came after a flush is not answered before the client is told.
            if !owed.flushes.isEmpty { tellFlushed(before: assembler.windowEnd) }
            let cadence = max(1, assignment.cadence)
            let isDue = assembler.windowNumber % UInt64(cadence) == 0
            if let gateway, gateway.keeper != nil {
                switch admit(gateway, isDue: isDue, waits: waits) {
                case .waits: return false
                case .passed: continue
                case .runs: break
                }
            }
            if asleep != nil {
                phase = .faulted
                return true
            }
            guard let engine, isDue else {
                assembler.advance()
                continue
            }
            var windows = single > 0 ? 1 : complete(upTo: engine.rows, cadence, gateway)
            do throws(JouledError) {
                do throws(JouledError) {
                    try answer(windows, cadence, with: engine, gateway, padded: isPadded)
                } catch where windows > 1 && error.code == .inferenceFailed {
                    // A run that hung is not tried again.
                    (single, windows) = (windows, 1)
                    try answer(1, cadence, with: engine, gateway, padded: isPadded)
                }
            } catch {
                statistics.fault = error.description
                hasFaulted()
                return true
            }
            single = max(0, single - 1)
            if let gateway { passed(gateway, cadence) }
            for _ in 0..<(windows - 1) * cadence + 1 { assembler.advance() }
        }
        return true
    }

    /// How many windows that are to be answered are complete, the next included, up to what the client is to be told in between.
    private func complete(upTo limit: Int, _ cadence: Int, _ gateway: Gateway?) -> Int {
        let end = owed.flushes.first ?? .max
        var windows = 1
        while windows < limit, assembler.hasWindow(ahead: windows * cadence),
            assembler.windowEnd + UInt64(windows * cadence * contract.hop) <= end, gateway.map({ admit($0, ahead: windows * cadence) }) ?? true
        { windows += 1 }
        return windows
    }

    /// Runs the next `windows` windows that are to be answered, each `cadence` hops after the other, and writes their results.
    private func answer(_ windows: Int, _ cadence: Int, with engine: InferenceRun, _ gateway: Gateway?, padded: Bool) throws(JouledError) {
        for row in 0..<windows {
            let input = engine.input(row: row)
            _ = input.update(from: assembler.window(ahead: row * cadence))
            contract.normalization.apply(to: input)
        }
        try engine.run(rows: windows, watchedBy: watch, limit: assignment.runLimit + assignment.furtherRunLimit * Double(windows - 1))
        let outputs = contract.outputs.count
        for index in contract.states.indices { _ = engine.input(index + 1).update(from: engine.output(outputs + index)) }
        for row in 0..<windows {
            let cost = isCold ? assignment.firstWindow : assignment.nextWindow
            let energy = cost.energy * assignment.energyFactor
            isCold = false
            windowsThisTurn += 1
            statistics.count(variant: Int(assignment.variantIndex), joules: energy, profiled: cost)
            let write = { (values: UnsafeBufferPointer<Float>) in
                self.statistics.remember(values)
                if let gateway { self.testify(values, to: gateway, ahead: row * cadence) }
                self.writer.result(
                    sampleIndex: self.assembler.windowEnd + UInt64(row * cadence * self.contract.hop), time: self.clocks.monotonic(),
                    variant: self.assignment.variantIndex, isPadded: padded, joules: energy, values: values)
            }
            if outputs == 1 {
                write(UnsafeBufferPointer(engine.output(0, row: row)))
            } else {
                scratch.removeAll(keepingCapacity: true)
                for index in 0..<outputs { scratch.append(contentsOf: engine.output(index, row: row)) }
                scratch.withUnsafeBufferPointer(write)
            }
        }
    }
}
