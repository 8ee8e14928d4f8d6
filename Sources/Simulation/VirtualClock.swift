import Synchronization
import Units

/// A clock that stands still until it is told to move.
public final class VirtualClock: Clocks {
    private struct State {
        var monotonic: MonotonicTime
        var wall: WallTime
    }
    private let state: Mutex<State>

    public init(monotonic: MonotonicTime = MonotonicTime(nanoseconds: 0), wall: WallTime = WallTime(secondsSince1970: 0)) {
        state = Mutex(State(monotonic: monotonic, wall: wall))
    }

    public func monotonic() -> MonotonicTime { state.withLock { $0.monotonic } }
    public func wall() -> WallTime { state.withLock { $0.wall } }

    /// Moves both clocks.
    public func advance(by span: Seconds) {
        state.withLock {
            $0.monotonic = $0.monotonic.advanced(by: span)
            $0.wall.secondsSince1970 += span.value
        }
    }

    /// Sets the civil clock alone, as an operator or NTP does.
    public func setWall(_ wall: WallTime) { state.withLock { $0.wall = wall } }
}
