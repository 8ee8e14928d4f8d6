import Glibc
import InferenceRuntime
import JouledTestKit
import Systemd
import Testing
import Units
import Wire

@testable import StreamSessions

/// A stream and its gate on one pump; the test is the client of both.
private final class Pair {
    /// The client's end of one of them.
    final class End {
        let descriptor: Int32
        private var parser = FrameParser(role: .client)
        var next: UInt64 = 0
        private(set) var results: [(end: UInt64, value: Float, isPadded: Bool)] = []
        private(set) var notices: [(notice: Notice, at: UInt64)] = []
        private(set) var isClosed = false

        init(_ descriptor: Int32) { self.descriptor = descriptor }
        deinit { close(descriptor) }

        var kinds: [String] { notices.map(\.notice.kind) }

        func write(_ build: (inout FrameWriter) -> Void) {
            var writer = FrameWriter()
            build(&writer)
            let frames = writer.take()
            var written = 0
            while written < frames.count {
                let count = frames.withUnsafeBytes { Glibc.send(descriptor, $0.baseAddress! + written, $0.count - written, Int32(MSG_NOSIGNAL)) }  // not empty here
                if count < 0 {
                    guard errno == EAGAIN else { return }
                    receive()
                }
                written += max(0, count)
            }
        }

        func send(_ values: some Collection<Float>) {
            let values = Array(values)
            write { writer in values.withUnsafeBytes { writer.data($0, sampleSize: 4, sampleIndex: next, time: MonotonicTime(nanoseconds: 0)) } }
            next += UInt64(values.count)
        }

        func end() { write { $0.end(sampleIndex: next, time: MonotonicTime(nanoseconds: 0)) } }
        func flush() { write { $0.flush(sampleIndex: next, time: MonotonicTime(nanoseconds: 0)) } }
        func gap(_ lost: UInt64) {
            write { $0.gap(lost: lost, sampleIndex: next, time: MonotonicTime(nanoseconds: 0)) }
            next += lost
        }

        func receive() {
            var buffer = [UInt8](repeating: 0, count: 65536)
            let count = recv(descriptor, &buffer, buffer.count, 0)
            if count == 0 || (count < 0 && errno == ECONNRESET) { isClosed = true }
            guard count > 0 else { return }
            buffer.prefix(count).withUnsafeBytes { bytes in
                try? parser.receive(bytes) { (event) throws(JouledError) in
                    guard case .message(let header, let payload) = event else { return }
                    if header.type == .result {
                        let result = try ResultPayload(decoding: payload)
                        results.append((header.sampleIndex, result.values[0], result.isPadded))
                    } else {
                        notices.append((try Notice(decoding: payload), header.sampleIndex))
                    }
                }
            }
        }
    }

    static let (gateID, streamID): (UInt64, UInt64) = (3, 7)
    let pump: StreamPump
    private let loop: EventLoop
    let gate: End
    let stream: End

    /// The stream has windows of 4 samples with the hop that is given, and answers each window's third sample. The gate answers the first of 4.
    init(
        tolerance: Seconds = Seconds(60), preroll: Seconds = Seconds(0.01), hold: Seconds = Seconds(0.02), hop: Int = 4, period: Seconds? = nil,
        cadence: Int = 1, model: InferenceSession? = nil, windowsPerRun: Int = 1, states: [StreamContract.State] = []
    ) async throws {
        func pair() -> (Int32, Int32) {
            var ends: [Int32] = [0, 0]
            precondition(socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_NONBLOCK.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0, &ends) == 0)
            return (ends[0], ends[1])
        }
        loop = try EventLoop.startThread(named: "gate-test")
        pump = StreamPump(loop: loop) { _ in }
        let (own, other) = (pair(), pair())
        gate = End(own.0)
        stream = End(other.0)
        await pump.open(
            id: Self.gateID, contract: TinyModel.contract(), descriptor: own.1, variantCount: 2,
            assignment: TinyModel.assignment(try TinyModel.session(index: 0), cadence: cadence, period: period))
        var contract = TinyModel.contract(tolerance: tolerance)
        contract.hop = hop
        contract.states = states
        var assignment = TinyModel.assignment(try model ?? TinyModel.session(index: 2, takesMany: windowsPerRun > 1), period: period)
        assignment.windowsPerRun = windowsPerRun
        contract.gate = GateContract(
            stream: Self.gateID, output: 0, threshold: 0.5, preroll: preroll, hold: hold, gateRateHz: 1000, rateHz: 1000, reserve: Seconds(0.1))
        await pump.open(
            id: Self.streamID, contract: contract, descriptor: other.1, variantCount: 2,
            assignment: assignment)
    }

    deinit { loop.stop() }

    func wait(within limit: Seconds = Seconds(20), until condition: () -> Bool) -> Bool {
        eventually(within: limit) {
            gate.receive()
            stream.receive()
            return condition()
        }
    }

    var counts: GateCounts? {
        get async { await pump.report()[Self.streamID]?.gate }
    }
}

