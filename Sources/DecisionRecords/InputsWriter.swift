import Decisions
import EnergyModel
import PowerPolicy
import Units
import Wire

/// Puts inputs into JSON, compactly: streams of the same model share its profiles, and an outlook is told in runs.
struct InputsWriter {
    private let inputs: DecisionInputs

    init(_ inputs: DecisionInputs) { self.inputs = inputs }

    func write(to object: inout JSONObject) {
        let state = inputs.state
        object["trigger"] = .string(inputs.trigger.rawValue)
        var time: JSONObject = [
            "monotonicNs": JSONValue(state.monotonic.nanoseconds), "wall": JSONValue(exact: state.wall.secondsSince1970),
            "utcOffset": JSONValue(exact: state.utcOffset.now.value),
        ]
        if let change = state.utcOffset.change { time["utcChange"] = [JSONValue(exact: change.at.secondsSince1970), JSONValue(exact: change.offset.value)] }
        object["time"] = .object(time)
        object["policy"] = .object(inputs.policy.recordJSON(named: inputs.policyName))
        object["memory"] = .object(memory)
        object["power"] = .object(power)
        if let outlook = state.outlook { object["outlook"] = .object(Self.json(outlook)) }
        if let hopeful = state.hopefulOutlook { object["hopeful"] = .object(Self.json(hopeful)) }
        if let prospect = inputs.prospect {
            object["prospect"] = [
                "outlook": .object(Self.json(prospect.outlook)), "rest": JSONValue(exact: prospect.rest.value),
                "restDeviation": JSONValue(exact: prospect.restDeviation.value),
            ]
        }
        object["limits"] = .object(limits)
        object["price"] = JSONValue(exact: inputs.lastPrice)
        if !inputs.quarantined.isEmpty { object["failed"] = JSONValue(inputs.quarantined.sorted()) }
        writeStreams(to: &object)
        object["units"] = .array(units)
    }

    private var memory: JSONObject {
        var object: JSONObject = [:]
        if let started = inputs.memory.started { object["startedNs"] = JSONValue(started.nanoseconds) }
        if inputs.memory.before != .zero { object["before"] = JSONValue(exact: inputs.memory.before.value) }
        if let level = inputs.memory.level { object["level"] = JSONValue(level) }
        if inputs.memory.peak != .zero { object["peak"] = JSONValue(exact: inputs.memory.peak.value) }
        if let since = inputs.memory.hopelessSince { object["hopelessSince"] = JSONValue(exact: since.value) }
        return object
    }

    private var power: JSONObject {
        let state = inputs.state
        var object: JSONObject = [
            "ac": .bool(state.acOnline), "own": JSONValue(exact: state.own.value), "rest": JSONValue(exact: state.rest.value),
            "restDeviation": JSONValue(exact: state.restDeviation.value),
        ]
        if state.harvest != .zero { object["harvest"] = JSONValue(exact: state.harvest.value) }
        if let draw = state.draw { object["draw"] = JSONValue(exact: draw.value) }
        if let temperature = state.temperature { object["celsius"] = JSONValue(exact: temperature.value) }
        if let margin = state.passiveMargin { object["belowPassiveTrip"] = JSONValue(exact: margin.value) }
        if let margin = state.tripMargin { object["belowTrip"] = JSONValue(exact: margin.value) }
        if let next = state.nextCharge { object["nextCharge"] = [JSONValue(exact: next.left.value), .string(next.reason)] }
        if let battery = state.battery {
            object["battery"] = [
                "energy": JSONValue(exact: battery.energy?.value), "full": JSONValue(exact: battery.full?.value),
                "charge": JSONValue(exact: battery.charge), "error": JSONValue(exact: battery.error.value), "age": JSONValue(exact: battery.age.value),
            ]
        }
        return object
    }

    private var limits: JSONObject {
        var object: JSONObject = [
            "utilization": JSONValue(exact: inputs.limits.unitUtilization), "residentBytes": JSONValue(inputs.limits.residentBytes),
            "dwell": JSONValue(exact: inputs.limits.minimumDwell.value),
        ]
        if !inputs.limits.unitUtilizations.isEmpty {
            var units: JSONObject = [:]
            for (unit, share) in inputs.limits.unitUtilizations.sorted(by: { $0.key < $1.key }) { units[unit] = JSONValue(exact: share) }
            object["units"] = .object(units)
        }
        return object
    }

