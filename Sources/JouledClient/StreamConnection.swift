import Glibc
import Units
import Wire

/// What the daemon tells on a stream.
public enum StreamEvent: Hashable, Sendable {
    /// The outputs of the window that ends before `sampleIndex`.
    case result(ResultPayload, sampleIndex: UInt64, time: MonotonicTime)
    /// Something worth knowing: a switch of variant, a gap, a pause.
    case notice(Notice, sampleIndex: UInt64)
    /// Why the daemon ends the stream; nothing follows.
    case error(Notice)
}

/// A stream to the daemon: samples go out, results come in.
///
/// `send` and its kin only queue; `pump` moves bytes. It reads while it writes, so that a daemon that holds
/// samples back until its results are read cannot lock up with a client that waits to be rid of its samples.
public final class StreamConnection {
    /// What `pump` waits for.
    public enum Goal: Hashable, Sendable {
        /// Nothing: moves what can be moved at once.
        case now
        /// At least one event.
        case event
        /// All that was queued is written.
        case written
        /// The daemon closed the stream, as it does after END and the last result.
        case closed
    }

    /// How `pump` ended.
    public enum Outcome: Hashable, Sendable {
        case reached
        case timedOut
        /// The daemon closed the stream.
        case closed
        /// The handler returned false.
        case stopped
        /// `shouldStop` said so.
        case interrupted
    }

    /// Input is read only while fewer bytes than this are queued.
    private static let highWater = 1 << 18

    /// What the daemon promised in its reply to Open.
    public let contract: JSONObject
    /// Bytes per sample over all channels.
    public let sampleSize: Int
    /// The index of the sample that is sent next.
    public private(set) var nextSampleIndex: UInt64 = 0
    /// Asked before each wait whether a signal has come since it was asked last. The first such signal stops a `pump` and ends the input of
    /// a `run`, or does nothing where that has ended already; the next one ends the wait for the results.
    public var shouldStop: () -> Bool = { false }
    /// A descriptor that can be read once `shouldStop` is to be asked again, which so ends a wait; -1 if there is none, and only a
    /// signal that arrives during the wait ends it.
    public var stopDescriptor: Int32 = -1
    /// Whether a signal has been heeded.
    private var wasInterrupted = false

    /// Another stream that gets the same samples, and who hears what it tells.
    private var companion: (stream: StreamConnection, handle: (StreamEvent) -> Void)?
    private let socket: Socket
    private var parser = FrameParser(role: .client)
    private var writer = FrameWriter()
    private var sending: [UInt8] = []
    private var sent = 0
    /// Bytes of an incomplete sample at the end of what was given to `send`.
    private var remainder: [UInt8] = []
    private var hasEnded = false
    private var isClosed = false
    /// Whether the daemon takes nothing more, though it may have more to say.
    private var isDeaf = false
    /// Whether the daemon told an error.
    private var hasError = false
    /// Whether the daemon answered END: the results are complete.
    private var isComplete = false
    /// Why the daemon closed the stream by itself, in its own words.
    private var closingReason: String?
    private var events: [StreamEvent] = []

    init(socket: Socket, contract: JSONObject, sampleSize: Int, received: [UInt8]) throws(JouledError) {
        self.socket = socket
        self.contract = contract
        self.sampleSize = sampleSize
        var events: [StreamEvent] = []
        var failure: JouledError?
        var parser = parser
        received.withUnsafeBytes { bytes in
            do throws(JouledError) { try Self.parse(bytes, &parser, &events) } catch { failure = error }
        }
        self.parser = parser
        self.events = events
        if let failure { throw failure }
    }

    /// How many bytes wait to be written.
    public var queuedBytes: Int { sending.count - sent + writer.bytes.count }

    /// Gives another stream of the same sample format everything that is sent on this one from now on, first: its gate, which then has heard
    /// before this stream waits for its word. It moves along whenever this stream does; if it ends, this one goes on.
    ///
    /// - Parameters:
    ///   - other: a stream on which nothing was sent yet. Its sample index becomes this one's.
    ///   - handle: gets each of its events.
    public func feed(alongside other: StreamConnection, _ handle: @escaping (StreamEvent) -> Void) throws(JouledError) {
        guard other.sampleSize == sampleSize else {
            throw JouledError(.misuse, "samples of \(sampleSize) bytes cannot go to a stream of \(other.sampleSize)")
        }
        other.nextSampleIndex = nextSampleIndex
        companion = (other, handle)
    }

    /// Says that the first sample is not that of index 0, for a stream that joins another's signal later. Before the first sample only.
    public func begin(at index: UInt64) { if nextSampleIndex == 0, !hasEnded { nextSampleIndex = index } }

    /// The socket, for callers that wait for several; what to do with it then is `pump(until: .now)`.
    public var descriptor: Int32 { socket.descriptor }

    /// What to wait for on `descriptor`, as poll(2) takes it.
    public var pollEvents: Int16 { Int16(POLLIN) | (queuedBytes > 0 && !isDeaf ? Int16(POLLOUT) : 0) }

    /// How many bytes of an incomplete sample were given; after `end` they are lost.
    public var incompleteBytes: Int { remainder.count }

