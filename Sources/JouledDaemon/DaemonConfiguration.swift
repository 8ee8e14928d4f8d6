import ConfigDocument
import Glibc
import PowerTelemetry
import Systemd
import Units

/// All settings of `jouled.toml`, read once; a reload makes a new one.
public struct DaemonConfiguration: Sendable, Equatable {
    /// Where the configuration is looked for.
    public static let defaultPath = "/etc/jouled/jouled.toml"

    /// Where the daemon listens when systemd gave it no socket.
    public var socketPath = "/run/jouled/jouled.sock"
    /// Permission bits of that socket.
    public var socketMode = 0o660
    /// The root of the model bundles: `NAME/VERSION/model.toml`.
    public var modelsDirectory = "/var/lib/jouled/models"
    /// The ONNX Runtime library.
    public var runtimeLibrary = RuntimeLibrary.standard
    /// How long models and the library stay loaded without a stream.
    public var runtimeKeepTime = Seconds(10)
    /// Time that loading a variant may take before it is given up.
    public var runtimeLoadLimit = Seconds(30)
    /// Files that survive a restart.
    public var stateDirectory = "/var/lib/jouled"
    /// Files that survive the process but need not survive a power cut: in memory where the service manager gives a directory
    /// there, so that they cost no write to the flash.
    public var volatileDirectory: String { getenv("RUNTIME_DIRECTORY").map { String(cString: $0) } ?? stateDirectory }
    /// Bytes of the history that reports are made of, in the state directory; 0: none is kept.
    public var historyBytes = 8_000_000
    public var policyDirectory = "/etc/jouled/policies"
    /// The policy in force until an operator sets another.
    public var policy = "lifetime"
    public var power = PowerSettings()
    public var virtualDevice = VirtualDeviceSettings()
    public var limits = Limits()
    public var access = AccessRules()
    /// What tells that programs wait for memory, unless the service manager names another file; empty: nothing.
    public var memoryPressure = MemoryPressure.devicePath

    /// Where battery readings come from.
    public struct PowerSettings: Sendable, Equatable {
        public enum Source: String, Sendable, CaseIterable {
            /// `power_supply` of the kernel.
            case sysfs
            /// The virtual device.
            case virtual
        }
        public var source = Source.sysfs
        public var sysfsRoot = "/sys"
        /// Time between readings, and with them the slow tick of decisions.
        public var pollInterval = Seconds(30)
        /// Time that a stream keeps its variant before a better one is worth changing to.
        public var dwell = Seconds(600)
        /// Counters of energy; nil: none is read.
        public var meter: EnergyCounterReader.Source? = .automatic
        /// Monitor chip on the device's input, `CHIP` or `CHIP/LABEL`, for batteries whose driver tells no power.
        public var rail: String?
        /// Power of one busy core: turns CPU time into energy where no meter exists.
        public var wattsPerCore = Watts(1.5)
    }

    /// The virtual battery and the load it carries.
    public struct VirtualDeviceSettings: Sendable, Equatable {
        public var capacity = Joules(wattHours: 10)
        public var initialPercent = 100.0
        public var charger = Watts(10)
        public var base = Watts(0.5)
        public var gaugePeriod = Seconds(10)
        public var gaugeQuantumPercent = 1.0
        public var gaugePowerNoise = 0.02
        public var seed = 1
        /// True joules per joule of the profiles: what learning has to find out.
        public var inferenceFactor = 1.0
    }

    /// What clients may use up together.
    public struct Limits: Sendable, Equatable {
        public var streams = 64
        public var connections = 256
        /// Share of the inference thread's time that the plan may use.
        public var unitUtilization = 0.9
        /// Memory for loaded variants.
        public var residentMegabytes = 512
    }

    public init() {}

    /// Reads a configuration file; keys that are absent keep their defaults.
    /// - Throws: an error that names file, line and key.
    public init(reading document: ConfigDocument) throws(JouledError) {
        let root = document.root
        if let socket = try root.optionalTable("socket") {
            socketPath = try socket.string("path", default: socketPath)
            let mode = try socket.string("mode", default: "0660")
            guard let bits = Int(mode, radix: 8), (0...0o777).contains(bits) else {
                throw socket.error("mode", "is not an octal permission like \"0660\"")
            }
            socketMode = bits
            try socket.finish()
        }
        modelsDirectory = try Self.path("models", "directory", root, modelsDirectory)
        if let table = try root.optionalTable("runtime") {
            runtimeLibrary = try table.string("library", default: runtimeLibrary)
            runtimeKeepTime = try table.duration("keep", default: runtimeKeepTime, range: Seconds(0)...Seconds(86400))
            runtimeLoadLimit = try table.duration("load_limit", default: runtimeLoadLimit, range: Seconds(1)...Seconds(3600))
            try table.finish()
        }
        if let table = try root.optionalTable("state") {
            stateDirectory = try table.string("directory", default: stateDirectory)
            historyBytes = Int(try table.number("history_mb", default: Double(historyBytes) / 1e6, range: 0...1000) * 1e6)
            try table.finish()
        }
        if let table = try root.optionalTable("memory") {
            memoryPressure = try table.string("pressure", default: memoryPressure)
            try table.finish()
        }
        if let table = try root.optionalTable("policy") {
            policyDirectory = try table.string("directory", default: policyDirectory)
            policy = try table.string("active", default: policy)
            try table.finish()
        }
        if let table = try root.optionalTable("power") {
            power = try PowerSettings(reading: table)
        }
        if let table = try root.optionalTable("virtual_device") {
            virtualDevice = try VirtualDeviceSettings(reading: table)
        }
        if let table = try root.optionalTable("limits") {
            limits.streams = try table.integer("streams", default: limits.streams, range: 1...1024)
            limits.connections = try table.integer("connections", default: limits.connections, range: 1...4096)
            limits.unitUtilization = try table.number("unit_utilization", default: limits.unitUtilization, range: 0.01...1)
            limits.residentMegabytes = try table.integer("resident_mb", default: limits.residentMegabytes, range: 1...1_048_576)
            try table.finish()
        }
        if let table = try root.optionalTable("access") { access = try AccessRules(reading: table) }
        try root.finish()
    }

