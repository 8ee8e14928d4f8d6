import Decisions
import EnergyModel
import Planner
import PowerPolicy
import Simulation
import Testing
import Units
import Wire

@testable import DecisionRecords

/// The decisions of a simulated day, recorded.
private func records(_ scenario: Scenario, _ policy: PowerPolicy? = nil, faults: [Fault] = []) -> (records: [DecisionRecord], ended: [(stream: UInt64, at: MonotonicTime)]) {
    var replay = ScenarioReplay(scenario, controller: .jouled(policy))
    replay.recordsDecisions = true
    replay.faults = faults
    let outcome = replay.run()
    let records = outcome.recorded.enumerated().compactMap { number, decision in
        decision.inputs.map { DecisionRecord(number: number + 1, inputs: $0, outcome: .init(budget: decision.budget, plan: decision.plan)) }
    }
    return (records, outcome.ended)
}

/// Records and ends in the order of time.
private func events(_ scenario: Scenario, _ policy: PowerPolicy? = nil) -> [RecordedEvent] {
    let (records, ended) = records(scenario, policy)
    var timed: [(at: MonotonicTime, rank: Int, event: RecordedEvent)] = records.map { ($0.inputs.state.monotonic, 1, .decision($0)) }
    timed += ended.map { ($0.at, 0, .closed(stream: $0.stream, at: $0.at)) }
    return timed.sorted { ($0.at, $0.rank) < ($1.at, $1.rank) }.map(\.event)
}

private let otherPolicies: [PowerPolicy] = [
    PowerPolicy(kind: .unlimited),
    PowerPolicy(kind: .fixed(Watts(0.05)), thermal: .init(from: Celsius(40), to: Celsius(70)), defaults: .init(floor: 0.9, weight: 2, critical: false)),
    PowerPolicy(
        kind: .levels(.init(levels: [.init(above: 0.7, watts: Watts(0.3)), .init(above: 0.3, watts: Watts(0.06)), .init(above: 0, watts: Watts(0.01))])),
        models: ["kws": .init(floor: 0.95, weight: 3, critical: true)]),
]

@Suite("Replay of recorded decisions")
struct ReplayTests {
    @Test("Every decision of random days is made again to the last bit from its text", arguments: Array(UInt64(500)..<518))
    func roundTrip(seed: UInt64) throws {
        let scenario = RandomScenario.make(seed: seed)
        // All kinds of policies, and days on which things go wrong.
        let policy = seed % 4 == 0 ? nil : otherPolicies[Int(seed % 4) - 1]
        let all = records(scenario, policy, faults: seed % 3 == 0 ? Fault.random(seed: seed, in: scenario) : []).records
        #expect(!all.isEmpty, "seed \(seed)")
        for record in all {
            let read = try DecisionRecord(text: record.text)
            let differences = read.replay()
            #expect(differences.isEmpty, "seed \(seed), decision \(record.number): \(differences)")
            #expect(read.outcome == record.outcome, "seed \(seed), decision \(record.number)")
            #expect(read.text == record.text, "seed \(seed), decision \(record.number)")
        }
    }

    @Test("Decisions on streams behind gates are made again to the last bit, too", arguments: Array(UInt64(520)..<532))
    func gates(seed: UInt64) throws {
        var scaled = 0
        for record in records(RandomScenario.make(seed: seed)).records where record.inputs.streams.count > 1 {
            var inputs = record.inputs
            let ids = inputs.streams.map(\.request.id)
            // Each behind the one before it, with a share that no short text tells.
            for index in inputs.streams.indices.dropFirst() where index % 2 == 1 {
                inputs.streams[index].request.gate = .init(stream: ids[index - 1], duty: 1 / Double(seed + UInt64(index)).squareRoot())
            }
            let outcome = inputs.derive()
            let gated = DecisionRecord(number: record.number, inputs: inputs, outcome: .init(budget: outcome.budget, plan: outcome.plan))
            let read = try DecisionRecord(text: gated.text)
            #expect(read.replay().isEmpty, "seed \(seed), decision \(record.number)")
            #expect(read.text == gated.text && read.outcome == gated.outcome)
            #expect(read.inputs.streams == inputs.streams)
            if outcome.plan.totalPower != record.outcome.totalPower { scaled += 1 }
        }
        #expect(scaled > 0, "seed \(seed): gates changed nothing")
    }

    @Test("A tampered input is told, and so is what it changes")
    func tampered() throws {
        let all = records(RandomScenario.make(seed: 501)).records
        let record = try #require(all.first { $0.outcome.budget != nil && $0.inputs.state.battery?.energy != nil })
        let energy = try #require(record.inputs.state.battery?.energy).value
        let altered = record.text.replacing("\"energy\":\(energy),\"full\"", with: "\"energy\":\(energy * 0.8),\"full\"")
        try #require(altered != record.text)
        let read = try DecisionRecord(text: altered)
        #expect(!read.isIntact)
        let differences = read.replay()
        #expect(differences.contains { $0.contains("checksum") })
        // A fifth of the battery less is more than a digest that differs.
        #expect(differences.contains { $0.contains(": recorded ") && $0.contains(", derived ") }, "\(differences)")
    }

