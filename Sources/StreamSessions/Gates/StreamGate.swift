import InferenceRuntime
import Units
import Wire

/// What a stream has to do with gates: it is behind one, or is one. Of the session alone, beside its hot path.
final class Gateway {
    /// Decides which windows run; nil if the stream is not behind a gate.
    var keeper: GateKeeper?
    /// The next window waits for the gate's word.
    var isWaiting = false
    /// The word is wanted at once, because something else waits for it.
    var isImpatient = false
    /// What streams behind this one ask, and what they have not been told yet.
    var taps: [GateTap] = []
    var words: [GateWord] = []
    /// Of windows that are run together.
    var verdicts: [GateKeeper.Verdict] = []

    init(_ keeper: GateKeeper?) { self.keeper = keeper }

    func say(_ word: GateWord) { if !taps.isEmpty { words.append(word) } }
}

// Streams behind a gate, which sleep until it hears something, and streams that are a gate.
extension StreamSession {
    // MARK: Behind a gate

    /// What becomes of the next window.
    enum Admission {
        case runs
        /// It needs no inference and is passed.
        case passed
        /// The gate has not spoken yet.
        case waits
    }

    /// Has the next window run, or lets it go, as the gate says.
    /// - Parameter isDue: false if the cadence leaves it out.
    func admit(_ gateway: Gateway, isDue: Bool, waits: Bool) -> Admission {
        gateway.verdicts.removeAll(keepingCapacity: true)
        // A paused stream, and a window that the cadence leaves out, need no gate.
        guard isDue, engine != nil || asleep != nil else {
            gateway.keeper?.moved(to: assembler.nextWindowStart + UInt64(contract.hop))
            assembler.advance()
            return .passed
        }
        let verdict = verdict(gateway, ahead: 0)
        switch verdict {
        case .wait where waits:
            gateway.isWaiting = true
            return .waits
        case .wait: gateway.verdicts.append(.run(.late))
        case .letGo:
            gateway.verdicts.append(.letGo)
            passed(gateway, 1)
            assembler.advance()
            return .passed
        case .run: gateway.verdicts.append(verdict)
        }
        // What lies between was never seen: the state of before would be taken for that of now.
        if gateway.keeper?.hasSlept == true { resetState() }
        return .runs
    }

    /// Whether the window after `ahead` others is run as well, in one go with the next.
    func admit(_ gateway: Gateway, ahead: Int) -> Bool {
        guard gateway.keeper != nil else { return true }
        let verdict = verdict(gateway, ahead: ahead)
        guard case .run = verdict else { return false }
        gateway.verdicts.append(verdict)
        return true
    }

    private func verdict(_ gateway: Gateway, ahead: Int) -> GateKeeper.Verdict {
        let offset = UInt64(ahead * contract.hop)
        return gateway.keeper?.verdict(
            from: assembler.nextWindowStart + offset, to: end(ahead: ahead), at: clocks.monotonic(), tolerance: gateTolerance) ?? .run(.late)
    }

    /// Notes what became of the windows that were admitted, and tells the client what changed; the assembler is still before them.
    func passed(_ gateway: Gateway, _ cadence: Int) {
        for (row, verdict) in gateway.verdicts.enumerated() {
            let start = assembler.nextWindowStart + UInt64(row * cadence * contract.hop)
            if let tale = gateway.keeper?.passed(from: start, next: start + UInt64(contract.hop), verdict) { tell(tale, at: start) }
        }
    }

    /// Whether the next window waits for the gate.
    var isWaiting: Bool { gateway?.isWaiting ?? false }

    /// Whether nothing more can be taken before windows are passed.
    var hasFullRing: Bool { assembler.freeSamples < max(1, contract.hop / 2) }

    /// One past the last sample that the client sent of the window after `ahead` others.
    private func end(ahead: Int) -> UInt64 { min(assembler.windowEnd + UInt64(ahead * contract.hop), realEnd ?? .max) }

    /// How late a window may be begun.
    private var gateTolerance: Seconds { contract.latencyTolerance - assignment.firstWindow.latency }

    /// When the next window is run at the latest, whatever the gate says.
    func gateDue(or now: MonotonicTime) -> MonotonicTime {
        gateway?.keeper?.due(of: end(ahead: 0), tolerance: gateTolerance) ?? now
    }

