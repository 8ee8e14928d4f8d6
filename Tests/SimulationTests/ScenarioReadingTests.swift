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
            ("weight = 3.0", "weight = 0", "weight': must be between 1e-100 and 1e+100, is 0"),
            ("weight = 3.0", "weight = inf", "weight': must be"),
            ("p99_ms = 15.0", "p99_ms = 1.0", "p99_ms': is below p50_ms"),
            ("cadences = [1, 2, 4]", "cadences = [1, 1]", "cadences': must be different"),
            ("cadence_quality = [1.0, 0.93, 0.78]", "cadence_quality = [1.0]", "cadence_quality': has 1 factors for 3 cadences"),
            ("period_s = ", "period_s = 0 # ", "s.toml:9: key 'gauge.period_s': must be more than 0, is 0"),
            ("period_s = ", "period_s = -1 # ", "s.toml:9: key 'gauge.period_s': must be more than 0, is -1"),
            ("period_s = ", "period_s = nan # ", "s.toml:9: key 'gauge.period_s': must be"),
            ("energy_scale = { ", "energy_scale = { cpus = -2.0, ", "s.toml:18: key 'truth.energy_scale.cpus': must be between 0 and"),
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
        "A unit that no option is on is a notice with its line",
        arguments: [
            ("energy_scale = { ", "energy_scale = { cpus = 2.0, ", "s.toml:18: key 'truth.energy_scale.cpus': no [[option]] is on unit 'cpus'; there are: "),
            ("latency_scale = { ", "latency_scale = { cpus = 2.0, ", "s.toml:19: key 'truth.latency_scale.cpus': no [[option]] is on unit 'cpus'"),
            ("unit_utilization = { ", "unit_utilization = { cpus = 0.5, ", "s.toml:21: key 'limits.unit_utilization.cpus': no [[option]] is on unit 'cpus'"),
        ])
    func strangeUnit(old: String, new: String, expected: String) throws {
        let scenario = RandomScenario.make(seed: 3)
        let text = scenario.text.toml
        let range = try #require(text.range(of: old))
        var read = try Scenario(reading: ConfigDocument(file: "s.toml", text: text.replacingCharacters(in: range, with: new)))
        #expect(read.notices.count == 1 && read.notices[0].hasPrefix(expected), "\(read.notices)")
        var plain = try Scenario(reading: ConfigDocument(file: "s.toml", text: text))
        #expect(plain.notices.isEmpty)
        (read.rows, plain.rows) = (scenario.rows, scenario.rows)
        read.goal.until = Seconds(3600)
        plain.goal.until = Seconds(3600)
        #expect(ScenarioReplay(read).run().utility == ScenarioReplay(plain).run().utility)
    }

    @Test("A scenario's weights may have any scale", arguments: [0x1p-33, 0x1p33, 0x1p-300, 0x1p300])
    func scaledWeights(scale: Double) throws {
        var scenario = RandomScenario.make(seed: 3)
        scenario.goal.until = Seconds(3600)
        let (plain, best) = (ScenarioReplay(scenario).run().utility, Oracle(scenario).utility)
        for index in scenario.streams.indices { (scenario.streams[index].weight, scenario.streams[index].statesWeight) = (scenario.streams[index].weight * scale, true) }
        var read = try Scenario(reading: ConfigDocument(file: "s.toml", text: scenario.text.toml))
        #expect(read.streams.map(\.weight) == scenario.streams.map(\.weight))
        read.rows = scenario.rows
        // Of the same figures, which go through the file not to the last bit.
        #expect(abs(ScenarioReplay(scenario).run().utility - plain) < 1e-9)
        #expect(abs((Oracle(scenario).utility ?? 0) - (best ?? 0)) < 1e-9)
        #expect(ScenarioReplay(read).run().utility > 0)
    }

    @Test("A gauge may be as quick as it likes", arguments: [0.001, 0.5, 1e-300])
    func quickGauge(period: Double) throws {
        var scenario = RandomScenario.make(seed: 3)
        scenario.gauge.period = Seconds(period)
        let rows = scenario.rows
        scenario = try Scenario(reading: ConfigDocument(file: "s.toml", text: scenario.text.toml))
        #expect(scenario.gauge.period == Seconds(period))
        (scenario.rows, scenario.goal.until) = (rows, Seconds(2))
        #expect(ScenarioReplay(scenario).run().decisions >= 1)
    }

    @Test("An equal second row of one variant on one unit counts once")
    func sameOptionTwice() throws {
        let scenario = RandomScenario.make(seed: 3)
        var twice = scenario
        twice.options.append(scenario.options[0])
        let read = try Scenario(reading: ConfigDocument(file: "s.toml", text: twice.text.toml))
        #expect(read.options == (try Scenario(reading: ConfigDocument(file: "s.toml", text: scenario.text.toml))).options)
    }

    @Test("A second row of one variant on one unit that differs is refused with its line")
    func twoOptions() throws {
        let scenario = RandomScenario.make(seed: 3)
        var twice = scenario
        twice.options.append(scenario.options[0])
        twice.options[twice.options.count - 1].joules = Joules(1e-6)
        let option = scenario.options[0]
        let line = twice.text.toml.split(separator: "\n", omittingEmptySubsequences: false).lastIndex { $0 == "variant = \"\(option.variant)\"" }
        #expect {
            _ = try Scenario(reading: ConfigDocument(file: "s.toml", text: twice.text.toml))
        } throws: {
            "\($0)" == "s.toml:\((line ?? 0) + 1): key 'option[\(twice.options.count - 1)].variant': there is another [[option]] '\(option.variant)' of model '\(option.model)' on unit '\(option.unit)', with other figures"
        }
    }

    @Test("A trace that is not there is told by both files")
    func missingTrace() {
        let directory = TemporaryDirectory()
        directory.write("s.toml", RandomScenario.make(seed: 3).text.toml)
        #expect {
            _ = try Scenario.load(directory("s.toml"))
        } throws: {
            let trace = RandomScenario.make(seed: 3).name + ".csv"
            return "\($0)" == "\(directory("s.toml")):2: key 'trace': \(directory(trace)): No such file or directory"
        }
    }

    @Test("A byte order mark is no part of either file")
    func byteOrderMark() throws {
        let directory = TemporaryDirectory()
        let scenario = RandomScenario.make(seed: 3)
        directory.write("s.toml", "\u{FEFF}" + scenario.text.toml)
        directory.write(scenario.name + ".csv", "\u{FEFF}" + scenario.text.csv)
        #expect(try Scenario.load(directory("s.toml")).rows == scenario.rows)
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
