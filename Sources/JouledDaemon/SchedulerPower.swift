import Decisions
import EnergyModel
import PowerPolicy
import PowerTelemetry
import StreamSessions
import Systemd
import Units
import Wire

// Reads power, accounts for what inference drew, and keeps the slow tick.
extension Scheduler {
    /// Between the reads of two clocks passes less, suspended is longer.
    static let shortestSleep = Seconds(0.5)

    /// Reads power for the first time, so that the daemon is ready with a budget, and starts the slow tick.
    func begin() async throws {
        timer = try loop.timer { [weak self] in self?.assumeIsolated { $0.tickSoon() } }
        watchPowerEvents()
        watchMemory()
        await tick()
    }

    /// Plugs are told by udev at once where the sandbox allows; a fake tree has no events.
    private func watchPowerEvents() {
        guard configuration.power.source == .sysfs, configuration.power.sysfsRoot == "/sys" else { return }
        do throws(JouledError) {
            powerEvents = try loop.deviceMonitor(of: "power_supply") { [weak self] in self?.assumeIsolated { $0.powerChanged() } }
        } catch {
            journal.send(JournalRecord(.info, "Power is read every \(configuration.power.pollInterval), for there are no events: \(error)", messageID: MessageID.lifecycle))
        }
    }

    /// A flapping plug or a chatty gauge gets one look a second.
    private func powerChanged() {
        guard !isStopping else { return }
        let now = clocks.monotonic()
        let since = lastReading.map { now.since($0.readAt) } ?? Seconds(.infinity)
        if since >= Seconds(1) { tickSoon() } else { timer?.arm(at: now.advanced(by: Seconds(1)), accuracy: Seconds(0.1)) }
    }

    /// Time until power is read again. Without streams there is nothing to decide, and whoever asks gets a fresh reading.
    private var restTime: Seconds {
        streams.isEmpty ? max(configuration.power.pollInterval, min(configuration.power.pollInterval * 10, Seconds(600))) : configuration.power.pollInterval
    }

    /// Makes sure that what is known of power is no older than a reading may be.
    func catchUp() async {
        guard let lastReading, clocks.monotonic().since(lastReading.readAt) > configuration.power.pollInterval * 1.1 else { return }
        await tick()
    }

    private func tickSoon() {
        Task(executorPreference: loop) { await self.tick() }
    }

    /// Reads power, accounts for what inference drew, and decides again.
    func tick() async {
        guard !isTicking, !isStopping else { return }
        isTicking = true
        defer {
            isTicking = false
            // A tenth of the interval late is early enough, and lets the kernel share the wake-up.
            let rest = restTime
            let change = engine.chosen.untilScheduleChanges(from: clocks.wall(), utcOffset: .local(at: clocks.wall())) ?? rest
            // A part of the day begins when it should.
            let next = min(rest, max(change, Seconds(1)))
            timer?.arm(at: clocks.monotonic().advanced(by: next), accuracy: next < rest ? Seconds(1) : rest * 0.1)
        }
        await account()
        await enforceQuotas()
        let trigger = await readPower()
        await decide(because: trigger)
        publish(.streams)
        manager.status(statusLine)
        await keepHistory()
    }

    /// Takes the present figures of all streams.
    func refresh() async {
        let reports = await pump.report()
        ledger.update(reports, streams)
        for (id, statistics) in reports {
            guard let stream = streams[id] else { continue }
            quota?.spend(statistics.totalJoules - stream.statistics.totalJoules, by: stream.peer.uid, at: clocks.monotonic())
            learnDuty(of: stream, statistics)
            streams[id]?.statistics = statistics
        }
    }

    /// Ends the streams of users who spent more than their hour's energy.
    private func enforceQuotas() async {
        guard let quota else { return }
        let now = clocks.monotonic()
        for (id, stream) in streams where !stream.peer.isAdmin && quota.isExceeded(by: stream.peer.uid, at: now) {
            await pump.close(id, because: "user \(stream.peer.uid) has spent \(quota.limit) within an hour, which is the limit")
        }
    }

    /// The state of a topic with figures as of now.
    func snapshot(of topic: Topic, for peer: Peer) async -> Snapshot {
        await catchUp()
        await refresh()
        return Snapshot(parameters: view(of: topic, for: peer), revision: revision(of: topic))
    }

    func snapshotOfDecisions(limit: Int?) -> Snapshot {
        Snapshot(parameters: decisions(limit: limit), revision: revision(of: .decisions))
    }

