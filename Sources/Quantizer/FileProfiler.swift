import Glibc
import InferenceRuntime
import Units

/// Measures model files against one another on this device, at a cadence, without a bundle.
///
/// As `Profiler` does for bundles: each round sleeps for the cadence and then runs a wake-up's windows; rounds of all
/// files and coalescings alternate in random order; the first rounds are left out.
public struct FileProfiler {
    public struct Settings: Sendable {
        /// Time from one window to the next in service.
        public var cadence = Seconds(milliseconds: 32)
        /// Windows per wake-up to measure, ascending.
        public var coalesce = [1]
        public var rounds = 60
        /// Runs back to back, for comparison with other tools.
        public var hotRuns = 300
        public var wattsPerCore = Watts(1.5)
        public var longestPause = Seconds(milliseconds: 60)
        public var seed: UInt64 = 1
        public init() {}
    }

    /// What waking once for `coalesce` windows costs per window.
    public struct Step: Sendable {
        public var coalesce: Int
        /// Wall time of one wake-up's windows, divided by their number.
        public var p50: Seconds
        public var p95: Seconds
        public var p99: Seconds
        /// Median CPU time per window, the wake-up's own included.
        public var cpu: Seconds
        /// Standard error of that median.
        public var cpuError: Seconds
        /// CPU time x watts per core; half the range between the quartiles as its uncertainty.
        public var energy: Joules
        public var energyError: Joules
    }

    public struct Result: Sendable {
        public var path: String
        public var bytes: Int
        public var loadTime: Seconds
        public var loadEnergy: Joules
        /// Growth of resident memory by loading; at least 0.
        public var residentBytes: Int
        /// Median wall time back to back.
        public var hot: Seconds
        public var steps: [Step]
    }

    private struct Candidate {
        let path: String
        let bytes: Int
        /// Runs so many windows.
        let step: (Int) throws(JouledError) -> Void
        let loadTime: Seconds
        let loadCPU: Seconds
        let resident: Int
        var wall: [[Seconds]]
        var cpu: [[Seconds]]
        var hot: [Seconds] = []
    }

    private let runtime: OnnxRuntime
    private let settings: Settings
    private let clocks = SystemClocks()

    public init(runtime: OnnxRuntime, settings: Settings) {
        self.runtime = runtime
        self.settings = settings
    }

    /// - Parameters:
    ///   - files: bytes and path of each model; all are loaded at once.
    ///   - rows: windows that one run of each takes; nil: one.
    ///   - statePath: where rounds are kept when the measurement is interrupted, and found when it is run again.
    ///   - isInterrupted: asked after each round.
    /// - Throws: what loading and running throw; `.interrupted`.
    public func profile(
        _ files: [(path: String, bytes: [UInt8])], rows: [Int]? = nil, statePath: String? = nil, isInterrupted: @escaping () -> Bool = { false }, progress: (Double) -> Void = { _ in }
    ) throws(JouledError) -> [Result] {
        var candidates: [Candidate] = []
        for (index, file) in files.enumerated() { candidates.append(try load(file.path, file.bytes, rows: rows?[index] ?? 1)) }
        let models = files.map { "\($0.path) \(Checksum.text(of: $0.bytes))" }.joined(separator: ", ")
        var journal = ProfileJournal(
            key: "\(Profiler.deviceName()), onnxruntime \(runtime.version), \(settings.cadence), coalesce \(settings.coalesce), \(models)", path: statePath, isInterrupted: isInterrupted)
        for index in candidates.indices {
            for slot in settings.coalesce.indices {
                candidates[index].wall[slot] = journal.known("\(index) \(slot) wall")
                candidates[index].cpu[slot] = journal.known("\(index) \(slot) cpu")
            }
        }
        let first = min(journal.state.rounds, settings.rounds)
        var random = SplitMix(seed: settings.seed &+ UInt64(first))
        let pause = UInt32(min(settings.cadence, settings.longestPause).microseconds)
        // Two rounds to warm up: the first runs of a session allocate.
        for round in first - 2..<settings.rounds {
            for index in candidates.indices.shuffled(using: &random) {
                for (slot, windows) in settings.coalesce.enumerated() {
                    let before = clocks.threadCPU()
                    usleep(pause)
                    let start = clocks.monotonic()
                    try candidates[index].step(windows)
                    let (time, used) = (clocks.monotonic().since(start), clocks.threadCPU() - before)
                    guard round >= first else { continue }
                    candidates[index].wall[slot].append(time / Double(windows))
                    candidates[index].cpu[slot].append(used / Double(windows))
                }
            }
            progress(Double(max(first, round + 1)) / Double(settings.rounds))
            guard round >= first else { continue }
            try journal.completed(round + 1, of: settings.rounds) {
                var series: [String: [Seconds]] = [:]
                for (index, candidate) in candidates.enumerated() {
                    for slot in settings.coalesce.indices {
                        series["\(index) \(slot) wall"] = candidate.wall[slot]
                        series["\(index) \(slot) cpu"] = candidate.cpu[slot]
                    }
                }
                return series
            }
        }
        for _ in 0..<10 {
            for index in candidates.indices.shuffled(using: &random) {
                for _ in 0..<settings.hotRuns / 10 {
                    let start = clocks.monotonic()
                    try candidates[index].step(1)
                    candidates[index].hot.append(clocks.monotonic().since(start))
                }
            }
        }
        journal.finished()
        return candidates.map(result)
    }

