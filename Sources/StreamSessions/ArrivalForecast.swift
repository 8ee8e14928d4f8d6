import Units

/// When the piece that completes the next window will be there, for a client that sends pieces of one size at a steady pace.
///
/// A stream that cannot wait for a grid is read when bytes arrive. Most pieces complete no window, though: at 20 ms a piece and
/// windows of 32 ms, every third wake-up is for nothing. Once the pace is known, the socket is left alone until the piece that
/// matters is due. What is learned from is the arrival itself, so from time to time one is waited for again.
///
/// Pieces and windows beat: at 20 ms a piece, two windows of every five are complete within 20 ms of the one before. Where a result may be
/// that late, the first waits for the second, and both are answered by one wake-up: three for five windows instead of five.
///
/// That asks more of a client than a forecast of the next window does: one that is early by half a piece would make the first one late. So its
/// pace is measured first, over more arrivals, and looked at more often.
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
    /// What is kept of the tolerance when a window waits for the next: a timer's slack and a thread's turn take some, and the windows must run. As
    /// a share of the tolerance, and in multiples of the time that the windows take.
    static let reserve = 0.15
    static let runReserve = 3.0
    /// Arrivals one after the other, each closer than `trustedJitter` to where it was due and all of them together closer than `trustedDrift`, before
    /// a window waits for the next: a pace that is right to 0.3 %. So many are watched at most.
    static let trustedArrivals = 32
    static let mostWatched = 96
    static let trustedJitter = 0.05
    static let trustedDrift = 0.1
    /// Reads by forecast before an arrival is watched again, while windows wait: a drift of 0.3 % makes 4 ms of them.
    static let trustedReads = 24
    /// Windows that wait for one another; more than a few fit only where a grid would do.
    static let mostWindows = 8.0

    /// Time that a piece covers.
    private var piece = Seconds.zero
    private var lastArrival: MonotonicTime?
    private var inStep = 0
    /// When the piece that is waited for by forecast is due, and how much signal there must be by then.
    private var due: (at: MonotonicTime, time: Seconds)?
    private var reads = 0
    /// Arrivals in a row that were close, how far they were off together, and how many were watched for that.
    private var close = (count: 0, offset: 0.0, watched: 0)
    private var isTrusted = false

    /// Takes a read that emptied the socket.
    /// - Parameters:
    ///   - time: how much signal was read.
    ///   - missing: how much signal the next window still needs.
    ///   - tolerance: how late a result may be.
    ///   - further: what a window after that takes.
    /// - Returns: when to read next; nil: when bytes arrive.
    mutating func next(
        after now: MonotonicTime, time: Seconds, missing: Seconds, tolerance: Seconds, further: DrainSchedule.Further
    ) -> MonotonicTime? {
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
        let mostReads = isTrusted ? Self.trustedReads : Self.readsByForecast
        guard inStep >= Self.steadyArrivals, reads < mostReads, let lastArrival, piece.value > 0 else {
            if reads >= mostReads { (reads, inStep) = (0, Self.steadyArrivals - 1) }
            return nil
        }
        let grace = min(tolerance * Self.grace, piece * Self.jitter)
        let first = (missing.value / piece.value - 1e-6).rounded(.up)
        var pieces = first
        var windows = 1.0
        while further.signal.value > 0, windows < Self.mostWindows {
            let more = ((missing + further.signal * windows).value / piece.value - 1e-6).rounded(.up)
            let waits = piece * (more - first) + grace
            let kept = max(tolerance * Self.reserve, (further.busy + further.run * (windows + 1)) * Self.runReserve)
            guard waits + kept <= tolerance else { break }
            // It would pay, and the pace is not known well enough yet: the next arrivals are watched.
            guard isTrusted else {
                if close.watched < Self.mostWatched { return nil }
                break
            }
            (pieces, windows) = (more, windows + 1)
        }
        // The very next piece is waited for itself: a forecast of it would gain nothing.
        guard pieces >= 2, pieces < 1000 else { return nil }
        let at = lastArrival.advanced(by: piece * pieces)
        due = (at, piece * pieces)
        // Less than a piece, or the next one would be there too.
        return at.advanced(by: grace)
    }

    private mutating func learn(arrival now: MonotonicTime, time: Seconds) {
        defer { lastArrival = now }
        guard time.value > 0, let lastArrival, abs(time.value - piece.value) < 1e-6 + 0.01 * piece.value else {
            piece = time
            inStep = 0
            (close, isTrusted) = ((0, 0, 0), false)
            return
        }
        // In pieces; above zero: later than it was due.
        let offset = now.since(lastArrival).value / piece.value - 1
        inStep = abs(offset) <= Self.jitter ? inStep + 1 : 0
        if isTrusted {
            // What was watched after reads by forecast tells how far those have drifted.
            isTrusted = abs(offset) <= Self.trustedDrift
            close = (0, 0, 0)
            return
        }
        close.watched += 1
        close = abs(offset) <= Self.trustedJitter ? (close.count + 1, close.offset + offset, close.watched) : (0, 0, close.watched)
        guard close.count >= Self.trustedArrivals else { return }
        isTrusted = abs(close.offset) <= Self.trustedDrift
        (close.count, close.offset) = (0, 0)
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
