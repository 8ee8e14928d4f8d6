import Glibc
import InferenceRuntime
import JouledTestKit
import Synchronization
import Systemd
import Testing
import Units
import Wire

@testable import StreamSessions

/// A stream on a socket pair: the test is the client, the pump runs on a loop thread of its own.
private final class Client {
    struct Result: Equatable {
        var end: UInt64
        var value: Float
        var variant: UInt16
        var joules: Double
    }

    private final class Events: Sendable {
        let all = Mutex<[StreamPump.Event]>([])
    }

    let pump: StreamPump
    private let loop: EventLoop
    private let recorded = Events()
    private let descriptor: Int32
    private var parser = FrameParser(role: .client)
    private var next: UInt64 = 0
    private(set) var results: [Result] = []
    private(set) var notices: [Notice] = []
    /// Results by their end and notices by their kind, as they came.
    private(set) var order: [String] = []
    private(set) var error: Notice?
    private(set) var isClosed = false

    init(_ assignment: Assignment, contract: StreamContract = TinyModel.contract()) async throws {
        var ends: [Int32] = [0, 0]
        precondition(socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_NONBLOCK.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0, &ends) == 0)
        descriptor = ends[0]
        loop = try EventLoop.startThread(named: "test")
        let recorded = recorded
        pump = StreamPump(loop: loop) { event in recorded.all.withLock { $0.append(event) } }
        await pump.open(id: 7, contract: contract, descriptor: ends[1], variantCount: 2, assignment: assignment)
    }

    deinit {
        close(descriptor)
        loop.stop()
    }

    var events: [StreamPump.Event] { recorded.all.withLock { $0 } }

    private func write(_ frames: [UInt8]) {
        var written = 0
        while written < frames.count {
            let count = frames.withUnsafeBytes { Glibc.send(descriptor, $0.baseAddress! + written, $0.count - written, Int32(MSG_NOSIGNAL)) }  // not empty here
            if count < 0 && errno == EAGAIN { receive() }
            if count < 0 && errno != EAGAIN { return }
            written += max(0, count)
        }
    }

    /// Sends so many samples, each with its own index as value.
    func send(_ count: Int) {
        let values = (0..<count).map { Float(Int(next) + $0) }
        var writer = FrameWriter()
        values.withUnsafeBytes { writer.data($0, sampleSize: 4, sampleIndex: next, time: MonotonicTime(nanoseconds: 0)) }
        next += UInt64(count)
        write(writer.take())
    }

    func flush() { frame { $0.flush(sampleIndex: next, time: MonotonicTime(nanoseconds: 0)) } }
    func end() { frame { $0.end(sampleIndex: next, time: MonotonicTime(nanoseconds: 0)) } }
    private func frame(_ build: (inout FrameWriter) -> Void) {
        var writer = FrameWriter()
        build(&writer)
        write(writer.take())
    }

    private func receive() {
        var buffer = [UInt8](repeating: 0, count: 65536)
        let count = recv(descriptor, &buffer, buffer.count, 0)
        if count == 0 || (count < 0 && errno == ECONNRESET) { isClosed = true }
        guard count > 0 else { return }
        buffer.prefix(count).withUnsafeBytes { bytes in
            try? parser.receive(bytes) { (event) throws(JouledError) in
                guard case .message(let header, let payload) = event else { return }
                switch header.type {
                case .result:
                    let result = try ResultPayload(decoding: payload)
                    order.append("\(header.sampleIndex)")
                    results.append(Result(end: header.sampleIndex, value: result.values[0], variant: result.variant, joules: result.joules.value))
                case .notice:
                    notices.append(try Notice(decoding: payload))
                    order.append(notices[notices.count - 1].kind)
                default: error = try Notice(decoding: payload)
                }
            }
        }
    }

    func wait(within limit: Seconds = Seconds(10), until condition: () -> Bool) -> Bool {
        eventually(within: limit) {
            receive()
            return condition()
        }
    }
}

@Suite("Streams on a real loop with a real model")
struct StreamPumpTests {
    private func ends(_ windows: some Sequence<Int>) -> [UInt64] { windows.map { UInt64(4 * $0 + 4) } }

    @Test("Each window is answered once, in order, with what it held")
    func plain() async throws {
        let client = try await Client(TinyModel.assignment(try TinyModel.session(index: 2)))
        for _ in 0..<50 { client.send(7) }
        client.end()
        #expect(client.wait { client.isClosed })
        #expect(client.results.map(\.end) == ends(0..<88))
        // The last window is half a one and filled with zeros.
        let expected: [Float] = (0..<87).map { Float(4 * $0 + 2) } + [0]
        #expect(client.results.map(\.value) == expected)
        #expect(client.events.count == 1)
        guard case .ended(7, .finished, let statistics)? = client.events.first else { Issue.record("\(client.events)"); return }
        #expect(statistics.totalWindows == 88)
        #expect(abs(statistics.totalJoules.value - client.results.map(\.joules).reduce(0, +)) < 1e-9)
    }

