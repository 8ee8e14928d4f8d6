import Units

/// Decides when a stream's socket is read next.
///
/// Waking for each chunk costs more than the inference, so a stream in steady state is read on a grid of its period
/// (a multiple of its hop), shared by all streams because the grid starts at the clock's zero. A stream that cannot wait that
/// long is read when bytes arrive, or when by their pace the ones that complete a window will have arrived. A silent stream costs no timer: after `patience` empty reads it waits for readiness.
public struct DrainSchedule: Sendable {
    public enum Wait: Sendable, Equatable {
        /// Read at this time.
        case until(MonotonicTime)
        /// Read when the socket is readable.
        case readable
        /// Read when the socket is readable, and at this time at the latest: something waits that does not come from the socket.
        case readableUntil(MonotonicTime)
        /// Read again in the next turn: there was more than one turn takes.
        case now
        /// Write when the socket takes more; read nothing until then.
        case writable
        /// Nothing before the next assignment.
        case assignment

        /// Whether its time has come.
        func isDue(at now: MonotonicTime) -> Bool {
            switch self {
            case .until(let time), .readableUntil(let time): time <= now
            case .readable, .now, .writable, .assignment: false
            }
        }
    }

    /// What a window after the next one takes, if the next one waits for it.
    public struct Further: Sendable {
        /// Signal that is new in it; zero: none may wait.
        public var signal = Seconds.zero
        /// Time that a window runs.
        public var run = Seconds.zero
        /// Time that the thread may be busy otherwise before that: other streams wait as long as they may, too.
        public var busy = Seconds.zero

        public init(signal: Seconds = .zero, run: Seconds = .zero, busy: Seconds = .zero) {
            self.signal = signal
            self.run = run
            self.busy = busy
        }
    }

    static let patience = 3
    static let moment = Seconds(milliseconds: 1)

    /// Time between reads in steady state; nil reads on readiness.
    public private(set) var period: Seconds?
    private var emptyReads = 0
    private var forecast = ArrivalForecast()
    /// Since the socket was last found full: when that was, and how much signal came after it.
    private var push: (since: MonotonicTime, time: Seconds)?
    public private(set) var wait = Wait.readable

    public init() {}

    /// - Parameter period: time between reads; nil reads whenever bytes arrive.
    public mutating func set(period: Seconds?) {
        if period != self.period { forecast.forget() }
        self.period = period
    }

    /// After a read that found nothing.
    public mutating func foundNothing(at now: MonotonicTime) {
        // A client that pushes is only not scheduled yet: on the grid it would wait with a full socket, period after period.
        if push != nil {
            wait = .readable
            return
        }
        emptyReads += 1
        // A piece that a forecast came too early for is still to come.
        forecast.foundNothing()
        wait = emptyReads >= Self.patience ? .readable : next(after: now)
    }

    /// After a read that took all there was.
    /// - Parameters:
    ///   - time: how much signal was taken.
    ///   - limit: time in which the socket would be half full again, so that the client is never held up.
    ///   - missing: how much signal the next window that will be answered still needs.
    ///   - tolerance: how late a result may be.
    ///   - further: windows after that one, which it may wait for within the tolerance.
    public mutating func tookAll(
        at now: MonotonicTime, time: Seconds = .zero, within limit: Seconds = Seconds(.infinity), missing: Seconds = .zero,
        tolerance: Seconds = .zero, further: Further = Further()
    ) {
        emptyReads = 0
        if let last = push {
            let total = last.time + time
            if total > now.since(last.since) * 2 {
                push = (last.since, total)
                wait = .until(now.advanced(by: Self.moment))
                return
            }
            push = nil
        }
        if period == nil, let due = forecast.next(after: now, time: time, missing: missing, tolerance: tolerance, further: further) {
            wait = .until(due)
        } else {
            wait = next(after: now)
        }
        if case .until(let time) = wait, time.since(now) > limit { wait = .until(now.advanced(by: limit)) }
    }

    /// After a read that emptied a (nearly) full socket: the client pushes a recording, or was held up. It gets a moment
    /// to be scheduled and to fill the socket again, and again for as long as it sends faster than twice its rate.
    public mutating func wasFull(at now: MonotonicTime) {
        emptyReads = 0
        forecast.forget()
        push = (now, .zero)
        wait = .until(now.advanced(by: Self.moment))
    }

    /// After a turn that left bytes in the socket.
    public mutating func leftMore() {
        emptyReads = 0
        forecast.forget()
        wait = .now
    }

    /// The pacer allows more only at `time`.
    public mutating func limited(until time: MonotonicTime) { wait = .until(time) }

    /// The client does not read its results.
    public mutating func blocked() { wait = .writable }

    private func next(after now: MonotonicTime) -> Wait {
        guard let period else { return .readable }
        let step = UInt64(period.value * 1e9)
        guard step > 0 else { return .readable }
        return .until(MonotonicTime(nanoseconds: (now.nanoseconds / step + 1) * step))
    }
}
