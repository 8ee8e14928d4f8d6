import JouledTestKit
import PowerPolicy
import Testing
import Units

@testable import Simulation

@Suite("Report of a scenario")
struct ReportTests {
    private func report(_ scenario: Scenario, _ controller: ScenarioReplay.Controller = .jouled(nil), _ baselines: [Baseline] = []) -> ScenarioReport {
        func run(_ controller: ScenarioReplay.Controller) -> ScenarioOutcome {
            var replay = ScenarioReplay(scenario, controller: controller)
            replay.keepsTrack = true
            return replay.run()
        }
        var report = ScenarioReport(name: scenario.name, controller: "jouled", outcome: run(controller), oracle: Oracle(scenario).utility)
        for baseline in baselines { report.baselines.append((baseline.rawValue, run(.baseline(baseline)))) }
        return report
    }

    /// What of a page is not well-formed; void elements of HTML aside.
    private func defect(_ html: String) -> String? {
        var open: [String] = []
        for part in html.split(separator: "<", omittingEmptySubsequences: false).dropFirst() {
            guard let end = part.firstIndex(of: ">") else { return "a tag without an end: \(part.prefix(40))" }
            let tag = part[..<end]
            if tag.hasPrefix("!") || tag.hasPrefix("meta") || tag.hasSuffix("/") { continue }
            let name = String(tag.prefix { $0 != " " })
            if !name.hasPrefix("/") { open.append(name) } else if open.popLast() != String(name.dropFirst()) { return "<\(tag)> closes something else" }
            if tag.count(where: { $0 == "\"" }) % 2 != 0 { return "an open quote in <\(tag)>" }
        }
        return open.isEmpty ? nil : "never closed: \(open)"
    }

    private func section(_ html: String, _ title: String) -> Substring {
        guard let begin = html.firstRange(of: "<h2>\(title)") else { return "" }
        let rest = html[begin.upperBound...]
        return rest[..<(rest.firstRange(of: "<h2>")?.lowerBound ?? rest.endIndex)]
    }

    @Test("Battery, watts by stream with the budget, quality and decisions, with the baselines beside them")
    func plots() throws {
        let scenario = try Scenario.load(ReferenceModels.root + "/config/scenarios/wearable.toml")
        let report = report(scenario, .jouled(nil), Baseline.allCases)
        let html = HTMLReport(scenario, report).text
        #expect(defect(html) == nil)
        func paths(_ title: String) -> Int { section(html, title).components(separatedBy: "<path ") - 1 }
        #expect(paths("Battery") == 1 + Baseline.allCases.count)
        #expect(paths("Quality by weight beside") == 1 + Baseline.allCases.count)
        // An area for each stream and the budget; a line for each and the sum.
        #expect(paths("Inference by stream") == scenario.streams.count + 1)
        #expect(paths("Quality of what") == scenario.streams.count + 1)
        let changes = try #require(report.outcome.track?.changes)
        #expect(changes.count > 10 && paths("What each stream runs") == changes.count)
        let table = section(html, "Decisions")
        for change in changes { #expect(table.contains(escapedForHTML(change.reason)) && table.contains(escapedForHTML(change.budgetReason))) }
        // Watts and quality are those that the score is made of.
        let samples = try #require(report.outcome.track?.samples)
        #expect(samples.first?.time == 0 && samples.last?.time == scenario.goal.until.value)
        var (energy, earned) = (0.0, 0.0)
        for (from, to) in zip(samples, samples.dropFirst()) {
            energy += from.watts.reduce(0, +) * (to.time - from.time) / 3600
            for (stream, quality) in zip(scenario.streams, from.quality) { earned += stream.weight * (quality ?? 0) * (to.time - from.time) }
        }
        let asked = scenario.streams.reduce(0) { $0 + $1.weight * (min($1.end.value, scenario.goal.until.value) - $1.start.value) }
        #expect(abs(energy / report.outcome.inference - 1) < 0.02)
        #expect(abs(earned / asked - report.outcome.utility) < 0.01)
        #expect(HTMLReport(scenario, self.report(scenario, .jouled(nil), Baseline.allCases)).text == html, "the same scenario gives the same bytes")
    }

    @Test("Many streams over many days stay a page of bounded size")
    func bounded() {
        var scenario = RandomScenario.make(seed: 4)
        scenario.name = "<a> & \"b\""
        let days = 5.0 * 86400
        scenario.goal.until = Seconds(days)
        scenario.battery.capacity = scenario.battery.capacity * 100
        scenario.gauge.period = Seconds(300)
        let model = scenario.streams[0]
        scenario.streams = (0..<130).map { index in
            var stream = model
            stream.name = "s\(index) <&>"
            (stream.start, stream.end) = (Seconds(Double(index) * 3000), Seconds(Double(index) * 3000 + 9000))
            return stream
        }
        let report = report(scenario, .jouled(nil), [.greedy])
        let html = HTMLReport(scenario, report).text
        #expect(report.outcome.track?.changes.count ?? 0 > 120)
        #expect(html.utf8.count < 1_000_000, "\(html.utf8.count)")
        #expect(defect(html) == nil)
        #expect(section(html, "Decisions").components(separatedBy: "<tr>") - 1 == 122)
        #expect(!html.contains("nan") && !html.contains("\"inf"))
    }

    @Test("A dead device draws and earns nothing, and no streams at all are a page, too")
    func empty() throws {
        let dead = Fixture.scenario(capacity: 1000, initial: 0.5, reserve: 0, base: 1, until: 3600)
        let outcome = report(dead).outcome
        let died = try #require(outcome.diedAt)
        let samples = try #require(outcome.track?.samples)
        #expect(samples.contains { abs($0.time - died) < 10 && $0.charge == 0 })
        #expect(samples.last?.base == 0 && samples.last?.charge == 0)
        #expect(defect(HTMLReport(dead, report(dead)).text) == nil)
    }
}

extension Substring {
    /// How many parts `separator` makes of it.
    fileprivate func components(separatedBy separator: String) -> Int { ranges(of: separator).count + 1 }
}
