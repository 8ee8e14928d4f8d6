import Units

/// Decides which windows of a stream behind a gate are run, from what the gate tells. A value without clock and I/O.
///
/// The rule: a window is run if it overlaps the time from `preroll` before something that the gate heard to `hold` after it, and is let go
/// without inference otherwise. An answer of the gate holds from its window's start to its end, and if windows between were skipped, to
/// the start of the next one that was answered. What the gate does not watch (it is paused, has failed, is gone, lost samples) counts as
/// heard; so does a window on which its word does not come before the stream's tolerance is broken.
///
/// All indices are of the stream's own samples, but those of words, which are scaled by the two rates.
struct GateKeeper: Sendable {
    /// Why a window is run.
    enum Cause: Sendable, Hashable {
        case heard
        /// The gate lost samples.
        case gap
        case silent(GateSilence)
        /// The gate's word did not come in time.
        case late
    }

    /// What becomes of a window.
    enum Verdict: Sendable, Equatable {
        /// Not known yet.
        case wait
        case letGo
        case run(Cause)
    }

    /// Where a gate is when it is first listened to.
    struct Begin: Sendable, Equatable {
        /// Start of its next window, in its own samples.
        var next: UInt64
        /// Why it says nothing; nil if it does.
        var silence: GateSilence?
    }

    /// What a client is told when it changes.
    enum Tale: Sendable, Equatable {
        case asleep, awake
        case ungated(Cause)
    }

    /// Windows that overlap it run.
    struct Span: Sendable, Equatable {
        var from: UInt64
        var to: UInt64
        var cause: Cause
    }

    /// Spans kept; beyond that the oldest grow together, which runs more and never less.
    static let spanLimit = 128
    /// Signal between two tales of a stream.
    static let taleInterval = Seconds(1)

    let contract: GateContract
    /// In samples.
    private let preroll: UInt64
    private let hold: UInt64
    private let taleInterval: UInt64

    private(set) var spans: [Span] = []
    /// Whatever the gate will yet hear begins here or later.
    private(set) var settled: UInt64 = 0
    private(set) var silence: GateSilence?
    /// Nothing more will be heard before this sample, and nobody watches from there on.
    private var finish: UInt64?
    /// Where the gate's last answer began, if it was that there is something: it holds until the next.
    private var hearing: UInt64?
    /// Start of the window that is next.
    private var position: UInt64 = 0
    /// Windows were let go since the last that was run: a recurrent state is out of date.
    private(set) var hasSlept = false
    private(set) var counts = GateCounts()
    /// The last window was run because the gate's word did not come in time.
    private var isBehind = false
    private var told = Tale.awake
    private var toldAt: UInt64?
    var arrivals = ArrivalLog()

    init(_ contract: GateContract) {
        self.contract = contract
        preroll = Self.samples(contract.preroll, contract)
        hold = Self.samples(contract.hold, contract)
        taleInterval = Self.samples(Self.taleInterval, contract)
    }

    private static func samples(_ span: Seconds, _ contract: GateContract) -> UInt64 {
        UInt64((max(0, span.value) * Double(contract.rateHz)).rounded(.up))
    }

    // MARK: What the gate tells

    /// Begins to listen to a gate.
    /// - Parameter gate: where it is; nil if there is none.
    mutating func attach(to gate: Begin?) {
        // One that ended in order has said all that it had to say.
        guard finish == nil else { return }
        guard let gate else { return fallSilent(.gone) }
        skip(to: scaled(gate.next))
        if let silence = gate.silence { fallSilent(silence) }
    }

    /// - Parameter tap: which of the gate's verdicts is meant.
    mutating func hear(_ word: GateWord, tap: Int) {
        guard finish == nil else { return }
        switch word {
        case .answer(let start, let end, let next, let verdicts):
            let start = scaled(start)
            endSilence(at: start)
            if let hearing { add(from: hearing, to: start, .heard) }
            hearing = verdicts >> UInt64(tap) & 1 == 1 ? start : nil
            if hearing != nil { add(from: start, to: scaled(end, roundedUp: true), .heard) }
            settled = max(settled, scaled(next))
        case .begins(let at):
            skip(to: scaled(at))
        case .silent(let why):
            fallSilent(why)
        case .finished(let at):
            guard silence == nil else { return fallSilent(.gone) }
            let end = scaled(at, roundedUp: true)
            if let hearing { add(from: hearing, to: end, .heard) }
            finish = end
            counts.silence = .gone
        }
    }

    /// What lies between is not watched.
    private mutating func skip(to start: UInt64) {
        guard start > settled else { return }
        hearing = nil
        add(from: settled, to: start, .gap)
        settled = start
    }

    private mutating func fallSilent(_ why: GateSilence) {
        hearing = nil
        silence = why
        counts.silence = why
    }

    private mutating func endSilence(at start: UInt64) {
        guard let why = silence else { return }
        silence = nil
        counts.silence = nil
        if start > settled { add(from: settled, to: start, .silent(why)) }
    }

