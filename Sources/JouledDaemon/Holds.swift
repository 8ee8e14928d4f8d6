import PowerPolicy
import Units
import Wire

/// What a client asks for as long as it lives: a floor for streams of a model, or another policy.
struct Hold: Sendable {
    let id: UInt64
    /// The connection that it lives as long as.
    let connection: UInt64
    let peer: Peer
    /// In the client's words.
    let reason: String
    /// Lowest quality by model, `*` for all, 0 to 1.
    let floors: [String: Double]
    /// The policy that is to hold meanwhile.
    let policy: (name: String, policy: PowerPolicy)?
    let since: MonotonicTime

    /// What it asks for, in words.
    var effect: String {
        var parts = floors.sorted { $0.key < $1.key }.map { "floor \(decimal($0.value, places: 3)) for \($0.key == "*" ? "all models" : $0.key)" }
        if let policy { parts.append("policy \(policy.name)") }
        let whose = peer.isAdmin || floors.isEmpty ? "" : " (own streams)"
        return parts.joined(separator: ", ") + whose
    }
}

/// All holds; a value that knows nothing of sockets.
struct Holds: Sendable {
    private(set) var all: [Hold] = []
    private var next: UInt64 = 1

    /// More than an operator can keep an eye on is not allowed to anybody.
    static let limit = 64

    /// Why another hold of `peer` has no room; nil if it has.
    /// - Parameter perUser: holds that one user who is no admin may have.
    func refusal(for peer: Peer, perUser: Int) -> (limit: Int, what: String)? {
        if all.count >= Self.limit { return (Self.limit, "\(Self.limit) holds are in force already, which is the limit") }
        guard !peer.isAdmin, all.count(where: { $0.peer.uid == peer.uid }) >= perUser else { return nil }
        return (perUser, "user \(peer.uid) has \(perUser) holds in force already, which is the limit")
    }

    mutating func add(
        connection: UInt64, peer: Peer, reason: String, floors: [String: Double], policy: (name: String, policy: PowerPolicy)?, at now: MonotonicTime
    ) -> Hold {
        let hold = Hold(id: next, connection: connection, peer: peer, reason: reason, floors: floors, policy: policy, since: now)
        next += 1
        all.append(hold)
        return hold
    }

    /// Ends the holds of a connection.
    mutating func release(connection: UInt64) -> [Hold] {
        let released = all.filter { $0.connection == connection }
        if !released.isEmpty { all.removeAll { $0.connection == connection } }
        return released
    }

    /// The policy that holds ask for: of several the newest one.
    var policy: (name: String, policy: PowerPolicy)? { all.last { $0.policy != nil }?.policy }

    /// The floor that holds ask for a stream of `model` that belongs to `uid`; nil: none. An admin's holds are for all streams,
    /// others' for their own: they could have opened those with the floor.
    func floor(for model: String, of uid: UInt32) -> Double? {
        all.filter { $0.peer.isAdmin || $0.peer.uid == uid }.compactMap { hold in
            [hold.floors[model], hold.floors["*"]].compactMap { $0 }.max()
        }.max()
    }
}