    @Test("Numbers that none can be are refused, naming the field", arguments: [
        ("\"residentBytes\":", "-1", "limits.residentBytes"), ("\"bytes\":", "4611686018427387904", "profiles[0].bytes"), ("\"bytes\":", "-5", "profiles[0].bytes"),
        ("\"hop\":", "1e-300", "streams[0].hop"), ("\"hop\":", "\"nan\"", "streams[0].hop"), ("\"tolerance\":", "-1", "streams[0].tolerance"),
        ("\"wall\":", "1e300", "time.wall"), ("\"utcOffset\":", "1e18", "time.utcOffset"), ("\"monotonicNs\":", "-1", "time.monotonicNs"),
        ("\"rest\":", "\"inf\"", "power.rest"), ("\"restDeviation\":", "\"nan\"", "power.restDeviation"), ("\"utilization\":", "\"nan\"", "limits.utilization"),
        ("\"price\":", "-0.5", "price"), ("\"number\":", "-3", "number"), ("\"quality\":", "-1", "variants[0].quality"), ("\"watts\":", "-1", "plan.watts"),
        ("\"margin\":", "2", "policy.margin"),
    ])
    func ranges(key: String, value: String, field: String) throws {
        let text = try #require(records(RandomScenario.make(seed: 501)).records.last).text
        let begin = try #require(text.firstRange(of: key)).upperBound
        let end = try #require(text[begin...].firstIndex { ",}]".contains($0) })
        #expect { try DecisionRecord(text: text[..<begin] + value + text[end...]) } throws: { "\($0)".contains("JOULED_INPUTS: ") && "\($0)".contains("\(field): ") }
    }

    @Test("Memory that no device has is added up without a trap")
    func memory() throws {
        let record = try #require(records(RandomScenario.make(seed: 504)).records.first { $0.inputs.streams.count > 1 })
        var inputs = record.inputs
        inputs.limits.residentBytes = .max
        for stream in inputs.streams.indices {
            for variant in inputs.streams[stream].request.variants.indices {
                for profile in inputs.streams[stream].request.variants[variant].profiles.indices {
                    inputs.streams[stream].request.variants[variant].profiles[profile].residentBytes = .max
                }
            }
        }
        #expect(inputs.derive().plan.assignments.count == inputs.streams.count)
    }

    @Test("A clock that is put forward before the goal is part of the record, which only then is of version 2")
    func clockChange() throws {
        var record = try #require(records(RandomScenario.make(seed: 503)).records.first { $0.inputs.state.battery?.energy != nil })
        let now = record.inputs.state.wall.secondsSince1970
        record.inputs.policy.kind = .lifetime(.init(end: .until(secondOfDay: 7200)))
        for change in [nil, UTCOffset.Change(at: WallTime(secondsSince1970: now + 0.1), offset: Seconds(7200))] {
            record.inputs.state.utcOffset = UTCOffset(Seconds(3600), change: change)
            record.outcome = DecisionRecord.Outcome(record.inputs.derive())
            let read = try DecisionRecord(text: record.text)
            #expect(record.text.hasPrefix("{\"v\":\(change == nil ? 1 : 2),") && record.text.contains("utcChange") == (change != nil))
            #expect(read.inputs.state.utcOffset == record.inputs.state.utcOffset && read.text == record.text)
            #expect(read.replay().isEmpty, "\(read.replay())")
        }
        // It counts: without the change the goal is an hour further away.
        record.inputs.state.utcOffset.change = nil
        #expect(!record.differences(from: DecisionRecord.Outcome(record.inputs.derive())).isEmpty)
        let broken = record.text.replacing("\"utcOffset\":3600", with: "\"utcChange\":[1],\"utcOffset\":3600")
        #expect { try DecisionRecord(text: broken) } throws: { "\($0)".contains("time.utcChange") }
    }

    @Test("How far the device is below a trip point is part of the record, which only then is of version 3")
    func tripPoint() throws {
        var record = try #require(records(RandomScenario.make(seed: 503)).records.first { $0.inputs.state.battery?.energy != nil })
        record.inputs.policy.thermal = .init(from: Celsius(60), to: Celsius(80))
        #expect(record.text.hasPrefix("{\"v\":1,") && !record.text.contains("belowTrip"))
        for thermal in [PowerPolicy.Thermal(), .init(from: Celsius(60), to: Celsius(80)), .init(full: Watts(1), fromBelowTrip: Celsius(7.1), toBelowTrip: .zero), .init(fromBelowTrip: .zero, toBelowTrip: .zero)] {
            record.inputs.policy.thermal = thermal
            record.inputs.state.tripMargin = Celsius(5.3)
            record.inputs.state.passiveMargin = Celsius(7.2)
            record.outcome = DecisionRecord.Outcome(record.inputs.derive())
            let read = try DecisionRecord(text: record.text)
            #expect(record.text.hasPrefix("{\"v\":3,") && read.inputs.state.tripMargin == Celsius(5.3) && read.inputs.state.passiveMargin == Celsius(7.2) && read.inputs.policy.thermal == thermal)
            #expect(read.replay().isEmpty && read.text == record.text, "\(read.replay())")
            (record.inputs.state.tripMargin, record.inputs.state.passiveMargin) = (nil, nil)
            #expect(record.differences(from: DecisionRecord.Outcome(record.inputs.derive())).isEmpty == !thermal.countsTripPoints, "it counts")
        }
    }

