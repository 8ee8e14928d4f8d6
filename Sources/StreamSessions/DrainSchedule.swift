import Units

/// Decides when a stream's socket is read next.
///
/// Waking for each chunk costs more than the inference, so a stream in steady state is read on a grid of its period
/// (a multiple of its hop), shared by all streams because the grid starts at the clock's zero. A stream that cannot wait that
/// long is read whenever bytes arrive. A silent stream costs no timer: after `patience` empty reads it waits for readiness.
public struct DrainSchedule: Sendable, Equatable {
    public enum Wait: Sendable, Equatable {
        /// Read at this time.
        case until(MonotonicTime)
        /// Read when the socket is readable.
        case readable
        /// Read again in the next turn: there was more than one turn takes.
        case now
        /// Write when the socket takes more; read nothing until then.
        case writable
        /// Nothing before the next assignment.
        case assignment
    }

    static let patience = 3

    /// Time between reads in steady state; nil reads on readiness.
    public private(set) var period: Seconds?
    private var emptyReads = 0
    public private(set) var wait = Wait.readable

    public init() {}

    /// - Parameter period: time between reads; nil reads whenever bytes arrive.
    public mutating func set(period: Seconds?) { self.period = period }

    /// After a read that found nothing.
    public mutating func foundNothing(at now: MonotonicTime) {
        emptyReads += 1
        wait = emptyReads >= Self.patience ? .readable : next(after: now)
    }

    /// After a read that took all there was.
    /// - Parameter limit: time in which the socket would be half full again, so that the client is never held up.
    public mutating func tookAll(at now: MonotonicTime, within limit: Seconds = Seconds(.infinity)) {
        emptyReads = 0
        wait = next(after: now)
        if case .until(let time) = wait, time.since(now) > limit { wait = .until(now.advanced(by: limit)) }
    }

    /// After a read that emptied a (nearly) full socket: the client pushes a recording, or was held up. It gets a moment
    /// to be scheduled and to fill the socket again.
    public mutating func wasFull(at now: MonotonicTime) {
        emptyReads = 0
        wait = .until(now.advanced(by: Seconds(milliseconds: 1)))
    }

    /// After a turn that left bytes in the socket.
    public mutating func leftMore() {
        emptyReads = 0
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
