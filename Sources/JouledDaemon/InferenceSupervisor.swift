import InferenceRuntime
import StreamSessions
import Systemd
import Units

/// Sees to it that a model which does not come back from a run costs no more than its own stream.
///
/// It looks whenever the inference thread has used up another 50 ms of CPU time, so that nothing wakes up for it while little is
/// computed, and when the watchdog finds that a job does not end: a model may also hang without computing.
/// A run over its limit is asked to end; its stream then goes on with another variant. If it does not end, its thread is given up
/// and another one takes over the loop. Used on the control loop only.
final class InferenceSupervisor {
    /// CPU time of the inference thread between two looks.
    static let tick = Seconds(0.05)
    /// CPU time that a run which was asked to end has for it, for what is in progress is finished first: a share of its limit.
    static let patienceShare = 0.25
    static let leastPatience = Seconds(0.1)
    /// Threads that may hang at a time: each keeps its model in memory. One more, and the watchdog restarts the daemon.
    static let threadLimit = 4

    private let loop: EventLoop
    private let inference: EventLoop
    private let pump: StreamPump
    private let journal: any JournalSink
    private var timer: ThreadTimer?
    private var seen: (number: UInt64, looks: Int)?
    private var threads = 0
    /// True once nothing but a restart helps.
    private(set) var isLost = false

    /// - Throws: if the kernel refuses a timer.
    init(loop: EventLoop, inference: EventLoop, pump: StreamPump, journal: any JournalSink) throws(JouledError) {
        self.loop = loop
        self.inference = inference
        self.pump = pump
        self.journal = journal
        try startTimer()
    }

    func cancel() {
        timer?.cancel()
        timer = nil
    }

    private func startTimer() throws(JouledError) {
        timer?.cancel()
        timer = nil
        guard let clock = inference.cpuClock else { return }
        timer = try ThreadTimer(clock: clock, every: Self.tick, on: loop) { [weak self] in self?.look() }
    }

    /// The inference thread has used up another tick.
    private func look() {
        guard let run = pump.watch.look() else {
            seen = nil
            return
        }
        guard let before = seen, before.number == run.number else {
            seen = (run.number, 0)
            return
        }
        let looks = before.looks + 1
        seen = (run.number, looks)
        let time = Self.tick * Double(looks)
        if run.isTerminating {
            if time >= max(Self.leastPatience, run.limit * Self.patienceShare) { abandon(run) }
        } else if time >= run.limit {
            seen = (run.number, 0)
            terminate(run)
        }
    }

    /// A job of the inference thread has not ended for half of the watchdog's time.
    /// - Returns: true if something was done about it.
    func act() -> Bool {
        guard !isLost, let run = pump.watch.look() else { return false }
        run.isTerminating ? abandon(run) : terminate(run)
        return !isLost
    }

    private func terminate(_ run: RunGuard.Look) {
        guard pump.watch.terminate(run.number) else { return }
        journal.send(
            JournalRecord(.warning, "A model does not come back within \(run.limit) of CPU time: its run is ended", messageID: MessageID.inferenceStuck))
    }

    private func abandon(_ run: RunGuard.Look) {
        guard threads < Self.threadLimit else { return lose("\(threads) threads hang in models already") }
        guard pump.watch.abandon(run.number) else { return }
        threads += 1
        seen = nil
        do throws(JouledError) {
            try inference.takeOver()
            try startTimer()
        } catch {
            return lose("\(error)")
        }
        journal.send(
            JournalRecord(
                .error, "A model's run does not end: its thread is given up (\(threads) of at most \(Self.threadLimit)), and another one goes on",
                messageID: MessageID.inferenceStuck, fields: [.init("JOULED_THREADS_GIVEN_UP", "\(threads)")]))
        let pump = pump
        Task(executorPreference: loop) { await pump.recover() }
    }

    private func lose(_ reason: String) {
        guard !isLost else { return }
        isLost = true
        journal.send(
            JournalRecord(.critical, "Inference cannot go on (\(reason)): the watchdog is not fed", messageID: MessageID.inferenceStuck))
    }
}
