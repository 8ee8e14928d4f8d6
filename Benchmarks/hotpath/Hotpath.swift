import Glibc
import InferenceRuntime
import StreamSessions
import Systemd
import Units
import Wire

// The hot path alone, for counting its instructions (Benchmarks/instructions.py): a real stream on a socket pair, its pump on a loop
// thread as in the daemon, silero-vad as the model. The client sends one piece at a time and waits for its results, so that
// every wake-up answers one piece, and two runs do the same.

/// The client's end of a stream of silero-vad.
private final class Client {
    private let descriptor: Int32
    private var next: UInt64 = 0
    private var parser = FrameParser(role: .client)
    private var buffer = [UInt8](repeating: 0, count: 65536)
    private var results = 0

    init(_ descriptor: Int32) { self.descriptor = descriptor }

    /// Sends `windows` windows at once and waits for their results.
    func exchange(windows: Int) throws {
        let count = windows * 512
        // Any signal will do: the model takes the same time for all.
        let samples = (0..<count).map { Int16(truncatingIfNeeded: ($0 &* 7919) % 4001 - 2000) }
        var writer = FrameWriter()
        samples.withUnsafeBytes { writer.data($0, sampleSize: 2, sampleIndex: next, time: MonotonicTime(nanoseconds: 0)) }
        next += UInt64(count)
        let frame = writer.take()
        let sent = frame.withUnsafeBytes { Glibc.send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
        guard sent == frame.count else { throw JouledError(.eventLoop, "sent \(sent) of \(frame.count) bytes: \(errnoText(errno))") }
        let wanted = results + windows
        while results < wanted {
            let received = recv(descriptor, &buffer, buffer.count, 0)
            guard received > 0 else { throw JouledError(.eventLoop, "the stream ended after \(results) windows") }
            // After a fault the stream is closed, and the next read says so.
            buffer.prefix(received).withUnsafeBytes { bytes in
                try? parser.receive(bytes) { (event) throws(JouledError) in
                    if case .message(let header, _) = event, header.type == .result { results += 1 }
                }
            }
        }
    }
}

@main
enum Hotpath {
    static func main() async throws {
        let arguments = CommandLine.arguments
        guard arguments.count == 3 else {
            print("usage: hotpath LIBRARY MODEL.onnx\nLines on standard input, each answered when done: `many N`, N pairs of wake-ups with 16 and 15 windows; `single N`, with 1 and 2")
            exit(64)
        }
        OnnxRuntime.disableTelemetry()
        let contract = StreamContract(
            sampleRateHz: 16000, channels: 1, format: .s16le, s16Scale: 1 / 32768, window: 512, hop: 512, context: 64, padsTail: true,
            normalization: .none, input: TensorSpec(name: "input", shape: [1, 576]),
            states: ["h", "c"].map { .init(input: TensorSpec(name: $0, shape: [1, 1, 128]), output: TensorSpec(name: $0 + "n", shape: [1, 1, 128])) },
            outputs: [TensorSpec(name: "speech_probs", shape: [1])], latencyTolerance: Seconds(1))
        let runtime = try OnnxRuntime(libraryPath: arguments[1])
        let session = try InferenceSession(runtime: runtime, model: try contents(of: arguments[2]), path: arguments[2])
        var ends: [Int32] = [0, 0]
        guard socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0, &ends) == 0, fcntl(ends[1], F_SETFL, O_NONBLOCK) == 0 else {
            throw JouledError(.eventLoop, "socketpair: \(errnoText(errno))")
        }
        let loop = try EventLoop.startThread(named: "hotpath")
        let pump = StreamPump(loop: loop) { _ in }
        let assignment = Assignment(
            session: session, variantIndex: 0, variantName: "fp32", unit: "cpu", cadence: 1, coalescing: 16,
            // As the bundle says of a file with an open first axis.
            windowsPerRun: session.inputs.first?.shape.first == -1 ? 32 : 1, drainPeriod: nil,
            firstWindow: WindowCost(energy: Joules(2e-4)), nextWindow: WindowCost(energy: Joules(1e-4)), isPaced: false, reason: "measured")
        await pump.open(id: 1, contract: contract, descriptor: ends[1], variantCount: 1, assignment: assignment)
        let client = Client(ends[0])
        // Pieces of changing size: a steady client would be read by forecast, and the forecast depends on the time of day.
        let pieces = ["many": [16, 15], "single": [1, 2]]
        say("ready")
        while let line = readLine() {
            let words = line.split(separator: " ")
            guard words.count == 2, let pair = pieces[String(words[0])], let count = Int(words[1]) else {
                throw JouledError(.eventLoop, "'\(line)' is neither `many N` nor `single N`")
            }
            for _ in 0..<count { for windows in pair { try client.exchange(windows: windows) } }
            say("done")
        }
        // Nothing is taken down: that is not what is counted.
        exit(0)
    }

    /// Writes a line at once; the C library's buffer would keep it while standard output is a pipe.
    private static func say(_ word: String) {
        let line = Array((word + "\n").utf8)
        _ = Glibc.write(STDOUT_FILENO, line, line.count)
    }

    private static func contents(of path: String) throws -> [UInt8] {
        guard let file = fopen(path, "r") else { throw JouledError(.eventLoop, "\(path): \(errnoText(errno))") }
        defer { fclose(file) }
        fseek(file, 0, SEEK_END)
        var bytes = [UInt8](repeating: 0, count: ftell(file))
        rewind(file)
        guard fread(&bytes, 1, bytes.count, file) == bytes.count else { throw JouledError(.eventLoop, "\(path): \(errnoText(errno))") }
        return bytes
    }
}
