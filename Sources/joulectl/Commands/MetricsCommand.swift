import ArgumentParser
import JouledClient
import OperatorViews
import Units
import Wire

/// The daemon's state for a monitoring system.
struct MetricsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "metrics", abstract: "Battery, budget, energy and streams as metrics for Prometheus.",
        discussion: """
            With --output the file is replaced whole, as the node exporter's textfile collector wants it:
              joulectl metrics --output /var/lib/prometheus/node-exporter/jouled.prom
            jouled-metrics.timer does so every minute; each call costs the daemon a wake-up.
            """)
    @OptionGroup var daemon: DaemonOptions
    @Option(help: "Text format: prometheus or openmetrics.")
    var format = MetricsText.Format.prometheus
    @Option(name: .shortAndLong, help: "Write to this file, readable by all, instead of standard output (-).", completion: .file())
    var output: String?

    func run() throws {
        try reporting {
            let connection = try daemon.connect()
            let metrics = try MetricsText(
                info: connection.call("org.varlink.service.GetInfo"), status: connection.call("io.jouled.Power.GetStatus")["status"] ?? .null,
                streams: connection.call("io.jouled.Streams.List").list("streams"), ledger: connection.call("io.jouled.Streams.Ledger").list("entries"), format: format)
            // Stale metrics are told by their file's time, so that they need not survive a power cut.
            try Console.write(metrics.text, file: output ?? "-", mode: 0o644)
        }
    }
}

extension MetricsText.Format: ExpressibleByArgument {}
