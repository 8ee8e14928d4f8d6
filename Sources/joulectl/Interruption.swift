import Glibc
import Synchronization

/// Ctrl-C ends a command in order: a stream is ended and its last results are printed.
enum Interruption {
    private static let flag = Atomic<Bool>(false)

    static var happened: Bool { flag.load(ordering: .relaxed) }

    /// Takes SIGINT and SIGTERM; system calls that wait return then.
    static func install() {
        var action = sigaction()
        action.__sigaction_handler.sa_handler = { _ in Interruption.flag.store(true, ordering: .relaxed) }
        // No SA_RESTART: a waiting poll must come back.
        sigaction(SIGINT, &action, nil)
        sigaction(SIGTERM, &action, nil)
    }
}
