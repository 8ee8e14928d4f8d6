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
            left[id] = Handover.Stream(request: stream.request, version: stream.model.bundle.manifest.version, position: position)
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

    /// Goes on with a stream of the process before. One that cannot go on is closed, which its client takes as any other end.
    func adopt(_ left: Handover.Stream, id: UInt64, on descriptor: Int32, from peer: Peer) async {
        do {
            let hosted = try await models.model(left.request.model, version: left.version)
            let stream = try OpenStream(id: id, request: left.request, model: hosted, peer: peer)
            streams[id] = stream
            nextStream = max(nextStream, id + 1)
            engine.open(stream.engineRequest, at: clocks.monotonic(), earlier: earlierChoice(of: stream))
            await decide(because: .streamOpened)
            await start(id, on: descriptor, from: left.position)
        } catch {
            streams[id] = nil
            engine.close(id)
            journal.send(JournalRecord(.warning, "Stream \(id) cannot go on after the restart: \(error)", messageID: MessageID.streamClosed))
            Glibc.close(descriptor)
        }
    }
}