    func freshLedger(for peer: Peer) async -> JSONObject {
        await refresh()
        keepLedger()
        coarse.refresh(streams, ledger, at: clocks.monotonic())
        return ledgerJSON(for: peer)
    }

    /// Writes the ledger before anyone is told of it.
    /// - Parameter plan: what decisions go on from, if that is no longer the plan of now.
    func keepLedger(isDurable: Bool = false, plan: PlanMemory? = nil) {
        ledgerFile.write(
            .init(
                entries: ledger.entries, nextStream: nextStream, decisions: decisionCount,
                plan: plan ?? planMemory),
            at: clocks.monotonic(), isDurable: isDurable, journal)
    }

    var planMemory: PlanMemory { PlanMemory(engine, streams, at: clocks.monotonic(), .now(clocks)) }

    /// Adds up what inference did since the last call.
    func account() async {
        await refresh()
        let now = clocks.monotonic()
        let span = now.since(lastTick)
        guard span > .zero else { return }
        let work = ledger.takeSpent()
        lastTick = now
        inferencePower = work.reduce(Joules.zero) { $0 + $1.profiled.energy * engine.energy.scale(of: $1.unit).factor } / span
        lastWork = work
        learning.add(work, span: span)
        for unit in work {
            guard let slowDown = unit.slowDown else { continue }
            engine.observeLatency(unit: unit.unit, ratio: slowDown.ratio, error: slowDown.error, at: now)
        }
        await power.draw(work.reduce(.zero) { $0 + $1.profiled.energy })
        keepLedger()
        dutyFile.saveIfDue(at: now, journal)
    }

    private func readPower() async -> DecisionEngine.Trigger {
        let reading = await power.read()
        let before = lastReading
        let wasWeak = engine.isSupplyWeak
        lastReading = reading
        if reading.slept > Self.shortestSleep {
            learning.slept()
            engine.slept(reading.slept)
            journal.send(JournalRecord(.info, "The device slept for \(reading.slept)", messageID: MessageID.powerChanged))
        } else if let sample = reading.meter, let busy = reading.busy {
            for told in learning.observe(sample, busy: busy, work: lastWork) {
                engine.adopt(metered: told.factor, variance: told.variance, of: told.unit)
            }
        }
        let seen = reading.forEngine
        if let fresh = learning.usage(upTo: seen, drawError: reading.snapshot.draw?.error ?? .zero) {
            engine.observe(fresh.reading, usage: fresh.usage, wall: clocks.wall(), utcOffset: .local(at: clocks.wall()))
            learning.saveIfDue(engine.energy, at: reading.readAt, journal)
            restFile.saveIfDue(engine, clocks, journal)
        } else {
            engine.observe(seen, own: inferencePower)
        }
        for problem in reading.problems where !(before?.problems.contains(problem) ?? false) {
            journal.send(JournalRecord(.warning, problem, messageID: MessageID.powerProblem))
        }
        if !engine.isSupplyWeak, wasWeak, reading.acOnline {
            journal.send(
                JournalRecord(
                    .notice, "External power carries the device again", messageID: MessageID.powerChanged,
                    fields: [.init("JOULED_AC", "1"), .init("JOULED_AC_WEAK", "0")]))
        }
        if engine.isSupplyWeak, !wasWeak {
            journal.send(
                JournalRecord(
                    .warning, "External power is on, but gives less than the device takes: the battery drains, and plans are made as without it",
                    messageID: MessageID.powerChanged, fields: [.init("JOULED_AC", "1"), .init("JOULED_AC_WEAK", "1")]))
        }
        guard let before, before.acOnline != reading.acOnline else { return engine.isSupplyWeak == wasWeak ? .tick : .power }
        journal.send(
            JournalRecord(
                .notice, reading.acOnline ? "External power is on" : "External power is off: running on battery",
                messageID: MessageID.powerChanged, fields: [.init("JOULED_AC", reading.acOnline ? "1" : "0")]))
        return .power
    }

    /// Changes the virtual device and reacts at once; nil if there is none.
    func setVirtualDevice(chargerPluggedIn: Bool?, base: Watts?) async -> VirtualDeviceState? {
        await account()
        guard let state = await power.setVirtualDevice(chargerPluggedIn: chargerPluggedIn, base: base) else { return nil }
        await tick()
        return state
    }

    /// Looks at the store once, so that the operator hears of broken bundles before a client does.
    func checkBundles() async {
        let problems = await models.list().problems
        bundleProblems = problems
        for problem in problems { journal.send(JournalRecord(.warning, problem, messageID: MessageID.bundleProblem)) }
    }
}
