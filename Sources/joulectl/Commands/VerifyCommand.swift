import ArgumentParser
import ConfigDocument
import EnergyModel
import Glibc
import InferenceRuntime
import JouledClient
import JouledDaemon
import ModelStore
import PowerPolicy
import PowerTelemetry
import Units
import Wire

/// Whether this device is fit to serve.
struct VerifyCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "verify", abstract: "Check the whole installation: configuration, policies, runtime library, bundles, power, state, daemon.",
        discussion: "One line for each thing looked at; exit status 1 if anything is wrong. Needs no daemon for all but the last.")
    @OptionGroup var daemon: DaemonOptions
    @Option(help: "The daemon's configuration.", completion: .file(extensions: ["toml"]))
    var config: String?

    func run() throws {
        var verification = Verification()
        try reporting {
            let settings: DaemonConfiguration
            do throws(JouledError) {
                settings = try DaemonConfiguration.load(config, default: DaemonConfiguration.defaultPath)
                verification.good("configuration", config ?? "\(DaemonConfiguration.defaultPath), or built-in defaults where it is absent")
            } catch {
                return verification.bad("configuration", "\(error)")
            }
            verification.policies(settings)
            verification.runtime(settings)
            verification.bundles(settings)
            verification.power(settings)
            verification.state(settings)
            verification.daemon { try daemon.connect() }
        }
        Console.out(verification.faults == 0 ? "all is well" : "\(verification.faults) faults")
        if verification.faults > 0 { throw ExitCode(1) }
    }
}

/// What was found, told as it is found.
private struct Verification {
    private(set) var faults = 0

    func good(_ what: String, _ detail: String) { Console.out("ok     \(what): \(detail)") }
    func note(_ what: String, _ detail: String) { Console.out("note   \(what): \(detail)") }
    mutating func bad(_ what: String, _ detail: String) {
        faults += 1
        Console.out("FAULT  \(what): \(detail)")
    }

    mutating func policies(_ settings: DaemonConfiguration) {
        let store = PolicyStore(directory: settings.policyDirectory, stateDirectory: settings.stateDirectory)
        if store.names().isEmpty { bad("policies", "\(settings.policyDirectory): no policies (*.toml) there") }
        if !store.names().isEmpty, !store.names().contains(settings.policy) {
            bad("policy", "policy.active: no policy '\(settings.policy)' in \(settings.policyDirectory); there are \(store.names().joined(separator: ", "))")
        }
        for name in store.names() {
            do throws(JouledError) {
                good("policy", "\(name), \(try store.load(name).kind.name)")
            } catch {
                bad("policy", "\(error)")
            }
        }
    }

    mutating func runtime(_ settings: DaemonConfiguration) {
        do throws(JouledError) {
            OnnxRuntime.disableTelemetry()
            good("runtime", "\(settings.runtimeLibrary), ONNX Runtime \(try OnnxRuntime(libraryPath: settings.runtimeLibrary).version)")
        } catch {
            bad("runtime", "\(error)")
        }
    }

    mutating func bundles(_ settings: DaemonConfiguration) {
        do throws(JouledError) {
            let listing = try ModelStore(root: settings.modelsDirectory).list()
            for fault in listing.faults { bad("bundle", "\(fault.error)") }
            if listing.bundles.isEmpty { bad("bundles", "\(settings.modelsDirectory): none there") }
            for bundle in listing.bundles { check(bundle) }
        } catch {
            bad("bundles", "\(error)")
        }
    }

    private mutating func check(_ bundle: ModelBundle) {
        let name = "\(bundle.manifest.name) \(bundle.manifest.version)"
        for variant in bundle.manifest.variants {
            do throws(JouledError) { try bundle.verify(variant) } catch { return bad("bundle", "\(name): \(error)") }
        }
        let path = bundle.profilePath
        guard access(path, F_OK) == 0 else { return bad("bundle", "\(name): no profile of this device: run joulectl model profile \(bundle.directory)") }
        do throws(JouledError) {
            let profile = try DeviceProfile(reading: ConfigDocument.load(path))
            let missing = bundle.manifest.variants.map(\.name).filter { name in !profile.options.contains { $0.variant == name } }
            guard missing.isEmpty else { return bad("bundle", "\(name): the profile lacks \(missing.joined(separator: ", ")): run joulectl model profile \(bundle.directory)") }
            good("bundle", "\(name), \(bundle.manifest.variants.count) variants with their digests and their profile")
        } catch {
            bad("bundle", "\(name): \(error)")
        }
    }

    mutating func power(_ settings: DaemonConfiguration) {
        guard settings.power.source == .sysfs else { return note("power", "a virtual battery, for demonstrations") }
        var reader = PowerSupplyReader(sysfs: SysfsRoot(settings.power.sysfsRoot))
        let snapshot = reader.snapshot(at: SystemClocks().monotonic())
        for problem in snapshot.problems { bad("power", problem) }
        guard snapshot.hasBattery else { return note("power", "no battery under \(settings.power.sysfsRoot)/class/power_supply: goals by charge mean nothing here") }
        good("power", "\(snapshot.origin ?? "battery")\(snapshot.chargeFraction.map { ", \(percent($0.value))" } ?? "")\(snapshot.draw == nil ? ", which tells no power" : "")")
    }

    mutating func state(_ settings: DaemonConfiguration) {
        var status = stat()
        guard stat(settings.stateDirectory, &status) == 0 else {
            return note("state", "\(settings.stateDirectory): \(String(cString: strerror(errno))); the service makes it")
        }
        guard status.st_mode & S_IFMT == S_IFDIR else { return bad("state", "\(settings.stateDirectory): is no directory") }
        good("state", settings.stateDirectory)
    }

    mutating func daemon(_ connect: () throws -> JouledConnection) {
        do {
            let connection = try connect()
            let info = try connection.call("org.varlink.service.GetInfo")
            let status = try connection.call("io.jouled.Power.GetStatus")["status"] ?? .null
            let problems = status.list("problems").compactMap(\.stringValue)
            for problem in problems { bad("daemon", problem) }
            if info.text("version") != DaemonVersion.text { bad("daemon", "version \(info.text("version")) runs, joulectl is \(DaemonVersion.text): restart it") }
            if problems.isEmpty { good("daemon", "version \(info.text("version")), policy \(status.text("policy")), goal \(status.text("goal"))") }
        } catch {
            bad("daemon", "\(error)")
        }
    }
}
