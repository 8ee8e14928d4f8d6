import Decisions
import PowerPolicy
import Systemd
import Units
import Wire

/// What an answer to a call asks the connection to do.
enum Answer: Sendable {
    case reply(JSONObject)
    /// Reply now and again after each change.
    case monitor(Topic, Scheduler.Snapshot)
    /// Confirm the upgrade and start the stream.
    case stream(StreamOpening)
}

/// The methods of all interfaces: reads parameters, asks the scheduler, and knows nothing of sockets.
struct Services: Sendable {
    let scheduler: Scheduler
    let policies: PolicyStore
    let journal: any JournalSink
    let hasVirtualDevice: Bool

    static let version = "0.1.0"

    /// The interfaces that this daemon offers.
    var interfaces: [VarlinkInterface] {
        var interfaces = [
            VarlinkInterface.service,
            VarlinkInterface(name: "io.jouled", description: commonInterfaceText),
            VarlinkInterface(name: "io.jouled.Models", description: modelsInterfaceText),
            VarlinkInterface(name: "io.jouled.Policy", description: policyInterfaceText),
            VarlinkInterface(name: "io.jouled.Power", description: powerInterfaceText),
            VarlinkInterface(name: "io.jouled.Streams", description: streamsInterfaceText),
        ]
        if hasVirtualDevice {
            interfaces.append(VarlinkInterface(name: "io.jouled.VirtualDevice", description: virtualDeviceInterfaceText))
        }
        return interfaces
    }

    /// - Throws: the standard refusal, for those who are no admins.
    private func allow(_ peer: Peer, to call: VarlinkCall, because what: String) throws(VarlinkError) {
        guard !peer.isAdmin else { return }
        note(JournalRecord(.notice, "Refused \(call.method) to user \(peer.uid): \(what) are for admins", fields: [.init("JOULED_PEER_UID", "\(peer.uid)")]))
        throw .permissionDenied
    }

    func note(_ record: JournalRecord) { journal.send(record) }

    /// Answers a call.
    /// - Throws: `VarlinkError` for everything that a client can do wrong.
    func answer(_ call: VarlinkCall, from peer: Peer, on connection: UInt64) async throws -> Answer {
        do {
            return try await route(call, from: peer, on: connection)
        } catch let error as JouledError {
            throw VarlinkError(error) ?? VarlinkError("io.jouled.Internal", ["message": .string(error.description)])
        }
    }

    private func route(_ call: VarlinkCall, from peer: Peer, on connection: UInt64) async throws -> Answer {
        if call.mode == .upgrade && call.method != "io.jouled.Streams.Open" && interfaces.contains(where: { $0.name == call.interface }) {
            throw VarlinkError.invalidParameter("upgrade")
        }
        switch call.interface {
        case "org.varlink.service": return .reply(try service(call))
        case "io.jouled": throw VarlinkError.methodNotFound(call.method)
        case "io.jouled.Streams": return try await streams(call, from: peer)
        case "io.jouled.Power": return try await power(call, from: peer)
        case "io.jouled.Models": return try await models(call)
        case "io.jouled.Policy": return .reply(try await policy(call, from: peer, on: connection))
        case "io.jouled.VirtualDevice" where hasVirtualDevice: return .reply(try await virtualDevice(call, from: peer))
        default: throw VarlinkError.interfaceNotFound(call.interface)
        }
    }

    // MARK: org.varlink.service

    private func service(_ call: VarlinkCall) throws -> JSONObject {
        var reader = VarlinkParameters(call)
        switch call.member {
        case "GetInfo":
            try reader.finish()
            return [
                "vendor": "jouled", "product": "jouled", "version": .string(Self.version), "url": "https://jouled.io",
                "interfaces": JSONValue(interfaces.map(\.name)),
            ]
        case "GetInterfaceDescription":
            let name = try reader.string("interface")
            try reader.finish()
            guard let interface = interfaces.first(where: { $0.name == name }) else { throw VarlinkError.interfaceNotFound(name) }
            return ["description": .string(interface.description)]
        default: throw VarlinkError.methodNotFound(call.method)
        }
    }