    // MARK: Queueing

    /// Queues samples. The bytes may end within a sample, which the next call continues.
    public func send(_ bytes: UnsafeRawBufferPointer, at time: MonotonicTime = SystemClocks().monotonic()) {
        guard !hasEnded else { return }
        companion?.stream.send(bytes, at: time)
        var rest = bytes[...]
        if !remainder.isEmpty {
            let taken = rest.prefix(sampleSize - remainder.count)
            remainder.append(contentsOf: taken)
            rest = rest.dropFirst(taken.count)
            guard remainder.count == sampleSize else { return }
            let sample = remainder
            remainder = []
            sample.withUnsafeBytes { queue($0, time) }
        }
        let whole = rest.count / sampleSize * sampleSize
        if whole > 0 { queue(UnsafeRawBufferPointer(rebasing: rest.prefix(whole)), time) }
        remainder.append(contentsOf: rest.dropFirst(whole))
    }

    /// Queues samples. The bytes may end within a sample, which the next call continues.
    public func send(_ bytes: [UInt8]) { bytes.withUnsafeBytes { send($0) } }

    private func queue(_ samples: UnsafeRawBufferPointer, _ time: MonotonicTime) {
        writer.data(samples, sampleSize: sampleSize, sampleIndex: nextSampleIndex, time: time)
        nextSampleIndex += UInt64(samples.count / sampleSize)
    }

    /// Queues word that `lost` samples will never come.
    public func sendGap(lost: UInt64) {
        guard !hasEnded else { return }
        companion?.stream.sendGap(lost: lost)
        writer.gap(lost: lost, sampleIndex: nextSampleIndex, time: SystemClocks().monotonic())
        nextSampleIndex &+= lost
    }

    /// Queues the wish for results of all that was sent.
    public func flush() {
        guard !hasEnded else { return }
        companion?.stream.flush()
        writer.flush(sampleIndex: nextSampleIndex, time: SystemClocks().monotonic())
    }

    /// Queues the end of the stream; what is sent later is ignored.
    public func end() {
        guard !hasEnded else { return }
        hasEnded = true
        companion?.stream.end()
        writer.end(sampleIndex: nextSampleIndex, time: SystemClocks().monotonic())
    }

    /// Queues bytes as they are, frames or not: for tests of the daemon's manners.
    public func sendRaw(_ bytes: [UInt8]) {
        sending = Array(sending[sent...]) + writer.take() + bytes
        sent = 0
    }

    // MARK: Moving bytes

    /// Moves bytes both ways until `goal` is reached, and hands each event to `handle`, which returns false to stop.
    public func pump(
        until goal: Goal, timeout: Seconds? = nil, _ handle: (StreamEvent) throws(JouledError) -> Bool
    ) throws(JouledError) -> Outcome {
        let deadline = timeout.map { SystemClocks().monotonic().advanced(by: $0) }
        var hasEvent = false
        while true {
            let count = events.count
            guard try deliver(handle) else { return .stopped }
            hasEvent = hasEvent || count > 0
            if isClosed { return goal == .closed ? .reached : .closed }
            try write()
            try moveCompanion()
            switch goal {
            case .written where queuedBytes == 0 && (companion?.stream.unsentBytes ?? 0) == 0: return .reached
            case .event where hasEvent: return .reached
            case .now:
                guard try read() else { return .reached }
                continue
            default: break
            }
            if isInterrupted() { return .interrupted }
            let ready = try socket.wait(write: queuedBytes > 0 && !isDeaf, other: companion?.stream.readiness, stop: stopDescriptor, until: deadline)
            if ready.readable {
                _ = try read()
            } else if !ready.writable, !ready.otherReady, !ready.interrupted, let deadline, deadline <= SystemClocks().monotonic() {
                return .timedOut
            }
        }
    }

    /// Streams what `input` gives until it returns nil, then waits for the last result.
    ///
    /// Results are delivered while samples are written, and when `input` returns. For a source that may pause,
    /// such as a microphone, use `run(reading:)`, which waits for source and results at once.
    public func run(
        input: () throws(JouledError) -> [UInt8]?, _ handle: (StreamEvent) throws(JouledError) -> Bool
    ) throws(JouledError) {
        input: while !isClosed, !isInterrupted(), let bytes = try input() {
            send(bytes)
            switch try pump(until: .written, handle) {
            case .reached, .timedOut: guard try pump(until: .now, handle) != .stopped else { return }
            case .closed: break
            case .interrupted: break input
            case .stopped: return
            }
        }
        try finish(handle)
    }

