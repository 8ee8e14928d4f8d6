import CLinux
import CSystemd
import Glibc
import Synchronization
import Units

/// One thread that runs an sd-event loop and is, at the same time, the serial executor of the actors
/// that live on it.
///
/// An actor whose `unownedExecutor` is a loop runs on that thread only, so a callback of a timer or a
/// descriptor may enter the actor with `assumeIsolated`, without a hop. The loop sleeps in epoll; it has no
/// timer of its own, so a loop with nothing to do wakes never. jouled uses neither the default global
/// executor nor `Task.sleep`: on Linux the first use of either starts a timer that fires each second for ever.
public final class EventLoop: SerialExecutor, TaskExecutor, @unchecked Sendable {
    // Safe as @unchecked Sendable: `event` and `wakeSource` are set in init and they, like what is taken on, are used on the
    // loop's thread only (checked by `preconditionOnLoop`); everything shared is inside a mutex or atomic. After `takeOver` the
    // thread before never touches the loop again, which is its caller's promise.
    private let event: OpaquePointer
    private var wakeSource: OpaquePointer?
    private let wakeDescriptor: Int32
    private let shared = Mutex(Shared())
    private let owner = Atomic<UInt>(0)
    private let started = Atomic<UInt64>(0)
    private let finished = Atomic<UInt64>(0)
    private let clock = Atomic<Int32>(-1)
    private let name = Mutex("")
    // What the loop has taken on and not done yet: kept here and not on the stack, so that another thread can go on with it.
    private var batch: [UnownedJob] = []
    private var nextJob = 0
    private var deferred: [() -> Void] = []
    private var nextDeferred = 0
    private var isDispatching = false

    private struct Shared {
        var jobs: [UnownedJob] = []
        /// Addresses of sources to free on the loop's thread.
        var retired: [UInt] = []
        var woken = false
        var stopping = false
    }

    /// Creates a loop; nothing runs until `run()`.
    public init() throws(JouledError) {
        var created: OpaquePointer?
        let status = sd_event_new(&created)
        guard status >= 0, let created else { throw JouledError(.eventLoop, "sd_event_new failed: \(errnoText(-status))") }
        let descriptor = clinux_eventfd()
        guard descriptor >= 0 else {
            sd_event_unref(created)
            throw JouledError(.eventLoop, "eventfd failed: \(errnoText(-descriptor))")
        }
        event = created
        wakeDescriptor = descriptor
        let added = sd_event_add_io(created, &wakeSource, descriptor, Readiness.readable.rawValue, { _, fd, _, _ in
            var count: UInt64 = 0
            _ = Glibc.read(fd, &count, 8)
            return 0
        }, nil)
        guard added >= 0 else { throw JouledError(.eventLoop, "sd_event_add_io failed: \(errnoText(-added))") }
    }

    deinit {
        sd_event_source_unref(wakeSource)
        sd_event_unref(event)
        close(wakeDescriptor)
    }

    /// Starts a thread named `name` that runs a new loop until `stop()`.
    public static func startThread(named name: String) throws(JouledError) -> EventLoop {
        let loop = try EventLoop()
        loop.name.withLock { $0 = name }
        try loop.startThread()
        return loop
    }

    private func startThread() throws(JouledError) {
        let name = name.withLock { $0 }
        let context = Unmanaged.passRetained(ThreadContext(loop: self, name: name))
        var thread = pthread_t()
        let status = pthread_create(&thread, nil, { raw in
            // The pointer is the one retained above and reaches exactly one thread.
            let context = Unmanaged<ThreadContext>.fromOpaque(raw!).takeRetainedValue()
            clinux_name_thread(context.name)
            context.loop.run()
            return nil
        }, context.toOpaque())
        guard status == 0 else {
            context.release()
            throw JouledError(.eventLoop, "cannot start thread '\(name)': \(errnoText(status))")
        }
        var clock = clockid_t()
        if pthread_getcpuclockid(thread, &clock) == 0 { self.clock.store(clock, ordering: .relaxed) }
        pthread_detach(thread)
    }

