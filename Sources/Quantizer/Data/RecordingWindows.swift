import Glibc
import ModelStore
import StreamSessions
import Units

extension Dataset {
    /// Reads windows from `.npz` or `.npy`, or cuts a WAV, CSV or EDF recording, or all those in a directory, into windows as
    /// the daemon would: hop, context, normalization and tail are the contract's, and each recording is a sequence at
    /// whose start state is zero.
    /// - Throws: `.unusableData` naming the file: another sample rate or number of channels than the contract's, too short
    ///   for a window, NaN; a recording without a contract.
    public static func load(_ path: String, contract: ModelManifest?) throws(JouledError) -> Dataset {
        let files = recordings(path)
        guard !files.isEmpty else { return try Dataset(path: path) }
        guard let contract else { throw JouledError(.unusableData, "\(path): a recording is cut into windows by a model.toml: give --manifest") }
        var (values, sequence) = ([Float](), [Int64]())
        for (number, file) in files.enumerated() {
            let windows = try cut(Recording(path: file, s16Scale: contract.signal.s16Scale), contract)
            values += windows
            sequence += [Int64](repeating: Int64(number), count: windows.count / contract.input.count)
        }
        return try Dataset(
            path: path,
            arrays: [
                contract.input.name: NumpyArray(shape: [sequence.count] + contract.input.shape, values: .float(values)),
                "sequence": NumpyArray(shape: [sequence.count], values: .integer(sequence)),
            ])
    }

    /// The recordings that a path means; none for a file of arrays.
    private static func recordings(_ path: String) -> [String] {
        func isRecording(_ name: String) -> Bool { [".wav", ".csv", ".edf"].contains { name.lowercased().hasSuffix($0) } }
        guard let directory = opendir(path) else { return isRecording(path) ? [path] : [] }
        defer { closedir(directory) }
        var names: [String] = []
        while let entry = readdir(directory) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) { pointer in
                pointer.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if isRecording(name) { names.append(path + "/" + name) }
        }
        return names.sorted()
    }

    private static func cut(_ recording: Recording, _ contract: ModelManifest) throws(JouledError) -> [Float] {
        let (signal, window) = (contract.signal, contract.window)
        func failure(_ what: String) -> JouledError { JouledError(.unusableData, "\(recording.path): \(what)") }
        if let rate = recording.sampleRate, rate != signal.sampleRate { throw failure("is sampled at \(rate) Hz, \(contract.name) needs \(signal.sampleRate) Hz: resample it") }
        guard recording.channels == signal.channels else { throw failure("has \(recording.channels) channels, \(contract.name) needs \(signal.channels)") }
        if let unit = recording.unit, unit != signal.unit { throw failure("is in \(unit), \(contract.name) needs \(signal.unit)") }
        if let bad = recording.values.firstIndex(where: { !$0.isFinite }) { throw failure("sample \(bad / recording.channels) is not finite") }
        var assembler = WindowAssembler(window: window.samples, hop: window.hop, context: window.context, channels: signal.channels, slack: max(8192, window.hop))
        assembler.restart(at: 0)
        let normalization = StreamContract.Normalization(window.normalization)
        var (result, position) = ([Float](), 0)
        func take(_ assembler: inout WindowAssembler) {
            while assembler.hasWindow {
                var values = Array(assembler.currentWindow)
                values.withUnsafeMutableBufferPointer { normalization.apply(to: $0) }
                result += values
                assembler.advance()
            }
        }
        while position < recording.values.count {
            let count = min(assembler.freeSamples * signal.channels, recording.values.count - position)
            recording.values.withUnsafeBufferPointer { source in
                assembler.appendValues(count) { target in for index in target.indices { target.initializeElement(at: index, to: source[position + index]) } }
            }
            position += count
            take(&assembler)
        }
        if window.tail == .pad, assembler.padTail() { take(&assembler) }
        guard !result.isEmpty else { throw failure("is shorter than a window of \(window.samples) samples") }
        return result
    }
}

extension StreamContract.Normalization {
    fileprivate init(_ normalization: ModelManifest.Window.Normalization) {
        self =
            switch normalization {
            case .none: .none
            case .subtractMinimum: .subtractMinimum
            case .standard: .standard
            }
    }
}
