import InferenceRuntime
import Units
import Wire

// Streams without their model, for a while or for good: it was given up because it hung, unloaded because there was nothing to
// do, or the stream ends.
extension StreamSession {
    /// Goes on after a run that was given up, on another thread than the one that hangs in it: waits for another variant, which
    /// answers the same window. What the hanging thread uses stays in memory for good.
    func recover() {
        guard phase == .receiving, let engine else { return }
        let abandoned = Unmanaged.passRetained(engine)
        let path = abandoned.takeUnretainedValue().session.modelPath
        statistics.fault = "\(path): a window took more than \(assignment.runLimit) of CPU time, and its run did not end when it was asked to"
        hasFaulted()
        guard isParsing else { return }
        // Complete windows before a gap: the parser is left in the middle of a piece, and cannot go on.
        fail(JouledError(.inferenceStuck, statistics.fault))
    }

    /// Lets go of the model if no window was answered since `time`; it is asked for again when one is complete.
    /// - Returns: false if the stream keeps its model, or has none.
    func sleep(idleSince time: MonotonicTime) -> Bool {
        guard phase == .receiving, asleep == nil, let engine, lastActive < time, !assembler.hasWindow || isWaiting, owed == ([], false) else { return false }
        asleep = contract.states.indices.map { Array(engine.input($0 + 1)) }
        self.engine = nil
        assignment.session = nil
        return true
    }

    /// Forgets the past, of which nothing may enter the next window.
    func resetState() {
        asleep = asleep?.map { Array(repeating: 0, count: $0.count) }
        guard let engine else { return }
        for index in contract.states.indices { engine.input(index + 1).update(repeating: 0) }
    }

    /// Ends the stream from the daemon's side; the client is told why.
    func end(because reason: String) {
        guard phase == .receiving || phase == .faulted else { return }
        tell("closed", reason)
        phase = .leaving(.closedByDaemon)
    }
}
