import Wire

// Clients that watch: the present state first, then each change, none twice.
extension Scheduler {
    /// The state of a topic, with the number of the change that it includes.
    struct Snapshot: Sendable {
        var parameters: JSONObject
        var revision: Int
    }

    struct Subscriber {
        let connection: Connection
        /// The last change that it was told.
        var seen: Int
    }

    /// What makes one client's view differ from another's; `uid` nil: an admin.
    private struct View: Hashable {
        var since: Int
        var uid: UInt32?
    }

    func revision(of topic: Topic) -> Int { topic == .decisions ? decisionCount : revisions[topic] ?? 0 }

    /// Tells a connection each change after number `revision`.
    func subscribe(_ topic: Topic, _ connection: Connection, since revision: Int) {
        subscribers[topic, default: [:]][connection.id] = Subscriber(connection: connection, seen: revision)
        bringUpToDate(topic)
    }

    func unsubscribe(_ topic: Topic, _ id: UInt64) { subscribers[topic]?[id] = nil }

    func publish(_ topic: Topic) {
        revisions[topic, default: 0] += 1
        bringUpToDate(topic)
    }

    private func bringUpToDate(_ topic: Topic) {
        let revision = revision(of: topic)
        var views: [View: JSONObject] = [:]
        for (id, subscriber) in subscribers[topic] ?? [:] where subscriber.seen != revision {
            // Only of decisions the view depends on what was seen.
            let since = topic == .decisions ? subscriber.seen : 0
            let peer = subscriber.connection.peer
            let key = View(since: since, uid: peer.isAdmin ? nil : peer.uid)
            let parameters = views[key] ?? view(of: topic, since: since, for: peer)
            views[key] = parameters
            subscribers[topic]?[id]?.seen = revision
            subscriber.connection.assumeIsolated { $0.publish(topic, parameters) }
        }
    }
}
