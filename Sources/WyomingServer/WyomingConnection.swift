import Glibc
import JouledClient
import Units
import Wire
import Wyoming

/// One client's connection with its stream to the daemon. Never waits, but for the daemon's answer when a stream is opened.
final class WyomingConnection {
    /// Bytes that may wait for a client that does not read before it is cut off.
    private static let backlogLimit = 1 << 18
    /// The client is read only while fewer bytes than this wait for the daemon: what is more stays in its socket.
    private static let streamLimit = 1 << 18
    /// Time that a client has to read why its connection is closed.
    private static let farewell = Seconds(1)

    let id: Int
    let descriptor: Int32
    private let daemon: DaemonAccess
    private var parser = WyomingParser()
    private var session: WyomingSession
    private(set) var stream: StreamConnection?
    private var backlog: [UInt8] = []
    private var inputEnded = false
    /// Set when the connection is to be closed: until then the client may read why. What it still sends meanwhile is thrown away, for a socket
    /// that is closed over unread bytes takes back what was sent on it.
    private(set) var deadline: MonotonicTime?
    private var isProcessing = false
    /// Nothing more is to be done with it.
    private(set) var isOver = false

    /// - Parameter descriptor: a connected, non-blocking socket; owned from now on.
    init(id: Int, descriptor: Int32, daemon: DaemonAccess, settings: WyomingSession.Settings) {
        self.id = id
        self.descriptor = descriptor
        self.daemon = daemon
        session = WyomingSession(settings: settings)
    }

    deinit { close(descriptor) }

    /// What to wait for on the client's socket.
    var events: Int16 { (wantsInput ? Int16(POLLIN) : 0) | (backlog.isEmpty ? 0 : Int16(POLLOUT)) }

    private var wantsInput: Bool { !inputEnded && (deadline != nil || mayTake) }
    private var mayTake: Bool { !session.isFinishing && (stream?.queuedBytes ?? 0) < Self.streamLimit && backlog.count < Self.backlogLimit / 2 }

    // MARK: The client

    /// Something can be read or written, or the client is gone.
    func ready(_ events: Int16) {
        // Both sides are closed: nobody waits for what is still to come.
        if events & Int16(POLLHUP | POLLERR | POLLNVAL) != 0, events & Int16(POLLIN) == 0 { return end() }
        if events & Int16(POLLIN) != 0, wantsInput { read() }
        if events & Int16(POLLOUT) != 0 {
            write()
            if !isOver, deadline == nil { process() }
        }
        // A client that has hung up is not written to, and its last bytes were just read.
        if events & Int16(POLLHUP) != 0, inputEnded { end() }
    }

    private func read() {
        let capacity = 1 << 16
        var count = 0
        withUnsafeTemporaryAllocation(byteCount: capacity, alignment: 1) { buffer in
            repeat { count = recv(descriptor, buffer.baseAddress, capacity, Int32(MSG_DONTWAIT)) } while count < 0 && errno == EINTR
            if count > 0, deadline == nil { parser.receive(UnsafeRawBufferPointer(rebasing: buffer[..<count])) }
        }
        if count < 0 {
            if errno != EAGAIN { end() }
            return
        }
        if count == 0 { inputEnded = true }
        guard deadline == nil else { return finishClosing() }
        process()
    }

    /// Takes the events that have arrived and moves what comes of them, until one of them has to wait for a socket.
    private func process() {
        guard !isProcessing else { return }
        isProcessing = true
        defer { isProcessing = false }
        var isWaiting: Bool
        repeat {
            takeEvents()
            isWaiting = !mayTake
            pump()
            // What had to wait for the daemon, or for the end of the stream before, may go on already: no socket would tell.
        } while isWaiting && mayTake && !isOver && deadline == nil
    }

    private func takeEvents() {
        while !isOver, deadline == nil, mayTake {
            do throws(JouledError) {
                guard let event = try parser.next() else { break }
                perform(session.take(event))
            } catch {
                perform(session.reject(error))
            }
        }
        if inputEnded, !isOver, deadline == nil, !session.isFinishing, mayTake { perform(session.inputEnded()) }
    }

