import ArgumentParser
import Glibc
import JouledClient
import Units
import Wire

/// Holds floors or a policy while a command runs.
struct HoldCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "hold",
        abstract: "Hold a floor or a policy for as long as a command runs.",
        discussion: """
            joulectl hold --reason 'night watch' --floor ecg-rhythm=0.99 -- record-night.sh

            The hold ends with the command, however that ends, and shows in joulectl status meanwhile. Policies, and floors for \
            other users' streams, are for root and members of jouled-admin; anybody may hold floors for their own streams, \
            [access] holds_per_user of them. The exit status is the command's, 125 if the hold was refused or the command could \
            not be started, and 128 and the signal's number if a signal ended it.
            """)
    @OptionGroup var daemon: DaemonOptions
    @Option(help: "Why, for those who look at joulectl status: one line, \(HoldReason.byteLimit) bytes at most.")
    var reason = ""
    @Option(help: "MODEL=QUALITY: no variant of this model below this quality (0 to 1); '*' for all models. Can be repeated.")
    var floor: [String] = []
    @Option(help: "The policy that is to hold, by name.")
    var policy: String?
    @Argument(parsing: .postTerminator, help: "The command and its arguments, after --.")
    var command: [String]

    func validate() throws {
        guard !command.isEmpty else { throw ValidationError("give a command after --") }
        guard !floor.isEmpty || policy != nil else { throw ValidationError("give --floor or --policy: what is to be held") }
        if let problem = HoldReason.problem(reason) { throw ValidationError("--reason \(problem)") }
        _ = try floors()
    }

    private func floors() throws -> [JSONValue] {
        try floor.map { text in
            let parts = text.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            guard parts.count == 2, !parts[0].isEmpty, let quality = Double(parts[1]), (0...1).contains(quality) else {
                throw ValidationError("--floor '\(text)' is no MODEL=QUALITY with a quality from 0 to 1")
            }
            return ["model": .string(String(parts[0])), "floor": .double(quality)]
        }
    }

    func run() throws {
        var status: Int32 = 125
        do {
            try reporting {
                let connection = try daemon.connect()
                var parameters: JSONObject = ["reason": .string(reason)]
                let floors = try floors()
                if !floors.isEmpty { parameters["floors"] = .array(floors) }
                if let policy { parameters["policy"] = .string(policy) }
                _ = try connection.call("io.jouled.Policy.Hold", parameters)
                status = try runCommand()
                // Only now it is known whether the connection, and with it the hold, lasted as long as the command.
                if (try? connection.call("org.varlink.service.GetInfo")) == nil {
                    Console.error("joulectl: the hold ended before the command did: jouled was restarted or stopped")
                }
            }
        } catch is ExitCode {
            throw ExitCode(125)
        }
        throw ExitCode(status)
    }

    /// Runs the command with this one's descriptors.
    private func runCommand() throws(JouledError) -> Int32 {
        var arguments: [UnsafeMutablePointer<CChar>?] = command.map { strdup($0) }
        arguments.append(nil)
        defer { for argument in arguments { free(argument) } }
        var id: pid_t = 0
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        // A command must not inherit that a broken pipe is no signal here.
        var defaults = sigset_t()
        sigemptyset(&defaults)
        sigaddset(&defaults, SIGPIPE)
        posix_spawnattr_setsigdefault(&attributes, &defaults)
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGDEF))
        Interruption.install(children: true)
        let result = posix_spawnp(&id, command[0], nil, &attributes, arguments, environ)
        guard result == 0 else { throw JouledError(.init("joulectl.command"), "\(command[0]): cannot be started: \(String(cString: strerror(result)))") }
        guard let status = wait(for: id) else { return 125 }
        return status & 0x7F == 0 ? (status >> 8) & 0xFF : 128 + (status & 0x7F)
    }

    /// Waits for the command's end. Ctrl-C reaches the command by itself, and is for it to answer; SIGTERM is passed on.
    /// - Returns: its status as waitpid(2) tells it; nil if it cannot be told.
    private func wait(for id: pid_t) -> Int32? {
        var (status, passedOn) = (Int32(0), 0)
        while true {
            let ended = waitpid(id, &status, WNOHANG)
            guard ended == 0 else { return ended == id ? status : nil }
            if passedOn < Interruption.terminationCount {
                passedOn += 1
                kill(id, SIGTERM)
            }
            Interruption.wait()
        }
    }
}
