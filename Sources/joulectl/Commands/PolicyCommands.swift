import ArgumentParser
import ConfigDocument
import Glibc
import JouledClient
import JouledDaemon
import PowerPolicy
import Units
import Wire

/// Shows and sets power policies.
struct PolicyCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "policy", abstract: "Show or set the power policy.", subcommands: [Show.self, Set.self, Reload.self, Diff.self],
        defaultSubcommand: Show.self)

    struct Show: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "All policies; the one in force has a star, and where a hold keeps it, the chosen one waits.")
        @OptionGroup var daemon: DaemonOptions
        @OptionGroup var table: TableOptions

        func run() throws {
            try reporting {
                let reply = try daemon.connect().call("io.jouled.Policy.List")
                if table.json { return Console.out(reply.description) }
                for policy in reply.list("policies") {
                    let star = policy.flag("active") ? "*" : " "
                    let problem = policy.text("problem")
                    let waits = policy.flag("chosen") && !policy.flag("active")
                    let state = (policy.flag("held") ? ", held by a client" : "") + (waits ? ", chosen: waits for the hold's end" : "")
                    Console.out("\(star) \(policy.text("name")) (\(problem.isEmpty ? policy.text("kind") : "not valid")\(state))")
                    Console.out("    \(problem.isEmpty ? policy.text("description") : problem)")
                }
            }
        }
    }

    struct Set: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Choose the policy and remember it over restarts.",
            discussion: "It is in force at once, unless a client holds another policy (see joulectl status): then it waits for the hold's end.")
        @OptionGroup var daemon: DaemonOptions
        @Argument(help: "Name of the policy, as in joulectl policy show.")
        var name: String

        func run() throws {
            try reporting {
                let inForce = try daemon.connect().call("io.jouled.Policy.Set", ["name": .string(name)]).text("inForce")
                Console.out("policy \(name) is \(inForce == name ? "in force" : waiting(inForce))")
            }
        }
    }

    struct Reload: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Read the chosen policy's file again; a bad file changes nothing.",
            discussion: "The policy of joulectl policy set is read, also while a client holds another one. systemctl reload jouled does the same.")
        @OptionGroup var daemon: DaemonOptions

        func run() throws {
            try reporting {
                let reply = try daemon.connect().call("io.jouled.Policy.Reload")
                let (chosen, inForce) = (reply.text("chosen"), reply.text("inForce"))
                Console.out("policy \(chosen) read again\(inForce == chosen ? "" : "; it is \(waiting(inForce))")")
            }
        }
    }
}

/// That a choice is not in force, and why.
private func waiting(_ inForce: String) -> String { "chosen, and waits: a client holds policy \(inForce), see joulectl status" }

extension PolicyCommand {
    struct Diff: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "What a policy file, with its drop-ins, says that differs from the defaults, and what its schedule changes. Needs no daemon.")
        @Argument(help: "The policy file.", completion: .file(extensions: ["toml"]))
        var file: String

        func run() throws {
            try reporting {
                for difference in try PowerPolicy.load(file).differences {
                    let other = difference.standard.map { "    (\(difference.isSchedule ? "otherwise" : "default"): \($0))" } ?? ""
                    Console.out("\(difference.key) = \(difference.value)\(other)")
                }
            }
        }
    }
}

/// Checks operator files without a daemon.
struct CheckConfigCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "check-config",
        abstract: "Check jouled.toml and policy files; names file, line and key of what is wrong.",
        discussion: """
            Without files, checks /etc/jouled/jouled.toml and every policy in its policy directory. The policy directory and the active \
            policy must be there; with files, those that the file names. Drop-ins (FILE.d/*.toml) are checked \
            with the file that they belong to. What lies in a directory called policies is a policy. Exit status 1 if anything is wrong.
            """)
    @Argument(help: "Files to check: a policy is told from a daemon configuration by its directory's name, policies, or its key 'kind'.", completion: .file(extensions: ["toml"]))
    var files: [String] = []

    func run() throws {
        let problems = files.isEmpty ? checkInstallation() : files.compactMap { isEmpty($0) ? "\($0): is empty" : check($0, isPolicy: isAmongPolicies($0)) }
        for problem in problems { Console.error(problem) }
        if !problems.isEmpty { throw ExitCode(1) }
    }

    /// Whether a file that can be read says nothing at all, as one that was cut off does.
    private func isEmpty(_ file: String) -> Bool {
        guard let text = try? TextFile.read(file, limit: 1 << 20) else { return false }
        return text.allSatisfy(\.isWhitespace)
    }

    /// Whether the file lies in a directory that is called policies.
    private func isAmongPolicies(_ file: String) -> Bool {
        guard let path = realpath(file, nil) else { return false }
        defer { free(path) }
        return String(cString: path).split(separator: "/").dropLast().last == "policies"
    }

    /// - Parameter isPolicy: whether it cannot be a daemon's configuration, whatever it says.
    /// - Returns: what is wrong with the file; nil if it is valid.
    private func check(_ file: String, isPolicy: Bool) -> String? {
        do throws(JouledError) {
            let dropIns = ConfigDocument.dropIns(of: file).count
            let with = dropIns == 0 ? "" : " with \(dropIns) drop-in\(dropIns == 1 ? "" : "s")"
            let document = try PowerPolicy.document(file)
            if isPolicy || document.root.contains("kind") {
                let policy = try PowerPolicy(reading: document)
                let parts = policy.schedule.isEmpty ? "" : ", \(policy.schedule.count) scheduled part\(policy.schedule.count == 1 ? "" : "s") of the day"
                Console.out("\(file)\(with): a valid \(policy.kind.name) policy\(parts)")
            } else {
                try DaemonConfiguration(reading: document).findPolicies(namedIn: document)
                Console.out("\(file)\(with): a valid daemon configuration")
            }
            return nil
        } catch {
            return error.description
        }
    }

    private func checkInstallation() -> [String] {
        let path = DaemonConfiguration.defaultPath
        var problems: [String] = []
        var settings = DaemonConfiguration()
        do throws(JouledError) {
            let document = try ConfigDocument.loadWithDropIns(path, allowsMissing: true)
            settings = try DaemonConfiguration(reading: document)
            try settings.findPolicies(namedIn: document, defaults: true)
            Console.out("\(path): valid, or absent and built-in defaults hold")
        } catch {
            problems.append(error.description)
        }
        let store = PolicyStore(directory: settings.policyDirectory, stateDirectory: settings.stateDirectory)
        for name in store.names() {
            if let problem = check("\(settings.policyDirectory)/\(name).toml", isPolicy: true) { problems.append(problem) }
        }
        return problems
    }
}
