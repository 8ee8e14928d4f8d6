import Units

/// When the piece that completes the next window will be there, for a client that sends pieces of one size at a steady pace.
///
/// A stream that cannot wait for a grid is read when bytes arrive. Most pieces complete no window, though: at 20 ms a piece and
/// windows of 32 ms, every third wake-up is for nothing. Once the pace is known, the socket is left alone until the piece that
/// matters is due. What is learned from is the arrival itself, so from time to time one is waited for again.
///
/// A client in real time is answered within its tolerance. One that suddenly sends faster than it said is answered later than
/// that once, by no more than the time that the missing signal was to take.
struct ArrivalForecast: Sendable {
    /// Arrivals in step, one after the other, before they are believed in.
    static let steadyArrivals = 6
    /// Reads by forecast before an arrival is watched again, because clocks drift apart.
    static let readsByForecast = 128
    /// How far an arrival may be from where it was due, as a share of the time that a piece covers.
    static let jitter = 0.2
    /// Time left for an arrival that is a little late, as a share of the stream's tolerance. A read that comes too early is a
    /// wake-up for nothing, and no harm otherwise.
    static let grace = 0.08

    /// Time that a piece covers.
    private var piece = Seconds.zero
    private var lastArrival: MonotonicTime?
    private var inStep = 0
    /// When the piece that is waited for by forecast is due, and how much signal there must be by then.
    private var due: (at: MonotonicTime, time: Seconds)?
    private var reads = 0

    /// Takes a read that emptied the socket.
    /// - Parameters:
    ///   - time: how much signal was read.
    ///   - missing: how much signal the next window still needs.
    ///   - tolerance: how late a result may be.
    /// - Returns: when to read next; nil: when bytes arrive.
    mutating func next(after now: MonotonicTime, time: Seconds, missing: Seconds, tolerance: Seconds) -> MonotonicTime? {
        if let due {
            self.due = nil
            let short = ((due.time.value - time.value) / piece.value).rounded()
            // More than was due: the client's pace is another one.
            guard short >= 0 else {
                forget()
                return nil
            }
            lastArrival = due.at.advanced(by: piece * -short)
            // Too early: the arrival will be seen, and the step is kept.
            guard short == 0 else { return nil }
            reads += 1
        } else {
            learn(arrival: now, time: time)
        }
        guard inStep >= Self.steadyArrivals, reads < Self.readsByForecast, let lastArrival, piece.value > 0 else {
            if reads >= Self.readsByForecast { (reads, inStep) = (0, Self.steadyArrivals - 1) }
            return nil
        }
        let pieces = (missing.value / piece.value - 1e-6).rounded(.up)
        // The very next piece is waited for itself: a forecast of it would gain nothing.
        guard pieces >= 2, pieces < 1000 else { return nil }
        let at = lastArrival.advanced(by: piece * pieces)
        due = (at, piece * pieces)
        // Less than a piece, or the next one would be there too.
        return at.advanced(by: min(tolerance * Self.grace, piece * Self.jitter))
    }

    private mutating func learn(arrival now: MonotonicTime, time: Seconds) {
        defer { lastArrival = now }
        guard time.value > 0, let lastArrival, abs(time.value - piece.value) < 1e-6 + 0.01 * piece.value else {
            piece = time
            inStep = 0
            return
        }
        let isInStep = abs(now.since(lastArrival).value - piece.value) <= Self.jitter * piece.value
        inStep = isInStep ? inStep + 1 : 0
    }

    /// Takes a read that found nothing.
    mutating func foundNothing() {
        guard let due, piece.value > 0 else { return }
        lastArrival = due.at.advanced(by: due.time * -1)
        self.due = nil
    }

    /// The client's pace is another one, or not steady.
    mutating func forget() { self = ArrivalForecast() }
}