    /// What was learned of each unit that the streams could run on.
    private var units: [JSONValue] {
        let names = Set(inputs.streams.flatMap { $0.request.variants.flatMap { $0.profiles.map(\.unit) } })
        return names.sorted().map { name in
            let scale = inputs.energy.scale(of: name)
            var object: JSONObject = ["name": .string(name)]
            // Of a unit that nothing is known of, the defaults are the code's.
            if inputs.energy.knownUnits.contains(name) {
                object["energy"] = [JSONValue(exact: scale.factor), JSONValue(exact: scale.variance)]
                if let basis = scale.basis { object["basis"] = .string(basis.rawValue) }
            }
            if let slow = inputs.latency.knownScales[name] { object["latency"] = [JSONValue(exact: slow.factor), JSONValue(exact: slow.variance)] }
            return .object(object)
        }
    }

    // MARK: Streams

    private struct Model: Equatable {
        var name: String
        var variants: [StreamRequest.Variant]
        var cadences: [StreamRequest.Cadence]
    }

    private func writeStreams(to object: inout JSONObject) {
        var models: [Model] = []
        var streams: [JSONValue] = []
        for stream in inputs.streams {
            let request = stream.request
            let model = Model(name: request.model, variants: request.variants, cadences: request.cadences)
            let index = models.firstIndex(of: model) ?? models.count
            if index == models.count { models.append(model) }
            streams.append(.object(Self.json(stream, model: index)))
        }
        object["models"] = .array(models.map { .object(Self.json($0)) })
        object["streams"] = .array(streams)
    }

    private static func json(_ stream: DecisionInputs.Stream, model: Int) -> JSONObject {
        let request = stream.request
        var object: JSONObject = [
            "id": JSONValue(request.id), "name": .string(request.name), "model": JSONValue(model), "hop": JSONValue(exact: request.hopTime.value),
            "tolerance": JSONValue(exact: request.latencyTolerance.value), "placed": .bool(stream.isPlaced),
            "sinceNs": JSONValue(stream.since.nanoseconds), "openedNs": JSONValue(stream.openedAt.nanoseconds),
        ]
        if let floor = request.floor { object["floor"] = JSONValue(exact: floor) }
        if let weight = request.weight { object["weight"] = JSONValue(exact: weight) }
        if let critical = request.critical { object["critical"] = .bool(critical) }
        if let pinned = request.pinnedVariant { object["variant"] = .string(pinned) }
        if request.pacing == .perWindow { object["perWindow"] = true }
        if let gate = request.gate { object["gate"] = [JSONValue(gate.stream), JSONValue(exact: gate.duty)] }
        if let current = stream.current { object["current"] = current.json }
        return object
    }

    private static func json(_ model: Model) -> JSONObject {
        [
            "name": .string(model.name),
            "cadences": .array(model.cadences.map { [JSONValue($0.multiple), JSONValue(exact: $0.quality)] }),
            "variants": .array(
                model.variants.map { variant in
                    [
                        "name": .string(variant.name), "quality": JSONValue(exact: variant.quality),
                        "profiles": .array(variant.profiles.map { .object(json($0)) }),
                    ]
                }),
        ]
    }

    private static func json(_ profile: OptionProfile) -> JSONObject {
        let costs: [JSONValue] = [profile.wake, profile.first, profile.next].flatMap { [JSONValue(exact: $0.cpu.value), JSONValue(exact: $0.energy.value)] }
        let latencies: [JSONValue] = [profile.latency, profile.nextLatency].flatMap { [JSONValue(exact: $0.p50.value), JSONValue(exact: $0.p99.value)] }
        var object: JSONObject = [
            "unit": .string(profile.unit), "cost": .array(costs), "latency": .array(latencies),
            "load": [JSONValue(exact: profile.loadTime.value), JSONValue(exact: profile.loadEnergy.value)],
            "bytes": JSONValue(profile.residentBytes), "basis": .string(profile.basis.rawValue),
        ]
        // Nearly all variants' artefacts are named as the variant is.
        object["variant"] = .string(profile.variant)
        return object
    }

    // MARK: Outlooks

    private static func json(_ outlook: Outlook) -> JSONObject {
        [
            "length": runs(outlook.slots.map(\.length.value)), "drain": runs(outlook.slots.map(\.drain.value)),
            "deviation": runs(outlook.slots.map(\.deviation.value)),
        ]
    }

    /// A number that stands alone, or `[count, number]` for a run of equal ones.
    private static func runs(_ numbers: [Double]) -> JSONValue {
        var elements: [JSONValue] = []
        var index = 0
        while index < numbers.count {
            var end = index + 1
            while end < numbers.count, numbers[end].bitPattern == numbers[index].bitPattern { end += 1 }
            let number = JSONValue(exact: numbers[index])
            elements.append(end - index == 1 ? number : [JSONValue(end - index), number])
            index = end
        }
        return .array(elements)
    }
}
