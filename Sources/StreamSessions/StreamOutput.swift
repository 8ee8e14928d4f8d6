import Glibc
import Units
import Wire

// What goes to the client: words, and bytes as its socket takes them.
extension StreamSession {
    func tell(_ kind: String, _ message: String, _ fields: JSONObject = [:]) {
        writer.notice(Notice(kind: kind, message: message, fields: fields), sampleIndex: assembler.endOfSamples, time: clocks.monotonic())
    }

    func tellChange(from old: Assignment, to new: Assignment) {
        let text = { (a: Assignment) -> JSONValue in a.variantName.isEmpty ? "paused" : .string(a.variantName) }
        tell(
            new.session == nil ? "paused" : "variant", new.reason,
            ["from": text(old), "to": text(new), "unit": .string(new.unit), "cadence": JSONValue(new.cadence)])
    }

    /// Answers the flushes that came before the sample `index`.
    func tellFlushed(before index: UInt64) {
        while let mark = owed.flushes.first, mark < index {
            owed.flushes.removeFirst()
            writer.notice(Notice(kind: "flushed", message: "all complete windows are answered", fields: [:]), sampleIndex: mark, time: clocks.monotonic())
        }
    }

    func fail(_ error: JouledError) {
        writer.notice(Notice(error), isError: true, sampleIndex: assembler.endOfSamples, time: clocks.monotonic())
        phase = .leaving(.failed(error.description))
    }

    /// Writes as much as the socket takes.
    /// - Returns: false if the client is gone.
    func write() -> Bool {
        if backlog.isEmpty {
            backlog = writer.take()
        } else {
            backlog += writer.take()
        }
        var written = 0
        while written < backlog.count {
            let count = backlog.withUnsafeBytes { bytes in
                let rest = UnsafeRawBufferPointer(rebasing: bytes[written...])
                return send(descriptor, rest.baseAddress, rest.count, Int32(MSG_NOSIGNAL))
            }
            if count < 0 && errno == EINTR { continue }
            if count < 0 && errno == EAGAIN { break }
            guard count >= 0 else { return false }
            written += count
        }
        backlog.removeFirst(written)
        return true
    }
}
