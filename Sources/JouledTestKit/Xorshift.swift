/// xorshift64*: the same numbers for the same seed on every machine.
public struct Seeded: RandomNumberGenerator, Sendable {
    private var state: UInt64
    /// - Parameter seed: printed by a failing test, and all it takes to repeat it.
    public init(_ seed: Int) { state = UInt64(bitPattern: Int64(seed)) &* 0x9E37_79B9_7F4A_7C15 | 1 }
    public mutating func next() -> UInt64 {
        state ^= state >> 12
        state ^= state << 25
        state ^= state >> 27
        return state &* 0x2545_F491_4F6C_DD1D
    }
    /// Roughly normal, by the sum of twelve uniforms: mean 0, deviation 1.
    public mutating func normal() -> Double {
        (0..<12).reduce(-6.0) { sum, _ in sum + Double.random(in: 0..<1, using: &self) }
    }
}
