import Glibc
import JouledClient
import JouledTestKit
import Testing
import Units
import Wire

/// The daemon's end of a socket pair, served by a thread of its own, because the client blocks.
private final class Peer: @unchecked Sendable {
    let descriptor: Int32
    private var varlink = VarlinkServerConnection()
    private var thread = pthread_t()
    private let body: (Peer) -> Void

    /// Starts `body` and returns the client's connection.
    static func start(_ body: @escaping (Peer) -> Void) -> (JouledConnection, Peer) {
        var ends: [Int32] = [0, 0]
        precondition(socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &ends) == 0)
        let peer = Peer(ends[1], body)
        let context = Unmanaged.passRetained(peer).toOpaque()
        pthread_create(&peer.thread, nil, { context in
            let peer = Unmanaged<Peer>.fromOpaque(context!).takeRetainedValue()  // passed just above
            peer.body(peer)
            close(peer.descriptor)
            return nil
        }, context)
        return (JouledConnection(owning: ends[0]), peer)
    }

    private init(_ descriptor: Int32, _ body: @escaping (Peer) -> Void) {
        self.descriptor = descriptor
        self.body = body
    }

    func join() { pthread_join(thread, nil) }

    func write(_ bytes: [UInt8]) {
        var sent = 0
        while sent < bytes.count {
            let count = bytes.withUnsafeBytes { send(descriptor, $0.baseAddress! + sent, $0.count - sent, Int32(MSG_NOSIGNAL)) }  // not empty here
            guard count > 0 else { return }
            sent += count
        }
    }

    func read(_ most: Int = 4096) -> [UInt8]? {
        var buffer = [UInt8](repeating: 0, count: most)
        let count = recv(descriptor, &buffer, most, 0)
        return count > 0 ? Array(buffer[..<count]) : nil
    }

    func call() -> VarlinkCall? {
        while true {
            if case .call(let call)? = varlink.next() { return call }
            guard let bytes = read() else { return nil }
            varlink.receive(bytes)
        }
    }

    func reply(_ parameters: JSONObject, continues: Bool = false) { write((try? varlink.reply(parameters, continues: continues)) ?? []) }
    func fail(_ error: VarlinkError) { write((try? varlink.fail(error)) ?? []) }
    func upgrade(_ parameters: JSONObject, then frames: [UInt8] = []) {
        write(((try? varlink.replyUpgrade(parameters)) ?? []) + frames)
    }

    /// Reads frames until END or the end, slowly, and answers each event with `answer`.
    func frames(sampleSize: Int, _ answer: (FrameEvent, inout FrameWriter) -> Void) {
        var parser = FrameParser(role: .daemon(sampleSize: sampleSize))
        var hasEnded = false
        while !hasEnded, let bytes = read(8192) {
            var writer = FrameWriter()
            bytes.withUnsafeBytes { pointer in
                try? parser.receive(pointer) { event in
                    if case .end = event { hasEnded = true }
                    answer(event, &writer)
                }
            }
            write(writer.take())
        }
    }
}

extension FrameWriter {
    mutating func answerEnd(_ header: FrameHeader) {
        notice(Notice(kind: "end", message: "all answered"), sampleIndex: header.sampleIndex, time: header.time)
    }

    mutating func result(_ index: UInt64, _ values: [Float]) {
        values.withUnsafeBufferPointer {
            result(sampleIndex: index, time: MonotonicTime(nanoseconds: 1), variant: 0, isPadded: false, joules: Joules(0.001), values: $0)
        }
    }
}

