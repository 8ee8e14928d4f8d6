import Decisions
import EnergyModel
import PowerPolicy
import Units
import Wire

/// Reads what `InputsWriter` wrote.
enum InputsReader {
    static func inputs(_ reader: inout RecordReader) throws(JouledError) -> DecisionInputs {
        let name = try reader.string("trigger")
        guard let trigger = DecisionEngine.Trigger(rawValue: name) else { throw reader.error("trigger", "'\(name)' is none") }
        var time = try reader.object("time")
        var policy = try reader.object("policy")
        var state = try state(&reader, &time)
        state.outlook = try outlook(&reader, "outlook")
        state.hopefulOutlook = try outlook(&reader, "hopeful")
        let (policyName, rules) = try PowerPolicy.record(&policy)
        let (energy, latency) = try units(&reader)
        return DecisionInputs(
            trigger: trigger, policyName: policyName, policy: rules, memory: try memory(&reader), state: state, streams: try streams(&reader),
            energy: energy, latency: latency, limits: try limits(&reader), quarantined: Set(try texts(&reader, "failed")),
            lastPrice: try reader.number("price", in: RecordReader.amount), prospect: try prospect(&reader))
    }

    private static func texts(_ reader: inout RecordReader, _ key: String) throws(JouledError) -> [String] {
        var texts: [String] = []
        for element in try reader.array(key) {
            guard let text = element.stringValue else { throw reader.error("\(key)[\(texts.count)]", "is no text") }
            texts.append(text)
        }
        return texts
    }

    private static func memory(_ reader: inout RecordReader) throws(JouledError) -> PolicyMemory {
        var object = try reader.object("memory")
        var memory = PolicyMemory()
        memory.started = try object.optionalTime("startedNs")
        memory.before = Seconds(try object.optionalNumber("before", in: RecordReader.amount) ?? 0)
        memory.level = try object.optionalInteger("level", in: 0 ... .max)
        memory.peak = Watts(try object.optionalNumber("peak", in: RecordReader.amount) ?? 0)
        memory.hopelessSince = try object.optionalNumber("hopelessSince", in: RecordReader.signed).map { Joules($0) }
        try object.finish()
        return memory
    }

    private static func state(_ reader: inout RecordReader, _ time: inout RecordReader) throws(JouledError) -> PowerState {
        var power = try reader.object("power")
        var battery: PowerState.Battery?
        if var object = try power.optionalObject("battery") {
            battery = .init(
                energy: try object.optionalNumber("energy", in: RecordReader.signed).map { Joules($0) },
                full: try object.optionalNumber("full", in: RecordReader.amount).map { Joules($0) },
                charge: try object.optionalNumber("charge", in: mostCharge), error: Joules(try object.number("error", in: RecordReader.amount)),
                age: Seconds(try object.number("age", in: RecordReader.amount)))
            try object.finish()
        }
        let next = try power.array("nextCharge")
        var state = PowerState(
            battery: battery, acOnline: try power.flag("ac"), draw: try power.optionalNumber("draw", in: RecordReader.signed).map { Watts($0) },
            own: Watts(try power.number("own", in: RecordReader.amount)), rest: Watts(try power.number("rest", in: RecordReader.signed)),
            restDeviation: Watts(try power.number("restDeviation", in: RecordReader.amount)),
            harvest: Watts(try power.optionalNumber("harvest", in: RecordReader.signed) ?? 0),
            temperature: try power.optionalNumber("celsius", in: RecordReader.signed).map { Celsius($0) },
            wall: WallTime(secondsSince1970: try time.number("wall", in: wall)), utcOffset: try utcOffset(&time),
            monotonic: try time.time("monotonicNs"))
        state.passiveMargin = try power.optionalNumber("belowPassiveTrip", in: RecordReader.signed).map { Celsius($0) }
        state.tripMargin = try power.optionalNumber("belowTrip", in: RecordReader.signed).map { Celsius($0) }
        if !next.isEmpty {
            guard let left = next[0].exactNumber, next.count == 2, let reason = next[1].stringValue else { throw power.error("nextCharge", "is no time with its reason") }
            state.nextCharge = .init(left: Seconds(try power.checked(left, "nextCharge", in: RecordReader.signed)), reason: reason)
        }
        try power.finish()
        try time.finish()
        return state
    }

    /// A gauge that rounds to coarse steps may round above full.
    private static let mostCharge: ClosedRange<Double> = 0...2
    /// Some 30,000 years around 1970: what a calendar can be asked about.
    private static let wall: ClosedRange<Double> = -1e12...1e12
    private static let utcOffset: ClosedRange<Double> = -2 * 86400...2 * 86400