    /// The clock of the CPU time of the loop's thread; nil if the loop runs on a thread that it did not start.
    public var cpuClock: clockid_t? {
        let clock = clock.load(ordering: .relaxed)
        return clock == -1 ? nil : clock
    }

    /// Has a new thread go on with all that this loop has to do, because its thread hangs in something that it will never come back
    /// from: the caller promises that it touches nothing of the loop again. It is stopped where it is, so that it uses no more CPU
    /// time, and what it is in the middle of is never finished.
    /// - Throws: if it hangs in a callback (see `afterCallback`), where libsystemd cannot be left, or no thread can be started.
    public func takeOver() throws(JouledError) {
        guard !isDispatching else { throw JouledError(.eventLoop, "the thread hangs in a callback of its event loop, which cannot be taken over") }
        // If it holds a lock that others need, they hang too, and the watchdog restarts the service: no worse than before.
        _ = clinux_freeze_thread(pthread_t(owner.load(ordering: .acquiring)))
        try startThread()
        finished.add(1, ordering: .releasing)
    }

    /// Runs on the calling thread until `stop()`.
    public func run() {
        owner.store(UInt(pthread_self()), ordering: .releasing)
        defer { owner.store(0, ordering: .releasing) }
        while true {
            doWhatIsTaken()
            let (retired, stopping) = takeMore()
            for source in retired { sd_event_source_disable_unref(OpaquePointer(bitPattern: source)) }
            if !batch.isEmpty || !deferred.isEmpty { continue }
            if stopping { return }
            // Jobs that arrive from now on write to the eventfd, so sleeping without a limit is safe.
            guard sd_event_prepare(event) > 0 || sd_event_wait(event, UInt64.max) > 0 else { continue }
            started.add(1, ordering: .relaxed)
            isDispatching = true
            sd_event_dispatch(event)
            isDispatching = false
            finished.add(1, ordering: .releasing)
        }
    }

    /// Each piece of work is marked as done before it begins, so that a thread which takes over goes on behind it.
    private func doWhatIsTaken() {
        while nextDeferred < deferred.count {
            let work = deferred[nextDeferred]
            nextDeferred += 1
            started.add(1, ordering: .relaxed)
            work()
            finished.add(1, ordering: .releasing)
        }
        deferred.removeAll(keepingCapacity: true)
        nextDeferred = 0
        while nextJob < batch.count {
            let job = batch[nextJob]
            nextJob += 1
            started.add(1, ordering: .relaxed)
            job.runSynchronously(isolatedTo: asUnownedSerialExecutor(), taskExecutor: asUnownedTaskExecutor())
            finished.add(1, ordering: .releasing)
        }
        batch.removeAll(keepingCapacity: true)
        nextJob = 0
    }

    private func takeMore() -> (retired: [UInt], isStopping: Bool) {
        shared.withLock { shared in
            shared.woken = false
            swap(&shared.jobs, &batch)
            defer { shared.retired.removeAll() }
            return (shared.retired, shared.stopping)
        }
    }

    /// Runs `work` once the callback that asks for it has returned. For what may hang: a loop that hangs in a callback is lost,
    /// one that hangs in such work can be taken over by another thread. On the loop's thread only.
    public func afterCallback(_ work: @escaping () -> Void) {
        preconditionOnLoop()
        deferred.append(work)
    }

    /// Ends `run()` once the jobs already enqueued have run.
    public func stop() {
        shared.withLock { $0.stopping = true }
        wake()
    }

    // MARK: Executor

    public func enqueue(_ job: consuming ExecutorJob) {
        let unowned = UnownedJob(job)
        let mustWake = shared.withLock { shared in
            shared.jobs.append(unowned)
            defer { shared.woken = true }
            return !shared.woken
        }
        // On the loop's own thread the queue is looked at before the next sleep, so no system call is needed.
        if mustWake && !isOnLoop { wake() }
    }

