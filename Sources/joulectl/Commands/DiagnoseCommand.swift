import ArgumentParser
import ConfigDocument
import Glibc
import JouledClient
import JouledDaemon
import ModelStore
import PowerTelemetry
import Units
import Wire

/// Everything that helps somebody else to understand a device, in one archive.
struct DiagnoseCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "diagnose", abstract: "Collect configuration, state, decisions and the journal into one archive for a bug report.",
        discussion: """
            Left out are samples and what models said of them, serial numbers, names of the machine and its users, and model files. Names that clients gave their
            streams become stream-1, stream-2 and so on. What is there is text: look at it before you send it.
            """)
    @OptionGroup var daemon: DaemonOptions
    @Option(help: "The daemon's configuration.", completion: .file(extensions: ["toml"]))
    var config: String?
    @Option(name: .shortAndLong, help: "The archive.", completion: .file(extensions: ["gz"]))
    var output = "jouled-diagnosis.tar.gz"

    func run() throws {
        try reporting {
            var template = Array("/tmp/jouled-diagnosis-XXXXXX".utf8CString)
            guard mkdtemp(&template) != nil else { throw JouledError(.diagnosis, "/tmp: \(String(cString: strerror(errno)))") }
            var collection = DiagnosisCollection(directory: String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self))
            defer { collection.remove() }
            var settings = DaemonConfiguration()
            do throws(JouledError) {
                settings = try DaemonConfiguration.load(config, default: DaemonConfiguration.defaultPath)
            } catch {
                // Often the very thing that is asked about.
                Console.error("joulectl: \(error); places that are built in are looked at instead")
                collection.add("configuration-error", "\(error)\n")
            }
            if let connection = try? daemon.connect() { collection.replies(connection) } else { collection.add("daemon", "it cannot be reached\n") }
            collection.files(settings, config ?? DaemonConfiguration.defaultPath)
            collection.machine(settings)
            collection.command("units", ["/usr/bin/systemctl", "show", "--no-pager", "jouled.service", "jouled.socket"])
            collection.command("journal", ["/usr/bin/journalctl", "--no-pager", "--no-hostname", "-o", "short-iso", "-n", "5000", "-u", "jouled.service"])
            try collection.pack(to: output)
            Console.out("\(output): \(collection.names.count) files: \(collection.names.joined(separator: ", "))")
        }
    }
}

/// Files on their way into the archive, without what is nobody's business.
struct DiagnosisCollection {
    private let directory: String
    private(set) var names: [String] = []
    /// What is replaced wherever it occurs, longest first.
    private var secrets: [(text: String, by: String)] = []

    init(directory: String) {
        self.directory = directory
        var host = [CChar](repeating: 0, count: 256)
        if gethostname(&host, host.count - 1) == 0 { hide(String(decoding: host.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self), "HOST") }
        for file in ["/etc/machine-id", "/proc/sys/kernel/random/boot_id"] {
            if let text = try? TextFile.read(file, limit: 256) { hide(String(text.prefix { $0 != "\n" }), "ID") }
        }
    }

    private mutating func hide(_ text: String, _ by: String) {
        // Very short names occur inside of other words.
        guard text.count >= 3, !secrets.contains(where: { $0.text == text }) else { return }
        secrets.append((text, by))
        secrets.sort { $0.text.count > $1.text.count }
    }

    mutating func add(_ name: String, _ text: String) {
        var clean = text
        for secret in secrets { clean = clean.replacing(secret.text, with: secret.by) }
        guard (try? AtomicFile.write(clean, to: "\(directory)/\(name)", isDurable: false)) != nil else { return }
        names.append(name)
    }

    /// What the daemon says of itself. Comes first: it tells the names to hide.
    mutating func replies(_ connection: JouledConnection) {
        let calls = [
            "org.varlink.service.GetInfo", "io.jouled.Streams.List", "io.jouled.Streams.Ledger", "io.jouled.Power.GetStatus", "io.jouled.Power.ListDecisions",
            "io.jouled.Models.List", "io.jouled.Policy.List", "io.jouled.Power.History",
        ]
        let replies = calls.map { method in (method, Result { () throws(JouledError) in try connection.call(method) }) }
        for (_, reply) in replies {
            guard case .success(let value) = reply else { continue }
            let models = Set(value.list("models").map { $0.text("name") })
            let all = value.list("streams") + value.list("entries") + value.list("decisions") + value.list("points").flatMap { $0.list("streams") }
            for stream in all {
                let name = stream["streamName"]?.stringValue ?? stream.text("name")
                guard name != stream.text("model"), !models.contains(name), name != "earlier streams" else { continue }
                hide(name, "stream-\(secrets.count(where: { $0.by.hasPrefix("stream-") }) + 1)")
            }
        }
        for (method, reply) in replies {
            switch reply {
            case .success(let value): add(method, Self.withoutValues(value).description + "\n")
            case .failure(let error): add(method, "\(error)\n")
            }
        }
    }

