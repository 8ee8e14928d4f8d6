import Units

/// Looks at how standard input begins, for a file with a header is no samples.
final class StandardInput {
    private var head: [UInt8] = []
    /// Whether it is a WAV file.
    private(set) var isWave = false

    /// Takes what comes next.
    /// - Returns: false if it is no samples.
    func take(_ bytes: UnsafeRawBufferPointer) -> Bool {
        guard head.count < 12 else { return !isWave }
        head += bytes.prefix(12 - head.count)
        isWave = head.count == 12 && head.starts(with: "RIFF".utf8) && head[8...].elementsEqual("WAVE".utf8)
        return !isWave
    }

    /// - Throws: if it was no samples.
    func check() throws(JouledError) {
        guard isWave else { return }
        throw JouledError(
            .init("joulectl.wave"), "standard input is a WAV file, not raw samples: give it by --from FILE.wav, or say --format where it is to be taken as it is")
    }
}