    @Test("A plan that was written down wrongly is told stream by stream, checksum or not")
    func wrongPlan() throws {
        let record = try #require(records(RandomScenario.make(seed: 502)).records.first { $0.outcome.choices.values.contains { $0 != nil } })
        var outcome = record.outcome
        let stream = try #require(outcome.choices.keys.sorted().first { outcome.choices[$0] ?? nil != nil })
        outcome.choices.updateValue(nil, forKey: stream)
        let wrong = try DecisionRecord(text: DecisionRecord(number: 7, inputs: record.inputs, outcome: outcome).text)
        #expect(wrong.isIntact)
        let differences = wrong.replay()
        #expect(differences.count == 1)
        #expect(differences.first?.hasPrefix("\(record.name(of: stream)): recorded paused, derived ") == true, "\(differences)")
    }

    @Test("The policy that was in force decides as it did, and costs what was planned", arguments: [UInt64(503), 504, 505, 508])
    func samePolicy(seed: UInt64) throws {
        let events = events(RandomScenario.make(seed: seed))
        let first = try #require(events.lazy.compactMap { event -> DecisionRecord? in if case .decision(let record) = event { record } else { nil } }.first)
        var whatIf = WhatIf(policy: first.inputs.policy, named: "same")
        for event in events { whatIf.take(event) }
        #expect(whatIf.decisions > 0)
        #expect(whatIf.differences.isEmpty, "seed \(seed): \(whatIf.differences)")
        for account in whatIf.accounts { #expect(account.recorded == account.other, "seed \(seed): \(account)") }
        #expect(whatIf.accounts.contains { $0.recorded.energy > .zero && $0.recorded.windows > 0 })
    }

    @Test("Another policy differs where it must", arguments: [UInt64(503), 506])
    func anotherPolicy(seed: UInt64) {
        let scenario = RandomScenario.make(seed: seed)
        let events = events(scenario)
        var starved = WhatIf(policy: PowerPolicy(kind: .fixed(.zero)), named: "starved")
        var free = WhatIf(policy: PowerPolicy(kind: .unlimited), named: "free")
        for event in events {
            starved.take(event)
            free.take(event)
        }
        #expect(!starved.differences.isEmpty)
        for (poor, rich) in zip(starved.accounts, free.accounts) {
            #expect(poor.recorded == rich.recorded)
            #expect(rich.other.paused == .zero, "seed \(seed): \(rich)")
            #expect(rich.other.quality >= rich.recorded.quality - 1e-9, "seed \(seed): \(rich)")
            // At its best a stream answers every window.
            let windows = rich.other.running / scenario.streams[Int(rich.stream) - 1].hop
            #expect(abs(rich.other.windows - windows) <= 1e-9 * windows, "seed \(seed): \(rich)")
            #expect(poor.other.windows <= poor.recorded.windows, "seed \(seed): \(poor)")
        }
        let sums = starved.accounts.reduce((Joules.zero, Joules.zero)) { ($0.0 + $1.recorded.energy, $0.1 + $1.other.energy) }
        #expect(sums.1 < sums.0)
    }

    @Test("A lifetime policy can be asked about a day that had no goal, by the forecast of then")
    func lifetimeOverLevels() throws {
        let events = events(RandomScenario.make(seed: 510), otherPolicies[2])
        var whatIf = WhatIf(policy: PowerPolicy(kind: .lifetime(.init(end: .duration(Seconds(40 * 3600))))), named: "life")
        for event in events { whatIf.take(event) }
        #expect(whatIf.decisions > 2)
        // The very first decision is made before anything was seen.
        #expect(whatIf.withoutForecast <= 1)
        #expect(whatIf.extended > 0)
    }

    @Test("An outlook is cut, and drawn out by the day before")
    func fitting() {
        let slots = (0..<96).map { Outlook.Slot(length: Seconds(900), drain: Watts(Double($0)), deviation: Watts(0.5)) }
        let outlook = Outlook(slots: slots)
        let cut = outlook.fitted(to: Seconds(1000))
        #expect(cut.slots.count == 2)
        #expect(cut.slots[1] == .init(length: Seconds(100), drain: Watts(1), deviation: Watts(0.5)))
        let longer = outlook.fitted(to: Seconds(86400 + 1800))
        #expect(abs(longer.length.value - 88200) < 1e-6)
        #expect(longer.slots.suffix(2).map(\.drain) == [Watts(0), Watts(1)])
        let short = Outlook(slots: Array(slots.prefix(2))).fitted(to: Seconds(3600))
        #expect(short.slots.suffix(2).allSatisfy { $0.drain == Watts(0.5) })
        #expect(outlook.fitted(to: outlook.length) == outlook)
    }
}
