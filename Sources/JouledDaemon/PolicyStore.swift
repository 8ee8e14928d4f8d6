import ConfigDocument
import Glibc
import PowerPolicy
import Systemd
import Units
import Wire

/// The operator's policy files, `DIRECTORY/NAME.toml`, and the name of the one they chose.
public struct PolicyStore: Sendable {
    public let directory: String
    /// Where the choice is kept over restarts.
    public let stateFile: String

    public init(directory: String, stateDirectory: String) {
        self.directory = directory
        stateFile = stateDirectory + "/policy"
    }

    /// A policy file, valid or not.
    public struct Listed: Sendable {
        public var name: String
        public var policy: PowerPolicy?
        public var problem: String

        func json(isActive: Bool, isChosen: Bool, isHeld: Bool) -> JSONObject {
            [
                "name": .string(name), "kind": .string(policy?.kind.name ?? ""), "description": .string(policy?.description ?? ""),
                "active": .bool(isActive), "chosen": .bool(isChosen), "held": .bool(isHeld), "problem": .string(problem),
            ]
        }
    }

    /// Names of the files, sorted.
    public func names() -> [String] {
        (DirectoryTree.names(in: directory) ?? []).filter { $0.hasSuffix(".toml") && !$0.hasPrefix(".") }.map { String($0.dropLast(5)) }
    }

    public func list() -> [Listed] {
        names().map { name in
            do throws(JouledError) {
                return Listed(name: name, policy: try load(name), problem: "")
            } catch {
                return Listed(name: name, policy: nil, problem: error.description)
            }
        }
    }

    /// - Throws: an error that names file, line and key.
    public func load(_ name: String) throws(JouledError) -> PowerPolicy {
        guard !name.contains("/"), !name.hasPrefix(".") else {
            throw JouledError(.unreadableFile, "'\(name)' is no name of a policy: it goes outside of \(directory)")
        }
        return try PowerPolicy.load("\(directory)/\(name).toml")
    }

    /// The name that was remembered, if there is one and its file still exists.
    public func remembered() -> String? {
        guard let text = try? StateFile.read(stateFile), names().contains(text) else { return nil }
        return text
    }

    /// Keeps the choice over restarts.
    public func remember(_ name: String) throws(JouledError) { try StateFile.write(name, to: stateFile) }
}
