import ArgumentParser
import EnergyModel
import Glibc
import InferenceRuntime
import ModelStore
import OnnxGraph
import Quantizer
import Units
import Wire
import ConfigDocument

/// `joulectl model profile`: what model files or the variants of bundles cost on this device.
struct ModelProfileCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "profile", abstract: "Measure what models cost on this device, at their own cadence.",
        discussion: """
            With bundle directories: writes profile.toml into each. With a file: prints, and compares with --against.
            Energy is CPU time times --watts-per-core, and labelled modelled, as long as the device has no meter that
            jouled can read. Interrupted with Ctrl-C, it keeps the rounds that it has; the same command goes on from there.
            """)
    @Argument(help: "A model file, or bundle directories (each has a model.toml).", completion: .file())
    var paths: [String]
    @Option(help: "Files: the model to compare with.", completion: .file(extensions: ["onnx"]))
    var against: String?
    @Option(help: "Files: time between windows, e.g. 32ms.")
    var cadence = "32ms"
    @Option(help: "Files: windows per wake-up, e.g. 1,8.")
    var coalesce = "1"
    @Flag(help: "Files: print JSON.")
    var json = false
    @OptionGroup var runtime: RuntimeOptions
    @Option(help: "Wake-ups measured per variant.")
    var rounds = 40
    @Option(help: "Power of one busy core in watts.")
    var wattsPerCore = 1.5
    @Flag(help: "Bundles: leave those alone that have a profile of this device and runtime.")
    var missing = false

    func validate() throws {
        guard (3...10_000).contains(rounds) else { throw ValidationError("--rounds must be 3 to 10000") }
        guard wattsPerCore > 0, wattsPerCore.isFinite else { throw ValidationError("--watts-per-core must be above 0") }
        guard let seconds = DurationText.seconds(cadence), seconds > 0, seconds <= 3600 else { throw ValidationError("--cadence: '\(cadence)' is no duration such as 32ms") }
        guard !windows.isEmpty, windows.allSatisfy({ (1...1024).contains($0) }) else { throw ValidationError("--coalesce: '\(coalesce)' is no list such as 1,8") }
    }

    private var windows: [Int] { coalesce.split(separator: ",").map { Int($0) ?? 0 } }

    func run() throws {
        try reporting {
            let library = try runtime.load()
            Interruption.install()
            let directories = paths.filter(isDirectory)
            guard directories.count == paths.count || (directories.isEmpty && paths.count == 1) else {
                throw JouledError(.unreadableModel, "\(paths.joined(separator: ", ")): give one model file, or bundle directories")
            }
            if directories.isEmpty {
                try profileFile(paths[0], library)
                return
            }
            var settings = Profiler.Settings()
            settings.rounds = rounds
            settings.wattsPerCore = Watts(wattsPerCore)
            for directory in directories {
                let bundle = try ModelBundle(directory: directory)
                if missing, let old = try? DeviceProfile.load(bundle.profilePath), old.device == Profiler.deviceName(),
                    old.runtime == "onnxruntime \(library.version)"
                { continue }
                try profile(bundle, library, settings)
            }
        }
    }

    private func isDirectory(_ path: String) -> Bool {
        var status = stat()
        return stat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFDIR
    }

    private func profileFile(_ path: String, _ library: OnnxRuntime) throws(JouledError) {
        var settings = FileProfiler.Settings()
        settings.cadence = Seconds(DurationText.seconds(cadence) ?? 0.032)
        settings.coalesce = windows
        settings.rounds = rounds
        settings.wattsPerCore = Watts(wattsPerCore)
        var files: [(path: String, bytes: [UInt8])] = []
        for file in [path] + (against.map { [$0] } ?? []) { files.append((file, try OnnxModel.load(file).serialized())) }
        var countdown = Countdown()
        let results = try FileProfiler(runtime: library, settings: settings).profile(files, statePath: "\(path).profile-partial", isInterrupted: { Interruption.happened }) { share in
            if Console.isTerminal && !json { Console.raw("\r\(countdown.text(share))\u{1B}[K") }
        }
        if Console.isTerminal && !json { Console.raw("\r\u{1B}[K") }
        if json {
            Console.out(JSONValue.object([
                "device": .string(Profiler.deviceName()), "runtime": .string("onnxruntime \(library.version)"),
                "cadence_s": .double(settings.cadence.value), "rounds": .int(Int64(rounds)), "basis": .string("modelled"),
                "watts_per_core": .double(wattsPerCore), "models": .array(results.map { Self.json($0, against: results.count > 1 ? results[1] : nil) }),
            ]).description)
            return
        }
        Console.out("\(Profiler.deviceName()), onnxruntime \(library.version), every \(settings.cadence), energy modelled at \(settings.wattsPerCore) per core")
        var table = TextTable([
            ("MODEL", .left), ("BYTES", .right), ("LOAD", .right), ("RAM", .right), ("WINDOWS", .right), ("P50", .right), ("P95", .right), ("P99", .right),
            ("CPU", .right), ("ENERGY", .right), ("HOT", .right),
        ])
        for result in results {
            for step in result.steps {
                table.add([
                    result.path, String(result.bytes), result.loadTime.description, scaled(Double(result.residentBytes), "B"), String(step.coalesce),
                    step.p50.description, step.p95.description, step.p99.description, step.cpu.description, "\(step.energy) ± \(step.energyError)", result.hot.description,
                ])
            }
        }
        for line in table.lines { Console.out(line) }
        guard results.count > 1 else { return }
        for (mine, theirs) in zip(results[0].steps, results[1].steps) {
            Console.out("\(mine.coalesce) a wake-up: \(decimal(mine.cpu / theirs.cpu, places: 2)) of the reference's CPU time, \(decimal(mine.p50 / theirs.p50, places: 2)) of its p50")
        }
        Console.out("back to back: \(decimal(results[0].hot / results[1].hot, places: 2)) of the reference's time")
        let dominated = zip(results[0].steps, results[1].steps).allSatisfy { $0.cpu > $1.cpu } && results[0].bytes >= results[1].bytes
        if dominated { Console.out("\(path) is dominated: neither cheaper nor smaller than \(against ?? "the reference")") }
    }

    private static func json(_ result: FileProfiler.Result, against: FileProfiler.Result?) -> JSONValue {
        .object([
            "path": .string(result.path), "bytes": .int(Int64(result.bytes)), "load_s": .double(result.loadTime.value),
            "load_j": .double(result.loadEnergy.value), "resident_bytes": .int(Int64(result.residentBytes)), "hot_p50_s": .double(result.hot.value),
            "hot_ratio": against.map { .double(result.hot / $0.hot) } ?? .null,
            "steps": .array(result.steps.enumerated().map { index, step in
                .object([
                    "coalesce": .int(Int64(step.coalesce)), "p50_s": .double(step.p50.value), "p95_s": .double(step.p95.value),
                    "p99_s": .double(step.p99.value), "cpu_s": .double(step.cpu.value), "energy_j": .double(step.energy.value),
                    "energy_error_j": .double(step.energyError.value), "cpu_ratio": against.map { .double(step.cpu / $0.steps[index].cpu) } ?? .null,
                    "p50_ratio": against.map { .double(step.p50 / $0.steps[index].p50) } ?? .null,
                ])
            }),
        ])
    }

    private func profile(_ bundle: ModelBundle, _ runtime: OnnxRuntime, _ settings: Profiler.Settings) throws {
        let title = "\(bundle.manifest.name) \(bundle.manifest.version)"
        var countdown = Countdown()
        let state = "\(bundle.directory)/profile.partial"
        let profile = try Profiler(bundle: bundle, runtime: runtime, settings: settings).profile(statePath: state, isInterrupted: { Interruption.happened }) { share, doing in
            if Console.isTerminal { Console.raw("\r\(title): \(countdown.text(share)), \(doing)\u{1B}[K") }
        }
        if Console.isTerminal { Console.raw("\r\u{1B}[K") }
        // The daemon reads it as another user.
        try AtomicFile.write(profile.text, to: bundle.profilePath, mode: 0o644)
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
