import CLinux
import Glibc
import Synchronization

/// Ctrl-C ends a command in order: a stream is ended and its last results are printed.
///
/// A signal also makes `descriptor` readable, so that none is lost between a look at what happened and the wait that follows.
enum Interruption {
    private static let count = Atomic<Int>(0)
    private static let answered = Atomic<Int>(0)
    private static let terminations = Atomic<Int>(0)
    private static let event = Atomic<Int32>(-1)

    /// Whether SIGINT or SIGTERM has come.
    static var happened: Bool { count.load(ordering: .relaxed) > 0 }
    /// How often SIGTERM has come.
    static var terminationCount: Int { terminations.load(ordering: .relaxed) }
    /// Can be read from a signal on until it was asked for with `isNew`; -1 if there is none.
    static var descriptor: Int32 { event.load(ordering: .relaxed) }

    /// Whether SIGINT or SIGTERM has come since this was asked last.
    static func isNew() -> Bool {
        // First, so that a signal that comes now is seen now or makes the descriptor readable again.
        clear()
        let now = count.load(ordering: .relaxed)
        return answered.exchange(now, ordering: .relaxed) != now
    }

    /// Waits for a signal, and for a child's end if these were asked for.
    static func wait() {
        var polled = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        if poll(&polled, 1, -1) > 0 { clear() }
    }

    /// Waits until `other` can be read.
    /// - Returns: false if SIGINT or SIGTERM has come.
    static func wait(for other: Int32) -> Bool {
        while !happened {
            var polled = [pollfd(fd: other, events: Int16(POLLIN), revents: 0), pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)]
            if poll(&polled, 2, -1) < 0 && errno != EINTR { return true }
            if polled[0].revents != 0 { return !happened }
        }
        return false
    }

    /// Takes SIGINT and SIGTERM; system calls that wait return then.
    /// - Parameter children: whether `wait()` is to end when a child does, too.
    static func install(children: Bool = false) {
        if descriptor < 0 { event.store(clinux_eventfd(), ordering: .relaxed) }
        var action = sigaction()
        action.__sigaction_handler.sa_handler = { signal in Interruption.note(signal) }
        // No SA_RESTART: a waiting poll must come back.
        sigaction(SIGINT, &action, nil)
        sigaction(SIGTERM, &action, nil)
        if children { sigaction(SIGCHLD, &action, nil) }
    }

    /// In the handler: nothing here may allocate or lock.
    private static func note(_ signal: Int32) {
        let error = errno
        if signal != SIGCHLD { count.add(1, ordering: .relaxed) }
        if signal == SIGTERM { terminations.add(1, ordering: .relaxed) }
        var one: UInt64 = 1
        write(descriptor, &one, MemoryLayout<UInt64>.size)
        errno = error
    }

    private static func clear() {
        var value: UInt64 = 0
        // It does not block.
        _ = read(descriptor, &value, MemoryLayout<UInt64>.size)
    }
}
