import ArgumentParser
import ConfigDocument
import InferenceRuntime
import JouledDaemon
import Systemd
import Units

/// The daemon's command line: reads the configuration, starts the daemon, runs the control loop on the main thread.
@main
struct JouledCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "jouled",
        abstract: "Keep streaming inference alive on battery-powered Linux.",
        discussion: """
            Clients open streams over a Unix socket; jouled runs a model on each and chooses, for all streams together,
            the quantized variants and the pace at which the battery lasts as long as the policy asks.
            Every decision goes to the journal. See joulectl --help for the command line to a running daemon.
            """,
        version: DaemonVersion.text)

    @Option(name: .shortAndLong, help: "Configuration file; without it, built-in defaults hold if the default file does not exist.")
    var config: String?
    @Option(help: "Socket to listen on, instead of the configured one.")
    var socket: String?
    @Option(help: "Policy to begin with, instead of the remembered or configured one.")
    var policy: String?
    @Flag(help: "Write journal records to standard error, one line each, even where there is a journal.")
    var stderr = false
    @Flag(name: .shortAndLong, help: "With records on standard error: also debug records.")
    var verbose = false

    func run() throws {
        blockSignals(Daemon.signals)
        // Before any thread reads the environment.
        OnnxRuntime.disableTelemetry()
        // Whatever flaps, batteries or clients, cannot flood the journal.
        let journal = LimitedJournal(SystemJournal(minimum: verbose ? .debug : .info, forceStandardError: stderr))
        defer { journal.flush() }
        do throws(JouledError) {
            let loop = try EventLoop()
            let daemon = try Daemon(configuration: try settings(), policyName: policy, journal: journal, loop: loop)
            let failure = StartFailure()
            Task(executorPreference: loop) {
                do { try await daemon.start() } catch {
                    failure.error = error
                    loop.stop()
                }
            }
            loop.run()
            if let error = failure.error as? JouledError { throw error }
        } catch {
            journal.send(JournalRecord(.critical, "jouled cannot start: \(error)"))
            throw ExitCode(1)
        }
    }

    private func settings() throws(JouledError) -> DaemonConfiguration {
        var settings = try DaemonConfiguration.load(config, default: DaemonConfiguration.defaultPath)
        if let socket { settings.socketPath = socket }
        return settings
    }
}

/// Why the daemon did not start; written by a job of the loop and read after the loop has ended, on the same thread.
private final class StartFailure: @unchecked Sendable {
    var error: (any Error)?
}
