import Glibc
import Synchronization
import Units

/// What one inference thread computes, seen from another thread that can end it.
///
/// A run costs its thread three stores and one compare-and-swap, some nanoseconds, and no lock. Whoever watches looks now and then;
/// a run that is still the same one after its limit is asked to end (`terminate`), which ONNX Runtime does between two nodes of
/// the model. Where one node alone never ends, the run is given up (`abandon`): its thread, if it ever comes back, goes to sleep
/// for good and touches nothing, so that another thread may go on with all that belonged to it.
public final class RunGuard: Sendable {
    /// A run in progress.
    public struct Look: Sendable, Equatable {
        /// Counts runs; no two have the same.
        public var number: UInt64
        /// CPU time that it may take.
        public var limit: Seconds
        /// True once it has been asked to end.
        public var isTerminating: Bool
    }

    private enum Stage { static let running: UInt64 = 1, terminating: UInt64 = 2, mask: UInt64 = 3 }

    /// `number << 2 | stage`; 0 while nothing runs.
    private let word = Atomic<UInt64>(0)
    private let last = Atomic<UInt64>(0)
    private let limit = Atomic<UInt64>(0)
    /// The address of the run in progress; valid while `word` names it, because its thread cannot leave without `word`.
    private let current = Atomic<UInt>(0)
    /// Numbers of runs that were given up. Held while a run is ended, so that it cannot leave meanwhile.
    private let abandoned = Mutex<Set<UInt64>>([])

    public init() {}

    // MARK: The inference thread

    func enter(_ run: InferenceRun, limit seconds: Seconds) -> UInt64 {
        let number = last.load(ordering: .relaxed) &+ 1
        last.store(number, ordering: .relaxed)
        limit.store(UInt64(max(0, seconds.value) * 1e9), ordering: .relaxed)
        current.store(UInt(bitPattern: Unmanaged.passUnretained(run).toOpaque()), ordering: .relaxed)
        // All that this thread wrote before is seen by a thread that goes on in its place.
        word.store(number << 2 | Stage.running, ordering: .releasing)
        return number
    }

    /// - Returns: true if the run was asked to end. Does not return if it was given up.
    func leave(_ number: UInt64) -> Bool {
        let running = number << 2 | Stage.running
        if word.compareExchange(expected: running, desired: 0, ordering: .acquiringAndReleasing).exchanged { return false }
        let isAbandoned = abandoned.withLock { abandoned in
            if abandoned.contains(number) { return true }
            run(at: current.load(ordering: .relaxed))?.unterminate()
            word.store(0, ordering: .releasing)
            return false
        }
        // Another thread goes on with this one's work; what stands on this stack is not ours to touch any more.
        while isAbandoned { pause() }
        return true
    }

    // MARK: Who watches

    /// The run in progress; nil if there is none.
    public func look() -> Look? {
        let seen = word.load(ordering: .acquiring)
        guard seen != 0 else { return nil }
        return Look(
            number: seen >> 2, limit: Seconds(nanoseconds: limit.load(ordering: .relaxed)), isTerminating: seen & Stage.mask == Stage.terminating)
    }

    /// Asks a run to end.
    /// - Returns: false if it has come back meanwhile.
    public func terminate(_ number: UInt64) -> Bool {
        abandoned.withLock { _ in
            let (running, terminating) = (number << 2 | Stage.running, number << 2 | Stage.terminating)
            guard word.compareExchange(expected: running, desired: terminating, ordering: .acquiringAndReleasing).exchanged else { return false }
            run(at: current.load(ordering: .relaxed))?.terminate()
            return true
        }
    }

    /// Gives up a run that was asked to end and did not. What it uses (the `InferenceRun` and its session) must never be freed.
    /// - Returns: false if it has come back meanwhile. True: its thread will never touch anything again.
    public func abandon(_ number: UInt64) -> Bool {
        abandoned.withLock { abandoned in
            let terminating = number << 2 | Stage.terminating
            guard word.compareExchange(expected: terminating, desired: 0, ordering: .acquiringAndReleasing).exchanged else { return false }
            abandoned.insert(number)
            return true
        }
    }

    /// Safe: called under the lock for a run that `word` names, which its thread keeps alive until it has left.
    private func run(at address: UInt) -> InferenceRun? {
        UnsafeRawPointer(bitPattern: address).map { Unmanaged<InferenceRun>.fromOpaque($0).takeUnretainedValue() }
    }
}
