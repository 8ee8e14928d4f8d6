import Glibc
import InferenceRuntime
import JouledTestKit
import OnnxGraph
import Testing
import Units

@testable import Quantizer

@Suite struct ProfileStateTests {
    @Test(arguments: seeds(10)) func roundTrip(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        let path = TemporaryDirectory()
        var state = ProfileState(key: "device, 1.32.0\nmodel a")
        state.rounds = Int.random(in: 1...50, using: &random)
        for name in ["a b wall", "ä", "0"] { state.series[name] = (0..<Int.random(in: 0...20, using: &random)).map { _ in Double.random(in: 0...1, using: &random) } }
        try state.save(to: path("s"))
        #expect(ProfileState(key: "device, 1.32.0\nmodel a", path: path("s")) == state, "seed \(seed)")
        #expect(ProfileState(key: "device, 1.32.0\nmodel b", path: path("s")).rounds == 0)
        // Damage anywhere: nothing is believed.
        let bytes = try BinaryFile.read(path("s"))
        for _ in 0..<50 {
            var damaged = bytes
            let at = Int.random(in: bytes.indices, using: &random)
            if Bool.random(using: &random) { damaged = Array(bytes[..<at]) } else { damaged[at] ^= UInt8(1 << Int.random(in: 0..<7, using: &random)) }
            path.write("s", damaged)
            #expect(ProfileState(key: "device, 1.32.0\nmodel a", path: path("s")).rounds == 0, "byte \(at), seed \(seed)")
        }
    }

    /// Interrupted after some rounds and run again: as many rounds as were asked for in all, and the file is gone.
    @Test func goesOnWhereItWasInterrupted() throws {
        guard let runtime = RuntimeFixture.runtime else { return }
        let directory = TemporaryDirectory()
        let model = try RuntimeFixture.residualNetwork(seed: 1).serialized()
        var settings = FileProfiler.Settings()
        settings.cadence = Seconds(milliseconds: 1)
        settings.coalesce = [1, 2]
        settings.rounds = 9
        settings.hotRuns = 10
        func run(stopAfter limit: Int?) throws(JouledError) -> (rounds: Int, shares: [Double]) {
            var (asked, shares) = (0, [Double]())
            _ = try FileProfiler(runtime: runtime, settings: settings).profile(
                [("m.onnx", model)], statePath: directory("state"),
                isInterrupted: {
                    asked += 1
                    return asked == limit
                }, progress: { shares.append($0) })
            return (asked, shares)
        }
        let error = #expect(throws: JouledError.self) { try run(stopAfter: 4) }
        #expect(error?.code == .interrupted && error?.message.contains("4 of 9 rounds") == true && error?.message.contains(directory("state")) == true)
        #expect(access(directory("state"), R_OK) == 0)
        let again = #expect(throws: JouledError.self) { try run(stopAfter: 3) }
        #expect(again?.message.contains("7 of 9 rounds") == true)
        let last = try run(stopAfter: nil)
        #expect(last.rounds == 2 && last.shares.first == 7.0 / 9 && last.shares.last == 1)
        #expect(access(directory("state"), F_OK) != 0)
        // Another model is another measurement.
        _ = #expect(throws: JouledError.self) { try run(stopAfter: 4) }
        settings.coalesce = [1]
        #expect(try run(stopAfter: nil).rounds == 9)
    }
}