    @Test("Cadence 2 answers every second window; a change of it takes effect at a window")
    func cadence() async throws {
        let session = try TinyModel.session(index: 0)
        let client = try await Client(TinyModel.assignment(session, cadence: 2))
        client.send(400)
        #expect(client.wait { client.results.count == 50 })
        await client.pump.assign(7, TinyModel.assignment(session, cadence: 1))
        client.send(40)
        client.end()
        #expect(client.wait { client.isClosed })
        #expect(client.results.map(\.end) == ends(stride(from: 0, to: 100, by: 2)) + ends(100..<110))
        #expect(client.notices.first { $0.kind == "variant" }?.fields["cadence"]?.intValue == 1)
    }

    @Test("A paused stream is told, takes samples without answering, and goes on where it is")
    func pause() async throws {
        let session = try TinyModel.session(index: 0)
        let client = try await Client(TinyModel.assignment(session))
        client.send(40)
        #expect(client.wait { client.results.count == 10 })
        await client.pump.assign(7, TinyModel.assignment(nil))
        #expect(client.wait { client.notices.contains { $0.kind == "paused" && $0.message == "because" } })
        client.send(80)
        client.flush()
        #expect(client.wait { client.notices.contains { $0.kind == "flushed" } })
        await client.pump.assign(7, TinyModel.assignment(session, variant: 1))
        client.send(40)
        client.end()
        #expect(client.wait { client.isClosed })
        #expect(client.results.map(\.end) == ends(0..<10) + ends(30..<40))
        #expect(client.results.suffix(10).allSatisfy { $0.variant == 1 && $0.value == Float($0.end - 4) })
    }

    @Test("Coalescing: what is sent within a period is answered in one wake-up, at a wake-up's price")
    func coalescing() async throws {
        let client = try await Client(TinyModel.assignment(try TinyModel.session(index: 0), period: Seconds(0.25)))
        // The first read is on readiness; from then on the grid rules.
        client.send(4)
        #expect(client.wait { client.results.count == 1 })
        for _ in 0..<20 { client.send(4) }
        #expect(client.wait { client.results.count == 21 })
        // Sent within milliseconds: two reads at most, if the grid's time fell between them.
        #expect(client.results.dropFirst().count { $0.joules == 6 } <= 2)
        #expect(client.results.dropFirst().count { $0.joules == 1 } >= 18)
        let statistics = await client.pump.report()[7]
        #expect(statistics?.wakes ?? 0 <= 3)
    }

    @Test("A model that fails when it runs: nothing is lost, FLUSH and END wait, another variant takes over at the same window")
    func fault() async throws {
        let (good, bad) = (try TinyModel.session(index: 1), try TinyModel.session(index: 9))
        let client = try await Client(TinyModel.assignment(good))
        client.send(42)
        #expect(client.wait { client.results.count == 10 })
        await client.pump.assign(7, TinyModel.assignment(bad, variant: 1))
        client.send(42)
        #expect(client.wait { !client.events.isEmpty })
        guard case .faulted(7, "v1", let message)? = client.events.first else { Issue.record("\(client.events)"); return }
        #expect(message.contains("gather-9.onnx") && message.contains("out of data bounds"), "\(message)")
        client.flush()
        client.send(400)
        client.end()
        #expect(!client.wait(within: Seconds(0.1)) { client.results.count > 10 || client.isClosed })
        await client.pump.assign(7, TinyModel.assignment(good))
        #expect(client.wait { client.isClosed })
        #expect(client.results.map(\.end) == ends(0..<121))
        #expect(client.results.allSatisfy { $0.value == Float($0.end - 3) && $0.variant == 0 })
        #expect(client.notices.map(\.kind).filter { $0 != "variant" } == ["flushed", "end"])
    }

