import CLinux
import ConfigDocument
import Decisions
import Glibc
import InferenceRuntime
import ModelStore
import PowerPolicy
import StreamSessions
import Systemd
import Units
import Wire

/// The daemon put together: listens, accepts, reloads, feeds the watchdog, and ends in order.
///
/// Three threads: the control loop (the caller's), the inference loop, and one for what blocks (loading models, slow gauges).
public actor Daemon {
    private nonisolated let loop: EventLoop
    public nonisolated var unownedExecutor: UnownedSerialExecutor { loop.asUnownedSerialExecutor() }

    private let configuration: DaemonConfiguration
    private let access: AccessRules
    private var refusedAt: MonotonicTime?
    private let inferenceLoop: EventLoop
    private let blockingLoop: EventLoop
    private let pump: StreamPump
    private let scheduler: Scheduler
    private let services: Services
    private let policies: PolicyStore
    private let journal: any JournalSink
    private let manager = ServiceManager()
    private let clocks = SystemClocks()
    private var listeners: [Int32] = []
    private var ownsSocketFile = false
    private var sources: [EventSource] = []
    private var acceptWatches: [DescriptorWatch] = []
    private var acceptPause: LoopTimer?
    private var supervisor: InferenceSupervisor?
    private var watchdog: Watchdog?
    /// Sockets of streams that the process before this one had open.
    private var inherited: [UInt64: Int32] = [:]
    private var handover: Handover? { manager.keepsDescriptors ? Handover(directory: configuration.volatileDirectory) : nil }
    private var connections: [UInt64: Connection] = [:]
    private var nextConnection: UInt64 = 1
    private var isStopping = false

    /// Signals that the daemon takes; they must be blocked before any thread starts.
    public static let signals = [SIGTERM, SIGINT, SIGHUP, ThreadTimer.signal]

    /// Builds all parts; nothing is served before `start`.
    /// - Parameters:
    ///   - loop: the control loop, run by the caller.
    ///   - policyName: overrides the remembered and the configured policy.
    /// - Throws: if the policy is not valid or a thread cannot be started.
    public init(configuration: DaemonConfiguration, policyName: String? = nil, journal: any JournalSink, loop: EventLoop) throws(JouledError) {
        self.configuration = configuration
        var access = configuration.access
        access.resolve()
        self.access = access
        self.journal = journal
        self.loop = loop
        inferenceLoop = try EventLoop.startThread(named: "inference")
        blockingLoop = try EventLoop.startThread(named: "blocking")
        let policies = PolicyStore(directory: configuration.policyDirectory, stateDirectory: configuration.stateDirectory)
        self.policies = policies
        let (name, policy) = try Self.firstPolicy(policies, asked: policyName, configured: configuration.policy, journal)
        let models = ModelHost(
            store: ModelStore(root: configuration.modelsDirectory), runtimeLibrary: configuration.runtimeLibrary,
            keepTime: configuration.runtimeKeepTime, loop: blockingLoop)
        let mailbox = Mailbox(loop: loop)
        let pump = StreamPump(loop: inferenceLoop) { event in mailbox.deliver(event) }
        self.pump = pump
        let scheduler = Scheduler(
            configuration: configuration, policyName: name, policy: policy, models: models,
            power: PowerMonitor(configuration, loop: blockingLoop), pump: pump,
            history: HistoryStore(directory: configuration.stateDirectory, limit: configuration.historyBytes, journal: journal, loop: blockingLoop),
            journal: journal, manager: manager, loop: loop)
        mailbox.scheduler = scheduler
        self.scheduler = scheduler
        services = Services(
            scheduler: scheduler, policies: policies, journal: journal, hasVirtualDevice: configuration.power.source == .virtual)
    }

    /// The policy to begin with. A remembered one that is no longer valid must not keep a device from starting: it is
    /// reported, and the configured one holds.
    private static func firstPolicy(
        _ policies: PolicyStore, asked: String?, configured: String, _ journal: any JournalSink
    ) throws(JouledError) -> (String, PowerPolicy) {
        if asked == nil, let remembered = policies.remembered() {
            do throws(JouledError) {
                return (remembered, try policies.load(remembered))
            } catch {
                journal.send(
                    JournalRecord(
                        .error, "The policy that was set, \(remembered), is not valid; \(configured) holds instead: \(error)",
                        messageID: MessageID.policyRefused, fields: [.init("JOULED_POLICY", remembered)]))
            }
        }
        let name = asked ?? configured
        return (name, try policies.load(name))
    }

    /// Listens, reads power for the first time, and tells the service manager that clients are welcome.
    /// - Throws: if there is no socket to listen on.
    public func start() async throws {
        if Glibc.access(configuration.runtimeLibrary, R_OK) != 0 {
            journal.send(
                JournalRecord(.warning, "\(configuration.runtimeLibrary): \(String(cString: strerror(errno))); no model can be served without this library ([runtime] library)"))
        }
        try listen()
        try await scheduler.begin()
        await adoptStreams()
        await scheduler.checkBundles()
        for (signal, action) in [(SIGTERM, Signal.stop), (SIGINT, .stop), (SIGHUP, .reload)] {
            sources.append(try loop.onSignal(signal) { [weak self] in self?.assumeIsolated { $0.react(to: action) } })
        }
        let supervisor = try InferenceSupervisor(loop: loop, inference: inferenceLoop, pump: pump, journal: journal)
        self.supervisor = supervisor
        if let interval = manager.watchdogInterval {
            let loads = scheduler.models.watch
            watchdog = try Watchdog(
                interval: interval, loop: loop, watched: inferenceLoop, supervisor: supervisor, isLost: { loads.isLost }, manager: manager, journal: journal)
        }
        for listener in listeners {
            acceptWatches.append(try loop.watch(listener, for: .readable) { [weak self] _ in self?.assumeIsolated { $0.accept(from: listener) } })
        }
        // What reading configuration, bundles and state left behind would stay for as long as no stream comes.
        ProcessMemory.trimHeap()
        ProcessMemory.releaseCode()
        manager.ready(status: await scheduler.statusLine)
        journal.send(JournalRecord(.info, "jouled \(Services.version) serves on \(configuration.socketPath)", messageID: MessageID.lifecycle))
    }

    /// Goes on with the streams of the process before this one: their clients notice no more than a pause.
    private func adoptStreams() async {
        guard !inherited.isEmpty else {
            // A stop that was no restart: the sockets are gone, and samples must not lie about.
            return Handover(directory: configuration.volatileDirectory).discard()
        }
        let left = Handover(directory: configuration.volatileDirectory).take(journal)
        var adopted: [Scheduler.Inherited] = []
        for (id, descriptor) in inherited.sorted(by: { $0.key < $1.key }) {
            manager.forget(name: Handover.name(of: id))
            // Passed descriptors are inheritable and may block.
            _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC)
            _ = fcntl(descriptor, F_SETFL, fcntl(descriptor, F_GETFL) | O_NONBLOCK)
            guard let stream = left[id], let peer = access.peer(of: descriptor) else {
                Glibc.close(descriptor)
                continue
            }
            adopted.append(.init(id: id, left: stream, descriptor: descriptor, peer: peer))
        }
        await scheduler.adopt(adopted)
        inherited = [:]
    }

    private enum Signal { case stop, reload }

    private func react(to signal: Signal) {
        Task(executorPreference: loop) {
            switch signal {
            case .stop: await self.stop()
            case .reload: await self.reload()
            }
        }
    }

    // MARK: Sockets

    private func listen() throws(JouledError) {
        var sockets: [Int32] = []
        for (descriptor, name) in try ServiceManager.passedDescriptors() {
            if let id = Handover.stream(named: name) { inherited[id] = descriptor } else { sockets.append(descriptor) }
        }
        if !sockets.isEmpty {
            listeners = sockets
            for listener in listeners { _ = fcntl(listener, F_SETFL, fcntl(listener, F_GETFL) | O_NONBLOCK) }
            return
        }
        let path = configuration.socketPath
        var result = clinux_listen_unix(path, UInt32(configuration.socketMode), 128)
        if result == -EADDRINUSE {
            // A file without a listener is what a crash leaves behind; one with a listener is another daemon.
            guard clinux_probe_unix(path) != 1 else { throw JouledError(.listening, "\(path): another daemon listens there") }
            // Whatever else stands there is not ours to remove.
            var status = stat()
            guard lstat(path, &status) == 0, status.st_mode & S_IFMT == S_IFSOCK else {
                throw JouledError(.listening, "\(path): cannot listen: a file that is no socket is in the way")
            }
            unlink(path)
            result = clinux_listen_unix(path, UInt32(configuration.socketMode), 128)
        }
        guard result >= 0 else { throw JouledError(.listening, "\(path): cannot listen: \(errnoText(-result))") }
        listeners = [result]
        ownsSocketFile = true
    }

    private func accept(from listener: Int32) {
        while !isStopping {
            let descriptor = clinux_accept(listener)
            guard descriptor >= 0 else {
                if descriptor == -EMFILE || descriptor == -ENFILE || descriptor == -ENOMEM { pauseAccepting(-descriptor) }
                return
            }
            guard connections.count < configuration.limits.connections else {
                refuse(descriptor, "\(connections.count) connections are open, which is the limit")
                continue
            }
            admit(descriptor)
        }
    }

    /// Without descriptors to spare, accepting would spin: wait a second for some to be closed.
    private func pauseAccepting(_ error: Int32) {
        journal.send(JournalRecord(.warning, "No new connections for 1 s: \(errnoText(error))"))
        for watch in acceptWatches { watch.setEnabled(false) }
        if acceptPause == nil {
            acceptPause = try? loop.timer { [weak self] in
                self?.assumeIsolated { daemon in
                    for watch in daemon.acceptWatches { watch.setEnabled(true) }
                }
            }
        }
        acceptPause?.arm(at: clocks.monotonic().advanced(by: Seconds(1)), accuracy: Seconds(0.25))
    }

    /// Says why, and closes. One entry a minute is enough for an operator to know.
    private func refuse(_ descriptor: Int32, _ reason: String) {
        let error: JSONObject = ["error": "io.jouled.TooManyConnections", "parameters": ["reason": .string(reason)]]
        let bytes = JSONValue.object(error).serialized() + [0]
        // A fresh socket takes this much at once; a client that is gone already needs no answer.
        _ = bytes.withUnsafeBytes { send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL | MSG_DONTWAIT)) }
        Glibc.close(descriptor)
        let now = clocks.monotonic()
        guard refusedAt.map({ now.since($0) > Seconds(60) }) ?? true else { return }
        refusedAt = now
        journal.send(JournalRecord(.warning, "Connection refused: \(reason)"))
    }

    /// Connections that a user has turned into streams. Same executor, so no hop is needed.
    private func streamsOf(_ uid: UInt32) -> Int {
        scheduler.assumeIsolated { $0.streams.values.count { $0.peer.uid == uid } }
    }

    private func admit(_ descriptor: Int32) {
        guard let peer = access.peer(of: descriptor) else {
            Glibc.close(descriptor)
            return
        }
        let limit = access.connectionsPerUser
        guard peer.isAdmin || connections.values.count(where: { $0.peer.uid == peer.uid }) + streamsOf(peer.uid) < limit else {
            return refuse(descriptor, "user \(peer.uid) has \(limit) connections, which is the limit")
        }
        let id = nextConnection
        nextConnection += 1
        let connection = Connection(id: id, descriptor: descriptor, peer: peer, loop: loop, services: services) { [weak self] id in
            self?.assumeIsolated { $0.connections[id] = nil }
        }
        connections[id] = connection
        connection.assumeIsolated { $0.start() }
    }

    private func closeConnections() {
        for connection in connections.values { connection.assumeIsolated { $0.close() } }
    }

    // MARK: Reload and end

    /// Reads the policy again; a bad file changes nothing and is told in the status.
    private func reload() async {
        manager.reloading(at: clocks.monotonic())
        // A refusal is in the journal and in the status.
        try? await services.put(await scheduler.engine.operatorPolicy.name, remember: false)
        manager.ready(status: await scheduler.statusLine)
    }

    /// Ends streams and stops the loops. Clients get a notice and the results of what they sent.
    public func stop() async {
        guard !isStopping else { return }
        isStopping = true
        manager.stopping(status: "stopping")
        for watch in acceptWatches { watch.cancel() }
        await scheduler.stop(handingOver: handover.map { Handover.Giver(handover: $0, manager: manager) })
        closeConnections()
        for listener in listeners { Glibc.close(listener) }
        if ownsSocketFile { unlink(configuration.socketPath) }
        for source in sources { source.cancel() }
        watchdog?.cancel()
        supervisor?.cancel()
        journal.send(JournalRecord(.info, "jouled stopped", messageID: MessageID.lifecycle))
        inferenceLoop.stop()
        blockingLoop.stop()
        loop.stop()
    }
}

extension JouledError.Code {
    /// There is no socket to listen on.
    static let listening = Self("daemon.listening")
}

/// Carries events from the inference loop to the scheduler, which is made after the pump.
private final class Mailbox: @unchecked Sendable {
    // Safe: `scheduler` is set once, before any stream exists and so before the inference loop can deliver.
    weak var scheduler: Scheduler?
    private let loop: EventLoop

    init(loop: EventLoop) { self.loop = loop }

    func deliver(_ event: StreamPump.Event) {
        guard let scheduler else { return }
        Task(executorPreference: loop) { await scheduler.handle(event) }
    }
}
