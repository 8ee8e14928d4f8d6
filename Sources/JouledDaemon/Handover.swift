import Glibc
import StreamSessions
import Systemd
import Units
import Wire

/// Carries open streams from one process of the daemon to the next, over a restart or an upgrade.
///
/// The service manager keeps the sockets; where each stream is lies in a file that is read once.
package struct Handover: Sendable {
    /// A stream as its client asked for it, and where it is.
    struct Stream: Sendable, Equatable {
        var request: OpenRequest
        /// The bundle's version that it runs.
        var version: Int
        var position: StreamPosition
        /// Its gate, which need not have come through itself.
        var gate: StreamGate?
    }

    /// What `stop` needs to hand streams over.
    struct Giver: Sendable {
        var handover: Handover
        var manager: ServiceManager
    }

    private static let prefix = "jouled-stream-"
    private let path: String

    init(directory: String) { path = directory + "/handover" }

    /// The name under which the manager keeps a stream's socket.
    static func name(of stream: UInt64) -> String { prefix + "\(stream)" }
    static func stream(named name: String) -> UInt64? { name.hasPrefix(prefix) ? UInt64(name.dropFirst(prefix.count)) : nil }

    /// Leaves streams to the next process.
    func give(_ streams: [UInt64: Stream]) throws(JouledError) {
        var object = JSONObject()
        for (id, stream) in streams.sorted(by: { $0.key < $1.key }) { object["\(id)"] = .object(stream.json) }
        // It need not survive a power cut, for no socket does.
        try StateFile.write(JSONValue.object(object).description, to: path, isDurable: false)
    }

    private static func streams(in text: String, _ path: String) throws(JouledError) -> [UInt64: Stream] {
        let value = try JSONValue(parsing: text)
        var streams: [UInt64: Stream] = [:]
        for member in value.objectValue?.members ?? [] {
            guard let id = UInt64(member.key), let stream = Stream(member.value) else {
                throw JouledError(.stateFile, "\(path): stream \(member.key) is not whole")
            }
            streams[id] = stream
        }
        return streams
    }

    /// Checks a handover's content, as a process that starts would.
    package static func check(_ text: String) throws(JouledError) { _ = try streams(in: text, "handover") }

    /// Removes what was left and will not be taken.
    func discard() { unlink(path) }

    /// Takes what the process before left; the file is gone afterwards. What is damaged is reported.
    func take(_ journal: any JournalSink) -> [UInt64: Stream] {
        do throws(JouledError) {
            // Each of up to a thousand streams may have a full backlog.
            let text = try StateFile.read(path, limit: 1 << 30)
            unlink(path)
            return try Self.streams(in: text, path)
        } catch {
            unlink(path)
            journal.send(JournalRecord(.warning, "Streams of the process before are lost: \(error)", messageID: MessageID.stateProblem))
            return [:]
        }
    }
}