    private static func utcOffset(_ time: inout RecordReader) throws(JouledError) -> UTCOffset {
        var offset = UTCOffset(Seconds(try time.number("utcOffset", in: utcOffset)))
        let change = try time.numbers("utcChange", in: wall)
        guard !change.isEmpty else { return offset }
        guard change.count == 2 else { throw time.error("utcChange", "is no time with the offset from then on") }
        offset.change = .init(at: WallTime(secondsSince1970: change[0]), offset: Seconds(try time.checked(change[1], "utcChange[1]", in: utcOffset)))
        return offset
    }

    private static func limits(_ reader: inout RecordReader) throws(JouledError) -> DecisionEngine.Limits {
        var object = try reader.object("limits")
        var shares: [String: Double] = [:]
        if var units = try object.optionalObject("units") {
            for member in units.source.members { shares[member.key] = try units.number(member.key, in: RecordReader.amount) }
        }
        let limits = DecisionEngine.Limits(
            unitUtilization: try object.number("utilization", in: RecordReader.amount), residentBytes: try object.integer("residentBytes", in: 0 ... .max),
            minimumDwell: Seconds(try object.number("dwell", in: RecordReader.amount)), unitUtilizations: shares)
        try object.finish()
        return limits
    }

    private static func units(_ reader: inout RecordReader) throws(JouledError) -> (EnergyModel, LatencyModel) {
        var energy: [(unit: String, scale: EnergyModel.Scale)] = []
        var latency: [String: LatencyModel.Scale] = [:]
        for var unit in try reader.objects("units") {
            let name = try unit.string("name")
            let basis = try basis(&unit)
            if try !unit.array("energy").isEmpty {
                let numbers = try unit.numbers("energy", count: 2, in: RecordReader.amount)
                energy.append((name, .init(factor: numbers[0], variance: numbers[1], basis: basis, observations: 0)))
            }
            if try !unit.array("latency").isEmpty {
                let numbers = try unit.numbers("latency", count: 2, in: RecordReader.amount)
                latency[name] = .init(factor: numbers[0], variance: numbers[1])
            }
            try unit.finish()
        }
        return (EnergyModel(scales: energy), LatencyModel(scales: latency))
    }

    private static func basis(_ reader: inout RecordReader) throws(JouledError) -> Basis? {
        guard let text = try reader.optionalString("basis") else { return nil }
        guard let basis = Basis(rawValue: text) else { throw reader.error("basis", "'\(text)' is none of metered, battery, modelled") }
        return basis
    }

    // MARK: Streams

    /// Between windows, from far below a sample to years.
    private static let hop: ClosedRange<Double> = 1e-9...1e9
    /// 0 to 1 where all is as it should be; larger ones are only weighed.
    private static let quality: ClosedRange<Double> = 0...1e6

    private static func streams(_ reader: inout RecordReader) throws(JouledError) -> [DecisionInputs.Stream] {
        var models: [(name: String, variants: [StreamRequest.Variant], cadences: [StreamRequest.Cadence])] = []
        for var object in try reader.objects("models") { models.append(try model(&object)) }
        var streams: [DecisionInputs.Stream] = []
        for var object in try reader.objects("streams") {
            let index = try object.integer("model", in: 0 ... .max)
            guard models.indices.contains(index) else { throw object.error("model", "there is no model \(index)") }
            let id = UInt64(try object.integer("id", in: 0 ... .max))
            let hop = try object.number("hop", in: hop)
            var request = StreamRequest(
                id: id, name: try object.string("name"), model: models[index].name, hopTime: Seconds(hop),
                latencyTolerance: Seconds(try object.number("tolerance", in: RecordReader.amount)), floor: try object.optionalNumber("floor", in: RecordReader.share),
                weight: try object.optionalNumber("weight", in: RecordReader.amount), critical: try object.optionalFlag("critical"),
                pinnedVariant: try object.optionalString("variant"), variants: models[index].variants, cadences: models[index].cadences,
                pacing: try object.optionalFlag("perWindow") == true ? .perWindow : .coalesced)
            request.gate = try gate(&object)
            var current: DecisionInputs.Choice?
            let choice = try object.array("current")
            if !choice.isEmpty { current = try .init(.array(choice), in: object, "current") }
            streams.append(
                .init(
                    request: request, current: current, isPlaced: try object.flag("placed"), since: try object.time("sinceNs"),
                    openedAt: try object.time("openedNs")))
            try object.finish()
        }
        let ids = streams.map(\.request.id)
        guard zip(ids, ids.dropFirst()).allSatisfy(<) else { throw reader.error("streams", "are not in the order of their numbers") }
        return streams
    }

