import Decisions
import ModelStore
import PowerPolicy
import Systemd
import Units
import Wire

// Holds of clients: put in force, told in the journal, released with their connection.
extension Scheduler {
    /// Puts a hold in force and decides again.
    /// - Throws: `TooManyHolds`, `UnknownModel`.
    func hold(
        on connection: UInt64, for peer: Peer, reason: String, floors: [String: Double], policy: (name: String, policy: PowerPolicy)?
    ) async throws(VarlinkError) -> UInt64 {
        let known = Set(await models.list().models.map(\.bundle.manifest.name)).sorted()
        if let stranger = floors.keys.sorted().first(where: { $0 != "*" && !known.contains($0) }) {
            throw VarlinkError("io.jouled.Policy.UnknownModel", ["model": .string(stranger), "known": JSONValue(known)])
        }
        if let refusal = holds.refusal(for: peer, perUser: configuration.access.holdsPerUser) {
            journal.send(JournalRecord(.notice, "Refused a hold to user \(peer.uid): \(refusal.what)", fields: [.init("JOULED_PEER_UID", "\(peer.uid)")]))
            throw VarlinkError("io.jouled.Policy.TooManyHolds", ["limit": JSONValue(refusal.limit), "reason": .string(refusal.what)])
        }
        let hold = holds.add(connection: connection, peer: peer, reason: reason, floors: floors, policy: policy, at: clocks.monotonic())
        journal.send(record(of: hold, "Hold \(hold.id) of user \(peer.uid) begins: \(hold.effect)\(reason.isEmpty ? "" : ", because: \(reason)")"))
        followHolds()
        await decide(because: .policy)
        manager.status(statusLine)
        return hold.id
    }

    /// Releases what the connection held. Called when it closes, for whatever reason.
    func releaseHolds(of connection: UInt64) {
        let released = holds.release(connection: connection)
        guard !released.isEmpty else { return }
        for hold in released { journal.send(record(of: hold, "Hold \(hold.id) of user \(hold.peer.uid) ends: its client is gone or let go")) }
        followHolds()
        manager.status(statusLine)
        replan(because: .policy)
    }

    private func record(of hold: Hold, _ text: String) -> JournalRecord {
        JournalRecord(
            .notice, text, messageID: MessageID.hold,
            fields: [
                .init("JOULED_HOLD", "\(hold.id)"), .init("JOULED_PEER_UID", "\(hold.peer.uid)"), .init("JOULED_PEER_PID", "\(hold.peer.pid)"),
                .init("JOULED_REASON", hold.reason), .init("JOULED_POLICY", engine.operatorPolicy.name),
            ])
    }

    /// Brings floors and policy in line with the holds that there are.
    func followHolds() {
        for (id, stream) in streams { engine.setFloor(floor(of: stream), of: id) }
        engine.hold(holds.policy)
    }

    /// What the stream itself and holds ask for; nil: nothing.
    func floor(of stream: OpenStream) -> Double? {
        [stream.request.floor, holds.floor(for: stream.model.bundle.manifest.name, of: stream.peer.uid)].compactMap { $0 }.max()
    }

    /// Holds for clients. Why is told to admins and to whoever holds.
    func holdsJSON(for peer: Peer) -> [JSONValue] {
        let now = clocks.monotonic()
        return holds.all.map { hold in
            [
                "hold": JSONValue(hold.id), "uid": JSONValue(hold.peer.uid), "effect": .string(hold.effect),
                "reason": .string(peer.seesAll(of: hold.peer.uid) ? hold.reason : ""), "sinceSeconds": .double(now.since(hold.since).value),
            ]
        }
    }
}
