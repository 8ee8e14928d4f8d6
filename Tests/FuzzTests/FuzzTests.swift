import FuzzTargets
import Glibc
import JouledTestKit
import Testing
import Units

@Suite("Input that may be anything")
struct FuzzTests {
    /// Inputs that were written by hand, and those that once found a defect.
    private static func corpus(_ target: FuzzTarget) -> [[UInt8]] {
        let root = #filePath.split(separator: "/", omittingEmptySubsequences: false).dropLast(2).joined(separator: "/")
        let folder = "\(root)/Fuzz/Corpus/\(target.rawValue)"
        return TemporaryDirectory.names(in: folder).compactMap { TemporaryDirectory.contents(of: "\(folder)/\($0)") }
    }

    /// `JOULED_FUZZ_RUNS` makes it longer.
    private static var runs: Int { getenv("JOULED_FUZZ_RUNS").flatMap { Int(String(cString: $0)) } ?? 2000 }

    @Test("Known inputs and accidents to them: an error is fine, a trap or a hang is not", arguments: FuzzTarget.allCases)
    func bounded(target: FuzzTarget) {
        let corpus = Self.corpus(target)
        #expect(!corpus.isEmpty, "Tests/Fuzz/Corpus/\(target.rawValue) is empty")
        for input in corpus { target.run(input) }
        let seed = seeds(1)[0]
        var mutator = Mutator(seed: seed)
        for run in 0..<(target == .sysfs ? Self.runs / 20 : Self.runs) {
            let before = SystemClocks().monotonic()
            target.run(mutator.next(corpus))
            let time = SystemClocks().monotonic().since(before)
            // A run without end would hang the suite; one that is only slow is a defect, too, and this is no timing of speed.
            #expect(time < Seconds(5), "\(target) run \(run), seed \(seed)")
        }
    }
}
