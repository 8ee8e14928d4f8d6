import JouledTestKit
import Testing
import Wire

/// The interfaces that the daemon describes, held against what it says.
@Suite("Interface descriptions")
struct InterfaceTests {
    private func interfaces(_ daemon: DaemonHarness) throws -> [VarlinkInterface] {
        let names = try daemon.call("org.varlink.service.GetInfo")["interfaces"]?.arrayValue?.compactMap(\.stringValue) ?? []
        #expect(names.contains("org.varlink.service"))
        return try names.map { name in
            let text = try daemon.call("org.varlink.service.GetInterfaceDescription", ["interface": .string(name)])["description"]?.stringValue
            return VarlinkInterface(name: name, description: try #require(text))
        }
    }

    @Test("They are within the language, and every declaration and every field is documented")
    func documentation() throws {
        let daemon = try DaemonHarness()
        let all = try interfaces(daemon)
        #expect(all.count >= 7)
        for interface in all {
            _ = try interface.definition()
            // The service's own interface is its authors' text.
            guard interface.name != "org.varlink.service" else { continue }
            var above = ""
            for line in interface.description.split(separator: "\n", omittingEmptySubsequences: false).map(String.init) {
                let text = line.drop { $0 == " " }
                let isMember = ["interface ", "type ", "method ", "error "].contains { text.hasPrefix($0) }
                let isField = !text.hasPrefix("#") && text.contains(": ")
                if isMember || isField { #expect(above.hasPrefix("#"), "\(interface.name): '\(text)' is not documented") }
                #expect(!(isMember && isField), "\(interface.name): '\(text)' has a field that is not on a line of its own")
                above = String(text)
            }
        }
    }

    @Test("Every reply and every error is what its interface declares, nullable fields included")
    func shapes() throws {
        let daemon = try DaemonHarness()
        let definitions = Dictionary(uniqueKeysWithValues: try interfaces(daemon).map { ($0.name, try $0.definition()) })
        let stream = try TestStream.speech(daemon, ["name": "ear"])
        try stream.send(try Reference.speech()[..<10_240])
        #expect(try stream.wait { stream.windows.count == 10 })
        let gated = try TestStream.speech(daemon, ["name": "mind", "gate": ["name": "ear"], "latencyToleranceMs": 5000])
        let calls: [(String, JSONObject)] = [
            ("io.jouled.Streams.Explain", ["stream": .int(gated.id)]),
            ("io.jouled.Streams.Open", ["model": "silero-vad", "sampleRateHz": 16000, "gate": ["stream": 999]]),
            ("io.jouled.Streams.Open", ["model": "silero-vad", "sampleRateHz": 16000, "gate": ["name": "ear", "holdMs": 5], "latencyToleranceMs": 5000]),
            ("org.varlink.service.GetInfo", [:]), ("org.varlink.service.GetInterfaceDescription", ["interface": "io.jouled"]),
            ("org.varlink.service.GetInterfaceDescription", ["interface": "a.b"]), ("io.jouled.Nonesuch", [:]),
            ("io.jouled.Streams.List", [:]), ("io.jouled.Streams.Ledger", [:]), ("io.jouled.Streams.Explain", ["stream": .int(stream.id)]),
            ("io.jouled.Streams.Explain", ["stream": 999]), ("io.jouled.Power.GetStatus", [:]), ("io.jouled.Power.ListDecisions", [:]),
            ("io.jouled.Power.History", [:]), ("io.jouled.Power.History", ["sinceSeconds": 1e10]), ("io.jouled.Models.List", [:]), ("io.jouled.Policy.List", [:]), ("io.jouled.Policy.Set", ["name": "nonesuch"]),
            ("io.jouled.Policy.Set", ["name": "broken"]),
            ("io.jouled.Policy.Hold", ["reason": "test", "floors": [["model": "*", "floor": 0.5]]]), ("io.jouled.Policy.Hold", ["reason": "test", "policy": "nonesuch"]),
            ("io.jouled.Policy.Hold", ["reason": "test", "floors": [["model": "nonesuch", "floor": 0.5]]]), ("io.jouled.Policy.Set", ["name": "tiny"]), ("io.jouled.Policy.Reload", [:]),
            ("io.jouled.VirtualDevice.Set", ["chargerPluggedIn": true]),
            ("io.jouled.Power.GetStatus", [:]), ("io.jouled.Power.ListDecisions", ["limit": 1]), ("io.jouled.Streams.List", [:]),
            ("io.jouled.Streams.Open", ["model": "nonesuch", "sampleRateHz": 1]), ("io.jouled.Streams.Open", ["model": "silero-vad", "sampleRateHz": 1]),
            ("io.jouled.Streams.Open", ["model": "silero-vad", "sampleRateHz": 16000, "variant": "x"]),
            ("io.jouled.Streams.Open", ["model": "silero-vad", "sampleRateHz": 16000, "version": 99]),
            ("io.jouled.Streams.Open", ["model": "silero-vad", "sampleRateHz": 16000]),
        ]
        daemon.directory.write("policies/broken.toml", "kind = \"lifetim\"\n")
        var seen: Set<String> = []
        for (method, parameters) in calls {
            let call: JSONValue = ["method": .string(method), "parameters": .object(parameters), "upgrade": .bool(method.hasSuffix(".Open"))]
            let reply = try RawSocket(daemon).call(call.description)
            let name = reply["error"]?.stringValue ?? method
            seen.insert(name)
            let dot = try #require(name.lastIndex(of: "."))
            let definition = try #require(definitions[String(name[..<dot])], "\(name) is of no interface")
            let member = String(name[name.index(after: dot)...])
            let fields = reply["error"] == nil ? definition.method(member)?.output : definition.errors.first { $0.name == member }?.fields
            let problem = mismatch(reply["parameters"] ?? [:], .structure(try #require(fields, "\(name) is not declared")), definition, name)
            #expect(problem == nil, "\(problem ?? "")")
        }
        for (name, definition) in definitions {
            for method in definition.methods { #expect(seen.contains("\(name).\(method.name)"), "\(name).\(method.name) was not looked at") }
        }
    }

    /// Where and how a value is not what its type says; nil if it is.
    private func mismatch(_ value: JSONValue?, _ type: VarlinkDefinition.FieldType, _ definition: VarlinkDefinition, _ path: String) -> String? {
        if case .nullable(let inner) = type {
            guard let value, !value.isNull else { return nil }
            return mismatch(value, inner, definition, path)
        }
        guard let value, !value.isNull else { return "\(path) is absent or null" }
        func first(_ problems: some Sequence<String?>) -> String? { problems.compactMap { $0 }.first }
        switch type {
        case .bool: return value.boolValue == nil ? "\(path) is no bool: \(value)" : nil
        case .int: return value.intValue == nil ? "\(path) is no int: \(value)" : nil
        case .float: return value.doubleValue == nil ? "\(path) is no float: \(value)" : nil
        case .string: return value.stringValue == nil ? "\(path) is no string: \(value)" : nil
        case .object: return value.objectValue == nil ? "\(path) is no object: \(value)" : nil
        case .enumeration(let names): return value.stringValue.map(names.contains) == true ? nil : "\(path) is none of \(names): \(value)"
        case .named(let name):
            guard let alias = definition.types.first(where: { $0.name == name }) else { return "\(path): no type \(name)" }
            return mismatch(value, alias.type, definition, path)
        case .array(let element):
            guard let elements = value.arrayValue else { return "\(path) is no array: \(value)" }
            return first(elements.enumerated().lazy.map { mismatch($1, element, definition, "\(path)[\($0)]") })
        case .map(let element):
            guard let members = value.objectValue?.members else { return "\(path) is no map: \(value)" }
            return first(members.lazy.map { mismatch($0.value, element, definition, "\(path).\($0.key)") })
        case .structure(let fields):
            guard let object = value.objectValue else { return "\(path) is no structure: \(value)" }
            if let extra = object.members.first(where: { member in !fields.contains { $0.name == member.key } }) { return "\(path).\(extra.key) is not declared" }
            return first(fields.lazy.map { mismatch(object[$0.name], $0.type, definition, "\(path).\($0.name)") })
        case .nullable: return nil
        }
    }
}
