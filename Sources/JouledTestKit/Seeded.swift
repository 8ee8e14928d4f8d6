import Glibc

/// A small random number generator (SplitMix64) whose sequence is the same on every machine.
public struct SeededGenerator: RandomNumberGenerator, Sendable {
    private var state: UInt64

    /// - Parameter seed: equal seeds give equal sequences.
    public init(seed: UInt64) { state = seed }

    public mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xbf58_476d_1ce4_e5b9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94d0_49bb_1331_11eb
        return mixed ^ (mixed >> 31)
    }

    /// Roughly normal, by the sum of twelve uniforms: mean 0, deviation 1.
    public mutating func normal() -> Double {
        (0..<12).reduce(-6.0) { sum, _ in sum + Double.random(in: 0..<1, using: &self) }
    }

    /// So many random bytes.
    public mutating func bytes(_ count: Int) -> [UInt8] { (0..<count).map { _ in UInt8(truncatingIfNeeded: next()) } }

    /// `bytes` cut into pieces of 1 to `most` bytes, in order.
    public mutating func split(_ bytes: [UInt8], most: Int) -> [[UInt8]] {
        var pieces: [[UInt8]] = []
        var start = 0
        while start < bytes.count {
            let end = min(bytes.count, start + Int.random(in: 1...most, using: &self))
            pieces.append(Array(bytes[start..<end]))
            start = end
        }
        return pieces
    }
}

/// Seeds for a parameterized test, which prints the one it failed with. `JOULED_TEST_SEED` replays just that one.
public func seeds(_ count: Int) -> [UInt64] {
    if let text = getenv("JOULED_TEST_SEED"), let seed = UInt64(String(cString: text)) { return [seed] }
    return (0..<UInt64(count)).map { 0x6a6f_756c_6564 + $0 }
}