    private func result(_ candidate: Candidate) -> Result {
        let steps = settings.coalesce.enumerated().map { slot, windows in
            let (wall, cpu) = (candidate.wall[slot], candidate.cpu[slot])
            let median = Profiler.quantile(cpu, 0.5)
            let spread = (Profiler.quantile(cpu, 0.75) - Profiler.quantile(cpu, 0.25)) / 2
            return Step(
                coalesce: windows, p50: Profiler.quantile(wall, 0.5), p95: Profiler.quantile(wall, 0.95), p99: Profiler.quantile(wall, 0.99),
                // Of a median of n values, 1.25 s / sqrt n; the quartiles of a normal distribution are 1.35 s apart.
                cpu: median, cpuError: spread * (2 * 1.25 / 1.35 / Double(cpu.count).squareRoot()), energy: median * settings.wattsPerCore, energyError: spread * settings.wattsPerCore)
        }
        return Result(
            path: candidate.path, bytes: candidate.bytes, loadTime: candidate.loadTime, loadEnergy: candidate.loadCPU * settings.wattsPerCore,
            residentBytes: candidate.resident, hot: Profiler.quantile(candidate.hot, 0.5), steps: steps)
    }

    private func load(_ path: String, _ bytes: [UInt8], rows: Int) throws(JouledError) -> Candidate {
        ProcessMemory.trimHeap()
        let memory = Profiler.residentBytes()
        let (start, cpu) = (clocks.monotonic(), clocks.threadCPU())
        let session = try InferenceSession(runtime: runtime, model: bytes, path: path)
        let (time, used) = (clocks.monotonic().since(start), clocks.threadCPU() - cpu)
        ProcessMemory.trimHeap()
        let resident = max(0, Profiler.residentBytes() - memory)
        let slots = [[Seconds]](repeating: [], count: settings.coalesce.count)
        return Candidate(
            path: path, bytes: bytes.count, step: try Self.stepper(session, rows: rows), loadTime: time, loadCPU: used, resident: resident, wall: slots, cpu: slots)
    }

    /// Runs a number of windows of noise: with fixed tensors as a stream does where all are float32, else with new ones.
    /// - Parameter rows: windows that one run takes.
    static func stepper(_ session: InferenceSession, rows: Int = 1) throws(JouledError) -> (Int) throws(JouledError) -> Void {
        var random = SplitMix(seed: 7)
        let inputs = session.inputs.map { input in TensorSpec(name: input.name, elementType: input.elementType, shape: input.shape.map { max(1, $0) }) }
        let values: [(name: String, value: TensorValue)] = try inputs.map { input throws(JouledError) in
            let noise = (0..<input.elementCount).map { _ in Float.random(in: -0.1...0.1, using: &random) }
            switch input.elementType {
            case .float32: return (input.name, TensorValue(shape: input.shape, values: .float(noise)))
            case .other(7): return (input.name, TensorValue(shape: input.shape, values: .int64([Int64](repeating: 16000, count: input.elementCount))))
            default: throw JouledError(.contractBroken, "\(session.modelPath): input '\(input.name)' is \(input.elementType), which profiling cannot feed")
            }
        }
        let names = session.outputs.map(\.name)
        let first = try session.run(values, outputs: names)
        let isFloat = inputs.allSatisfy { $0.elementType == .float32 } && first.allSatisfy { $0.elementType == 1 && !$0.shape.contains(0) }
        guard isFloat else {
            return { (windows) throws(JouledError) in for _ in 0..<windows { _ = try session.run(values, outputs: names) } }
        }
        // Results that are not open in their first axis are what is left after the last window.
        let opened = zip(names, first).filter { name, _ in rows == 1 || session.outputs.first { $0.name == name }?.shape.first == -1 }
        let kept = zip(names, first).filter { name, _ in !opened.contains { $0.0 == name } }
        func isOpen(_ input: TensorSpec) -> Bool { rows > 1 && session.inputs.first { $0.name == input.name }?.shape.first == -1 }
        let windowFirst = inputs.filter(isOpen) + inputs.filter { !isOpen($0) }
        let run = try InferenceRun(
            session: session, inputs: windowFirst, outputs: (opened + kept).map { TensorSpec(name: $0, shape: $1.shape) }, rows: rows, rowOutputs: opened.count)
        for (index, input) in windowFirst.enumerated() {
            guard let noise = values.first(where: { $0.name == input.name })?.value.floats else { continue }
            _ = run.input(index).update(fromContentsOf: noise)
            if index == 0 { for row in 1..<max(1, rows) { _ = run.input(row: row).update(fromContentsOf: noise) } }
        }
        return { (windows) throws(JouledError) in
            var left = windows
            while left > 0 {
                try run.run(rows: min(left, rows))
                left -= rows
            }
        }
    }
}
