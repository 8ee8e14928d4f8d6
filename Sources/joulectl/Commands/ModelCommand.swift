import ArgumentParser
import EnergyModel
import Glibc
import InferenceRuntime
import JouledDaemon
import ModelStore
import Quantizer
import Units

/// Work on model bundles, without a daemon.
struct ModelCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "model", abstract: "Verify and profile model bundles.", subcommands: [Verify.self, Profile.self])

    struct Verify: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Check manifest and digests of bundles.")
        @Argument(help: "Bundle directories: each has a model.toml.", completion: .directory)
        var bundles: [String]

        func run() throws {
            var failed = false
            for directory in bundles {
                do throws(JouledError) {
                    let bundle = try ModelBundle(directory: directory)
                    for variant in bundle.manifest.variants { try bundle.verify(variant) }
                    Console.out("\(directory): \(bundle.manifest.name) \(bundle.manifest.version), \(bundle.manifest.variants.count) variants, all digests right")
                } catch {
                    Console.error("joulectl: \(error)")
                    failed = true
                }
            }
            if failed { throw ExitCode(1) }
        }
    }

    struct Profile: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Measure what the variants of bundles cost on this device, at their own cadence.",
            discussion: """
                Writes profile.toml into each bundle. Energy is CPU time times --watts-per-core, and labelled modelled, as
                long as the device has no meter that jouled can read.
                """)
        @Argument(help: "Bundle directories: each has a model.toml.", completion: .directory)
        var bundles: [String]
        @Option(help: "The ONNX Runtime library.", completion: .file())
        var runtimeLibrary: String?
        @Option(help: "Wake-ups measured per variant.")
        var rounds = 40
        @Option(help: "Power of one busy core in watts.")
        var wattsPerCore = 1.5
        @Flag(help: "Leave bundles alone that have a profile of this device and runtime.")
        var missing = false

        func validate() throws {
            guard (3...10_000).contains(rounds) else { throw ValidationError("--rounds must be 3 to 10000") }
            guard wattsPerCore > 0, wattsPerCore.isFinite else { throw ValidationError("--watts-per-core must be above 0") }
        }

        func run() throws {
            try reporting {
                OnnxRuntime.disableTelemetry()
                let runtime = try OnnxRuntime(libraryPath: runtimeLibrary ?? DaemonConfiguration().runtimeLibrary)
                var settings = Profiler.Settings()
                settings.rounds = rounds
                settings.wattsPerCore = Watts(wattsPerCore)
                for directory in bundles {
                    let bundle = try ModelBundle(directory: directory)
                    if missing, let old = try? DeviceProfile.load(bundle.profilePath), old.device == Profiler.deviceName(),
                        old.runtime == "onnxruntime \(runtime.version)"
                    { continue }
                    try profile(bundle, runtime, settings)
                }
            }
        }

        private func profile(_ bundle: ModelBundle, _ runtime: OnnxRuntime, _ settings: Profiler.Settings) throws {
            let title = "\(bundle.manifest.name) \(bundle.manifest.version)"
            let profile = try Profiler(bundle: bundle, runtime: runtime, settings: settings).profile { share, doing in
                if Console.isTerminal { Console.raw("\r\(title): \(percent(share)) \(doing)\u{1B}[K") }
            }
            if Console.isTerminal { Console.raw("\r\u{1B}[K") }
            try AtomicFile.write(profile.text, to: bundle.profilePath)
            Console.out("\(title) on \(profile.device), \(profile.runtime):")
            var table = TextTable([("VARIANT", .left), ("WAKE", .right), ("FIRST WINDOW", .right), ("FURTHER", .right), ("P99", .right), ("PER WINDOW", .right), ("LOAD", .right)])
            for option in profile.options {
                table.add([
                    option.variant, option.wake.cpu.description, option.first.cpu.description, option.next.cpu.description,
                    option.latency.p99.description, option.perWindow(coalescing: 1).energy.description, option.loadTime.description,
                ])
            }
            for line in table.lines { Console.out("  " + line) }
        }
    }
}
