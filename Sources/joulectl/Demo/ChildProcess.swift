import Glibc
import Units

/// A program started by this one, ended with it.
final class ChildProcess {
    private(set) var id: pid_t = 0
    private var status: Int32?
    let name: String

    /// - Parameters:
    ///   - path: the executable.
    ///   - input: file for standard input; /dev/null if nil.
    ///   - output, error: files for standard output and error, appended to.
    init(_ path: String, _ arguments: [String], input: String? = nil, output: String, error: String) throws(JouledError) {
        name = String(path[(path.lastIndex(of: "/").map { path.index(after: $0) } ?? path.startIndex)...])
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, input ?? "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, output, O_WRONLY | O_CREAT | O_APPEND, 0o600)
        posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, error, O_WRONLY | O_CREAT | O_APPEND, 0o600)
        var argv: [UnsafeMutablePointer<CChar>?] = ([path] + arguments).map { strdup($0) }
        argv.append(nil)
        defer { for argument in argv { free(argument) } }
        let result = posix_spawn(&id, path, &actions, nil, argv, environ)
        guard result == 0 else { throw JouledError(.demo, "\(path): cannot be started: \(String(cString: strerror(result)))") }
    }

    deinit {
        guard exitStatus == nil else { return }
        kill(id, SIGKILL)
        waitpid(id, nil, 0)
    }

    /// The exit status, negative for a signal; nil while it runs.
    var exitStatus: Int32? {
        if let status { return status }
        var raw: Int32 = 0
        guard waitpid(id, &raw, WNOHANG) == id else { return nil }
        status = raw & 0x7F == 0 ? (raw >> 8) & 0xFF : -(raw & 0x7F)
        return status
    }

    func terminate() { if exitStatus == nil { kill(id, SIGTERM) } }

    /// Waits for the end.
    /// - Returns: false if it has not ended within `limit`.
    func wait(atMost limit: Seconds) -> Bool {
        let clocks = SystemClocks()
        let deadline = clocks.monotonic().advanced(by: limit)
        while exitStatus == nil {
            guard clocks.monotonic() < deadline else { return false }
            usleep(10_000)
        }
        return true
    }
}

extension JouledError.Code {
    /// The demonstration cannot go on.
    static let demo = Self("joulectl.demo")
}
