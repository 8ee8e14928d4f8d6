import SignalSources
import Units

/// What `--from` means.
enum StreamSource {
    case file(FileSignal)
    case sensor(IIODevice)

    /// - Throws: if the file or device cannot be read, or does not fit the model.
    init(_ text: String, channel: String?, scale: Double?, needs: SignalNeeds) throws(JouledError) {
        guard text.hasPrefix("iio:") else {
            self = .file(try FileSignal(path: text, channel: channel, scale: scale, needs: needs))
            return
        }
        // `iio:device0` is how the kernel itself writes it.
        let name = text.hasPrefix("iio:device") ? text : String(text.dropFirst(4))
        let device = try IIODevice(name, channel: channel, scale: scale, root: environment("JOULED_IIO_ROOT") ?? "")
        guard device.channelCount == needs.channels else {
            throw JouledError(.unusableSource, "\(text): \(device.channelCount) channels are chosen, the model takes \(needs.channels): choose with --channel")
        }
        self = .sensor(device)
    }

    var format: String {
        switch self {
        case .file(let signal): signal.format
        // Floats in the machine's own order, which is little-endian wherever ONNX Runtime runs.
        case .sensor: "f32le"
        }
    }

    var channels: Int {
        switch self {
        case .file(let signal): signal.channels
        case .sensor(let device): device.channelCount
        }
    }
}