    /// Takes a span with what is wanted around it.
    private mutating func add(from: UInt64, to: UInt64, _ cause: Cause) {
        let span = Span(from: from - min(from, preroll), to: to + hold, cause: cause)
        if let last = spans.last, last.cause == cause, span.from <= last.to {
            spans[spans.count - 1].to = max(last.to, span.to)
            spans[spans.count - 1].from = min(last.from, span.from)
            return
        }
        spans.append(span)
        guard spans.count > Self.spanLimit else { return }
        forgetPast()
        guard spans.count > Self.spanLimit else { return }
        spans[0].to = max(spans[0].to, spans[1].to)
        spans[0].from = min(spans[0].from, spans[1].from)
        spans.remove(at: 1)
    }

    private mutating func forgetPast() {
        let position = position
        spans.removeAll { $0.to <= position }
    }

    /// An index of the gate's in own samples.
    private func scaled(_ index: UInt64, roundedUp: Bool = false) -> UInt64 {
        guard contract.rateHz != contract.gateRateHz else { return index }
        let product = UInt128(index) * UInt128(contract.rateHz)
        let (quotient, rest) = product.quotientAndRemainder(dividingBy: UInt128(contract.gateRateHz))
        // Both rates are at most a million, and indices at most 2^62 and some windows: what is beyond that is never reached.
        return UInt64(min(quotient + (roundedUp && rest > 0 ? 1 : 0), UInt128(UInt64.max / 4)))
    }

    // MARK: Windows

    /// What becomes of a window. Does not change until the window is passed, but from `wait` to something else.
    /// - Parameters:
    ///   - start: its first sample.
    ///   - end: one past its last.
    ///   - tolerance: how late its result may be after it arrived.
    func verdict(from start: UInt64, to end: UInt64, at now: MonotonicTime, tolerance: Seconds) -> Verdict {
        var cause: Cause?
        for span in spans where start < span.to && end > span.from {
            if span.cause == .heard { return .run(.heard) }
            cause = cause ?? span.cause
        }
        if let cause { return .run(cause) }
        if let finish { return end <= finish ? .letGo : .run(.silent(.gone)) }
        if end + preroll <= settled { return .letGo }
        if let silence { return .run(.silent(silence)) }
        // Whoever does not know when it arrived does not wait.
        guard let due = due(of: end, tolerance: tolerance), now < due else { return .run(.late) }
        return .wait
    }

    /// When a window that ends at `end` is run at the latest; nil if that is not known. While the gate is behind, as much earlier as makes
    /// windows late together: each on its own would cost a wake-up.
    func due(of end: UInt64, tolerance: Seconds) -> MonotonicTime? {
        arrivals.arrival(of: end, rateHz: contract.rateHz).map { $0.time.advanced(by: isBehind ? tolerance - $0.wait : tolerance) }
    }

    /// Goes on to the next window.
    /// - Returns: what the client is to be told.
    mutating func passed(from start: UInt64, next: UInt64, _ verdict: Verdict) -> Tale? {
        switch verdict {
        case .wait: return nil
        case .letGo:
            counts.letGo += 1
            hasSlept = true
        case .run(let cause):
            switch cause {
            case .heard: counts.heard += 1
            case .late: counts.late += 1
            case .gap, .silent: counts.unguarded += 1
            }
            hasSlept = false
        }
        counts.isAwake = verdict != .letGo
        isBehind = verdict == .run(.late)
        moved(to: next)
        let tale: Tale =
            switch verdict {
            case .wait, .letGo: .asleep
            case .run(.heard): .awake
            case .run(let cause): .ungated(cause)
            }
        // A gate that flutters does not fill its client's socket with words.
        guard tale != told, toldAt.map({ start >= $0 + taleInterval }) ?? true else { return nil }
        (told, toldAt) = (tale, start)
        return tale
    }

    /// Samples begin anew at `index`: windows do, too.
    mutating func restarted(at index: UInt64) {
        arrivals.forget()
        moved(to: index)
    }

    /// The next window starts at `start`.
    mutating func moved(to start: UInt64) {
        position = start
        if let first = spans.first, first.to <= start { forgetPast() }
        arrivals.forget(before: start)
    }
}

/// What another process needs to go on with a stream behind a gate.
public struct GateMemory: Sendable, Equatable {
    /// Where windows are run: from, to, from, to...
    public var spans: [UInt64]
    /// Whatever the gate will yet tell begins here or later.
    public var settled: UInt64
    /// Where the gate's last answer began, if it holds on; nil if it does not.
    public var hearing: UInt64?
    /// Whether windows were let go since the last that was run.
    public var hasSlept: Bool
    /// Where the gate ended, if it did in order.
    public var finish: UInt64?

    public init(spans: [UInt64], settled: UInt64, hearing: UInt64?, hasSlept: Bool, finish: UInt64? = nil) {
        self.finish = finish
        self.spans = spans
        self.settled = settled
        self.hearing = hearing
        self.hasSlept = hasSlept
    }
}

extension GateKeeper {
    var memory: GateMemory {
        GateMemory(spans: spans.flatMap { [$0.from, $0.to] }, settled: settled, hearing: hearing, hasSlept: hasSlept, finish: finish)
    }

    /// Goes on where an earlier process was.
    mutating func resume(_ memory: GateMemory) {
        spans = stride(from: 0, to: memory.spans.count - 1, by: 2).prefix(Self.spanLimit).map {
            Span(from: memory.spans[$0], to: memory.spans[$0 + 1], cause: .heard)
        }
        (settled, hearing, hasSlept, finish) = (memory.settled, memory.hearing, memory.hasSlept, memory.finish)
        if finish != nil { counts.silence = .gone }
    }
}
