import Decisions
import EnergyModel
import InferenceRuntime
import ModelStore
import Planner
import PowerPolicy
import StreamSessions
import Systemd
import Units
import Wire

/// The daemon's decision loop on the control loop: knows all streams, reads power, asks the engine, carries out its plans.
///
/// It decides when a stream opens or ends, when power or policy change, when a variant fails, and on a slow tick.
actor Scheduler {
    nonisolated let loop: EventLoop
    nonisolated var unownedExecutor: UnownedSerialExecutor { loop.asUnownedSerialExecutor() }

    let configuration: DaemonConfiguration
    let clocks = SystemClocks()
    let startedAt: MonotonicTime
    let models: ModelHost
    /// Loads in progress, by a number of each.
    var flights: [UInt64: LoadFlight] = [:]
    var lastFlight: UInt64 = 0
    let power: PowerMonitor
    let pump: StreamPump
    let journal: any JournalSink
    let manager: ServiceManager

    var engine: DecisionEngine
    var streams: [UInt64: OpenStream] = [:]
    var ledger: Ledger
    var ledgerFile: LedgerFile
    var recorder = HistoryRecorder()
    let historyStore: HistoryStore
    var coarse = CoarseFigures()
    var quota: EnergyQuota?
    var learning: LearnedEnergy
    /// What inference did between the last two accounts.
    var lastWork: [UnitWork] = []
    var history: [DecisionEntry] = []
    var decisionCount: Int
    var lastReading: PowerReading?
    var inferencePower = Watts.zero
    var bundleProblems: [String] = []
    private var policyProblem: String?
    /// What keeps the daemon from doing its job as asked, for status.
    var standingProblems: [String] { (policyProblem.map { [$0] } ?? []) + bundleProblems }
    var nextStream: UInt64
    /// How streams ran before a restart, for those that come again.
    var earlierStreams: [PlanMemory.Stream]
    var timer: LoopTimer?
    var powerEvents: DeviceMonitor?
    var memoryPressure: MemoryPressure?
    var relievedAt: MonotonicTime?
    var lastTick: MonotonicTime
    var isTicking = false
    var subscribers: [Topic: [UInt64: Subscriber]] = [:]
    var revisions: [Topic: Int] = [:]
    /// Why a variant is not used any more, by model, variant and artefact.
    var failures: [String: String] = [:]
    /// The goal as it was journaled last.
    var goal = Budget.Goal.none
    private var wasLimited = false
    var isStopping = false
    var holds = Holds()
    var habitFile: HabitFile
    var dutyFile: DutyFile
    var restFile: RestFile

    /// CPU time after which a window is taken for stuck, as a multiple of what the profile says of a cold one: far beyond it on the slowest
    /// clock, too.
    static let runLimitFactor = 20.0
    static let leastRunLimit = Seconds(0.1)
    /// Decisions kept for clients; older ones are in the journal.
    static let historyLimit = 512

    init(
        configuration: DaemonConfiguration, policyName: String, policy: PowerPolicy, models: ModelHost, power: PowerMonitor,
        pump: StreamPump, history historyStore: HistoryStore, journal: any JournalSink, manager: ServiceManager, loop: EventLoop
    ) {
        self.configuration = configuration
        self.models = models
        self.power = power
        self.pump = pump
        self.historyStore = historyStore
        self.journal = journal
        self.manager = manager
        self.loop = loop
        startedAt = SystemClocks().monotonic()
        lastTick = startedAt
        quota = configuration.access.joulesPerUserAndHour.map { EnergyQuota(limit: $0) }
        ledgerFile = LedgerFile(directory: configuration.stateDirectory, volatile: configuration.volatileDirectory)
        let earlier = ledgerFile.load(journal)
        ledger = Ledger(earlier: earlier.entries)
        nextStream = earlier.nextStream
        decisionCount = earlier.decisions
        earlierStreams = earlier.plan?.streams ?? []
        learning = LearnedEnergy(path: configuration.stateDirectory + "/energy-model")
        engine = DecisionEngine(
            policyName: policyName, policy: policy,
            limits: .init(
                unitUtilization: configuration.limits.unitUtilization,
                residentBytes: configuration.limits.residentMegabytes << 20,
                minimumDwell: configuration.power.dwell,
                restWindow: configuration.power.pollInterval * 15))
        habitFile = HabitFile(path: configuration.stateDirectory + "/charging")
        dutyFile = DutyFile(path: configuration.stateDirectory + "/gates")
        dutyFile.load(journal)
        restFile = RestFile(path: configuration.stateDirectory + "/rest")
        if let known = restFile.load(journal, at: SystemClocks().wall()) { engine.restore(known) }
        if let known = learning.load(journal) { engine.restore(known) }
        if let known = habitFile.load(journal) { engine.restore(known) }
        if let memory = earlier.plan?.memory(for: engine, at: startedAt, .now(clocks)) { engine.restore(memory) }
    }

    // MARK: Opening and ending streams

    /// Checks a request, places the stream and loads its variant. The stream runs after `start`.
    func open(_ request: OpenRequest, for peer: Peer) async throws -> StreamOpening {
        try checkRoom(for: peer)
        let id = nextStream
        nextStream += 1
        let hosted: HostedModel
        do {
            hosted = try await models.model(request.model, version: request.version)
        } catch {
            throw await explain(error, request)
        }
        if streams.isEmpty { await catchUp() }
        // Other clients may have opened theirs while the bundle was read.
        try checkRoom(for: peer)
        var stream = try OpenStream(id: id, request: request, model: hosted, peer: peer)
        if let gate = try gate(for: stream) { stream.put(behind: gate) }
        if let reason = unusable(stream) {
            throw VarlinkError("io.jouled.Streams.ModelUnavailable", ["model": .string(request.model), "reason": .string(reason)])
        }
        streams[id] = stream
        if streams.count == 1 { timer?.arm(at: clocks.monotonic().advanced(by: configuration.power.pollInterval), accuracy: configuration.power.pollInterval * 0.1) }
        engine.open(stream.engineRequest, at: clocks.monotonic(), earlier: earlierChoice(of: stream))
        engine.setDuty(duty(of: stream), of: id)
        engine.setFloor(floor(of: stream), of: id)
        await decide(because: .streamOpened)
        // A variant whose file is broken is quarantined on the way; what is left may be nothing.
        guard let placement = engine.placements[id], streams[id] != nil else {
            throw VarlinkError("io.jouled.Streams.ModelUnavailable", ["model": .string(request.model), "reason": "the stream was closed while it opened"])
        }
        if let failure = streams[id]?.loadFailure, placement.option == nil {
            await abandon(id)
            throw VarlinkError("io.jouled.Streams.ModelUnavailable", ["model": .string(request.model), "reason": .string(failure)])
        }
        // The client may send to the gate as soon as it has the reply.
        if let gate = stream.contract.gate { await pump.listen(to: gate, for: id) }
        return StreamOpening(
            stream: id,
            reply: [
                "stream": JSONValue(id), "contract": .object(stream.contractJSON),
                "variant": .string(placement.option?.plan.variant ?? ""), "reason": .string(placement.reason),
            ])
    }

    /// Hands the socket of an opened stream to the inference loop.
    /// - Parameter position: where the process before left it.
    func start(_ id: UInt64, on descriptor: Int32, from position: StreamPosition? = nil) async {
        guard let stream = streams[id], let placement = engine.placements[id] else {
            await pump.discard(descriptor)
            await pump.forget(id)
            return
        }
        streams[id]?.isRunning = true
        let assignment = assignment(for: stream, placement)
        await pump.open(
            id: id, contract: stream.contract, descriptor: descriptor, variantCount: stream.variantNames.count, assignment: assignment,
            from: position)
        // The plan may have moved on while the socket changed hands.
        if let later = engine.placements[id], later.option != placement.option { await apply([id]) }
        journal.send(
            JournalRecord(
                .info, "Stream \(id) (\(stream.displayName)) \(position == nil ? "opened" : "goes on") on \(stream.model.bundle.manifest.name): \(placement.option.map(Self.text) ?? "paused")",
                messageID: MessageID.streamOpened, fields: stream.journalFields))
        publish(.streams)
    }

    /// Forgets a stream that was opened but never started.
    func abandon(_ id: UInt64) async {
        guard streams.removeValue(forKey: id) != nil else { return }
        await pump.forget(id)
        engine.close(id)
        replan(because: .streamClosed)
    }

    /// What the inference loop tells.
    func handle(_ event: StreamPump.Event) async {
        switch event {
        case .ended(let id, let end, let statistics):
            guard let stream = streams.removeValue(forKey: id) else { return }
            ledger.close(stream, statistics, at: clocks.monotonic())
            learnDuty(of: stream, statistics)
            quota?.spend(statistics.totalJoules - stream.statistics.totalJoules, by: stream.peer.uid, at: clocks.monotonic())
            engine.close(id)
            let record = JournalRecord(
                end.isFault ? .warning : .info,
                "Stream \(id) (\(stream.displayName)) ended after \(statistics.totalWindows) windows and \(statistics.totalJoules): \(end.text)",
                messageID: MessageID.streamClosed,
                fields: stream.journalFields + [
                    .init("JOULED_WINDOWS", "\(statistics.totalWindows)"),
                    .init("JOULED_ENERGY_J", decimal(statistics.totalJoules.value, places: 6)),
                ])
            journal.send(record)
            await decide(because: .streamClosed)
            publish(.streams)
        case .awoken(let id): await apply([id])
        case .faulted(let id, let variant, let message):
            guard let stream = streams[id] else { return }
            quarantine(variant, of: stream, message)
            await decide(because: .variantFailed)
            if engine.placements[id]?.option == nil {
                await pump.close(id, because: "no variant of \(stream.model.bundle.manifest.name) can run: \(message)")
            }
        }
    }

    /// Journals the failure of a variant and sees to it that it is not planned again.
    private func quarantine(_ variant: String, of stream: OpenStream, _ message: String) {
        let (model, artefact) = (stream.model.bundle.manifest.name, stream.artefact(variant))
        engine.quarantine(model: model, variant: variant, artefact: artefact)
        let key = "\(model)/\(variant)/\(artefact)"
        // Streams that ran it at the same time fail one after the other; one entry is enough.
        guard failures.updateValue(message, forKey: key) == nil else { return }
        journal.send(
            JournalRecord(
                .error, "Variant \(variant) of \(stream.model.bundle.manifest.name) failed and is not used again: \(message)",
                messageID: MessageID.variantFailed,
                fields: stream.journalFields + [.init("JOULED_VARIANT", variant), .init("JOULED_ERROR", message)]))
    }

    // MARK: Deciding

    /// Decides outside of a call that would wait for it.
    func replan(because trigger: DecisionEngine.Trigger) {
        Task(executorPreference: loop) { await self.decide(because: trigger) }
    }

    /// Makes a plan and carries it out; journals what changed.
    func decide(because trigger: DecisionEngine.Trigger) async {
        guard !isStopping else { return }
        let now = clocks.monotonic()
        let part = engine.scheduleEntry
        let decision = engine.decide(because: trigger, at: now, wall: clocks.wall(), utcOffset: .local(at: clocks.wall()))
        journalSchedule(from: part)
        habitFile.save(engine.habit, journal)
        journalGoal(decision)
        record(decision, at: now)
        if !decision.changes.isEmpty {
            keepLedger()
            publish(.decisions)
        }
        // Whether samples are paced is part of every stream's assignment, of those too that keep their option.
        let isLimited = decision.budget.watts != nil
        let concerned = isLimited == wasLimited ? decision.changes.map(\.stream) : streams.keys.sorted()
        wasLimited = isLimited
        await apply(concerned)
        publish(.status)
    }

    /// Loads what the plan asks for and tells the sessions; a variant that does not load is quarantined and planned around.
    private func apply(_ ids: [UInt64]) async {
        var failed = false
        for id in ids {
            guard let stream = streams[id], let option = engine.placements[id]?.option else {
                if let stream = streams[id], stream.isRunning, let placement = engine.placements[id] {
                    await pump.assign(id, assignment(for: stream, placement))
                }
                continue
            }
            let variant = option.plan.variant
            if stream.loaded[variant] == nil {
                do {
                    let session = try await load(stream.model.bundle, variant: variant)
                    streams[id]?.loaded[variant] = session
                } catch {
                    streams[id]?.loadFailure = "\(error)"
                    quarantine(variant, of: stream, "\(error)")
                    failed = true
                    continue
                }
            }
            // Other decisions may have been made while the variant loaded; theirs is the last word.
            guard let current = streams[id], current.isRunning, let placement = engine.placements[id],
                placement.option?.plan.variant == variant
            else { continue }
            streams[id]?.loaded = current.loaded.filter { $0.key == variant }
            await pump.assign(id, assignment(for: current, placement))
        }
        if failed { await decide(because: .variantFailed) }
        await keepWhatIsUsed()
    }

    private func assignment(for stream: OpenStream, _ placement: DecisionEngine.Placement) -> Assignment {
        let isLimited = engine.latest?.budget.watts != nil
        guard let option = placement.option, let session = stream.loaded[option.plan.variant] else {
            return Assignment(
                session: nil, variantIndex: 0, variantName: "", unit: "", cadence: 1, coalescing: 1,
                // Samples of a paused stream are taken rarely and thrown away.
                drainPeriod: Seconds(1), firstWindow: .zero, nextWindow: .zero, isPaced: isLimited,
                reason: placement.reason)
        }
        let profile = option.profile
        let first = profile.wake + profile.first
        return Assignment(
            session: session, variantIndex: UInt16(stream.variantNames.firstIndex(of: option.plan.variant) ?? 0),
            variantName: option.plan.variant, unit: option.plan.unit, cadence: option.plan.cadence,
            coalescing: option.plan.coalescing,
            windowsPerRun: stream.model.bundle.manifest.variants.first { $0.name == option.plan.variant }?.windowsPerRun ?? 1,
            drainPeriod: option.drainPeriod,
            firstWindow: WindowCost(energy: first.energy, cpu: first.cpu, latency: profile.latency.p50),
            nextWindow: WindowCost(energy: profile.next.energy, cpu: profile.next.cpu, latency: profile.nextLatency.p50),
            energyFactor: engine.energy.scale(of: option.plan.unit).factor,
            runLimit: max(Self.leastRunLimit, first.cpu * Self.runLimitFactor), furtherRunLimit: profile.next.cpu * Self.runLimitFactor,
            isPaced: isLimited, reason: placement.reason)
    }

    // MARK: Policy

    /// Puts a policy in force and decides again.
    /// - Parameter beginsAnew: whether a `duration` counts from now on, although the policy may be the same.
    func adopt(_ policy: PowerPolicy, named name: String, beginsAnew: Bool) async {
        let old = engine.operatorPolicy.name
        policyProblem = nil
        // An operator who reloads may have repaired a bundle or the library, too.
        failures = [:]
        engine.pardon()
        engine.adopt(policy, named: name, beginsAnew: beginsAnew)
        journal.send(
            JournalRecord(
                .notice, old == name ? "Policy \(name) read again" : "Policy \(name) replaces \(old)",
                messageID: MessageID.policyChanged, fields: [.init("JOULED_POLICY", name)]))
        await decide(because: .policy)
        keepLedger()
        manager.status(statusLine)
    }

    /// A policy was refused; the one in force stays, and status says so until a good one comes.
    func refusedPolicy(_ name: String, _ problem: String) {
        policyProblem = "policy \(name) was refused, \(engine.operatorPolicy.name) stays in force: \(problem)"
        manager.status(statusLine)
        publish(.status)
    }

    // MARK: Ending

    /// Ends all streams, telling their clients, and accounts for the last windows. Streams that can be handed over to the
    /// next process are, and their clients are told by that one.
    func stop(handingOver giver: Handover.Giver?) async {
        isStopping = true
        timer?.cancel()
        timer = nil
        memoryPressure?.cancel()
        memoryPressure = nil
        powerEvents?.cancel()
        powerEvents = nil
        // The last figures of streams that leave with their socket.
        await account()
        let plan = planMemory
        if let giver { await handOver(by: giver) }
        for id in streams.keys.sorted() { await pump.close(id, because: "jouled is stopping") }
        await account()
        keepLedger(isDurable: true, plan: plan)
        await keepHistory(all: true)
        learning.save(engine.energy, journal)
        dutyFile.save(journal)
        restFile.save(engine, clocks, journal)
    }
}
