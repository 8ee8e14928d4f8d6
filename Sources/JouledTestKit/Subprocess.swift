import Glibc
import Units

/// A program started by a test, ended with this object at the latest.
public final class Subprocess: @unchecked Sendable {
    // Safe: a test uses its processes from one thread at a time.
    public let id: pid_t
    private var status: Int32?

    /// - Parameters:
    ///   - path: the executable.
    ///   - input: file for standard input; /dev/null if nil.
    ///   - output, error: files for standard output and error, appended to; /dev/null if nil.
    ///   - environment: variables set beside the test's own.
    ///   - descriptor: what becomes descriptor 3 of the program; everything else is closed to it.
    public init(
        _ path: String, _ arguments: [String], input: String? = nil, output: String? = nil, error: String? = nil,
        environment: [String: String] = [:], descriptor: Int32? = nil
    ) throws(JouledError) {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, input ?? "/dev/null", O_RDONLY, 0)
        let flags = O_WRONLY | O_CREAT | O_APPEND
        posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, output ?? "/dev/null", flags, 0o600)
        posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, error ?? "/dev/null", flags, 0o600)
        if let descriptor { posix_spawn_file_actions_adddup2(&actions, descriptor, 3) }
        // Sockets of tests that run at the same time must not live on in this child.
        _ = Self.closeFrom?(&actions, descriptor == nil ? 3 : 4)
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        var none = sigset_t()
        sigemptyset(&none)
        posix_spawnattr_setsigmask(&attributes, &none)
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK))

        var variables = Self.environment().filter { entry in !environment.keys.contains { entry.hasPrefix($0 + "=") } }
        variables += environment.map { "\($0.key)=\($0.value)" }
        let argv = CStringList([path] + arguments)
        let envp = CStringList(variables)
        var started: pid_t = 0
        let result = posix_spawn(&started, path, &actions, &attributes, argv.pointers, envp.pointers)
        guard result == 0 else {
            throw JouledError(.subprocess, "\(path): cannot be started: \(String(cString: strerror(result)))")
        }
        id = started
    }

    deinit {
        guard exitStatus == nil else { return }
        kill(id, SIGKILL)
        waitpid(id, nil, 0)
    }

    /// The exit status, negative for a signal; nil while it runs.
    public var exitStatus: Int32? {
        if let status { return status }
        var raw: Int32 = 0
        guard waitpid(id, &raw, WNOHANG) == id else { return nil }
        status = raw & 0x7F == 0 ? (raw >> 8) & 0xFF : -(raw & 0x7F)
        return status
    }

    /// Sends a signal, if the program still runs.
    public func signal(_ number: Int32) { if exitStatus == nil { kill(id, number) } }

    /// Waits for the end.
    /// - Returns: the exit status; nil if it has not ended within `limit`.
    @discardableResult
    public func wait(atMost limit: Seconds) -> Int32? {
        _ = eventually(within: limit) { exitStatus != nil }
        return exitStatus
    }

    /// `posix_spawn_file_actions_addclosefrom_np`, which glibc hides behind _GNU_SOURCE.
    private static let closeFrom: (@convention(c) (UnsafeMutablePointer<posix_spawn_file_actions_t>, Int32) -> Int32)? =
        dlsym(nil, "posix_spawn_file_actions_addclosefrom_np").map { unsafeBitCast($0, to: (@convention(c) (UnsafeMutablePointer<posix_spawn_file_actions_t>, Int32) -> Int32).self) }

    private static func environment() -> [String] {
        var variables: [String] = []
        var next = environ
        while let entry = next.pointee {
            variables.append(String(cString: entry))
            next += 1
        }
        return variables
    }

    private final class CStringList {
        let pointers: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>
        private let count: Int
        init(_ strings: [String]) {
            count = strings.count
            pointers = .allocate(capacity: count + 1)
            for (index, string) in strings.enumerated() { (pointers + index).initialize(to: strdup(string)) }
            (pointers + count).initialize(to: nil)
        }
        deinit {
            for index in 0..<count { free(pointers[index]) }
            pointers.deallocate()
        }
    }
}

/// Asks again and again until `condition` holds.
/// - Returns: false if it did not within `limit`.
public func eventually(within limit: Seconds = Seconds(10), _ condition: () throws -> Bool) rethrows -> Bool {
    let clocks = SystemClocks()
    let deadline = clocks.monotonic().advanced(by: limit)
    while true {
        if try condition() { return true }
        guard clocks.monotonic() < deadline else { return false }
        usleep(5_000)
    }
}

extension JouledError.Code {
    /// A program that a test needs cannot be run.
    public static let subprocess = JouledError.Code("test.subprocess")
}