    /// What models said is about people, and what clients say of their holds may be.
    static func withoutValues(_ value: JSONValue) -> JSONValue {
        switch value {
        case .object(let object):
            var clean = JSONObject()
            let isHold = object["hold"] != nil
            for member in object.members {
                clean[member.key] = member.key == "lastValues" ? [] : isHold && member.key == "reason" ? "" : withoutValues(member.value)
            }
            return .object(clean)
        case .array(let elements): return .array(elements.map(withoutValues))
        default: return value
        }
    }

    mutating func files(_ settings: DaemonConfiguration, _ configuration: String) {
        func copy(_ path: String, as name: String) {
            if let text = try? TextFile.read(path, limit: 1 << 20) { add(name, text) }
        }
        // A file with its drop-ins.
        func copyAll(_ path: String, as name: String) {
            copy(path, as: name)
            for dropIn in SysfsRoot("\(path).d").names(in: ".") { copy("\(path).d/\(dropIn)", as: "\(name).d-\(dropIn)") }
        }
        copyAll(configuration, as: "jouled.toml")
        for name in PolicyStore(directory: settings.policyDirectory, stateDirectory: settings.stateDirectory).names() {
            copyAll("\(settings.policyDirectory)/\(name).toml", as: "policy-\(name).toml")
        }
        for bundle in (try? ModelStore(root: settings.modelsDirectory).list().bundles) ?? [] {
            for file in ["model.toml", "profile.toml"] { copy("\(bundle.directory)/\(file)", as: "bundle-\(bundle.manifest.name)-\(bundle.manifest.version)-\(file)") }
        }
        copy("\(settings.stateDirectory)/energy-model", as: "state-energy-model")
    }

    mutating func machine(_ settings: DaemonConfiguration) {
        var system = utsname()
        uname(&system)
        func text(_ field: some Any) -> String { withUnsafeBytes(of: field) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) } }
        var lines = ["joulectl \(DaemonVersion.text)", "\(text(system.sysname)) \(text(system.release)) \(text(system.machine))"]
        for file in ["/etc/os-release", "/proc/cpuinfo", "/proc/meminfo"] {
            let wanted = ["PRETTY_NAME", "model name", "Hardware", "Model", "processor", "MemTotal", "MemAvailable"]
            lines += ((try? TextFile.read(file, limit: 1 << 20)) ?? "").split(separator: "\n").map(String.init).filter { line in wanted.contains { line.hasPrefix($0) } }
        }
        add("machine", lines.joined(separator: "\n") + "\n")
        let sysfs = SysfsRoot(settings.power.sysfsRoot)
        var power: [String] = []
        for (folder, hidden) in [("class/power_supply", ["serial_number", "uevent", "device", "subsystem"]), ("class/thermal", ["subsystem", "uevent"]), ("class/powercap", ["subsystem", "uevent"])] {
            for device in sysfs.names(in: folder) {
                for attribute in sysfs.names(in: "\(folder)/\(device)") where !hidden.contains(attribute) {
                    if let value = sysfs.text("\(folder)/\(device)/\(attribute)").value { power.append("\(folder)/\(device)/\(attribute): \(value)") }
                }
            }
        }
        add("power", power.joined(separator: "\n") + "\n")
    }

    /// The output of a program, or why there is none.
    mutating func command(_ name: String, _ words: [String]) {
        let file = "\(directory)/.\(name)"
        defer { unlink(file) }
        guard let child = try? ChildProcess(words[0], Array(words.dropFirst()), output: file, error: file), child.wait(atMost: Seconds(30)) else {
            return add(name, "\(words[0]) could not be run\n")
        }
        add(name, (try? TextFile.read(file, limit: 16 << 20)) ?? "")
    }

    func pack(to output: String) throws(JouledError) {
        let log = "\(directory)/.tar"
        // tar's own default would keep who packed it, and take a name with a colon for another machine's.
        let child = try ChildProcess(
            "/usr/bin/tar", ["-czf", output, "--force-local", "--owner=0", "--group=0", "--numeric-owner", "--transform=s,^,jouled-diagnosis/,", "-C", directory] + names, output: log, error: log)
        guard child.wait(atMost: Seconds(60)), child.exitStatus == 0 else {
            throw JouledError(.diagnosis, "\(output): cannot be packed: \((try? TextFile.read(log, limit: 1 << 16)) ?? "tar does not end")")
        }
    }

    func remove() {
        for name in names + [".tar"] { unlink("\(directory)/\(name)") }
        rmdir(directory)
    }
}

extension JouledError.Code {
    /// What is wrong with a device cannot be collected.
    static let diagnosis = Self("joulectl.diagnosis")
}