@Suite("Streams behind a gate, on a real loop with a real model")
struct GatePumpTests {
    /// Bursts of something to hear: samples of 1 among samples of -1, each with a fraction that tells it from the others.
    private func signal(_ count: Int, _ random: inout SeededGenerator) -> [Float] {
        var isActive = false
        return (0..<count).map { index in
            if index % 4 == 0, Double.random(in: 0...1, using: &random) < (isActive ? 0.05 : 0.01) { isActive.toggle() }
            return (isActive ? 1 : -1) + Float(index % 1000) * 1e-5
        }
    }

    /// Ends of the windows that the documented rule runs.
    private func expected(_ signal: [Float], hop: Int, preroll: Int, hold: Int, cadence: Int) -> [UInt64] {
        let answers = stride(from: 0, to: signal.count - signal.count % 4, by: 4 * cadence).map { (start: $0, isActive: signal[$0] >= 0.5) }
        var spans: [(Int, Int)] = []
        for (index, answer) in answers.enumerated() where answer.isActive {
            let next = index + 1 < answers.count ? answers[index + 1].start : signal.count
            spans.append((answer.start - preroll, max(answer.start + 4, next) + hold))
        }
        return stride(from: 0, through: signal.count - 4, by: hop).filter { start in spans.contains { start < $0.1 && start + 4 > $0.0 } }.map { UInt64($0 + 4) }
    }

    @Test("The windows that the rule names, with the values of a stream without gate, however samples come", arguments: seeds(24))
    func rule(seed: UInt64) async throws {
        var random = SeededGenerator(seed: seed)
        let signal = signal(4 * Int.random(in: 100...6000, using: &random), &random)
        let (hop, preroll, hold) = (Int.random(in: 1...4, using: &random), Int.random(in: 0...40, using: &random), Int.random(in: 0...80, using: &random))
        let cadence = seed % 3 == 0 ? 2 : 1
        let pair = try await Pair(
            preroll: Seconds(Double(preroll) / 1000), hold: Seconds(Double(hold) / 1000), hop: hop, period: seed % 2 == 0 ? Seconds(0.02) : nil, cadence: cadence,
            windowsPerRun: seed % 4 < 2 ? 1 : 8)
        // Both get all samples, in pieces of their own, now one first and now the other; within what sockets and rings hold.
        while pair.gate.next < signal.count || pair.stream.next < signal.count {
            let end = Bool.random(using: &random) ? pair.gate : pair.stream
            let ahead = min(pair.gate.next, pair.stream.next) + 4000
            let piece = min(UInt64.random(in: 1...1500, using: &random), UInt64(signal.count) - end.next, ahead - min(ahead, end.next))
            if piece > 0 { end.send(signal[Int(end.next)..<Int(end.next + piece)]) }
            pair.gate.receive()
            pair.stream.receive()
        }
        if Bool.random(using: &random) {
            pair.stream.end()
            pair.gate.end()
        } else {
            pair.gate.end()
            pair.stream.end()
        }
        #expect(pair.wait { pair.stream.isClosed && pair.gate.isClosed }, "seed \(seed)")
        let ends = expected(signal, hop: hop, preroll: preroll, hold: hold, cadence: cadence)
        let answered = pair.stream.results.filter { !$0.isPadded }
        #expect(answered.map(\.end) == ends, "seed \(seed)")
        #expect(answered.allSatisfy { $0.value == signal[Int($0.end) - 2] }, "seed \(seed)")
        #expect(pair.stream.kinds.last == "end")
        #expect(!pair.stream.kinds.contains("ungated"), "seed \(seed): \(pair.stream.kinds)")
    }

