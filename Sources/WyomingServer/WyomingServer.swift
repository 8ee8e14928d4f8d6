import CLinux
import Glibc
import JouledClient
import Units
import Wire
import Wyoming

/// Serves Wyoming clients on listening sockets, each connection with a stream of its own to jouled.
///
/// One thread waits for all of them; it wakes only when somebody has something to say. Memory is bounded by the number of connections.
public final class WyomingServer {
    public struct Settings {
        /// jouled's socket.
        public var socket: String
        /// Connections at once.
        public var connections = 16
        /// How late a result may be; nil: as late as the model says.
        public var tolerance: Seconds?
        public var session = WyomingSession.Settings()
        /// Takes lines for the operator.
        public var log: (String) -> Void = { _ in }

        public init(socket: String) { self.socket = socket }
    }

    private let listeners: [Int32]
    private let settings: Settings
    private let daemon: DaemonAccess
    private var connections: [WyomingConnection] = []
    private var next = 1
    /// Without descriptors to spare, accepting would spin.
    private var acceptsAgain: MonotonicTime?

    /// - Parameter listeners: listening stream sockets; owned from now on.
    public init(listeners: [Int32], settings: Settings) {
        self.listeners = listeners
        self.settings = settings
        daemon = DaemonAccess(socket: settings.socket, toleranceMs: settings.tolerance.map { Int($0.milliseconds.rounded()) }, log: settings.log)
        for listener in listeners { _ = fcntl(listener, F_SETFL, fcntl(listener, F_GETFL) | O_NONBLOCK) }
    }

    deinit { for listener in listeners { close(listener) } }

    /// Serves until a signal arrives and `shouldStop` agrees.
    /// - Throws: `.wyomingListening` if the kernel cannot wait any more.
    public func run(until shouldStop: () -> Bool) throws(JouledError) {
        // Signals come while it waits and at no other time, so that none comes between a look at `shouldStop` and a wait without end.
        var (ending, before) = (sigset_t(), sigset_t())
        sigemptyset(&ending)
        sigaddset(&ending, SIGTERM)
        sigaddset(&ending, SIGINT)
        pthread_sigmask(SIG_BLOCK, &ending, &before)
        defer { pthread_sigmask(SIG_SETMASK, &before, nil) }
        while !shouldStop() {
            var polled: [pollfd] = []
            let isAccepting = acceptsAgain.map { $0 <= SystemClocks().monotonic() } ?? true
            if isAccepting {
                acceptsAgain = nil
                polled += listeners.map { pollfd(fd: $0, events: Int16(POLLIN), revents: 0) }
            }
            let first = polled.count
            for connection in connections {
                polled.append(pollfd(fd: connection.descriptor, events: connection.events, revents: 0))
                // A negative descriptor is passed over.
                polled.append(pollfd(fd: connection.stream?.descriptor ?? -1, events: connection.stream?.pollEvents ?? 0, revents: 0))
            }
            let count = clinux_poll(&polled, UInt32(polled.count), timeout, &before)
            guard count >= 0 else {
                guard count == -EINTR else { throw JouledError(.wyomingListening, "poll: \(String(cString: strerror(-count)))") }
                continue
            }
            for (index, connection) in connections.enumerated() {
                let (own, stream) = (polled[first + 2 * index].revents, polled[first + 2 * index + 1].revents)
                if stream != 0, connection.stream != nil { connection.streamReady() }
                if own != 0, !connection.isOver { connection.ready(own) }
            }
            let now = SystemClocks().monotonic()
            for connection in connections where connection.deadline.map({ $0 <= now }) ?? false { connection.expire() }
            connections.removeAll(where: \.isOver)
            for polled in polled[..<first] where polled.revents != 0 { accept(from: polled.fd) }
        }
    }

    /// Milliseconds until something is due by the clock; -1: nothing is.
    private var timeout: Int32 {
        guard let due = (connections.compactMap(\.deadline) + [acceptsAgain].compactMap { $0 }).min() else { return -1 }
        // Rounded up, so that less than a millisecond does not spin.
        return Int32(min(max(due.since(SystemClocks().monotonic()).milliseconds.rounded(.up), 0), 60_000))
    }

    private func accept(from listener: Int32) {
        while true {
            let descriptor = clinux_accept(listener)
            guard descriptor >= 0 else {
                if descriptor == -EMFILE || descriptor == -ENFILE || descriptor == -ENOMEM {
                    settings.log("no new connections for 1 s: \(String(cString: strerror(-descriptor)))")
                    acceptsAgain = SystemClocks().monotonic().advanced(by: Seconds(1))
                }
                return
            }
            guard connections.count < settings.connections else {
                refuse(descriptor)
                continue
            }
            connections.append(WyomingConnection(id: next, descriptor: descriptor, daemon: daemon, settings: settings.session))
            next += 1
        }
    }

    /// Says why, and closes.
    private func refuse(_ descriptor: Int32) {
        let bytes = WyomingEvent.error("busy", "\(settings.connections) connections are open, which is the limit").bytes
        // A fresh socket takes this much at once; a client that is gone already needs no answer.
        _ = bytes.withUnsafeBytes { send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL | MSG_DONTWAIT)) }
        close(descriptor)
    }
}
