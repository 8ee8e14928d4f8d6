import JouledTestKit

/// Makes new inputs out of known ones: the small accidents that find most parser defects. Without coverage; `make fuzz` has that.
public struct Mutator: Sendable {
    private var random: SeededGenerator
    private static let interesting: [[UInt8]] = [
        [], [0], [0xFF], [0x7F], [0x80], Array("-1".utf8), Array("1e999".utf8), Array("9223372036854775808".utf8), Array("nan".utf8), Array("\\u0000".utf8),
        [0xFF, 0xFF, 0xFF, 0xFF], [0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF], [0xC0, 0x80], Array("\"".utf8), Array("[[".utf8), Array("{".utf8),
    ]

    public init(seed: UInt64) { random = SeededGenerator(seed: seed) }

    /// One of `corpus` with one to eight accidents.
    public mutating func next(_ corpus: [[UInt8]]) -> [UInt8] {
        var bytes = corpus.randomElement(using: &random) ?? []
        for _ in 0..<Int.random(in: 1...8, using: &random) { mutate(&bytes, corpus) }
        return bytes
    }

    private mutating func mutate(_ bytes: inout [UInt8], _ corpus: [[UInt8]]) {
        let from = Int.random(in: 0...bytes.count, using: &random)
        let to = min(bytes.count, from + Int.random(in: 0...16, using: &random))
        switch Int.random(in: 0...6, using: &random) {
        case 0 where from < bytes.count: bytes[from] ^= 1 << UInt8.random(in: 0...7, using: &random)
        case 1 where from < bytes.count: bytes[from] = random.bytes(1)[0]
        case 2: bytes.removeSubrange(from..<to)
        case 3: bytes.insert(contentsOf: bytes[from..<to], at: from)
        case 4: bytes.replaceSubrange(from..<to, with: Self.interesting.randomElement(using: &random) ?? [])
        case 5: bytes.removeSubrange(from...)
        default:
            let other = corpus.randomElement(using: &random) ?? []
            bytes.replaceSubrange(from..., with: other.suffix(Int.random(in: 0...other.count, using: &random)))
        }
    }
}