    private static let silence = [Float](repeating: -1, count: 4000)

    @Test("A gate that says nothing in time: every window runs, late and not lost, and the client is told")
    func behind() async throws {
        let pair = try await Pair(tolerance: Seconds(0.2))
        pair.stream.send(Self.silence.prefix(400))
        #expect(pair.wait { pair.stream.results.count == 100 })
        let counts = await pair.counts
        #expect(counts?.late == 100 && counts?.letGo == 0 && counts?.isAwake == true)
        let told = try #require(pair.stream.notices.first)
        #expect(told.notice.kind == "ungated" && told.notice.message.hasSuffix("comes too late") && told.at == 0)
        #expect(told.notice.fields["gate"]?.intValue == 3)
        // The gate catches up; from then on it is heard again.
        pair.gate.send(Self.silence.prefix(4000))
        pair.stream.send(Self.silence.prefix(3000))
        var last: GateCounts?
        #expect(await eventually(within: Seconds(10)) { last = await pair.counts; return last?.letGo == 750 }, "\(String(describing: last))")
        #expect(pair.wait { pair.stream.kinds == ["ungated", "asleep"] }, "\(pair.stream.kinds)")
    }

    @Test("A gate that is paused, or gone: every window runs at once", arguments: ["paused", "gone", "failed"])
    func silent(why: String) async throws {
        let pair = try await Pair()
        pair.gate.send(Self.silence.prefix(800))
        pair.stream.send(Self.silence.prefix(400))
        #expect(await eventually(within: Seconds(10)) { await pair.counts?.letGo == 100 })
        #expect(pair.stream.results.isEmpty)
        switch why {
        case "paused": await pair.pump.assign(Pair.gateID, TinyModel.assignment(nil))
        case "gone": await pair.pump.close(Pair.gateID, because: "a test")
        default:
            await pair.pump.assign(Pair.gateID, TinyModel.assignment(try TinyModel.session(index: 9), variant: 1))
            pair.gate.send(Self.silence.prefix(4))
        }
        pair.stream.send(Self.silence.prefix(1000))
        #expect(pair.wait { (pair.stream.results.last?.end ?? 0) == 1400 }, "\(pair.stream.results.count) windows")
        // What the gate had answered already stays let go.
        #expect(pair.stream.results.first.map { $0.end > 780 && $0.end <= 804 } == true, "\(String(describing: pair.stream.results.first))")
        #expect(pair.stream.kinds == ["asleep"] || pair.stream.kinds == ["asleep", "ungated"], "\(pair.stream.kinds)")
        let counts = await pair.counts
        #expect(counts?.silence?.rawValue == why && counts?.late == 0 && counts?.unguarded == pair.stream.results.count)
        guard why == "paused" else { return }
        // It comes back, and is heard from its next window on.
        await pair.pump.assign(Pair.gateID, TinyModel.assignment(try TinyModel.session(index: 0)))
        pair.gate.send(Self.silence)
        pair.stream.send(Self.silence.prefix(3000))
        #expect(await eventually(within: Seconds(10)) { (await pair.counts?.letGo ?? 0) > 700 })
        #expect(await pair.counts?.silence == nil)
    }

    @Test("FLUSH waits for what the gate says, and a gap of the stream does not")
    func flushAndGap() async throws {
        let pair = try await Pair(period: Seconds(0.02))
        pair.gate.send(Self.silence.prefix(100))
        pair.stream.send(Self.silence.prefix(200))
        pair.stream.flush()
        #expect(!pair.wait(within: Seconds(0.2)) { pair.stream.kinds.contains("flushed") })
        pair.gate.send(Self.silence.prefix(200))
        #expect(pair.wait { pair.stream.kinds.contains("flushed") })
        #expect(pair.stream.results.isEmpty)
        // These windows wait when the gap comes, and are run.
        pair.stream.send(Self.silence.prefix(200))
        pair.stream.gap(50)
        pair.gate.send(Self.silence.prefix(400))
        pair.stream.send(Self.silence.prefix(100))
        #expect(pair.wait { pair.stream.kinds.contains("gap") })
        #expect(await eventually(within: Seconds(10)) { await pair.counts?.letGo ?? 0 >= 50 + 25 + 20 })
        let counts = await pair.counts
        #expect(counts.map { $0.late <= 30 && $0.late == pair.stream.results.count } == true, "\(String(describing: counts))")
    }

