import Glibc
import JouledClient
import JouledTestKit
import ModelStore
import Units
import Wire

/// Where the built programs and what set-up fetched are.
enum Installation {
    /// The folder of build products: the test runner lies in it.
    static let products: String = {
        var path = [CChar](repeating: 0, count: 4096)
        let count = readlink("/proc/self/exe", &path, path.count - 1)
        let own = String(decoding: path.prefix(max(0, count)).map { UInt8(bitPattern: $0) }, as: UTF8.self)
        let folder = String(own[..<(own.lastIndex(of: "/") ?? own.startIndex)])
        return access(folder + "/jouled", X_OK) == 0 ? folder : root + "/.build/debug"
    }()
    static let root: String = {
        let parts = #filePath.split(separator: "/", omittingEmptySubsequences: false)
        return parts.dropLast(3).joined(separator: "/")
    }()
    /// True if everything is instrumented by a sanitizer: many times slower, with a thread of the sanitizer's own.
    static let isSanitized = getenv("JOULED_SANITIZER") != nil
    static let jouled = products + "/jouled"
    static let joulectl = products + "/joulectl"
    static let bundles = root + "/.deps/bundles"
    /// The variants of a bundle, float32 first. Which there are besides depends on what held the thresholds on this machine.
    static func variants(_ model: String) throws -> [String] { try ModelStore(root: bundles).load(model).manifest.variants.map(\.name) }
    /// A program that only tests need: set-up's own copy or the system's; nil where there is none.
    static func tool(_ name: String) -> String? {
        [root + "/.deps/bin/" + name, "/usr/bin/" + name, "/usr/local/bin/" + name].first { access($0, X_OK) == 0 }
    }
    static let speech = root + "/.deps/signals/speech.s16le"
    static let ecg = root + "/.deps/signals/ecg-0201.f32le"
    /// The recording that a model's references were made of, and the format of its samples.
    static func signal(_ model: String) throws -> (file: String, format: String) {
        switch try ModelStore(root: bundles).load(model).manifest.signal.kind {
        case .audio: (speech, "s16le")
        case .ppg: (root + "/.deps/signals/ppg-watch.f32le", "f32le")
        case .ecg, .motion: (ecg, "f32le")
        }
    }
    /// ONNX Runtime, whatever its release.
    static let runtime: String = {
        let folder = root + "/.deps/lib"
        let file = TemporaryDirectory.names(in: folder).first { $0.hasPrefix("libonnxruntime.so") }
        return folder + "/" + (file ?? "libonnxruntime.so is not there: run setup/setup.sh")
    }()
}

/// A real `jouled` in a directory of its own, ended with this object.
final class DaemonHarness {
    /// What differs between tests.
    struct Settings {
        var policy = "unlimited"
        /// Text of `policies/NAME.toml` by name.
        var policies = [
            "unlimited": "kind = \"unlimited\"\n",
            "tiny": "kind = \"fixed\"\nwatts = 1e-9\n[models.\"*\"]\ncritical = true\n",
            "starved": "kind = \"fixed\"\nwatts = 1e-9\n",
        ]
        var models = Installation.bundles
        var runtime = Installation.runtime
        /// How long models and library stay loaded without a stream.
        var keep = "10s"
        var loadLimit = "30s"
        /// The lines of `[power]`.
        var power = "source = \"virtual\"\npoll = \"1h\""
        /// Further tables.
        var more = ""
        var environment: [String: String] = [:]
        var arguments: [String] = []
        /// Becomes LISTEN_FDS of the daemon, as systemd passes it.
        var listener: Int32?
        /// False if the daemon is expected not to start.
        var waits = true
    }

    let directory: TemporaryDirectory
    let settings: Settings
    private(set) var process: Subprocess
    var socket: String { directory("s") }

    init(_ settings: Settings = Settings(), in directory: TemporaryDirectory = TemporaryDirectory()) throws {
        self.directory = directory
        self.settings = settings
        directory.write("jouled.toml", Self.configuration(settings, directory))
        for (name, text) in settings.policies { directory.write("policies/\(name).toml", text) }
        process = try Self.start(settings, directory)
        if settings.waits { try waitUntilReady() }
    }

    convenience init(_ change: (inout Settings) -> Void) throws {
        var settings = Settings()
        change(&settings)
        try self.init(settings)
    }