    // MARK: io.jouled.Streams

    private func streams(_ call: VarlinkCall, from peer: Peer) async throws -> Answer {
        switch call.member {
        case "Open":
            guard call.mode == .upgrade else { throw VarlinkError.expectedUpgrade }
            let request = try OpenRequest(call)
            // Who comes first when energy is short is the operator's to say.
            if request.critical == true || (request.weight ?? 0) > 1 { try allow(peer, to: call, because: "critical streams, and weights over 1") }
            return .stream(try await scheduler.open(request, for: peer))
        case "List":
            return try await state(of: .streams, call, for: peer)
        case "Ledger":
            try VarlinkParameters(call).finish()
            return .reply(await scheduler.freshLedger(for: peer))
        case "Explain":
            var reader = VarlinkParameters(call)
            let id = UInt64(try reader.int("stream", in: 0...Int64.max))
            try reader.finish()
            guard let lines = await scheduler.explain(id) else {
                throw VarlinkError("io.jouled.Streams.UnknownStream", ["stream": JSONValue(id)])
            }
            return .reply(lines)
        default: throw VarlinkError.methodNotFound(call.method)
        }
    }

    private func state(of topic: Topic, _ call: VarlinkCall, for peer: Peer) async throws -> Answer {
        try VarlinkParameters(call).finish()
        let state = await scheduler.snapshot(of: topic, for: peer)
        return call.mode == .more ? .monitor(topic, state) : .reply(state.parameters)
    }

    // MARK: io.jouled.Power

    private func power(_ call: VarlinkCall, from peer: Peer) async throws -> Answer {
        switch call.member {
        case "GetStatus": return try await state(of: .status, call, for: peer)
        case "ListDecisions":
            var reader = VarlinkParameters(call)
            let limit = try reader.optionalInt("limit", in: 0...100_000).map(Int.init)
            try reader.finish()
            let state = await scheduler.snapshotOfDecisions(limit: limit)
            return call.mode == .more ? .monitor(.decisions, state) : .reply(state.parameters)
        case "History":
            var reader = VarlinkParameters(call)
            let since = try reader.optionalDouble("sinceSeconds", in: 0...1e11) ?? 0
            let after = try reader.optionalInt("after", in: 0...Int64.max) ?? 0
            let limit = try reader.optionalInt("limit", in: 1...500) ?? 500
            try reader.finish()
            try allow(peer, to: call, because: "histories of all streams")
            return .reply(await scheduler.history(after: after, since: WallTime(secondsSince1970: since), count: Int(limit)))
        default: throw VarlinkError.methodNotFound(call.method)
        }
    }

    // MARK: io.jouled.Models

    private func models(_ call: VarlinkCall) async throws -> Answer {
        guard call.member == "List" else { throw VarlinkError.methodNotFound(call.method) }
        try VarlinkParameters(call).finish()
        return .reply(await scheduler.modelsJSON())
    }

    // MARK: io.jouled.Policy