    @Test("A recurrent state begins anew after sleep, and is carried on while awake")
    func state() async throws {
        let state = StreamContract.State(input: TensorSpec(name: "h", shape: [1, 1]), output: TensorSpec(name: "hn", shape: [1, 1]))
        let pair = try await Pair(preroll: Seconds(0.004), hold: .zero, model: try TinyModel.sum(), states: [state])
        // Bursts of ten windows, each with one window of pre-roll.
        let samples = (0..<4000).map { Float($0 % 400 < 40 ? 1 : -1) }
        pair.gate.send(samples)
        pair.stream.send(samples)
        pair.gate.end()
        pair.stream.end()
        #expect(pair.wait { pair.stream.isClosed })
        let burst: [Float] = [-1, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
        var sums = Array(repeating: burst, count: 10).flatMap { $0 }
        // The first burst has nothing before it.
        sums.replaceSubrange(0..<11, with: burst.dropFirst().map { $0 + 1 })
        #expect(pair.stream.results.map(\.value) == sums)
    }

    @Test("A gate that lost samples: what it did not watch is run")
    func gateGap() async throws {
        let pair = try await Pair(preroll: .zero, hold: .zero)
        pair.gate.send(Self.silence.prefix(400))
        pair.gate.gap(100)
        pair.gate.send(Self.silence.prefix(400))
        pair.stream.send(Self.silence.prefix(800))
        #expect(pair.wait { pair.stream.results.count == 25 })
        let unwatched: [UInt64] = stride(from: 404, through: 500, by: 4).map { $0 }
        #expect(pair.stream.results.map(\.end) == unwatched)
        #expect(await pair.counts?.unguarded == 25)
    }

    @Test("A stream that joins late runs what the gate had passed already")
    func joining() async throws {
        let pair = try await Pair(preroll: .zero, hold: .zero)
        pair.gate.next = 1000
        pair.gate.send(Self.silence.prefix(400))
        pair.stream.send(Self.silence.prefix(1200))
        #expect(pair.wait { pair.stream.results.count == 250 })
        #expect(await eventually(within: Seconds(10)) { await pair.counts?.letGo == 50 })
    }

    @Test("More than the ring holds waits in the socket, and all of it is decided in the end")
    func ring() async throws {
        let pair = try await Pair(tolerance: Seconds(60), period: Seconds(0.02))
        let samples = (0..<60_000).map { Float($0 % 3000 < 100 ? 1 : -1) }
        // The client of the stream is far ahead of the gate's: as far as ring and socket let it.
        for start in stride(from: 0, to: 30_000, by: 1000) { pair.stream.send(samples[start..<(start + 1000)]) }
        #expect(!pair.wait(within: Seconds(0.1)) { !pair.stream.results.isEmpty })
        for start in stride(from: 0, to: 60_000, by: 1000) {
            pair.gate.send(samples[start..<(start + 1000)])
            if start >= 30_000 { pair.stream.send(samples[start..<(start + 1000)]) }
        }
        pair.gate.end()
        pair.stream.end()
        #expect(pair.wait { pair.stream.isClosed })
        #expect(pair.stream.results.map(\.end) == expected(samples, hop: 4, preroll: 10, hold: 20, cadence: 1))
        #expect(pair.stream.results.allSatisfy { $0.value == samples[Int($0.end) - 2] })
    }
}

/// Waits until an asynchronous condition holds.
private func eventually(within limit: Seconds, _ condition: () async -> Bool) async -> Bool {
    let clocks = SystemClocks()
    let deadline = clocks.monotonic().advanced(by: limit)
    while clocks.monotonic() < deadline {
        if await condition() { return true }
        usleep(2000)
    }
    return await condition()
}
