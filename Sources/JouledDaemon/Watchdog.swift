import Systemd
import Units

/// Tells the service manager that the daemon lives, but only while it makes progress: this loop by running the timer,
/// the inference loop by ending the jobs that it began. A job that hangs in a model is ended first.
final class Watchdog {
    private let timer: LoopTimer
    private let state: State

    /// What the timer's handler needs; used on the control loop only.
    private final class State {
        var last: (started: UInt64, finished: UInt64)?
        var isStuck = false
        weak var timer: LoopTimer?
    }

    /// - Parameters:
    ///   - interval: the manager's limit; signs of life come at half of it.
    ///   - loop: the loop that this runs on.
    ///   - watched: the loop whose jobs must end.
    ///   - supervisor: what can be done about a job that does not.
    ///   - isLost: whether something else than inference can only be helped by a restart.
    init(
        interval: Seconds, loop: EventLoop, watched: EventLoop, supervisor: InferenceSupervisor? = nil, isLost: @escaping () -> Bool = { false }, manager: ServiceManager,
        journal: any JournalSink
    ) throws(JouledError) {
        let clocks = SystemClocks()
        let state = State()
        self.state = state
        let period = interval * 0.5
        timer = try loop.timer {
            let now = watched.progress
            // A job that had begun before the last look and has not ended since hangs.
            let isBusy = state.last.map { now.finished == $0.finished && $0.started > $0.finished } ?? false
            state.last = now
            let hangs = isLost() || supervisor?.isLost ?? false || (isBusy && !(supervisor?.act() ?? false))
            if hangs != state.isStuck {
                state.isStuck = hangs
                journal.send(
                    JournalRecord(
                        hangs ? .critical : .notice,
                        hangs ? "Inference makes no progress: the watchdog is not fed" : "Inference makes progress again",
                        messageID: MessageID.inferenceStuck))
            }
            if !hangs { manager.alive() }
            state.timer?.arm(at: clocks.monotonic().advanced(by: period), accuracy: period * 0.2)
        }
        state.timer = timer
        timer.arm(at: clocks.monotonic().advanced(by: period), accuracy: period * 0.2)
        manager.alive()
    }

    func cancel() { timer.cancel() }
}
