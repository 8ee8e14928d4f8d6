import ConfigDocument
import JouledTestKit
import Testing
import Units

@testable import Simulation

@Suite("Scenario files")
struct ScenarioReadingTests {
    @Test("The example of docs/scenarios.md is a day with something to decide, and its goal is met")
    func example() throws {
        let scenario = try Scenario.load(ReferenceModels.root + "/config/scenarios/wearable.toml")
        let outcome = ScenarioReplay(scenario).run()
        #expect(outcome.goalMet && outcome.criticalPaused == 0 && outcome.floorViolation == 0)
        #expect(outcome.switches > 0)
        #expect(!ScenarioReplay(scenario, controller: .baseline(.alwaysFP32)).run().goalMet)
    }

    @Test("What is written is read back", arguments: [UInt64(0), 1, 2, 3, 4, 5])
    func roundTrip(seed: UInt64) throws {
        let scenario = RandomScenario.make(seed: seed)
        let text = scenario.text
        var read = try Scenario(reading: ConfigDocument(file: "s.toml", text: text.toml))
        read.rows = try TraceFile.rows(of: text.csv, file: "s.csv")
        // Through decimal fractions of other units, hence not to the last bit.
        #expect(read.options.count == scenario.options.count)
        #expect(read.streams.map(\.name) == scenario.streams.map(\.name))
        #expect(read.rows == scenario.rows)
        #expect(read.goal == scenario.goal)
        #expect(abs(read.battery.capacity / scenario.battery.capacity - 1) < 1e-12)
    }

    @Test(
        "Errors name file, line and key",
        arguments: [
            ("quantum_percent = 1.0", "quantum_percent = \"soon\"", "s.toml:10: key 'gauge.quantum_percent'"),
            ("seed = 3", "seed = 3\nspeed = 4", "s.toml:4: key 'speed': unknown key; did you mean 'seed'?"),
            ("weight = 3.0", "weight = 1e-8", "weight': must be between 0.001 and 1000, is 1e-08"),
            ("p99_ms = 15.0", "p99_ms = 1.0", "p99_ms': is below p50_ms"),
            ("cadences = [1, 2, 4]", "cadences = [1, 1]", "cadences': must be different"),
            ("cadence_quality = [1.0, 0.93, 0.78]", "cadence_quality = [1.0]", "cadence_quality': has 1 factors for 3 cadences"),
        ])
    func errors(old: String, new: String, expected: String) {
        let text = RandomScenario.make(seed: 3).text.toml
        guard let range = text.range(of: old) else { return #expect(Bool(false), "\(old) not in the scenario") }
        let broken = text.replacingCharacters(in: range, with: new)
        do throws(JouledError) {
            _ = try Scenario(reading: ConfigDocument(file: "s.toml", text: broken))
            #expect(Bool(false), "\(new) was accepted")
        } catch {
            #expect(error.message.hasPrefix("s.toml:"))
            #expect(error.message.contains(expected), "\(error.message)")
        }
    }

    @Test(
        "A bad trace is told by line and column",
        arguments: [
            ("0,1,0,0", "t.csv:2: 4 columns where 5 belong"), ("0,x,0,0,25", "t.csv:2: column 'base_w': 'x' is no number"),
            ("0,-1,0,0,25", "t.csv:2: column 'base_w': must not be negative"), ("0,1,0,2,25", "t.csv:2: column 'ac_online': must be 0 or 1"),
            ("5,1,0,0,25\n5,1,0,0,25", "t.csv:3: column 'time_s': must be after the row before"), ("", "t.csv:1: no rows"),
        ])
    func trace(lines: String, expected: String) {
        do throws(JouledError) {
            _ = try TraceFile.rows(of: "time_s,base_w,harvest_w,ac_online,temperature_c\n\(lines)\n", file: "t.csv")
            #expect(Bool(false), "accepted: \(lines)")
        } catch {
            #expect(error.message == expected)
        }
    }

    @Test("Carriage returns are no part of a number")
    func carriageReturns() throws {
        let rows = try TraceFile.rows(of: "time_s,base_w,harvest_w,ac_online,temperature_c\r\n0,1,2,1,25\r\n", file: "t.csv")
        #expect(rows == [.init(time: .zero, base: Watts(1), harvest: Watts(2), acOnline: true, temperature: Celsius(25))])
    }
}

extension String {
    fileprivate func range(of part: String) -> Range<Index>? {
        var index = startIndex
        while index < endIndex {
            if self[index...].hasPrefix(part) { return index..<self.index(index, offsetBy: part.count) }
            index = self.index(after: index)
        }
        return nil
    }
    fileprivate func replacingCharacters(in range: Range<Index>, with text: String) -> String {
        String(self[..<range.lowerBound]) + text + String(self[range.upperBound...])
    }
}