    public func asUnownedSerialExecutor() -> UnownedSerialExecutor { UnownedSerialExecutor(ordinary: self) }
    public func asUnownedTaskExecutor() -> UnownedTaskExecutor { UnownedTaskExecutor(ordinary: self) }
    public func checkIsolated() { preconditionOnLoop() }
    public func isIsolatingCurrentContext() -> Bool? { isOnLoop }

    /// True on the loop's own thread.
    public var isOnLoop: Bool { owner.load(ordering: .acquiring) == UInt(pthread_self()) }

    /// Jobs and callbacks begun and ended so far. Begun without ended for long means that one hangs.
    public var progress: (started: UInt64, finished: UInt64) {
        (started.load(ordering: .relaxed), finished.load(ordering: .acquiring))
    }

    // MARK: Sources

    /// Watches `descriptor` for `events`; the handler gets what happened.
    public func watch(_ descriptor: Int32, for events: Readiness, _ handler: @escaping (Readiness) -> Void) throws(JouledError) -> DescriptorWatch {
        preconditionOnLoop()
        return try DescriptorWatch(loop: self, event: event, descriptor: descriptor, events: events, handler: handler)
    }

    /// A timer on CLOCK_MONOTONIC, not yet armed.
    public func timer(_ handler: @escaping () -> Void) throws(JouledError) -> LoopTimer {
        preconditionOnLoop()
        return try LoopTimer(loop: self, event: event, handler: handler)
    }

    /// Calls `handler` on the loop whenever `signal` arrives. The signal must be blocked in every thread
    /// (`blockSignals` before any thread starts).
    public func onSignal(_ signal: Int32, _ handler: @escaping () -> Void) throws(JouledError) -> SignalWatch {
        preconditionOnLoop()
        return try SignalWatch(loop: self, event: event, signal: signal, handler: handler)
    }

    /// Calls `handler` on the loop whenever udev has news of a device of `subsystem`.
    /// - Throws: where netlink sockets are refused.
    public func deviceMonitor(of subsystem: String, _ handler: @escaping () -> Void) throws(JouledError) -> DeviceMonitor {
        preconditionOnLoop()
        return try DeviceMonitor(loop: self, event: event, subsystem: subsystem, call: handler)
    }

    func preconditionOnLoop() {
        precondition(isOnLoop || owner.load(ordering: .acquiring) == 0, "event loop used from a foreign thread")
    }

    /// Frees a source now, or on the loop's thread when the last reference dies elsewhere.
    func retire(_ source: OpaquePointer) {
        if isOnLoop { sd_event_source_disable_unref(source); return }
        let address = UInt(bitPattern: source)
        shared.withLock { $0.retired.append(address) }
        wake()
    }

    private func wake() {
        var one: UInt64 = 1
        // Full counter (EAGAIN) means the loop has been told already.
        _ = Glibc.write(wakeDescriptor, &one, 8)
    }

    private final class ThreadContext {
        let loop: EventLoop
        let name: String
        init(loop: EventLoop, name: String) {
            self.loop = loop
            self.name = name
        }
    }
}

extension JouledError.Code {
    /// The kernel or libsystemd refused an event loop, a timer or a watch.
    public static let eventLoop = Self("systemd.event-loop")
}

/// Blocks `signals` in the calling thread and in all threads started from it, so that loops can receive them.
public func blockSignals(_ signals: [Int32]) {
    var set = sigset_t()
    sigemptyset(&set)
    for signal in signals { sigaddset(&set, signal) }
    pthread_sigmask(SIG_BLOCK, &set, nil)
}

/// The C library's text for an errno value, e.g. `No such file or directory`.
public func errnoText(_ number: Int32) -> String {
    // strerror's table entries are static strings for every number glibc knows.
    String(cString: strerror(number))
}
