import Glibc
import Synchronization
import Units

/// The load of a model in progress, which another thread can give up.
///
/// ONNX Runtime computes what a graph makes of constants when it loads it, and nothing ends that: a published file could hold up all loads for
/// ever. Loads come one at a time.
final class LoadGuard: Sendable {
    private struct State {
        var last: UInt64 = 0
        var current: (number: UInt64, path: String, since: MonotonicTime)?
        var abandoned: Set<UInt64> = []
        var isLost = false
    }
    private let state = Mutex(State())

    /// Loads that may hang at a time, as runs may: each keeps its thread and its memory. One more, and the watchdog restarts the daemon.
    static let limit = InferenceSupervisor.threadLimit

    enum Verdict {
        /// It has not had its time yet, or waits for another.
        case wait(until: MonotonicTime)
        /// Its thread will never touch anything again.
        case givenUp(threads: Int)
        /// So many hang already that nothing but a restart helps.
        case lost
    }

    // MARK: The loading thread

    func enter(_ path: String, at now: MonotonicTime) -> UInt64 {
        state.withLock { state in
            state.last += 1
            state.current = (state.last, path, now)
            return state.last
        }
    }

    /// Does not return if the load was given up: another thread has taken its place.
    func leave(_ number: UInt64) {
        let isAbandoned = state.withLock { state in
            if state.abandoned.contains(number) { return true }
            state.current = nil
            return false
        }
        while isAbandoned { pause() }
    }

    // MARK: Who watches

    /// Gives up the load of `path` if it has taken longer than `limit`.
    func look(at path: String, limit: Seconds, now: MonotonicTime) -> Verdict {
        state.withLock { state in
            guard !state.isLost else { return .lost }
            guard let current = state.current, current.path == path else { return .wait(until: now.advanced(by: limit)) }
            let end = current.since.advanced(by: limit)
            guard now >= end else { return .wait(until: end) }
            guard state.abandoned.count < Self.limit else { return .lost }
            state.abandoned.insert(current.number)
            state.current = nil
            return .givenUp(threads: state.abandoned.count)
        }
    }

    /// Nothing but a restart helps.
    /// - Returns: false if that was known.
    func lose() -> Bool {
        state.withLock { state in
            defer { state.isLost = true }
            return !state.isLost
        }
    }
    var isLost: Bool { state.withLock { $0.isLost } }
}
