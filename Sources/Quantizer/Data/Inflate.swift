import Units

/// DEFLATE (RFC 1951): what numpy's savez_compressed writes. Decoding only, without a C library, since a tool reads a
/// data file once and its speed is that of the disk it replaces.
enum Inflate {
    struct Corrupt: Error { let reason: String }

    /// - Parameter size: bytes expected; more is an error, so that a small file cannot fill memory.
    static func inflate(_ input: ArraySlice<UInt8>, size: Int) throws(Corrupt) -> [UInt8] {
        try input.withUnsafeBufferPointer { buffer throws(Corrupt) in
            var reader = BitReader(input: buffer)
            var output: [UInt8] = []
            // The size is the file's word; no byte becomes more than 1032.
            output.reserveCapacity(min(size, 1 << 28, input.count * 1032))
            var last = false
            while !last {
                last = try reader.bits(1) == 1
                switch try reader.bits(2) {
                case 0: try stored(&reader, &output, size)
                case 1: try compressed(&reader, &output, size, fixedLiterals, fixedDistances)
                case 2:
                    let (literals, distances) = try tables(&reader)
                    try compressed(&reader, &output, size, literals, distances)
                default: throw Corrupt(reason: "unknown block type")
                }
            }
            guard output.count == size else { throw Corrupt(reason: "\(output.count) bytes instead of \(size)") }
            return output
        }
    }

    private struct BitReader {
        let input: UnsafeBufferPointer<UInt8>
        var position = 0
        var buffer: UInt32 = 0
        var count: UInt32 = 0

        init(input: UnsafeBufferPointer<UInt8>) { self.input = input }

        mutating func bits(_ wanted: UInt32) throws(Corrupt) -> Int {
            while count < wanted {
                guard position < input.count else { throw Corrupt(reason: "compressed data ends early") }
                buffer |= UInt32(input[position]) << count
                position += 1
                count += 8
            }
            let value = buffer & ((1 << wanted) &- 1)
            buffer >>= wanted
            count -= wanted
            return Int(value)
        }

        mutating func alignToByte() {
            buffer = 0
            count = 0
        }
    }

    /// A canonical Huffman code: symbols ordered by code, with how many codes each length has.
    private struct Huffman {
        var counts = [Int](repeating: 0, count: 16)
        var symbols: [Int] = []

        init(_ lengths: [Int]) {
            for length in lengths { counts[length] += 1 }
            counts[0] = 0
            var offsets = [Int](repeating: 0, count: 17)
            for length in 1...15 { offsets[length + 1] = offsets[length] + counts[length] }
            symbols = [Int](repeating: 0, count: lengths.count)
            for (symbol, length) in lengths.enumerated() where length > 0 {
                symbols[offsets[length]] = symbol
                offsets[length] += 1
            }
        }

        func decode(_ reader: inout BitReader) throws(Corrupt) -> Int {
            var (code, first, index) = (0, 0, 0)
            for length in 1...15 {
                code |= try reader.bits(1)
                let count = counts[length]
                if code - count < first { return symbols[index + code - first] }
                index += count
                first = (first + count) << 1
                code <<= 1
            }
            throw Corrupt(reason: "invalid Huffman code")
        }
    }

    private static let fixedLiterals = Huffman(
        [Int](repeating: 8, count: 144) + [Int](repeating: 9, count: 112) + [Int](repeating: 7, count: 24) + [Int](repeating: 8, count: 8))
    private static let fixedDistances = Huffman([Int](repeating: 5, count: 30))
    private static let lengthBase = [3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258]
    private static let lengthExtra: [UInt32] = [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0]
    private static let distanceBase = [
        1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49, 65, 97, 129, 193, 257, 385, 513, 769, 1025, 1537, 2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577,
    ]
    private static let distanceExtra: [UInt32] = [0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13]
    private static let order = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15]

    private static func stored(_ reader: inout BitReader, _ output: inout [UInt8], _ size: Int) throws(Corrupt) {
        reader.alignToByte()
        guard reader.position + 4 <= reader.input.count else { throw Corrupt(reason: "compressed data ends early") }
        let length = Int(reader.input[reader.position]) | Int(reader.input[reader.position + 1]) << 8
        let check = Int(reader.input[reader.position + 2]) | Int(reader.input[reader.position + 3]) << 8
        reader.position += 4
        guard length == ~check & 0xFFFF, reader.position + length <= reader.input.count else { throw Corrupt(reason: "damaged stored block") }
        guard output.count + length <= size else { throw Corrupt(reason: "more data than announced") }
        output.append(contentsOf: reader.input[reader.position..<reader.position + length])
        reader.position += length
    }

    private static func compressed(
        _ reader: inout BitReader, _ output: inout [UInt8], _ size: Int, _ literals: Huffman, _ distances: Huffman
    ) throws(Corrupt) {
        while true {
            let symbol = try literals.decode(&reader)
            if symbol == 256 { return }
            if symbol < 256 {
                guard output.count < size else { throw Corrupt(reason: "more data than announced") }
                output.append(UInt8(symbol))
                continue
            }
            guard symbol - 257 < lengthBase.count else { throw Corrupt(reason: "invalid length") }
            let length = lengthBase[symbol - 257] + (try reader.bits(lengthExtra[symbol - 257]))
            let code = try distances.decode(&reader)
            guard code < distanceBase.count else { throw Corrupt(reason: "invalid distance") }
            let distance = distanceBase[code] + (try reader.bits(distanceExtra[code]))
            guard distance <= output.count else { throw Corrupt(reason: "distance beyond the beginning") }
            guard output.count + length <= size else { throw Corrupt(reason: "more data than announced") }
            // Source and target may overlap: byte by byte is what the format means.
            for _ in 0..<length { output.append(output[output.count - distance]) }
        }
    }

    private static func tables(_ reader: inout BitReader) throws(Corrupt) -> (Huffman, Huffman) {
        let literals = try reader.bits(5) + 257
        let distances = try reader.bits(5) + 1
        let codes = try reader.bits(4) + 4
        var lengths = [Int](repeating: 0, count: 19)
        for index in 0..<codes { lengths[order[index]] = try reader.bits(3) }
        let code = Huffman(lengths)
        var all: [Int] = []
        while all.count < literals + distances {
            switch try code.decode(&reader) {
            case let symbol where symbol < 16: all.append(symbol)
            case 16:
                guard let previous = all.last else { throw Corrupt(reason: "nothing to repeat") }
                all += [Int](repeating: previous, count: 3 + (try reader.bits(2)))
            case 17: all += [Int](repeating: 0, count: 3 + (try reader.bits(3)))
            default: all += [Int](repeating: 0, count: 11 + (try reader.bits(7)))
            }
        }
        guard all.count == literals + distances else { throw Corrupt(reason: "too many code lengths") }
        return (Huffman(Array(all[..<literals])), Huffman(Array(all[literals...])))
    }
}
