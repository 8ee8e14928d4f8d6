import CLinux
import Glibc
import Systemd
import Units
import Wire

/// A client's Varlink connection, on the control loop. When it opens a stream, its socket moves on to the inference loop.
actor Connection {
    /// Bytes that may wait for a client that does not read before it is cut off.
    private static let backlogLimit = 1 << 20

    nonisolated let id: UInt64
    nonisolated let peer: Peer
    private nonisolated let loop: EventLoop
    nonisolated var unownedExecutor: UnownedSerialExecutor { loop.asUnownedSerialExecutor() }

    private let services: Services
    private let onClose: @Sendable (UInt64) -> Void
    private var descriptor: Int32
    private var watch: DescriptorWatch?
    private var wire = VarlinkServerConnection()
    private var backlog: [UInt8] = []
    private var topic: Topic?
    /// The client has missed a state of its topic because it did not read.
    private var isStale = false
    /// A call is being served, so that the next waits.
    private var isServing = false
    private var closesWhenWritten = false
    /// The client will send nothing more.
    private var inputEnded = false

    /// - Parameter descriptor: a connected, non-blocking socket; owned from now on.
    init(id: UInt64, descriptor: Int32, peer: Peer, loop: EventLoop, services: Services, onClose: @escaping @Sendable (UInt64) -> Void) {
        self.id = id
        self.descriptor = descriptor
        self.peer = peer
        self.loop = loop
        self.services = services
        self.onClose = onClose
    }

    deinit { if descriptor >= 0 { Glibc.close(descriptor) } }

    func start() {
        do {
            watch = try loop.watch(descriptor, for: .readable) { [weak self] events in
                self?.assumeIsolated { $0.ready(events) }
            }
        } catch {
            close()
        }
    }

    /// Sends the present state of a topic to a client that monitors it.
    func publish(_ topic: Topic, _ parameters: JSONObject) {
        guard self.topic == topic, descriptor >= 0 else { return }
        // A client that does not read has the newest state still to come; old ones would only pile up.
        guard backlog.isEmpty || topic.mustDeliver else {
            isStale = true
            return
        }
        send { try $0.reply(parameters, continues: true) }
    }

    func close() {
        guard descriptor >= 0 else { return }
        watch?.cancel()
        watch = nil
        Glibc.close(descriptor)
        descriptor = -1
        if let topic { services.scheduler.assumeIsolated { $0.unsubscribe(topic, id) } }
        releaseHolds()
        onClose(id)
    }

    // MARK: Input

    private func ready(_ events: Readiness) {
        let isGone = !events.isDisjoint(with: .failed)
        if !isServing, !inputEnded, events.contains(.readable) || isGone { read() }
        if descriptor >= 0, events.contains(.writable) { write() }
        // Both sides are closed: nobody waits for what is still being served.
        if descriptor >= 0, isGone { close() }
    }

    /// Takes what has arrived up to the end of one message, and no more: what follows an `upgrade` belongs to the stream, and further calls may as
    /// well wait in the socket, where they cost nothing.
    private func read() {
        let capacity = 64 * 1024
        var count = 0
        withUnsafeTemporaryAllocation(byteCount: capacity, alignment: 1) { buffer in
            func receive(_ most: Int, _ flags: Int32) -> Int {
                var count = 0
                repeat { count = recv(descriptor, buffer.baseAddress, most, flags) } while count < 0 && errno == EINTR
                return count
            }
            count = receive(capacity, Int32(MSG_PEEK))
            guard count > 0 else { return }
            let end = buffer[..<count].firstIndex(of: 0).map { $0 + 1 } ?? count
            count = receive(end, 0)
            if count > 0 { wire.receive(UnsafeRawBufferPointer(rebasing: buffer[..<count])) }
        }
        if count < 0 && errno == EAGAIN { return }
        guard count >= 0 else { return close() }
        // A client may close its side and still wait for replies.
        if count == 0 { inputEnded = true }
        next()
    }

    /// Serves the next complete call, if none is being served.
    private func next() {
        guard !isServing, descriptor >= 0, !closesWhenWritten else { return updateWatch() }
        switch wire.next() {
        case .call(let call):
            isServing = true
            Task(executorPreference: loop) { await self.serve(call) }
        case .close(let reason):
            return refuse(reason)
        case nil where inputEnded && backlog.isEmpty:
            return close()
        case .raw, nil: break
        }
        updateWatch()
    }

    /// Says what broke the protocol, as the last thing on this connection.
    private func refuse(_ reason: String) {
        services.note(JournalRecord(.info, "Connection closed: \(reason)", fields: peerFields))
        let error: JSONObject = ["error": "io.jouled.ProtocolViolation", "parameters": ["message": .string(reason)]]
        backlog += JSONValue.object(error).serialized() + [0]
        closesWhenWritten = true
        write()
    }

    /// Same executor, so no hop is needed.
    private func subscribe(to topic: Topic, since revision: Int) {
        services.scheduler.assumeIsolated { $0.subscribe(topic, self, since: revision) }
    }

    private func updateWatch() {
        guard descriptor >= 0 else { return }
        var events: Readiness = !isServing && !inputEnded && !closesWhenWritten ? .readable : []
        if !backlog.isEmpty { events.insert(.writable) }
        watch?.setEvents(events)
    }

    // MARK: Calls

    private func serve(_ call: VarlinkCall) async {
        do {
            switch try await services.answer(call, from: peer, on: id) {
            case .reply(let parameters):
                send { try $0.reply(parameters) }
            case .monitor(let topic, let state):
                send { try $0.reply(state.parameters, continues: true) }
                guard descriptor >= 0 else { break }
                self.topic = topic
                // What changed since the state was taken follows at once.
                subscribe(to: topic, since: state.revision)
                // Stays unanswered for good: further calls on this connection wait, as UAPI.20 has it.
                return
            case .stream(let opening):
                return await upgrade(to: opening)
            }
        } catch let error as VarlinkError {
            send { try $0.fail(error) }
        } catch {
            // Everything thrown below is JouledError; one without a Varlink form is our own fault.
            let text = "\(error)"
            services.note(JournalRecord(.error, "\(call.method) failed: \(text)", fields: peerFields))
            send { try $0.fail(VarlinkError("io.jouled.Internal", ["message": .string(text)])) }
        }
        isServing = false
        // The client may have gone while its call was served.
        if descriptor < 0 { releaseHolds() }
        next()
    }

    /// Same executor, so no hop is needed.
    private func releaseHolds() { services.scheduler.assumeIsolated { $0.releaseHolds(of: id) } }

    /// Confirms the upgrade and hands the socket over; from then on it carries frames.
    private func upgrade(to opening: StreamOpening) async {
        do {
            guard descriptor >= 0 else { throw JouledError(.connectionLost, "the client closed its connection while its stream was opened") }
            let bytes = try wire.replyUpgrade(opening.reply)
            // The reply goes first and whole: it is small, and the socket is empty because replies alternate with calls.
            let sent = bytes.withUnsafeBytes { Glibc.send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
            guard sent == bytes.count else { throw JouledError(.connectionLost, "the reply to Open could not be written") }
        } catch {
            services.note(JournalRecord(.info, "Stream \(opening.stream) not opened: \(error)", fields: peerFields))
            await services.scheduler.abandon(opening.stream)
            return close()
        }
        watch?.cancel()
        watch = nil
        let socket = descriptor
        descriptor = -1
        // From here on the socket is a stream's, and a hold's end could not be seen.
        releaseHolds()
        await services.scheduler.start(opening.stream, on: socket)
        onClose(id)
    }

    // MARK: Output

    private func send(_ build: (inout VarlinkServerConnection) throws -> [UInt8]) {
        guard descriptor >= 0 else { return }
        do {
            backlog += try build(&wire)
        } catch {
            // A reply that does not fit the call is a defect of a service; the client cannot be left waiting.
            services.note(JournalRecord(.error, "Reply could not be made: \(error)", fields: peerFields))
            return close()
        }
        write()
    }

    private func write() {
        while !backlog.isEmpty {
            let count = backlog.withUnsafeBytes { Glibc.send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
            if count < 0 && errno == EINTR { continue }
            if count < 0 && errno == EAGAIN { break }
            guard count > 0 else { return close() }
            backlog.removeFirst(count)
        }
        guard backlog.count <= Self.backlogLimit else {
            services.note(JournalRecord(.warning, "Connection closed: the client does not read its replies", fields: peerFields))
            return close()
        }
        if backlog.isEmpty, closesWhenWritten || (inputEnded && !isServing) { return close() }
        if backlog.isEmpty, isStale, let topic {
            isStale = false
            return publish(topic, services.scheduler.assumeIsolated { $0.view(of: topic, for: peer) })
        }
        updateWatch()
    }

    private nonisolated var peerFields: [JournalRecord.Field] {
        [.init("JOULED_PEER_UID", "\(peer.uid)"), .init("JOULED_PEER_PID", "\(peer.pid)")]
    }
}

extension JouledError.Code {
    /// The client went away in the middle of something.
    public static let connectionLost = Self("daemon.connection-lost")
}

/// What a client can monitor with `more`.
enum Topic: Hashable, Sendable, CaseIterable {
    case status
    case streams
    case decisions

    /// False where only the newest state matters.
    var mustDeliver: Bool { self == .decisions }
}