    /// Streams what can be read from `descriptor` until its end, then waits for the last result.
    ///
    /// - Parameters:
    ///   - descriptor: where to read.
    ///   - convert: makes samples of what was read, or returns nil to end the input; without it the bytes are the samples.
    ///   - handle: gets each event, and returns false to stop.
    public func run(
        reading descriptor: Int32, converting convert: ((UnsafeRawBufferPointer) -> [UInt8]?)? = nil, _ handle: (StreamEvent) throws(JouledError) -> Bool
    ) throws(JouledError) {
        var buffer = [UInt8](repeating: 0, count: 1 << 16)
        input: while !isClosed {
            guard try deliver(handle) else { return }
            try write()
            try moveCompanion()
            if isInterrupted() { break }
            let queued = max(queuedBytes, companion?.stream.unsentBytes ?? 0)
            let ready = try socket.wait(
                write: queuedBytes > 0 && !isDeaf, extra: queued < Self.highWater ? descriptor : nil, other: companion?.stream.readiness,
                stop: stopDescriptor, until: nil)
            if ready.readable { _ = try read() }
            guard ready.extraReadable else { continue }
            let count = buffer.withUnsafeMutableBytes { Glibc.read(descriptor, $0.baseAddress, $0.count) }
            switch count {
            case 1...:
                let goesOn = buffer.withUnsafeBytes { whole in
                    let bytes = UnsafeRawBufferPointer(rebasing: whole[..<count])
                    guard let convert else {
                        send(bytes)
                        return true
                    }
                    guard let samples = convert(bytes) else { return false }
                    send(samples)
                    return true
                }
                guard goesOn else { break input }
            case 0: break input
            default:
                guard errno == EINTR || errno == EAGAIN else {
                    throw JouledError(.input, "reading samples: \(Socket.text(errno))")
                }
            }
        }
        try finish(handle)
    }

    /// Whether to stop what is going on, because of a signal.
    private func isInterrupted() -> Bool {
        guard shouldStop() else { return false }
        defer { wasInterrupted = true }
        // The results of what was sent are worth waiting for, unless somebody insists.
        return !hasEnded || wasInterrupted
    }

    /// Sends END, where that was not done, and delivers events until the daemon closes the stream.
    /// - Throws: `.interrupted` if a second signal ended the wait, `.disconnected` if the daemon closed it without having answered END, and told no error: then results are missing.
    public func finish(_ handle: (StreamEvent) throws(JouledError) -> Bool) throws(JouledError) {
        end()
        let outcome = try pump(until: .closed, handle)
        guard outcome != .stopped, !hasError, !isComplete else { return }
        if outcome == .interrupted { throw JouledError(.interrupted, "interrupted before jouled answered all samples") }
        let reason = closingReason.map { ": \($0)" } ?? " without a reason"
        throw JouledError(.disconnected, "jouled closed the stream before all samples were answered\(reason)")
    }

    /// Bytes that wait for a daemon that still takes some.
    private var unsentBytes: Int { isClosed || isDeaf ? 0 : queuedBytes }

    /// What a wait for both streams asks of this one; nil once it is closed.
    private var readiness: (socket: Socket, write: Bool)? { isClosed ? nil : (socket, unsentBytes > 0) }

    /// Moves the other stream's bytes, as far as they can be moved at once.
    private func moveCompanion() throws(JouledError) {
        guard let (stream, handle) = companion else { return }
        func deliver() {
            let events = stream.events
            stream.events = []
            for event in events { handle(event) }
        }
        deliver()
        while !stream.isClosed {
            try stream.write()
            guard try stream.read() else { break }
            deliver()
        }
    }

    private func deliver(_ handle: (StreamEvent) throws(JouledError) -> Bool) throws(JouledError) -> Bool {
        while !events.isEmpty {
            let batch = events
            events = []
            for event in batch {
                switch event {
                case .error: hasError = true
                case .notice(let notice, _) where notice.kind == "end": isComplete = true
                case .notice(let notice, _) where notice.kind == "closed": closingReason = notice.message
                case .notice, .result: break
                }
                guard try handle(event) else { return false }
            }
        }
        return true
    }

    /// Writes what the socket takes now.
    private func write() throws(JouledError) {
        while !isClosed, !isDeaf, queuedBytes > 0 {
            if sent == sending.count {
                sending = writer.take()
                sent = 0
            }
            switch try socket.send(sending, from: sent) {
            case .moved(let count): sent += count
            case .wouldBlock: return
            case .closed:
                // The reason may be waiting to be read, so reading goes on.
                isDeaf = true
                return
            }
        }
        if queuedBytes == 0 { (sending, sent) = ([], 0) }
    }

    /// Reads once; false when nothing was there.
    private func read() throws(JouledError) -> Bool {
        let (outcome, bytes) = try socket.receive()
        switch outcome {
        case .moved:
            try Self.parse(bytes, &parser, &events)
            return true
        case .wouldBlock: return false
        case .closed:
            isClosed = true
            try parser.finish()
            return false
        }
    }

    private static func parse(
        _ bytes: UnsafeRawBufferPointer, _ parser: inout FrameParser, _ events: inout [StreamEvent]
    ) throws(JouledError) {
        var found: [StreamEvent] = []
        defer { events += found }
        try parser.receive(bytes) { (event) throws(JouledError) in
            guard case .message(let header, let payload) = event else { return }
            switch header.type {
            case .result:
                found.append(.result(try ResultPayload(decoding: payload), sampleIndex: header.sampleIndex, time: header.time))
            case .notice: found.append(.notice(try Notice(decoding: payload), sampleIndex: header.sampleIndex))
            default: found.append(.error(try Notice(decoding: payload)))
            }
        }
    }
}
