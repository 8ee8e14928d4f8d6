import CLinux
import EnergyModel
import Glibc
import InferenceRuntime
import ModelStore
import Units

/// Measures what each variant of a bundle costs on this device, at the model's own cadence.
///
/// A hot loop would flatter every variant by a factor of 5: in service a window meets cold caches and a slow clock. So
/// each round sleeps for the hop first, then runs a wake-up's windows. Rounds of all variants alternate in random order,
/// so that what else the machine does falls on all alike. Costs are medians over rounds. Where there is no meter, energy is CPU time
/// times the power of a core, and labelled `modelled`.
public struct Profiler {
    /// How much is measured.
    public struct Settings: Sendable {
        /// Wake-ups per variant.
        public var rounds = 40
        /// Windows per wake-up: the first is cold, the others tell what a further one costs.
        public var windowsPerWake = 6
        /// Pauses longer than this are cut: caches are cold by then.
        public var longestPause = Seconds(milliseconds: 60)
        /// Power of one busy core, for devices without a meter.
        public var wattsPerCore = Watts(1.5)
        public var seed: UInt64 = 1
        public init() {}
    }

    private let bundle: ModelBundle
    private let runtime: OnnxRuntime
    private let settings: Settings
    private let clocks = SystemClocks()

    public init(bundle: ModelBundle, runtime: OnnxRuntime, settings: Settings = Settings()) {
        self.bundle = bundle
        self.runtime = runtime
        self.settings = settings
    }

    /// One variant under measurement.
    private struct Candidate {
        let variant: String
        let run: InferenceRun
        let loadTime: Seconds
        let loadCPU: Seconds
        let residentBytes: Int
        var wake: [Seconds] = []
        var first: [Seconds] = []
        var next: [Seconds] = []
        var firstLatency: [Seconds] = []
        var nextLatency: [Seconds] = []

        /// What the state file keeps, by the name that it has there.
        static var series: [(name: String, path: WritableKeyPath<Candidate, [Seconds]>)] { [
            ("wake", \.wake), ("first", \.first), ("next", \.next), ("first latency", \.firstLatency), ("next latency", \.nextLatency),
        ] }
    }

    /// Measures all variants on the CPU.
    /// - Parameters:
    ///   - statePath: where rounds are kept when the measurement is interrupted, and found when it is run again.
    ///   - isInterrupted: asked after each round.
    ///   - progress: called with the share done, 0 to 1, and what is being done.
    /// - Throws: what loading a variant throws, with its file; `.interrupted`.
    public func profile(
        statePath: String? = nil, isInterrupted: @escaping () -> Bool = { false }, progress: (Double, String) -> Void
    ) throws(JouledError) -> DeviceProfile {
        var candidates: [Candidate] = []
        for variant in bundle.manifest.variants {
            progress(0, "loading \(variant.name)")
            candidates.append(try load(variant))
        }
        let manifest = bundle.manifest
        let variants = manifest.variants.map { "\($0.name) \($0.sha256)" }.joined(separator: ", ")
        var journal = ProfileJournal(
            key: "\(Self.deviceName()), onnxruntime \(runtime.version), \(manifest.name) \(manifest.version), \(settings.windowsPerWake) windows, \(variants)", path: statePath, isInterrupted: isInterrupted)
        for index in candidates.indices {
            for (name, path) in Candidate.series { candidates[index][keyPath: path] = journal.known("\(candidates[index].variant) \(name)") }
        }
        let first = min(journal.state.rounds, settings.rounds)
        var random = SplitMix(seed: settings.seed &+ UInt64(first))
        let signal = noise(&random)
        // Two rounds to warm up: the first runs of a session allocate.
        for round in first - 2..<settings.rounds {
            for index in candidates.indices.shuffled(using: &random) {
                try measure(&candidates[index], signal, keep: round >= first)
            }
            progress(Double(max(first, round + 1)) / Double(settings.rounds), "measuring at cadence")
            guard round >= first else { continue }
            try journal.completed(round + 1, of: settings.rounds) {
                var series: [String: [Seconds]] = [:]
                for candidate in candidates {
                    for (name, path) in Candidate.series { series["\(candidate.variant) \(name)"] = candidate[keyPath: path] }
                }
                return series
            }
        }
        journal.finished()
        return DeviceProfile(
            device: Self.deviceName(), runtime: "onnxruntime \(runtime.version)", wattsPerCore: settings.wattsPerCore,
            options: candidates.map(option))
    }

    private func load(_ variant: ModelManifest.Variant) throws(JouledError) -> Candidate {
        let model = try bundle.contents(of: variant)
        ProcessMemory.trimHeap()
        let memory = Self.residentBytes()
        let (start, cpu) = (clocks.monotonic(), clocks.threadCPU())
        let session = try InferenceSession(runtime: runtime, model: model, path: bundle.path(of: variant))
        let (time, used) = (clocks.monotonic().since(start), clocks.threadCPU() - cpu)
        ProcessMemory.trimHeap()
        let manifest = bundle.manifest
        let states = manifest.states
        let run = try InferenceRun(
            session: session,
            inputs: [TensorSpec(name: manifest.input.name, shape: manifest.input.shape)] + states.map { TensorSpec(name: $0.input, shape: $0.shape) },
            outputs: manifest.outputs.map { TensorSpec(name: $0.tensor.name, shape: $0.tensor.shape) } + states.map { TensorSpec(name: $0.output, shape: $0.shape) },
            rows: variant.windowsPerRun, rowOutputs: manifest.outputs.count)
        return Candidate(
            variant: variant.name, run: run, loadTime: time, loadCPU: used,
            residentBytes: max(variant.bytes, Self.residentBytes() - memory))
    }

