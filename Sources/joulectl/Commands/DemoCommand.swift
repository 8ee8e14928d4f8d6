import ArgumentParser
import Glibc
import JouledClient
import Units
import Wire

/// The whole idea in a minute: two real streams, real models, a battery that drains, and plans that follow from it.
struct DemoCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "demo",
        abstract: "Show jouled at work for a minute: real speech and ECG against a small virtual battery.",
        discussion: """
            Starts a daemon of its own with a virtual device, streams a recording of speech and one of an ECG through it at
            their own pace, switches a radio on after a third of the time and the charger after two thirds, and sums up.
            What the daemon decides follows from the drain alone: try --drain 0.8 or --drain 1.1.
            """)

    @Option(help: "Folder with model bundles (NAME/VERSION/model.toml), profiled on this device.", completion: .directory)
    var models: String
    @Option(help: "The ONNX Runtime library.", completion: .file())
    var runtimeLibrary: String
    @Option(help: "Recording of speech: s16le, 16 kHz, mono.", completion: .file())
    var speech: String
    @Option(help: "Recording of an ECG: f32le in mV, 100 Hz, one lead.", completion: .file())
    var ecg: String
    @Option(help: "Seconds that the battery is asked to last.")
    var seconds = 60
    @Option(help: "Factor on what the rest of the device draws.")
    var drain = 1.0
    @Option(help: "The daemon to start; the jouled beside this joulectl if left out.", completion: .file())
    var daemon: String?

    func validate() throws {
        guard (20...3600).contains(seconds) else { throw ValidationError("--seconds must be 20 to 3600") }
        guard (0.01...100).contains(drain) else { throw ValidationError("--drain must be 0.01 to 100") }
    }

    func run() throws {
        try reporting {
            Interruption.install()
            let demo = try Demonstration(self)
            defer { demo.cleanUp() }
            try demo.run()
        }
    }
}