    private static func configuration(_ settings: Settings, _ directory: TemporaryDirectory) -> String {
        """
        [socket]
        path = "\(directory("s"))"
        [models]
        directory = "\(settings.models)"
        [runtime]
        library = "\(settings.runtime)"
        keep = "\(settings.keep)"
        load_limit = "\(settings.loadLimit)"
        [state]
        directory = "\(directory.path)"
        [policy]
        directory = "\(directory("policies"))"
        active = "\(settings.policy)"
        [power]
        \(settings.power)
        \(settings.more)

        """
    }

    private static func start(_ settings: Settings, _ directory: TemporaryDirectory) throws -> Subprocess {
        let arguments = ["--config", directory("jouled.toml"), "--stderr"] + settings.arguments
        guard let listener = settings.listener else {
            return try Subprocess(
                Installation.jouled, arguments, error: directory("journal"), environment: settings.environment)
        }
        // systemd's promise names the process that it is for, which only the process itself knows beforehand.
        return try Subprocess(
            "/bin/sh", ["-c", "LISTEN_PID=$$; export LISTEN_PID; exec \"$0\" \"$@\"", Installation.jouled] + arguments,
            error: directory("journal"),
            environment: settings.environment.merging(["LISTEN_FDS": "1", "LISTEN_FDNAMES": "varlink"]) { $1 },
            descriptor: listener)
    }

    func waitUntilReady() throws {
        let ready = eventually(within: Seconds(20)) {
            if process.exitStatus != nil { return true }
            guard let connection = try? JouledConnection(path: socket) else { return false }
            connection.timeout = Seconds(10)
            return (try? connection.call("org.varlink.service.GetInfo")) != nil
        }
        guard ready, process.exitStatus == nil else {
            throw JouledError(.subprocess, "jouled did not start (status \(process.exitStatus ?? 0)): \(journal)")
        }
    }

    /// What the daemon wrote to its journal, one record a line.
    var journal: String { directory.text(of: "journal") }

    /// Waits until the journal has a line with all of `parts`.
    func journalHas(_ parts: String..., within limit: Seconds = Seconds(10)) -> Bool {
        eventually(within: limit) {
            journal.split(separator: "\n").contains { line in parts.allSatisfy { line.contains($0) } }
        }
    }

    func connect() throws -> JouledConnection {
        let connection = try JouledConnection(path: socket)
        connection.timeout = Seconds(20)
        return connection
    }

    @discardableResult
    func call(_ method: String, _ parameters: JSONObject = [:]) throws -> JSONValue { try connect().call(method, parameters) }

    func setPolicy(_ name: String) throws { try call("io.jouled.Policy.Set", ["name": .string(name)]) }

    /// Ends the daemon and starts it again in the same directory.
    func restart() throws {
        process.signal(SIGTERM)
        guard process.wait(atMost: Seconds(5)) == 0 else { throw JouledError(.subprocess, "jouled did not end: \(journal)") }
        process = try Self.start(settings, directory)
        try waitUntilReady()
    }

    /// Kills the daemon without a chance to write anything, and starts it again in the same directory.
    func crash() throws {
        process.signal(SIGKILL)
        _ = process.wait(atMost: Seconds(5))
        process = try Self.start(settings, directory)
        try waitUntilReady()
    }

    /// The value of a line of `/proc/PID/status`, e.g. `RssAnon`, as a number. (`VmRSS` also has pages of code, which come and go.)
    func status(_ key: String, of thread: String? = nil) -> Int? {
        let path = "/proc/\(process.id)/" + (thread.map { "task/\($0)/" } ?? "") + "status"
        let text = String(decoding: TemporaryDirectory.contents(of: path) ?? [], as: UTF8.self)
        let line = text.split(separator: "\n").first { $0.hasPrefix(key + ":") }
        return line?.split(whereSeparator: { $0 == "\t" || $0 == " " }).dropFirst().first.flatMap { Int($0) }
    }

    /// Starts `joulectl` with `--socket`; its output goes to `NAME.out` and `NAME.err` of the directory.
    func joulectl(_ arguments: [String], name: String, input: String? = nil) throws -> Subprocess {
        try Subprocess(
            Installation.joulectl, arguments + ["--socket", socket], input: input, output: directory("\(name).out"),
            error: directory("\(name).err"))
    }

    /// Runs `joulectl` to its end.
    func run(_ arguments: [String], input: String? = nil, within limit: Seconds = Seconds(60)) throws -> (status: Int32?, out: String, error: String) {
        let name = "run\(runs)"
        runs += 1
        let status = try joulectl(arguments, name: name, input: input).wait(atMost: limit * (Installation.isSanitized ? 10 : 1))
        return (status, directory.text(of: "\(name).out"), directory.text(of: "\(name).err"))
    }
    private var runs = 0
}