    private func perform(_ actions: [WyomingSession.Action]) {
        for action in actions where !isOver {
            switch action {
            case .send(let event):
                if event.type == "error" { log(event.data["text"]?.stringValue ?? "error") }
                send(event)
            case .describe:
                do throws(JouledError) { send(ServedModel.info(try daemon.models())) } catch { perform(session.undescribed(error)) }
            case .open: open()
            case .samples(let samples): stream?.send(samples)
            case .finish: stream?.end()
            case .abandon: stream = nil
            case .close:
                deadline = SystemClocks().monotonic().advanced(by: Self.farewell)
                finishClosing()
            }
        }
    }

    /// Tells the client that nothing more comes, and ends once it has closed its side, too.
    private func finishClosing() {
        guard backlog.isEmpty else { return }
        if inputEnded { return end() }
        shutdown(descriptor, Int32(SHUT_WR))
    }

    /// The time is up.
    func expire() { end() }

    /// For the operator. The words may be the client's own, who must not write into a terminal or a journal what is no text.
    private func log(_ text: String) {
        daemon.log("connection \(id): " + String(text.prefix(500).map { $0.unicodeScalars.allSatisfy { $0.value >= 0x20 && $0.value != 0x7F } ? $0 : "?" }))
    }

    private func open() {
        do throws(JouledError) {
            let model = try session.model(among: daemon.models())
            let stream = try daemon.open(model)
            self.stream = stream
            let contract = stream.contract["contract"]
            let labels = (contract?["outputs"]?.arrayValue ?? []).flatMap { $0["labels"]?.arrayValue ?? [] }.compactMap(\.stringValue)
            let isPaused = stream.contract["variant"]?.stringValue == ""
            perform(
                session.opened(
                    model, labels: labels, window: UInt64(max(0, contract?["windowSamples"]?.intValue ?? 0)),
                    pauseReason: isPaused ? stream.contract["reason"]?.stringValue ?? "paused" : nil))
        } catch {
            perform(session.failed(error))
        }
    }

    private func send(_ event: WyomingEvent) {
        backlog += event.bytes
        guard backlog.count <= Self.backlogLimit else {
            log("closed, for its client does not read")
            return end()
        }
        write()
    }

    private func write() {
        while !backlog.isEmpty, !isOver {
            let count = backlog.withUnsafeBytes { Glibc.send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL | MSG_DONTWAIT)) }
            if count < 0 && errno == EINTR { continue }
            if count < 0 && errno == EAGAIN { return }
            guard count > 0 else { return end() }
            backlog.removeFirst(count)
        }
        if deadline != nil { finishClosing() }
    }

    private func end() {
        isOver = true
        stream = nil
    }

    // MARK: The daemon

    /// The stream's socket is ready.
    func streamReady() {
        pump()
        process()
    }

    /// Moves samples out and results in, as far as that goes now.
    private func pump() {
        guard let stream else { return }
        do throws(JouledError) {
            let outcome = try stream.pump(until: .now) { event in
                self.take(event)
                return self.stream === stream
            }
            guard outcome == .closed, self.stream === stream else { return }
            self.stream = nil
            guard session.isFinishing else { throw JouledError(.disconnected, closing ?? "jouled closed the stream") }
            perform(session.finished())
        } catch {
            self.stream = nil
            perform(session.failed(error))
        }
    }

    /// What jouled said last before it closed the stream out of turn.
    private var closing: String?

    private func take(_ event: StreamEvent) {
        switch event {
        case .result(let result, let end, _): perform(session.take(result: result.values, end: end))
        case .notice(let notice, _):
            if notice.kind == "paused" { perform(session.paused(notice.message)) }
            if notice.kind == "closed" { closing = notice.message }
        case .error(let notice):
            stream = nil
            perform(session.failed(JouledError(.disconnected, notice.message)))
        }
    }
}
