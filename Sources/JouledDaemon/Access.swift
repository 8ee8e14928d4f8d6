import CLinux
import ConfigDocument
import Glibc
import Units

/// Who is at the other end of a socket, as the kernel says.
public struct Peer: Sendable, Equatable {
    public var uid: UInt32
    public var gid: UInt32
    public var pid: Int32
    /// May change policies, ask for precedence over other users, and see everything.
    public var isAdmin = false

    /// May see all there is to see of what `uid` does.
    func seesAll(of uid: UInt32) -> Bool { isAdmin || self.uid == uid }
}

/// Who may do what, and how much of it.
///
/// The socket's permissions decide who may connect at all.
public struct AccessRules: Sendable, Equatable {
    /// Members may do what root may.
    public var adminGroup = "jouled-admin"
    /// Connections, streams among them, that one user may have; root and the daemon's own user are not limited.
    public var connectionsPerUser = 64
    public var streamsPerUser = 16
    /// Holds that one user may have.
    public var holdsPerUser = 4
    /// Energy that one user's streams may spend in an hour; nil: as much as the plan gives.
    public var joulesPerUserAndHour: Joules?
    /// Resolved when the configuration is read.
    var adminGID: UInt32?

    init() {}

    init(reading table: ConfigTable) throws(JouledError) {
        adminGroup = try table.string("admin_group", default: adminGroup)
        connectionsPerUser = try table.integer("connections_per_user", default: connectionsPerUser, range: 1...4096)
        streamsPerUser = try table.integer("streams_per_user", default: streamsPerUser, range: 1...1024)
        holdsPerUser = try table.integer("holds_per_user", default: holdsPerUser, range: 0...64)
        joulesPerUserAndHour = try table.optionalNumber("joules_per_user_and_hour", range: 1e-3...1e9).map { Joules($0) }
        try table.finish()
    }

    /// Looks the group up. One that does not exist has no members, which is no error: a device may have no other admins than root.
    mutating func resolve() {
        if let number = UInt32(adminGroup) { adminGID = number; return }
        // The name's entry is copied before anything else could look a group up: only one thread runs yet.
        adminGID = getgrnam(adminGroup).map { $0.pointee.gr_gid }
    }

    /// The peer of a connected socket; nil if the kernel does not tell, which no living peer brings about.
    func peer(of descriptor: Int32) -> Peer? {
        var peer = Peer(uid: .max, gid: .max, pid: 0)
        guard clinux_peer_credentials(descriptor, &peer.uid, &peer.gid, &peer.pid) == 0 else { return nil }
        var groups = [UInt32](repeating: 0, count: 1024)
        let count = clinux_peer_groups(descriptor, &groups, Int32(groups.count))
        let all = [peer.gid] + groups.prefix(max(0, Int(count)))
        peer.isAdmin = peer.uid == 0 || peer.uid == geteuid() || adminGID.map(all.contains) ?? false
        return peer
    }
}

/// Energy that each user may spend: a bucket that fills while streams run and drains at the allowed rate.
struct EnergyQuota: Sendable {
    /// The rate, as joules an hour, and what the bucket holds.
    let limit: Joules
    private var levels: [UInt32: (joules: Joules, at: MonotonicTime)] = [:]

    init(limit: Joules) { self.limit = limit }

    /// Adds what a user's streams spent up to `now`.
    mutating func spend(_ joules: Joules, by uid: UInt32, at now: MonotonicTime) {
        levels[uid] = (level(of: uid, at: now) + joules, now)
        // An empty bucket is as good as none.
        levels = levels.filter { $0.key == uid || level(of: $0.key, at: now) > .zero }
    }

    /// True once the user has spent more than an hour's worth.
    func isExceeded(by uid: UInt32, at now: MonotonicTime) -> Bool { level(of: uid, at: now) > limit }

    private func level(of uid: UInt32, at now: MonotonicTime) -> Joules {
        guard let level = levels[uid] else { return .zero }
        return max(.zero, level.joules - limit * (now.since(level.at).value / 3600))
    }
}