    private static func gate(_ object: inout RecordReader) throws(JouledError) -> StreamRequest.Gate? {
        let pair = try object.array("gate")
        guard !pair.isEmpty else { return nil }
        guard pair.count == 2, let stream = pair[0].intValue.flatMap({ UInt64(exactly: $0) }), let duty = pair[1].exactNumber, (0...1).contains(duty) else {
            throw object.error("gate", "is no stream with a share of time")
        }
        return .init(stream: stream, duty: duty)
    }

    private static func model(
        _ object: inout RecordReader
    ) throws(JouledError) -> (name: String, variants: [StreamRequest.Variant], cadences: [StreamRequest.Cadence]) {
        let name = try object.string("name")
        var cadences: [StreamRequest.Cadence] = []
        for element in try object.array("cadences") {
            guard let multiple = element[0]?.intValue, (1...1_000_000).contains(multiple), let quality = element[1]?.exactNumber else {
                throw object.error("cadences[\(cadences.count)]", "is no multiple with its quality")
            }
            cadences.append(.init(multiple: Int(multiple), quality: try object.checked(quality, "cadences[\(cadences.count)]", in: self.quality)))
        }
        var variants: [StreamRequest.Variant] = []
        for var variant in try object.objects("variants") {
            var profiles: [OptionProfile] = []
            for var profile in try variant.objects("profiles") { profiles.append(try self.profile(&profile)) }
            variants.append(.init(name: try variant.string("name"), quality: try variant.number("quality", in: quality), profiles: profiles))
            try variant.finish()
        }
        try object.finish()
        return (name, variants, cadences)
    }

    private static func profile(_ object: inout RecordReader) throws(JouledError) -> OptionProfile {
        let cost = try object.numbers("cost", count: 6, in: RecordReader.amount)
        let latency = try object.numbers("latency", count: 4, in: RecordReader.amount)
        let load = try object.numbers("load", count: 2, in: RecordReader.amount)
        guard let basis = try basis(&object) else { throw object.error("basis", "is missing") }
        func step(_ index: Int) -> StepCost { StepCost(cpu: Seconds(cost[index]), energy: Joules(cost[index + 1])) }
        let profile = OptionProfile(
            variant: try object.string("variant"), unit: try object.string("unit"), wake: step(0), first: step(2), next: step(4),
            latency: .init(p50: Seconds(latency[0]), p99: Seconds(latency[1])),
            nextLatency: .init(p50: Seconds(latency[2]), p99: Seconds(latency[3])), loadTime: Seconds(load[0]), loadEnergy: Joules(load[1]),
            residentBytes: try object.integer("bytes", in: 0...OptionProfile.mostBytes), basis: basis)
        try object.finish()
        return profile
    }

    // MARK: Outlooks

    private static func prospect(_ reader: inout RecordReader) throws(JouledError) -> DecisionInputs.Prospect? {
        guard var object = try reader.optionalObject("prospect") else { return nil }
        guard let outlook = try outlook(&object, "outlook") else { throw object.error("outlook", "is missing") }
        let prospect = DecisionInputs.Prospect(
            outlook: outlook, rest: Watts(try object.number("rest", in: RecordReader.signed)),
            restDeviation: Watts(try object.number("restDeviation", in: RecordReader.amount)))
        try object.finish()
        return prospect
    }

    /// More slots than any forecast has would only fill memory.
    private static let slotLimit = 10_000

    private static func outlook(_ reader: inout RecordReader, _ key: String) throws(JouledError) -> Outlook? {
        guard var object = try reader.optionalObject(key) else { return nil }
        let lengths = try runs(&object, "length", in: 0...1e12)
        let drains = try runs(&object, "drain", in: RecordReader.signed)
        let deviations = try runs(&object, "deviation", in: RecordReader.amount)
        guard lengths.count == drains.count, lengths.count == deviations.count else { throw object.error("drain", "has not as many slots as 'length'") }
        try object.finish()
        return Outlook(slots: lengths.indices.map { .init(length: Seconds(lengths[$0]), drain: Watts(drains[$0]), deviation: Watts(deviations[$0])) })
    }

    private static func runs(_ reader: inout RecordReader, _ key: String, in range: ClosedRange<Double>) throws(JouledError) -> [Double] {
        var numbers: [Double] = []
        for (index, element) in try reader.array(key).enumerated() {
            if let number = element.exactNumber {
                numbers.append(try reader.checked(number, "\(key)[\(index)]", in: range))
            } else if let count = element[0]?.intValue, (1...Int64(slotLimit)).contains(count), let number = element[1]?.exactNumber {
                numbers += [Double](repeating: try reader.checked(number, "\(key)[\(index)]", in: range), count: Int(count))
            } else {
                throw reader.error("\(key)[\(index)]", "is neither a number nor a run of one")
            }
            guard numbers.count <= slotLimit else { throw reader.error(key, "has more than \(slotLimit) slots") }
        }
        return numbers
    }
}
