import ArgumentParser
import ConfigDocument
import Glibc
import JouledClient
import ModelStore
import SignalSources
import Units
import Wire

/// Pipes samples from standard input, a file or a sensor through a model; results come out as JSON lines.
struct StreamCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "stream",
        abstract: "Stream samples from standard input, a file or a sensor through a model; results come out as JSON lines.",
        discussion: """
            Raw samples without a header, mono and interleaved as the model asks:
              arecord -q -t raw -f S16_LE -r 16000 | joulectl stream silero-vad
              joulectl stream ecg-rhythm --format f32le --pace < ecg.f32le
            With --from, a file with a header, or a sensor of the kernel's Industrial I/O subsystem:
              joulectl stream silero-vad --from meeting.wav
              joulectl stream ecg-rhythm --from holter.edf --channel "ECG II"
              joulectl stream ecg-rhythm --from iio:ads1298 --channel in_voltage0
            With --gate, a second stream gets the same samples and lets the first one sleep until it hears something:
              arecord -q -t raw -f S16_LE -r 16000 | joulectl stream keyword --gate silero-vad

            Each line is one window: {"end":512,"variant":"fp32","joules":0.0004,"speech_probability":0.21}, where `end` is
            the sample index one past the window. Notices (a variant changes, samples are lost) go to standard
            error; --notices puts them between the results.
            """)

    @OptionGroup var daemon: DaemonOptions
    @Argument(help: "Name of the model, as in joulectl models.")
    var model: String
    @Option(help: "Version of the model; the newest if left out.")
    var version: Int?
    @Option(help: "A .wav, .csv or .edf file, or iio:DEVICE, instead of standard input.", completion: .file(extensions: ["wav", "csv", "edf"]))
    var from: String?
    @Option(help: "With --from: signal of an EDF, column of a CSV, or channels of a sensor (comma-separated).")
    var channel: String?
    @Option(help: "With --from: factor from the source's unit to the model's; volts are converted without it.")
    var scale: Double?
    @Option(help: "With --from: end after so many samples.")
    var samples: Int?
    @Option(help: "Sample format: s16le (the default) or f32le.")
    var format: String?
    @Option(help: "Sample rate in Hz; the model's own if left out. jouled refuses other rates: it does not resample.")
    var rate: Int?
    @Option(help: "Interleaved channels; 1 if left out.")
    var channels: Int?
    @Option(help: "A name for people, shown in status.")
    var name: String?
    @Option(help: "How late a result may be, e.g. 100ms or 2s. More tolerance lets jouled wake less often.")
    var tolerance: String?
    @Option(help: "Lowest acceptable quality of a variant, 0 to 1.")
    var floor: Double?
    @Option(help: "Worth beside other streams.")
    var weight: Double?
    @Flag(help: "Pause this stream last.")
    var critical = false
    @Option(help: "Run this variant only.")
    var variant: String?
    @Option(
        defaultAsFlag: "",
        help: "Let the stream sleep until a second stream, of this model on the same samples, hears something. Without a model: the one that the manifest names.")
    var gate: String?
    @Option(help: "With --gate: the label of the gate's value that is watched.")
    var gateOutput: String?
    @Option(help: "With --gate: from this value on there is something to hear; 0.5 if left out.")
    var gateThreshold: Double?
    @Option(help: "With --gate: how long before what the gate hears windows are run; what the model needs if left out, 200ms at most.")
    var gatePreroll: String?
    @Option(help: "With --gate: how long after it; 500ms if left out.")
    var gateHold: String?
    @Option(help: "Send standard input in pieces of this many bytes, however it arrives.")
    var chunk: Int?
    @Flag(help: "Feed a recording at the pace of its sample rate, as a sensor would.")
    var pace = false
    @Option(help: "With --pace: send this much at once first, e.g. 9s, so that long windows answer soon.")
    var preroll: String?
    @Flag(help: "Print notices as JSON lines among the results.")
    var notices = false
    @Flag(name: .shortAndLong, help: "No notices on standard error.")
    var quiet = false

    /// What jouled takes.
    private static let longestTolerance = Seconds(86_400)
    static let longestGatePreroll = ModelManifest.Gate.longestPreroll
    static let longestGateHold = ModelManifest.Gate.longestHold
    private static let longestTime = Seconds(86_400)

    func validate() throws {
        guard floor.map({ (0...1).contains($0) }) ?? true else { throw ValidationError("--floor must be 0 to 1") }
        guard weight.map({ (0.001...1000).contains($0) }) ?? true else { throw ValidationError("--weight must be 0.001 to 1000") }
        guard gate != nil || (gateOutput == nil && gateThreshold == nil && gatePreroll == nil && gateHold == nil) else {
            throw ValidationError("--gate-output, --gate-threshold, --gate-preroll and --gate-hold need --gate")
        }
        guard preroll == nil || pace else { throw ValidationError("--preroll needs --pace") }
        guard from != nil || (channel == nil && scale == nil && samples == nil) else { throw ValidationError("--channel, --scale and --samples need --from") }
        guard from == nil || (format == nil && rate == nil && channels == nil && chunk == nil) else {
            throw ValidationError("with --from, format, rate and channels are the source's")
        }
        guard scale.map({ $0.isFinite && $0 != 0 }) ?? true else { throw ValidationError("--scale must be a number other than 0") }
        guard samples.map({ $0 > 0 }) ?? true else { throw ValidationError("--samples must be positive") }
        _ = try seconds(tolerance, "--tolerance", upTo: Self.longestTolerance)
        _ = try seconds(preroll, "--preroll", upTo: Self.longestTime)
        _ = try seconds(gatePreroll, "--gate-preroll", upTo: Self.longestGatePreroll)
        _ = try seconds(gateHold, "--gate-hold", upTo: Self.longestGateHold)
        guard (1...(1 << 22)).contains(chunk ?? 1) else { throw ValidationError("--chunk must be 1 to 4194304 bytes") }
    }

    func run() throws {
        try reporting {
            let connection = try daemon.connect()
            let source = try from.map { try StreamSource($0, channel: channel, scale: scale, needs: needs(connection)) }
            var parameters = try parameters(connection, source)
            Interruption.install()
            let gate = try gateStream(connection, &parameters)
            let stream = try Self.open(connection, parameters)
            stream.shouldStop = Interruption.isNew
            stream.stopDescriptor = Interruption.descriptor
            if let gate { try stream.feed(alongside: gate) { GateNotices.handle($0, quiet: quiet) } }
            let printer = ResultPrinter(contract: stream.contract, notices: notices, quiet: quiet)
            // Who opens a stream that cannot run now must not wonder where its results are.
            if stream.contract["variant"]?.stringValue == "", let reason = stream.contract["reason"]?.stringValue {
                _ = printer.handle(.notice(Notice(kind: "paused", message: reason, fields: [:]), sampleIndex: 0))
            }
            let rate = Double(parameters["sampleRateHz"]?.intValue ?? 1)
            if case .sensor(let device)? = source {
                try run(stream, reading: device, rate: rate, printer)
            } else if case .file(let signal)? = source {
                var rest = signal.bytes.prefix(byteLimit(stream) ?? signal.bytes.count)
                let next = { (limit: Int) -> [UInt8]? in
                    let piece = rest.prefix(limit)
                    rest = rest.dropFirst(piece.count)
                    return piece.isEmpty || Interruption.happened ? nil : Array(piece)
                }
                if pace { try runPaced(stream, rate: rate, printer, next) } else { try stream.run(input: { next(65536) }) { printer.handle($0) } }
            } else {
                try runInput(stream, rate: rate, printer)
            }
            if let message = printer.failure {
                Console.error("joulectl: \(message)")
                throw ExitCode(1)
            }
        }
    }

    /// Opens a stream, which may take as long as loading a model, but no longer than till Ctrl-C.
    static func open(_ connection: JouledConnection, _ parameters: JSONObject) throws(JouledError) -> StreamConnection {
        connection.shouldStop = { Interruption.happened }
        connection.stopDescriptor = Interruption.descriptor
        return try connection.openStream(parameters)
    }

    private func parameters(_ connection: JouledConnection, _ source: StreamSource?) throws -> JSONObject {
        var parameters: JSONObject = [
            "model": .string(model), "format": .string(source?.format ?? format ?? "s16le"), "channels": JSONValue(source?.channels ?? channels ?? 1),
        ]
        // The rate is asked for so that a wrong one is an error; who gives none takes the model's.
        parameters["sampleRateHz"] = JSONValue(try rate ?? modelRate(connection))
        if let version { parameters["version"] = JSONValue(version) }
        if let name { parameters["name"] = .string(name) }
        if let tolerance = try milliseconds(tolerance, "--tolerance", upTo: Self.longestTolerance) { parameters["latencyToleranceMs"] = tolerance }
        if let floor { parameters["floor"] = .double(floor) }
        if let weight { parameters["weight"] = .double(weight) }
        if critical { parameters["critical"] = true }
        if let variant { parameters["variant"] = .string(variant) }
        return parameters
    }

    /// Seconds that an option says.
    /// - Parameter most: the longest time that it may be.
    func seconds(_ text: String?, _ option: String, upTo most: Seconds) throws -> Double? {
        guard let text else { return nil }
        guard let seconds = DurationText.seconds(text) else { throw ValidationError("\(option) '\(text)': write 100ms, 2s or 1m") }
        guard (0...most.value).contains(seconds) else { throw ValidationError("\(option) '\(text)' is not within 0s to \(Int(most.value))s") }
        return seconds
    }

    /// The same in whole milliseconds.
    func milliseconds(_ text: String?, _ option: String, upTo most: Seconds) throws -> JSONValue? {
        try seconds(text, option, upTo: most).map { JSONValue(Int(($0 * 1000).rounded())) }
    }

    /// Bytes of the samples after which to end; nil without --samples.
    private func byteLimit(_ stream: StreamConnection) -> Int? {
        samples.map { count in
            let (bytes, overflow) = count.multipliedReportingOverflow(by: stream.sampleSize)
            return overflow ? .max : bytes
        }
    }

    private func modelRate(_ connection: JouledConnection) throws -> Int {
        let models = try connection.call("io.jouled.Models.List").list("models")
        // An unknown model is the daemon's to refuse: any rate will do.
        return models.first { $0.text("name") == model }?.integer("sampleRateHz") ?? 1
    }

    /// What the model takes; an unknown model is the daemon's to refuse.
    private func needs(_ connection: JouledConnection) throws -> SignalNeeds {
        let found = try connection.call("io.jouled.Models.List").list("models").first { $0.text("name") == model }
        guard let found else { throw JouledError(.init("joulectl.unknown-model"), "no model '\(model)'; see joulectl models") }
        return SignalNeeds(sampleRate: found.integer("sampleRateHz"), channels: found.integer("channels"), unit: found.text("unit"))
    }

    /// Streams standard input.
    private func runInput(_ stream: StreamConnection, rate: Double, _ printer: ResultPrinter) throws {
        // Who names a format knows what comes.
        let input = format == nil ? StandardInput() : nil
        if pace {
            try runPaced(stream, rate: rate, printer) { readInput($0, input) }
        } else if let chunk {
            try stream.run(input: { readInput(chunk, input) }) { printer.handle($0) }
        } else if let input {
            try stream.run(reading: STDIN_FILENO) { input.take($0) ? Array($0) : nil } _: { printer.handle($0) }
        } else {
            try stream.run(reading: STDIN_FILENO) { printer.handle($0) }
        }
        try input?.check()
    }

    private func readInput(_ limit: Int, _ input: StandardInput?) -> [UInt8]? {
        var bytes = [UInt8](repeating: 0, count: limit)
        while Interruption.wait(for: STDIN_FILENO) {
            let count = read(STDIN_FILENO, &bytes, limit)
            if count < 0 && errno == EINTR { continue }
            guard count > 0, bytes.withUnsafeBytes({ input?.take(UnsafeRawBufferPointer(rebasing: $0[..<count])) ?? true }) else { return nil }
            return Array(bytes[..<count])
        }
        return nil
    }

    /// Sends 20 ms at a time when it is due, taking results in between.
    private func runPaced(_ stream: StreamConnection, rate: Double, _ printer: ResultPrinter, _ next: (Int) -> [UInt8]?) throws {
        let clock = SystemClocks()
        let start = clock.monotonic()
        let samples = max(1, Int(rate / 50))
        let ahead = try seconds(preroll, "--preroll", upTo: Self.longestTime) ?? 0
        var sent = 0
        var pending: [UInt8] = []
        while true {
            while pending.count < samples * stream.sampleSize, let more = next(65536) { pending += more }
            if Interruption.happened { break }
            let piece = Array(pending.prefix(samples * stream.sampleSize))
            pending.removeFirst(piece.count)
            if piece.isEmpty { break }
            sent += piece.count / stream.sampleSize
            let due = start.advanced(by: Seconds(Double(sent) / rate - ahead))
            while clock.monotonic() < due {
                let wait = due.since(clock.monotonic())
                let outcome = try stream.pump(until: .event, timeout: wait) { printer.handle($0) }
                if outcome == .interrupted || outcome == .closed { return try stream.finish { printer.handle($0) } }
            }
            stream.send(piece)
            if try stream.pump(until: .now, timeout: .zero, { printer.handle($0) }) == .closed { break }
        }
        try stream.finish { printer.handle($0) }
    }

    /// Streams a sensor's samples until Ctrl-C, its end, or so many as were asked for.
    private func run(_ stream: StreamConnection, reading device: IIODevice, rate: Double, _ printer: ResultPrinter) throws {
        try device.setRate(Int(rate))
        guard device.hasBuffer else { return try poll(stream, device, rate, printer) }
        let buffer = try device.openBuffer()
        var left = byteLimit(stream)
        try stream.run(reading: buffer.descriptor) { bytes in
            let converted = buffer.convert(bytes)
            guard let most = left else { return converted }
            guard most > 0 else { return nil }
            left = most - min(most, converted.count)
            return Array(converted.prefix(most))
        } _: { printer.handle($0) }
    }

    /// Reads value by value, each when it is due by the clock.
    private func poll(_ stream: StreamConnection, _ device: IIODevice, _ rate: Double, _ printer: ResultPrinter) throws {
        let clock = SystemClocks()
        let start = clock.monotonic()
        var taken = 0
        while !Interruption.happened, samples.map({ taken < $0 }) ?? true {
            let due = start.advanced(by: Seconds(Double(taken) / rate))
            while clock.monotonic() < due {
                let outcome = try stream.pump(until: .event, timeout: due.since(clock.monotonic())) { printer.handle($0) }
                if outcome == .interrupted || outcome == .closed { return try stream.finish { printer.handle($0) } }
            }
            let sample = try device.read()
            sample.withUnsafeBytes { stream.send($0) }
            taken += 1
        }
        try stream.finish { printer.handle($0) }
    }
}