    /// Sees to it that a window that waits is not forgotten while the socket is silent.
    func waitForGate(_ wait: DrainSchedule.Wait) -> DrainSchedule.Wait {
        gateway?.isImpatient = owed != ([], false) || assignment.drainPeriod == nil || hasFullRing
        let due = gateDue(or: clocks.monotonic())
        switch wait {
        case .until(let time): return .until(min(time, due))
        case .readable, .readableUntil: return .readableUntil(due)
        case .now, .writable, .assignment: return wait
        }
    }

    /// Takes what the gate told.
    /// - Parameter tap: the place of this stream among those behind the gate.
    /// - Returns: whether it is to have a turn at once.
    func hear(_ words: [GateWord], tap: Int) -> Bool {
        guard let gateway else { return false }
        for word in words { gateway.keeper?.hear(word, tap: tap) }
        return phase == .receiving && gateway.isWaiting && gateway.isImpatient
    }

    private func tell(_ tale: GateKeeper.Tale, at index: UInt64) {
        let gate: JSONObject = ["gate": JSONValue(contract.gate?.stream ?? 0)]
        let (kind, message): (String, String) =
            switch tale {
            case .asleep: ("asleep", "windows are let go until the gate hears something")
            case .awake: ("awake", "the gate hears something")
            case .ungated(let cause): ("ungated", "every window is run: \(cause.text)")
            }
        writer.notice(Notice(kind: kind, message: message, fields: gate), sampleIndex: index, time: clocks.monotonic())
    }

    // MARK: A gate

    /// Lets another stream sleep from now on.
    /// - Returns: where the next window starts, and why nothing is answered if nothing is; nil if no more streams can be served.
    func add(_ tap: GateTap) -> GateKeeper.Begin? {
        let gateway = gateway ?? Gateway(nil)
        self.gateway = gateway
        guard gateway.taps.count < GateTap.limit else { return nil }
        gateway.taps.append(tap)
        let silence: GateSilence? =
            switch phase {
            case .leaving: .gone
            case .faulted where asleep == nil: .failed
            default: engine == nil && asleep == nil ? .paused : nil
            }
        return .init(next: assembler.nextWindowStart, silence: silence)
    }

    func remove(tapOf stream: UInt64) {
        gateway?.taps.removeAll { $0.stream == stream }
        if gateway?.taps.isEmpty == true, gateway?.keeper == nil { gateway = nil }
    }

    /// Tells those behind this stream what a window came to.
    /// - Parameter ahead: it is the window after so many others.
    func testify(_ values: UnsafeBufferPointer<Float>, to gateway: Gateway, ahead: Int) {
        guard !gateway.taps.isEmpty else { return }
        var verdicts: UInt64 = 0
        for (index, tap) in gateway.taps.enumerated() where values.indices.contains(tap.output) && tap.isReached(by: values[tap.output]) {
            verdicts |= 1 << UInt64(index)
        }
        let start = assembler.nextWindowStart + UInt64(ahead * contract.hop)
        gateway.say(.answer(start: start, end: end(ahead: ahead), next: start + UInt64(contract.hop), verdicts: verdicts))
    }

    /// The model failed, and another one has to take over.
    func hasFaulted() {
        phase = .faulted
        gateway?.say(.silent(.failed))
    }

    func takeWords() -> [GateWord] {
        defer { gateway?.words.removeAll(keepingCapacity: true) }
        return gateway?.words ?? []
    }

    /// Listens as the pump did before the stream's socket was there.
    func listen(_ keeper: GateKeeper?) { gateway?.keeper = keeper }

    /// What there is to say at the end.
    func lastWord(_ end: StreamEnd) -> GateWord {
        guard end == .finished else { return .silent(.gone) }
        if contract.padsTail { return .finished(at: realEnd ?? assembler.endOfSamples) }
        // Samples after the last window are in none.
        let watched = assembler.windowNumber > 0 ? UInt64(contract.window - contract.hop) : 0
        return .finished(at: assembler.nextWindowStart + watched)
    }
}

extension StreamContract {
    /// Samples that a session can hold beyond one window: room for what waits for the gate, so that the socket can be read meanwhile.
    var slack: Int {
        let plain = max(8192, hop)
        guard let gate else { return plain }
        return plain + hop + Int((gate.reserve.value * sampleRateHz).rounded(.up))
    }
}

extension GateKeeper.Cause {
    /// For people, after a colon.
    var text: String {
        switch self {
        case .heard: "the gate hears something"
        case .gap: "the gate lost samples"
        case .late: "the gate's word comes too late"
        case .silent(.paused): "the gate is paused"
        case .silent(.failed): "the gate's model failed"
        case .silent(.gone): "the gate is gone"
        }
    }
}
