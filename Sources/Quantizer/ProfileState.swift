import Glibc
import OnnxGraph
import Units

extension JouledError.Code {
    /// A measurement was interrupted; what it has is kept.
    public static let interrupted = Self("quantizer.interrupted")
}

/// What an interrupted measurement has so far, in a file beside what it measures.
///
/// The first line is `jouled-profile 1 CHECKSUM`, with the checksum of all that follows; then what was measured (it is
/// only gone on with where that is the same), the number of complete rounds, and a line of seconds per series.
struct ProfileState: Equatable {
    /// Device, runtime, settings and models: rounds of other ones do not mix.
    let key: String
    var rounds = 0
    var series: [String: [Double]] = [:]

    init(key: String) { self.key = key.split(separator: "\n").joined(separator: " ") }

    /// What a file has of this measurement; nothing if it is missing, damaged or of another measurement.
    init(key: String, path: String?) {
        self.init(key: key)
        guard let path, let bytes = try? BinaryFile.read(path), let text = String(validating: bytes, as: UTF8.self), let known = Self.parse(text), known.key == self.key else { return }
        self = known
    }

    private static func parse(_ text: String) -> ProfileState? {
        guard let newline = text.firstIndex(of: "\n") else { return nil }
        let content = String(text[text.index(after: newline)...])
        guard text[..<newline] == magic + Checksum.text(of: content.utf8), content.hasSuffix("\n") else { return nil }
        let lines = content.split(separator: "\n", omittingEmptySubsequences: false).dropLast()
        guard lines.count >= 2, let rounds = Int(lines[lines.startIndex + 1]), rounds >= 0 else { return nil }
        var state = ProfileState(key: String(lines[lines.startIndex]))
        state.rounds = rounds
        for line in lines.dropFirst(2) {
            // Names may hold anything but a tab: they are ours.
            let parts = line.split(separator: "\t")
            guard let name = parts.first else { return nil }
            let values = parts.dropFirst().compactMap { Double($0) }
            guard values.count == parts.count - 1 else { return nil }
            state.series[String(name)] = values
        }
        return state
    }

    private var content: String {
        let lines = series.sorted { $0.key < $1.key }.map { ([$0.key] + $0.value.map(\.description)).joined(separator: "\t") + "\n" }
        return "\(key)\n\(rounds)\n" + lines.joined()
    }

    /// - Throws: `.unwritableFile` naming the path.
    func save(to path: String) throws(JouledError) { try AtomicFile.write(Self.magic + Checksum.text(of: content.utf8) + "\n" + content, to: path, mode: 0o644) }

    private static let magic = "jouled-profile 1 "
}

/// Keeps a measurement's rounds on disk now and then, and ends it in order when it is interrupted.
struct ProfileJournal {
    var state: ProfileState
    private let path: String?
    private let isInterrupted: () -> Bool
    private let clocks = SystemClocks()
    private var saved: MonotonicTime

    init(key: String, path: String?, isInterrupted: @escaping () -> Bool) {
        state = ProfileState(key: key, path: path)
        (self.path, self.isInterrupted) = (path, isInterrupted)
        saved = clocks.monotonic()
    }

    /// Seconds of a series before this run.
    func known(_ series: String) -> [Seconds] { (state.series[series] ?? []).map { Seconds($0) } }

    /// To be called after each round.
    /// - Throws: `.interrupted` with what to do, after all was saved; `.unwritableFile`.
    mutating func completed(_ rounds: Int, of all: Int, _ series: () -> [String: [Seconds]]) throws(JouledError) {
        let now = clocks.monotonic()
        let stop = isInterrupted()
        guard let path, stop || now.since(saved) > Seconds(5) else {
            if stop { throw JouledError(.interrupted, "interrupted after \(rounds) of \(all) rounds") }
            return
        }
        state.rounds = rounds
        state.series = series().mapValues { $0.map(\.value) }
        try state.save(to: path)
        saved = now
        if stop { throw JouledError(.interrupted, "interrupted after \(rounds) of \(all) rounds, which \(path) keeps: the same command goes on from there") }
    }

    func finished() { if let path { unlink(path) } }
}
