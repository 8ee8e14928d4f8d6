import Decisions
import ModelStore
import StreamSessions
import Units
import Wire

// Streams that sleep behind others.
extension Scheduler {
    /// The gate that a client asks for.
    ///
    /// A gate is open before what is behind it, and has no gate itself: so there are no circles.
    /// - Throws: `InvalidGate` naming the parameter that does not fit.
    func gate(for stream: OpenStream) throws(VarlinkError) -> StreamGate? {
        guard let wish = stream.request.gate else { return nil }
        let (gate, field) = try candidate(wish, for: stream)
        guard gate.peer.uid == stream.peer.uid else { throw .invalidGate(field, "stream \(gate.id) is another user's") }
        if let behind = gate.gate {
            throw .invalidGate(field, "stream \(gate.id) sleeps behind stream \(behind.contract.stream) itself, and a gate is always awake")
        }
        guard streams.values.count(where: { $0.gate?.contract.stream == gate.id }) < GateContract.mostBehind else {
            throw .invalidGate(field, "\(GateContract.mostBehind) streams sleep behind stream \(gate.id) already")
        }
        return try StreamGate(wish, of: stream, behind: gate)
    }

    private func candidate(_ wish: OpenRequest.Gate, for stream: OpenStream) throws(VarlinkError) -> (gate: OpenStream, field: String) {
        if let id = wish.stream {
            guard id != stream.id, let gate = streams[id] else { throw .invalidGate("gate.stream", "no stream \(id) is open") }
            return (gate, "gate.stream")
        }
        let own = streams.values.filter { $0.peer.uid == stream.peer.uid && $0.id != stream.id }.sorted { $0.id < $1.id }
        if let name = wish.name {
            guard let gate = own.last(where: { $0.request.name == name }) else { throw .invalidGate("gate.name", "no stream of this user is called '\(name)'") }
            return (gate, "gate.name")
        }
        let manifest = stream.model.bundle.manifest
        guard let model = manifest.gate?.model else { throw .invalidGate("gate", "neither 'stream' nor 'name' says which, and the manifest of \(manifest.name) names no model") }
        guard let gate = own.last(where: { $0.model.bundle.manifest.name == model && $0.gate == nil }) else {
            throw .invalidGate("gate", "no stream of this user runs \(model), which the manifest of \(manifest.name) names as its gate")
        }
        return (gate, "gate")
    }

    /// Learns how much of the time a stream is awake, from its figures and those of the last time.
    func learnDuty(of stream: OpenStream, _ statistics: StreamStatistics) {
        guard let gate = stream.gate, let now = statistics.gate?.watched else { return }
        let before = stream.statistics.gate?.watched ?? (ran: 0, all: 0)
        let model = stream.model.bundle.manifest.name
        dutyFile.duties.observe(
            model, behind: gate.model, awake: stream.contract.hopTime * Double(now.ran - before.ran), of: stream.contract.hopTime * Double(now.all - before.all))
        engine.setDuty(duty(of: stream), of: stream.id)
    }

    /// Share of time that a stream is expected to be awake while its gate runs; 1 without a gate.
    func duty(of stream: OpenStream) -> Double {
        guard let gate = stream.gate else { return 1 }
        return dutyFile.duties.duty(of: stream.model.bundle.manifest.name, behind: gate.model)
    }

    /// What its gate let a stream do, as its own client sees it.
    func gatingJSON(_ stream: OpenStream) -> JSONValue {
        guard let gate = stream.gate else { return .null }
        let counts = stream.statistics.gate ?? GateCounts()
        return [
            "gate": JSONValue(gate.contract.stream), "gateName": .string(streams[gate.contract.stream]?.displayName ?? ""),
            "awake": .bool(counts.isAwake), "duty": .double(duty(of: stream)), "heard": JSONValue(counts.heard), "letGo": JSONValue(counts.letGo),
            "late": JSONValue(counts.late), "unguarded": JSONValue(counts.unguarded),
            "silence": counts.silence.map { .string($0.rawValue) } ?? .null,
        ]
    }
}