    private func measure(_ candidate: inout Candidate, _ signal: [Float], keep: Bool) throws(JouledError) {
        let before = clocks.threadCPU()
        pause()
        let wake = clocks.threadCPU() - before
        let first = try run(&candidate, signal, at: 0, windows: 1)
        if keep {
            candidate.wake.append(wake)
            candidate.first.append(first.cpu)
            candidate.firstLatency.append(first.latency)
        }
        guard candidate.run.rows > 1 else {
            for position in 1..<max(2, settings.windowsPerWake) {
                let next = try run(&candidate, signal, at: position, windows: 1)
                guard keep else { continue }
                candidate.next.append(next.cpu)
                candidate.nextLatency.append(next.latency)
            }
            return
        }
        // Windows that share a run: a further one costs what a wake-up with many costs more than one with a single window, by their number.
        pause()
        let rows = candidate.run.rows
        let many = try run(&candidate, signal, at: 0, windows: rows)
        guard keep else { return }
        candidate.next.append(max(.zero, many.cpu - first.cpu) / Double(rows - 1))
        candidate.nextLatency.append(max(.zero, many.latency - first.latency) / Double(rows - 1))
    }

    /// Sleeps as a stream's thread would between two windows.
    private func pause() { usleep(UInt32(min(bundle.manifest.windowPeriod, settings.longestPause).microseconds)) }

    /// Feeds and runs windows as a stream does.
    private func run(_ candidate: inout Candidate, _ signal: [Float], at position: Int, windows: Int) throws(JouledError) -> (cpu: Seconds, latency: Seconds) {
        let (start, cpu) = (clocks.monotonic(), clocks.threadCPU())
        for row in 0..<windows {
            let input = candidate.run.input(row: row)
            let offset = (position + row) * input.count % max(1, signal.count - input.count)
            for index in input.indices { input[index] = signal[offset + index] }
        }
        try candidate.run.run(rows: windows)
        let outputs = bundle.manifest.outputs.count
        for state in bundle.manifest.states.indices {
            _ = candidate.run.input(state + 1).update(from: candidate.run.output(outputs + state))
        }
        return (clocks.threadCPU() - cpu, clocks.monotonic().since(start))
    }

    private func option(_ candidate: Candidate) -> OptionProfile {
        func cost(_ samples: [Seconds]) -> StepCost { StepCost(busy: Self.quantile(samples, 0.5), at: settings.wattsPerCore) }
        func latency(_ samples: [Seconds]) -> LatencyProfile {
            LatencyProfile(p50: Self.quantile(samples, 0.5), p99: Self.quantile(samples, 0.99))
        }
        return OptionProfile(
            variant: candidate.variant, unit: "cpu", wake: cost(candidate.wake), first: cost(candidate.first),
            next: cost(candidate.next), latency: latency(candidate.firstLatency), nextLatency: latency(candidate.nextLatency),
            loadTime: candidate.loadTime, loadEnergy: candidate.loadCPU * settings.wattsPerCore,
            residentBytes: candidate.residentBytes, basis: .modelled)
    }

    /// Noise as loud as speech, for all windows of a wake-up: silence could hit denormal numbers and slow paths.
    private func noise(_ random: inout SplitMix) -> [Float] {
        let count = bundle.manifest.input.count * (settings.windowsPerWake + 1)
        return (0..<count).map { _ in Float.random(in: -0.1...0.1, using: &random) }
    }

    /// The nearest-rank quantile.
    static func quantile(_ samples: [Seconds], _ q: Double) -> Seconds {
        let sorted = samples.sorted()
        guard !sorted.isEmpty else { return .zero }
        return sorted[min(sorted.count - 1, Int((Double(sorted.count) * q).rounded(.down)))]
    }

    /// The processor's name, to tell profiles of different devices apart.
    public static func deviceName() -> String {
        for (file, key) in [("/proc/device-tree/model", nil), ("/proc/cpuinfo", "model name" as String?)] {
            guard let text = readText(file) else { continue }
            guard let key else { return String(text.prefix { $0 != "\0" && $0 != "\n" }) }
            for line in text.split(separator: "\n") where line.hasPrefix(key) {
                if let colon = line.firstIndex(of: ":") { return String(line[line.index(after: colon)...].drop { $0 == " " }) }
            }
        }
        return "unknown"
    }

    static func residentBytes() -> Int {
        guard let text = readText("/proc/self/statm") else { return 0 }
        let fields = text.split(separator: " ")
        return fields.count > 1 ? (Int(fields[1]) ?? 0) * Int(getpagesize()) : 0
    }

    private static func readText(_ path: String) -> String? {
        guard let file = fopen(path, "r") else { return nil }
        defer { fclose(file) }
        var bytes = [UInt8](repeating: 0, count: 65536)
        let count = fread(&bytes, 1, bytes.count, file)
        return count > 0 ? String(decoding: bytes[..<count], as: UTF8.self) : nil
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014): small, seeded, good enough to shuffle.
struct SplitMix: RandomNumberGenerator {
    private var state: UInt64
    init(seed: UInt64) { state = seed }
    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}
