import Decisions
import Glibc
import ModelStore
import StreamSessions
import Systemd
import Units
import Wire

// Streams that outlive the process.
extension Scheduler {
    /// Clients that come back later than this after a crash begin anew.
    static let returnTime = Seconds(600)

    /// Leaves all streams that can go on to the next process; what remains is closed by the caller.
    func handOver(by giver: Handover.Giver) async {
        var left: [UInt64: Handover.Stream] = [:]
        var sockets: [Int32] = []
        for id in streams.keys.sorted() {
            guard let stream = streams[id], stream.isRunning, let (descriptor, position) = await pump.handOver(id) else { continue }
            sockets.append(descriptor)
            streams[id] = nil
            guard giver.manager.keep(descriptor, name: Handover.name(of: id)) else {
                journal.send(JournalRecord(.warning, "Stream \(id) ends with the process: the service manager did not take its socket", messageID: MessageID.streamClosed))
                continue
            }
            left[id] = Handover.Stream(request: stream.request, version: stream.model.bundle.manifest.version, position: position, gate: stream.gate)
        }
        do throws(JouledError) {
            try giver.handover.give(left)
            if !left.isEmpty {
                journal.send(JournalRecord(.info, "\(left.count) streams are left to the next process", messageID: MessageID.lifecycle))
            }
        } catch {
            journal.send(JournalRecord(.warning, "Streams cannot be handed over: \(error)", messageID: MessageID.stateProblem))
        }
        // The manager has copies of those that it took.
        for socket in sockets { Glibc.close(socket) }
    }

    /// How a stream ran before a restart: the one that goes on, or after a crash one of the same name and model.
    func earlierChoice(of stream: OpenStream) -> EarlierChoice? {
        guard clocks.monotonic().since(startedAt) < Self.returnTime else {
            earlierStreams = []
            return nil
        }
        let (model, name) = (stream.model.bundle.manifest.name, stream.request.name)
        let index = earlierStreams.firstIndex { $0.id == stream.id && $0.model == model } ?? earlierStreams.firstIndex { $0.model == model && $0.name == name }
        return index.map { earlierStreams.remove(at: $0).choice }
    }

    /// Goes on with streams of the process before. One that cannot go on is closed, which its client takes as any other end.
    func adopt(_ inherited: [Inherited]) async {
        var ready: [Inherited] = []
        // By number, so that a gate is there before those behind it.
        for one in inherited.sorted(by: { $0.id < $1.id }) {
            do {
                try await prepare(one)
                ready.append(one)
            } catch {
                journal.send(JournalRecord(.warning, "Stream \(one.id) cannot go on after the restart: \(error)", messageID: MessageID.streamClosed))
                Glibc.close(one.descriptor)
            }
        }
        guard !ready.isEmpty else { return }
        await decide(because: .streamOpened)
        // Gates begin to speak as soon as they are started.
        for one in ready {
            if let gate = streams[one.id]?.contract.gate { await pump.listen(to: gate, for: one.id, from: one.left.position.gate) }
        }
        for one in ready { await start(one.id, on: one.descriptor, from: one.left.position) }
    }

    private func prepare(_ one: Inherited) async throws {
        let hosted = try await models.model(one.left.request.model, version: one.left.version)
        var stream = try OpenStream(id: one.id, request: one.left.request, model: hosted, peer: one.peer)
        // A gate that did not come through is gone, and the stream's client is told.
        if let gate = one.left.gate { stream.put(behind: gate) }
        streams[one.id] = stream
        nextStream = max(nextStream, one.id + 1)
        engine.open(stream.engineRequest, at: clocks.monotonic(), earlier: earlierChoice(of: stream))
        engine.setDuty(duty(of: stream), of: one.id)
    }

    /// A stream of the process before, with its socket.
    struct Inherited: Sendable {
        var id: UInt64
        var left: Handover.Stream
        var descriptor: Int32
        var peer: Peer
    }
}
