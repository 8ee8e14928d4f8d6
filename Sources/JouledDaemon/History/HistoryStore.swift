import Glibc
import Systemd
import Units
import Wire

/// The history on disk: two files of lines, of which the older is dropped when the newer is full. On the thread for what blocks.
///
/// Lines are appended and never changed, so that a power cut costs the last ones at most; one that is not whole is passed over.
actor HistoryStore {
    private nonisolated let loop: EventLoop
    nonisolated var unownedExecutor: UnownedSerialExecutor { loop.asUnownedSerialExecutor() }

    private let path: String
    /// Both files together hold no more.
    private let limit: Int
    private let journal: any JournalSink
    private var sequence: Int64?
    private var hasFailed = false

    /// - Parameters:
    ///   - directory: where the files lie.
    ///   - limit: bytes of both together; 0: nothing is kept.
    init(directory: String, limit: Int, journal: any JournalSink, loop: EventLoop) {
        path = directory + "/history"
        self.limit = limit
        self.journal = journal
        self.loop = loop
    }

    /// Appends records, in order.
    func append(_ records: [HistoryRecord]) {
        guard limit > 0, !records.isEmpty else { return }
        var next = (sequence ?? lastSequence()) + 1
        var text = ""
        for record in records {
            text += record.line(next) + "\n"
            next += 1
        }
        do throws(JouledError) {
            try write(Array(text.utf8))
            sequence = next - 1
            hasFailed = false
        } catch {
            if !hasFailed { journal.send(JournalRecord(.warning, "The history is not kept: \(error)", messageID: MessageID.stateProblem)) }
            hasFailed = true
        }
    }

    /// Records after number `after` that are not older than `since`, oldest first, `count` at most, and the number of the last one.
    /// - Returns: `last` is nil when there are no more.
    func read(after: Int64, since: WallTime, count: Int) -> (records: [HistoryRecord], last: Int64?) {
        var records: [HistoryRecord] = []
        var last = after
        for file in [path + ".1", path] {
            guard let bytes = try? StateFile.bytes(file, limit: limit) else { continue }
            for line in bytes.split(separator: UInt8(ascii: "\n")) {
                // The number stands first, so that most lines need not be parsed.
                guard let number = Self.sequence(of: line), number > last, let (sequence, record) = HistoryRecord.parse(line), record.at >= since else { continue }
                guard records.count < count else { return (records, last) }
                records.append(record)
                last = sequence
            }
        }
        return (records, nil)
    }

    private static func sequence(of line: ArraySlice<UInt8>) -> Int64? {
        guard line.first == UInt8(ascii: "[") else { return nil }
        let digits = line.dropFirst().prefix { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }
        return Int64(String(decoding: digits, as: UTF8.self))
    }

    private func lastSequence() -> Int64 {
        for file in [path, path + ".1"] {
            guard let bytes = try? StateFile.bytes(file, limit: limit) else { continue }
            let numbers = bytes.split(separator: UInt8(ascii: "\n")).suffix(2).compactMap { HistoryRecord.parse($0)?.sequence }
            if let last = numbers.last { return last }
        }
        return 0
    }

    private func write(_ bytes: [UInt8]) throws(JouledError) {
        var status = stat()
        if stat(path, &status) == 0, Int(status.st_size) + bytes.count > limit / 2 { rename(path, path + ".1") }
        let descriptor = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard descriptor >= 0 else { throw JouledError(.unwritableFile, "\(path): cannot be written: \(errnoText(errno))") }
        defer { close(descriptor) }
        // After a cut-off line the next must not continue it.
        var all = bytes
        if fstat(descriptor, &status) == 0, status.st_size > 0 { all.insert(UInt8(ascii: "\n"), at: 0) }
        let count = all.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
        guard count == all.count else { throw JouledError(.unwritableFile, "\(path): cannot be written: \(errnoText(errno))") }
    }
}
