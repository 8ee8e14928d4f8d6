import ArgumentParser
import JouledClient
import JouledDaemon
import Units
import Wire

/// The command line to jouled.
@main
struct JoulectlCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "joulectl",
        abstract: "Talk to jouled: stream signals, see where the battery goes, choose policies, prepare models.",
        version: DaemonVersion.text,
        subcommands: [
            StatusCommand.self, StreamCommand.self, ModelsCommand.self, PowerCommand.self, PolicyCommand.self, HoldCommand.self, ExplainCommand.self,
            DecisionsCommand.self, TopCommand.self, ReportCommand.self, MetricsCommand.self, VerifyCommand.self, DiagnoseCommand.self,
            WyomingCommand.self, CheckConfigCommand.self, ModelCommand.self, DemoCommand.self, SimulateCommand.self, ReplayCommand.self,
        ])
}

/// Options that every command to a running daemon has.
struct DaemonOptions: ParsableArguments {
    @Option(help: "The daemon's socket; JOULED_SOCKET in the environment sets it too.")
    var socket: String?

    var path: String { socket ?? environment("JOULED_SOCKET") ?? JouledConnection.defaultPath }

    func connect() throws -> JouledConnection { try JouledConnection(path: path) }
}

/// Options of commands that print a table.
struct TableOptions: ParsableArguments {
    @Flag(help: "Print the daemon's answer as JSON.")
    var json = false
}
