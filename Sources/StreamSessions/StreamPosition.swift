import InferenceRuntime
import Units
import Wire

/// Where a stream is between two windows: all that another process needs to go on with it and lose nothing.
public struct StreamPosition: Sendable, Equatable {
    public var frame: FrameParser.Position
    /// Bytes of an incomplete sample.
    public var pendingBytes: [UInt8]
    /// Values that the next windows are made of, their context first.
    public var values: [Float]
    public var nextWindowStart: UInt64
    public var windowNumber: UInt64
    public var hasOrigin: Bool
    /// Recurrent state, a tensor each; empty while the stream is paused.
    public var states: [[Float]]
    /// Result bytes that the client has not taken yet.
    public var backlog: [UInt8]
    /// What the stream's gate had told; nil without a gate.
    public var gate: GateMemory?

    public init(
        frame: FrameParser.Position, pendingBytes: [UInt8], values: [Float], nextWindowStart: UInt64, windowNumber: UInt64, hasOrigin: Bool,
        states: [[Float]], backlog: [UInt8], gate: GateMemory? = nil
    ) {
        self.frame = frame
        self.pendingBytes = pendingBytes
        self.values = values
        self.nextWindowStart = nextWindowStart
        self.windowNumber = windowNumber
        self.hasOrigin = hasOrigin
        self.states = states
        self.backlog = backlog
        self.gate = gate
    }
}

extension StreamSession {
    /// Where the stream is; nil if it is ending, or waits for a variant to replace one that failed.
    func position() -> StreamPosition? {
        guard phase == .receiving, owed == ([], false), let frame = parser.position else { return nil }
        let states = engine.map { engine in contract.states.indices.map { Array(engine.input($0 + 1)) } } ?? asleep ?? []
        return StreamPosition(
            frame: frame, pendingBytes: decoder.pending, values: assembler.values, nextWindowStart: assembler.nextWindowStart,
            windowNumber: assembler.windowNumber, hasOrigin: hasOrigin, states: states, backlog: backlog + writer.take(),
            gate: gateway?.keeper?.memory)
    }

    /// Goes on where an earlier process was. What cannot be is the end of the stream, with an error that says so.
    func resume(from position: StreamPosition) {
        backlog = position.backlog
        do throws(JouledError) {
            parser = try FrameParser(role: .daemon(sampleSize: contract.bytesPerSample), from: position.frame)
        } catch {
            return fail(error)
        }
        var carried: [Float] = []
        carried.withUnsafeMutableBufferPointer { none in
            // Less than a sample, so that none is completed.
            _ = position.pendingBytes.prefix(contract.format.bytesPerSample - 1).withUnsafeBytes { decoder.decode($0, into: none) }
        }
        guard assembler.resume(position.values, start: position.nextWindowStart, number: position.windowNumber) else {
            return fail(JouledError(.malformedFrame, "jouled was restarted, and the stream cannot go on: its model has other windows now"))
        }
        frame = position.frame.received > 0 ? position.frame.ordinal : position.frame.ordinal - 1
        hasOrigin = position.hasOrigin
        gateway?.keeper?.moved(to: assembler.nextWindowStart)
        // What waits for the gate arrived at most a restart ago.
        gateway?.keeper?.arrivals.note(upTo: assembler.endOfSamples, at: clocks.monotonic(), wait: .zero)
        if let engine, position.states.map(\.count) == contract.states.indices.map({ engine.input($0 + 1).count }) {
            for (index, state) in position.states.enumerated() { _ = engine.input(index + 1).update(fromContentsOf: state) }
        }
        tell("resumed", "jouled was restarted; nothing was lost")
    }
}
