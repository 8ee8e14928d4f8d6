import ArgumentParser
import ConfigDocument
import Glibc
import JouledClient
import Systemd
import Units
import Wyoming
import WyomingServer

/// Voice activity and wake words for Home Assistant's voice clients.
struct WyomingCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "wyoming", abstract: "Serve voice activity and wake words over the Wyoming protocol.",
        discussion: """
            joulectl wyoming --uri unix:///run/jouled-wyoming/wyoming.sock
            joulectl wyoming --uri tcp://127.0.0.1:10400

            Clients send audio-start, audio-chunk and audio-stop and get voice-started and voice-stopped; after detect they get detection and \
            not-detected, if a model for wake words is served. 16-bit mono at 16 kHz goes through as it is; 8 kHz, multiples of 16 kHz, other widths and \
            channels are converted. Wyoming knows no passwords: whoever can connect may listen with this user's rights and energy. \
            As a service: systemctl enable --now jouled-wyoming.socket.
            """)
    @OptionGroup var daemon: DaemonOptions
    @Option(help: "Where to listen: unix:///PATH or tcp://HOST:PORT. Sockets that systemd passes are taken instead.")
    var uri: String?
    @Option(help: "Connections at once, 1 to 256.")
    var connections = 16
    @Option(help: "How late an event may be, e.g. 100ms; the model's own tolerance if left out. More lets jouled wake less often.")
    var tolerance: String?
    @Option(help: "Probability from which on a window is speech, 0 to 1.")
    var threshold: Float = 0.5
    @Option(help: "Silence that ends speech, 0s to 60s.")
    var silence = "500ms"
    @Option(help: "Probability from which on a wake word is detected, 0 to 1.")
    var wakeThreshold: Float = 0.5

    func validate() throws {
        guard (1...256).contains(connections) else { throw ValidationError("--connections must be 1 to 256") }
        guard (0...1).contains(threshold), (0...1).contains(wakeThreshold) else { throw ValidationError("--threshold and --wake-threshold must be 0 to 1") }
        if let uri, WyomingAddress(uri) == nil { throw ValidationError("--uri '\(uri)': write unix:///PATH or tcp://HOST:PORT") }
        guard uri != nil || environment("LISTEN_FDS") != nil else { throw ValidationError("give --uri: where to listen") }
        _ = try settings()
    }

    private func settings() throws -> WyomingServer.Settings {
        func seconds(_ text: String, _ option: String, upTo most: Double) throws -> Seconds {
            guard let seconds = DurationText.seconds(text), (0...most).contains(seconds) else {
                throw ValidationError("\(option) '\(text)': write 100ms or 2s, \(Seconds(most)) at most")
            }
            return Seconds(seconds)
        }
        var settings = WyomingServer.Settings(socket: daemon.path)
        settings.connections = connections
        settings.tolerance = try tolerance.map { try seconds($0, "--tolerance", upTo: 60) }
        settings.session.voiceThreshold = threshold
        settings.session.silence = try seconds(silence, "--silence", upTo: 60)
        settings.session.wakeThreshold = wakeThreshold
        settings.log = { Console.error("joulectl: \($0)") }
        return settings
    }

    func run() throws {
        try reporting {
            // A peer that goes away ends one connection only, and a stop comes between two waits.
            Interruption.install()
            var listeners = try ServiceManager.passedDescriptors().map(\.descriptor)
            var own: WyomingAddress?
            if listeners.isEmpty {
                guard let uri, let address = WyomingAddress(uri) else { throw JouledError(.init("joulectl.no-listener"), "systemd passed no sockets: give --uri") }
                listeners = [try address.listen()]
                own = address
            }
            defer { if case .unix(let path)? = own { unlink(path) } }
            let server = WyomingServer(listeners: listeners, settings: try settings())
            let manager = ServiceManager()
            manager.ready(status: "up to \(connections) connections")
            Console.error("joulectl: Wyoming clients may connect\(own.map { " to \($0)" } ?? "")")
            try server.run { Interruption.happened }
            manager.stopping(status: "stopped")
        }
    }
}