    private static func path(_ name: String, _ key: String, _ root: ConfigTable, _ fallback: String) throws(JouledError) -> String {
        guard let table = try root.optionalTable(name) else { return fallback }
        let path = try table.string(key, default: fallback)
        try table.finish()
        return path
    }
}

extension DaemonConfiguration.PowerSettings {
    fileprivate init(reading table: ConfigTable) throws(JouledError) {
        let name = try table.string("source", default: source.rawValue)
        guard let source = Source(rawValue: name) else {
            throw table.error("source", "is '\(name)', not one of \(Source.allCases.map { "\"\($0.rawValue)\"" }.joined(separator: ", "))")
        }
        self.source = source
        sysfsRoot = try table.string("sysfs_root", default: sysfsRoot)
        pollInterval = try table.duration("poll", default: pollInterval, range: Seconds(0.1)...Seconds(3600))
        dwell = try table.duration("dwell", default: dwell, range: Seconds(0)...Seconds(86400))
        meter = try Self.meter(table)
        rail = try table.optionalString("rail")
        wattsPerCore = Watts(try table.number("watts_per_core", default: wattsPerCore.value, range: 0.001...1000))
        try table.finish()
    }
}

extension DaemonConfiguration.PowerSettings {
    private static func meter(_ table: ConfigTable) throws(JouledError) -> EnergyCounterReader.Source? {
        let text = try table.string("meter", default: "auto")
        if text == "none" { return nil }
        guard let source = EnergyCounterReader.Source(text) else {
            throw table.error("meter", "is '\(text)', not one of \((["none"] + EnergyCounterReader.Source.forms).map { "\"\($0)\"" }.joined(separator: ", "))")
        }
        return source
    }
}

extension DaemonConfiguration.VirtualDeviceSettings {
    fileprivate init(reading table: ConfigTable) throws(JouledError) {
        capacity = Joules(wattHours: try table.number("capacity_wh", default: capacity.wattHours, range: 1e-6...1e6))
        initialPercent = try table.number("initial_percent", default: initialPercent, range: 0...100)
        charger = Watts(try table.number("charger_w", default: charger.value, range: 0...1e5))
        base = Watts(try table.number("base_w", default: base.value, range: 0...1e5))
        gaugePeriod = try table.duration("gauge_period", default: gaugePeriod, range: Seconds(0)...Seconds(3600))
        gaugeQuantumPercent = try table.number("gauge_quantum_percent", default: gaugeQuantumPercent, range: 0...50)
        gaugePowerNoise = try table.number("gauge_power_noise", default: gaugePowerNoise, range: 0...1)
        seed = try table.integer("seed", default: seed)
        inferenceFactor = try table.number("inference_factor", default: inferenceFactor, range: 0.01...100)
        try table.finish()
    }
}

extension DaemonConfiguration {
    /// Reads the file at `path` with its drop-ins, `PATH.d/*.toml`; without a path, the default file and drop-ins as far as they
    /// exist, over built-in defaults.
    /// - Throws: an error that names file, line and key; a path that was asked for must exist.
    public static func load(_ path: String?, default fallback: String) throws(JouledError) -> DaemonConfiguration {
        try DaemonConfiguration(reading: ConfigDocument.loadWithDropIns(path ?? fallback, allowsMissing: path == nil))
    }
}

extension DaemonConfiguration {
    /// Looks for the policies that the configuration speaks of: their directory, and the active one in it.
    /// - Parameters:
    ///   - document: what `self` was read from, for the line of the key at fault.
    ///   - defaults: whether what the document does not say is looked for, too.
    /// - Throws: `.invalidValue`, naming file, line and key.
    public func findPolicies(namedIn document: ConfigDocument, defaults: Bool = false) throws(JouledError) {
        let table = try document.root.optionalTable("policy")
        guard table != nil || defaults else { return }
        func problem(_ key: String, _ message: String) -> JouledError {
            table?.error(key, message) ?? JouledError(.invalidValue, "\(message) (policy.\(key) is the built-in default, for \(document.file) does not set it)")
        }
        var status = stat()
        guard stat(policyDirectory, &status) == 0, status.st_mode & S_IFMT == S_IFDIR else {
            throw problem("directory", "no directory \(policyDirectory)")
        }
        let names = PolicyStore(directory: policyDirectory, stateDirectory: stateDirectory).names()
        guard names.contains(policy) else {
            let there = names.isEmpty ? "there are none" : "there are \(names.joined(separator: ", "))"
            throw problem("active", "no policy '\(policy)' (\(policyDirectory)/\(policy).toml); \(there)")
        }
    }
}

/// The version that the programs report.
public enum DaemonVersion {
    public static let text = Services.version
}