    private func policy(_ call: VarlinkCall, from peer: Peer, on connection: UInt64) async throws -> JSONObject {
        var reader = VarlinkParameters(call)
        switch call.member {
        case "List":
            try reader.finish()
            let (active, chosen, held) = await (scheduler.engine.policyName, scheduler.engine.operatorPolicy.name, scheduler.holds.policy?.name)
            return ["policies": .array(policies.list().map { .object($0.json(isActive: $0.name == active, isChosen: $0.name == chosen, isHeld: $0.name == held)) })]
        case "Set":
            let name = try reader.string("name")
            try reader.finish()
            try allow(peer, to: call, because: "changes of policy")
            try await put(name, remember: true)
            return ["inForce": .string(await scheduler.engine.policyName)]
        case "Reload":
            try reader.finish()
            try allow(peer, to: call, because: "changes of policy")
            let chosen = await scheduler.engine.operatorPolicy.name
            try await put(chosen, remember: false)
            return ["chosen": .string(chosen), "inForce": .string(await scheduler.engine.policyName)]
        case "Hold":
            let reason = try reader.string("reason")
            let floors = try Self.floors(&reader)
            let name = try reader.optionalString("policy")
            try reader.finish()
            guard HoldReason.problem(reason) == nil else { throw VarlinkError.invalidParameter("reason") }
            guard !floors.isEmpty || name != nil else { throw VarlinkError.invalidParameter("floors") }
            // Floors of one's own streams are everyone's to raise.
            if name != nil { try allow(peer, to: call, because: "changes of policy") }
            let held = try name.map { name in (name: name, policy: try load(name)) }
            return ["hold": JSONValue(try await scheduler.hold(on: connection, for: peer, reason: reason, floors: floors, policy: held))]
        default: throw VarlinkError.methodNotFound(call.method)
        }
    }

    /// `floors` of a hold, by model.
    private static func floors(_ reader: inout VarlinkParameters) throws(JouledError) -> [String: Double] {
        var floors: [String: Double] = [:]
        for var entry in try reader.optionalStructures("floors") ?? [] {
            let model = try entry.string("model")
            guard floors.updateValue(try entry.double("floor", in: 0...1), forKey: model) == nil else { throw entry.invalid("model", "it is there twice") }
            try entry.finish()
        }
        return floors
    }

    /// Reads a policy's file.
    /// - Throws: `UnknownPolicy`, `InvalidPolicy`.
    private func load(_ name: String) throws -> PowerPolicy {
        guard policies.names().contains(name) else {
            throw VarlinkError("io.jouled.Policy.UnknownPolicy", ["name": .string(name), "known": JSONValue(policies.names())])
        }
        do {
            return try policies.load(name)
        } catch {
            throw VarlinkError("io.jouled.Policy.InvalidPolicy", ["name": .string(name), "problem": .string(error.description)])
        }
    }

    /// Makes a policy the operator's choice, which is in force unless a hold keeps another; a bad one changes nothing.
    func put(_ name: String, remember: Bool) async throws {
        let policy: PowerPolicy
        do {
            policy = try load(name)
        } catch let error as VarlinkError {
            if let problem = error.parameters["problem"]?.stringValue {
                note(JournalRecord(.error, "Policy refused, the one in force stays: \(problem)", messageID: MessageID.policyRefused, fields: [.init("JOULED_POLICY", name)]))
                await scheduler.refusedPolicy(name, problem)
            }
            throw error
        }
        await scheduler.adopt(policy, named: name, beginsAnew: remember)
        guard remember else { return }
        do {
            try policies.remember(name)
        } catch {
            // The policy is chosen; only a restart will not know. The operator must hear of it.
            note(JournalRecord(.warning, "Policy \(name) is chosen but will not survive a restart: \(error)", messageID: MessageID.policyChanged))
        }
    }

    // MARK: io.jouled.VirtualDevice

    private func virtualDevice(_ call: VarlinkCall, from peer: Peer) async throws -> JSONObject {
        guard call.member == "Set" else { throw VarlinkError.methodNotFound(call.method) }
        var reader = VarlinkParameters(call)
        let plugged = try reader.optionalBool("chargerPluggedIn")
        let base = try reader.optionalDouble("baseWatts", in: 0...1e5).map { Watts($0) }
        try reader.finish()
        try allow(peer, to: call, because: "changes of the device")
        guard let state = await scheduler.setVirtualDevice(chargerPluggedIn: plugged, base: base) else {
            throw VarlinkError.interfaceNotFound(call.interface)
        }
        return [
            "chargerPluggedIn": .bool(state.chargerPluggedIn), "baseWatts": .double(state.base.value),
            "energyJoules": .double(state.energy.value),
        ]
    }
}