@Suite("Client")
struct JouledClientTests {
    @Test("Unreachable sockets are explained")
    func unreachable() {
        #expect { try JouledConnection(path: "/nonexistent/jouled.sock") } throws: {
            "\($0)" == "/nonexistent/jouled.sock: no such socket: is jouled running?"
        }
        let long = "/" + String(repeating: "x", count: 200)
        #expect { try JouledConnection(path: long) } throws: { "\($0)".contains("too long") }
        #expect { try JouledConnection(path: "/dev/null") } throws: { ($0 as? JouledError)?.code == .unreachable }
    }

    @Test("Calls, errors, oneway and monitors on one connection")
    func calls() throws {
        let (client, peer) = Peer.start { peer in
            _ = peer.call()
            peer.reply(["x": 1])
            _ = peer.call()
            peer.fail(.invalidParameter("y"))
            let quiet = peer.call()
            peer.reply([:])
            _ = peer.call()
            for number in 1...3 { peer.reply(["n": JSONValue(number)], continues: number < 3) }
            _ = peer.call()
            peer.reply(["oneway": .bool(quiet?.mode == .oneway)])
        }
        #expect(try client.call("a.B")["x"]?.intValue == 1)
        let error = #expect(throws: JouledError(.refused, "")) { try client.call("a.B", ["y": 2]) }
        #expect(error?.cause as? VarlinkError == .invalidParameter("y"))
        try client.notify("a.Quiet")
        var seen: [Int64?] = []
        try client.monitor("a.Watch") { seen.append($0["n"]?.intValue); return true }
        #expect(seen == [1, 2, 3])
        #expect(try client.call("a.B")["oneway"] == true)
        peer.join()
        #expect(throws: JouledError(.disconnected, "")) { try client.call("a.B") }
    }

    @Test("A daemon that does not answer in time")
    func timeout() throws {
        let peer: Peer
        do {
            let client: JouledConnection
            (client, peer) = Peer.start { peer in while peer.read() != nil {} }
            client.timeout = Seconds(milliseconds: 30)
            #expect(throws: JouledError(.timedOut, "")) { try client.call("a.B") }
        }
        // The end of the client ends the peer's thread.
        peer.join()
    }

    @Test("A large call and a large answer do not lock up")
    func large() throws {
        let (client, peer) = Peer.start { peer in
            let call = peer.call()
            peer.reply(call?.parameters ?? [:])
        }
        let text = JSONValue.string(String(repeating: "x", count: 1_000_000))
        #expect(try client.call("a.B", ["text": text])["text"] == text)
        peer.join()
    }

    @Test("Back-pressure: a daemon that stops reading until its results are read", arguments: seeds(4))
    func backPressure(seed: UInt64) throws {
        let received = UnsafeMutablePointer<(count: Int, sum: UInt64)>.allocate(capacity: 1)
        received.initialize(to: (0, 0))
        defer { received.deallocate() }
        let (client, peer) = Peer.start { [received] peer in
            _ = peer.call()
            // The first result comes together with the confirmation.
            var early = FrameWriter()
            early.result(0, [])
            peer.upgrade(["format": "s16le", "channels": 1], then: early.take())
            var number: UInt64 = 0
            peer.frames(sampleSize: 2) { event, writer in
                if case .end(let header) = event { writer.answerEnd(header) }
                guard case .data(_, _, let piece) = event else { return }
                received.pointee.count += piece.count
                for byte in piece { received.pointee.sum &+= UInt64(byte) }
                number += 1
                // More goes out than came in, with blocking writes.
                writer.result(number, [Float](repeating: Float(number), count: 5000))
            }
        }
        var random = SeededGenerator(seed: seed)
        let stream = try client.openStream(["model": "vad"])
        var left = 60
        var (sent, sum): (Int, UInt64) = (0, 0)
        var indices: [UInt64] = []
        try stream.run {
            guard left > 0 else { return nil }
            left -= 1
            let bytes = random.bytes(Int.random(in: 0...40_001, using: &random))
            sent += bytes.count
            for byte in bytes { sum &+= UInt64(byte) }
            return bytes
        } _: { event in
            if case .result(let result, let index, _) = event {
                indices.append(index)
                #expect(result.values.allSatisfy { $0 == Float(index) })
            }
            return true
        }
        peer.join()
        #expect(received.pointee.count == sent / 2 * 2)
        #expect(stream.incompleteBytes == sent % 2)
        #expect(stream.nextSampleIndex == UInt64(sent / 2))
        if sent % 2 == 0 { #expect(received.pointee.sum == sum) }
        #expect(indices == Array(0..<UInt64(indices.count)))
        #expect(indices.count > 1)
    }

    @Test("Samples from a descriptor, with gaps, flush and end in order")
    func descriptor() throws {
        let (client, peer) = Peer.start { peer in
            _ = peer.call()
            peer.upgrade([:])
            var total: UInt64 = 0
            peer.frames(sampleSize: 4) { event, writer in
                switch event {
                case .data(let header, let offset, let piece):
                    if offset == 0, header.sampleIndex != total { writer.notice(Notice(kind: "wrong", message: ""), sampleIndex: 0, time: header.time) }
                    if offset + piece.count == header.length { total += UInt64(header.length / 4) }
                case .gap(_, let lost): total += lost
                case .end(let header):
                    writer.result(header.sampleIndex, [Float(total)])
                    writer.answerEnd(header)
                default: break
                }
            }
        }
        let stream = try client.openStream(["format": "f32le"])
        stream.sendGap(lost: 10)
        stream.flush()
        var pipe: [Int32] = [0, 0]
        Glibc.pipe(&pipe)
        let bytes = [UInt8](repeating: 1, count: 4002)
        #expect(write(pipe[1], bytes, bytes.count) == bytes.count)
        close(pipe[1])
        var events: [StreamEvent] = []
        try stream.run(reading: pipe[0]) { events.append($0); return true }
        close(pipe[0])
        peer.join()
        #expect(events == [
            .result(ResultPayload(variant: 0, joules: Joules(0.001), values: [1010]), sampleIndex: 1010, time: MonotonicTime(nanoseconds: 1)),
            .notice(Notice(kind: "end", message: "all answered"), sampleIndex: 1010),
        ])
        #expect(stream.incompleteBytes == 2)
    }

    @Test("An ERROR is delivered even when the daemon closes with samples unread")
    func refusal() throws {
        let (client, peer) = Peer.start { peer in
            _ = peer.call()
            var writer = FrameWriter()
            writer.notice(Notice(kind: "stream.quota", message: "enough"), isError: true, sampleIndex: 0, time: MonotonicTime(nanoseconds: 0))
            peer.upgrade([:])
            _ = peer.read()
            peer.write(writer.take())
        }
        let stream = try client.openStream(["format": "s16le"])
        var events: [StreamEvent] = []
        try stream.run { [UInt8](repeating: 0, count: 100_000) } _: { events.append($0); return true }
        #expect(events == [.error(Notice(kind: "stream.quota", message: "enough"))])
        peer.join()
    }

    @Test("A stream that ends before END is answered is an error, which says why if the daemon did", arguments: [nil, "jouled is stopping"])
    func cutOff(reason: String?) throws {
        let (client, peer) = Peer.start { peer in
            _ = peer.call()
            peer.upgrade([:])
            peer.frames(sampleSize: 2) { event, writer in
                guard case .end(let header) = event, let reason else { return }
                writer.notice(Notice(kind: "closed", message: reason), sampleIndex: header.sampleIndex, time: header.time)
            }
        }
        let stream = try client.openStream(["format": "s16le"])
        stream.send([UInt8](repeating: 0, count: 1000))
        var message = ""
        do throws(JouledError) {
            try stream.finish { _ in true }
        } catch {
            #expect(error.code == .disconnected)
            message = error.message
        }
        #expect(message.hasSuffix(reason ?? "without a reason"), "\(message)")
        peer.join()
    }

    @Test("A stream that breaks off is an error: without a reason, and within a frame", arguments: [[], [1, 2, 3]] as [[UInt8]])
    func brokenOff(last: [UInt8]) throws {
        let (client, peer) = Peer.start { peer in
            _ = peer.call()
            peer.upgrade([:], then: last)
            _ = peer.read()
        }
        let stream = try client.openStream(["format": "s16le"])
        #expect(throws: JouledError(last.isEmpty ? .disconnected : .truncatedFrame, "")) {
            try stream.run { [UInt8](repeating: 0, count: 100_000) } _: { _ in true }
        }
        peer.join()
    }

    @Test("A handler stops the stream; pump can wait for one event with a time limit")
    func stopping() throws {
        let (client, peer) = Peer.start { peer in
            _ = peer.call()
            peer.upgrade([:])
            peer.frames(sampleSize: 2) { event, writer in
                if case .flush(let header) = event { writer.result(header.sampleIndex, []) }
            }
        }
        let stream = try client.openStream(["format": "s16le"])
        stream.send([1, 2, 3, 4])
        #expect(try stream.pump(until: .event, timeout: Seconds(milliseconds: 20)) { _ in true } == .timedOut)
        stream.flush()
        #expect(try stream.pump(until: .event, timeout: Seconds(10)) { _ in true } == .reached)
        stream.flush()
        #expect(try stream.pump(until: .closed) { _ in false } == .stopped)
        stream.end()
        #expect(try stream.pump(until: .closed, timeout: Seconds(10)) { _ in true } == .reached)
        peer.join()
    }
}