    /// Against the rule: every window of the cadence, in order, and word of a flush after the windows that were complete when it came.
    @Test("Several windows in one run are answered as one by one, whatever the cadence, the pieces and the flushes", arguments: seeds(8))
    func severalAtOnce(seed: UInt64) async throws {
        var random = SeededGenerator(seed: seed)
        let (cadence, rows) = (Int.random(in: 1...3, using: &random), Int.random(in: 2...9, using: &random))
        // The grid lets many windows gather.
        let client = try await Client(
            TinyModel.assignment(try TinyModel.session(index: 2, takesMany: true), cadence: cadence, windowsPerRun: rows, period: Seconds(0.02)))
        var (sent, answered) = (0, 0)
        var expected: [String] = []
        func answer() {
            while answered + 4 <= sent {
                if answered / 4 % cadence == 0 { expected.append("\(answered + 4)") }
                answered += 4
            }
        }
        for _ in 0..<60 {
            let piece = Int.random(in: 1...40, using: &random)
            client.send(piece)
            sent += piece
            if Int.random(in: 0..<4, using: &random) == 0 {
                client.flush()
                answer()
                expected.append("flushed")
            }
        }
        client.end()
        answer()
        if sent > answered, answered / 4 % cadence == 0 { expected.append("\(answered + 4)") }
        #expect(client.wait { client.isClosed }, "seed \(seed)")
        #expect(client.order == expected + ["end"], "seed \(seed), cadence \(cadence), \(rows) a run")
        #expect(client.results.allSatisfy { $0.value == ($0.end > UInt64(sent) && Int($0.end) - 2 >= sent ? 0 : Float($0.end - 2)) }, "seed \(seed)")
    }

    @Test("Several windows in a run that fails: none of them is lost")
    func faultOfSeveral() async throws {
        let (good, bad) = (try TinyModel.session(index: 1), try TinyModel.session(index: 9, takesMany: true))
        let client = try await Client(TinyModel.assignment(bad, variant: 1, windowsPerRun: 16, period: Seconds(3600)))
        client.send(402)
        #expect(client.wait { !client.events.isEmpty })
        await client.pump.assign(7, TinyModel.assignment(good))
        client.end()
        #expect(client.wait { client.isClosed })
        #expect(client.results.map(\.end) == ends(0..<101))
        #expect(client.results.allSatisfy { $0.variant == 0 })
    }

    /// `y = x[x[0]]`: a window whose first sample is beyond 3 fails, and here that is all but the first.
    @Test("One window of several fails: those before it are answered, and it waits for another variant")
    func faultOfOne() async throws {
        let client = try await Client(
            TinyModel.assignment(try TinyModel.picky(), variant: 1, windowsPerRun: 8, period: Seconds(3600)))
        client.send(40)
        #expect(client.wait { !client.events.isEmpty })
        #expect(client.results.map(\.end) == ends(0..<1))
        await client.pump.assign(7, TinyModel.assignment(try TinyModel.session(index: 0)))
        client.end()
        #expect(client.wait { client.isClosed })
        #expect(client.results.map(\.end) == ends(0..<10))
        #expect(client.results.map(\.variant) == [1] + Array(repeating: 0, count: 9))
    }

    @Test("A file made for one window cannot be given several: the stream ends with the tensor's name")
    func madeForOne() async throws {
        let client = try await Client(TinyModel.assignment(try TinyModel.session(index: 0), windowsPerRun: 4))
        #expect(client.wait { client.isClosed })
        #expect(client.error?.message.contains("'x' takes one window at a time") == true, "\(String(describing: client.error))")
    }

    @Test("A faulted stream that is closed tells its client why")
    func faultedForGood() async throws {
        let client = try await Client(TinyModel.assignment(try TinyModel.session(index: 9)))
        client.send(4)
        #expect(client.wait { !client.events.isEmpty })
        await client.pump.close(7, because: "no variant can run")
        #expect(client.wait { client.isClosed })
        #expect(client.notices.last == Notice(kind: "closed", message: "no variant can run"))
        #expect(client.events.count == 2)
    }

    @Test("A model that does not fit the contract ends the stream with the tensor's name")
    func mismatch() async throws {
        var contract = TinyModel.contract()
        contract.outputs = [.init(name: "z", shape: [1, 1])]
        let client = try await Client(TinyModel.assignment(try TinyModel.session(index: 0)), contract: contract)
        #expect(client.wait { client.isClosed })
        #expect(client.error?.kind == "runtime.contract-broken")
        #expect(client.error?.message.contains("no output 'z'") == true, "\(String(describing: client.error))")
    }

    @Test("Close answers what was sent before")
    func close() async throws {
        let client = try await Client(TinyModel.assignment(try TinyModel.session(index: 0), period: Seconds(3600)))
        client.send(4)
        #expect(client.wait { client.results.count == 1 })
        client.send(400)
        await client.pump.close(7, because: "the end")
        #expect(client.wait { client.isClosed })
        #expect(client.results.map(\.end) == ends(0..<101))
    }
}
