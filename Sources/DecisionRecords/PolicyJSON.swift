import PowerPolicy
import Units
import Wire

// The policy in force as a record holds it: what the file said once drop-ins, schedules and holds were applied.
extension PowerPolicy {
    func recordJSON(named name: String) -> JSONObject {
        var object: JSONObject = ["name": .string(name), "kind": .string(kind.name)]
        switch kind {
        case .lifetime(let lifetime):
            switch lifetime.end {
            case .duration(let duration): object["duration"] = JSONValue(exact: duration.value)
            case .until(let second): object["until"] = JSONValue(second)
            case .nextCharge: object["nextCharge"] = true
            }
            object["reserve"] = JSONValue(exact: lifetime.reserve)
            object["margin"] = JSONValue(exact: lifetime.margin)
            if let capacity = lifetime.capacity { object["capacity"] = JSONValue(exact: capacity.value) }
        case .levels(let levels):
            object["levels"] = .array(levels.levels.map { [JSONValue(exact: $0.above), JSONValue(exact: $0.watts.value)] })
            object["hysteresis"] = JSONValue(exact: levels.hysteresis)
        case .fixed(let watts): object["watts"] = JSONValue(exact: watts.value)
        case .unlimited: break
        }
        if let thermal {
            var own: JSONObject = [
                "from": JSONValue(exact: thermal.from?.value), "to": JSONValue(exact: thermal.to?.value), "full": JSONValue(exact: thermal.full?.value),
            ]
            if !thermal.isAbsolute { own["belowTrip"] = [JSONValue(exact: thermal.fromBelowTrip.value), JSONValue(exact: thermal.toBelowTrip.value)] }
            object["thermal"] = .object(own)
        }
        var rules: JSONObject = ["*": Self.json(defaults)]
        for (model, own) in models.sorted(by: { $0.key < $1.key }) { rules[model] = Self.json(own) }
        object["models"] = .object(rules)
        return object
    }

    /// `[floor, weight, critical]`
    private static func json(_ rules: ModelRules) -> JSONValue { [JSONValue(exact: rules.floor), JSONValue(exact: rules.weight), .bool(rules.critical)] }

    static func record(_ reader: inout RecordReader) throws(JouledError) -> (name: String, policy: PowerPolicy) {
        let name = try reader.string("name")
        let kind = try kind(&reader)
        var thermal: Thermal?
        if var object = try reader.optionalObject("thermal") {
            var own = Thermal(
                from: try object.optionalNumber("from", in: RecordReader.signed).map { Celsius($0) },
                to: try object.optionalNumber("to", in: RecordReader.signed).map { Celsius($0) },
                full: try object.optionalNumber("full", in: RecordReader.amount).map { Watts($0) })
            if !own.isAbsolute || object.source["belowTrip"] != nil {
                let below = try object.numbers("belowTrip", count: 2, in: RecordReader.signed)
                (own.fromBelowTrip, own.toBelowTrip) = (Celsius(below[0]), Celsius(below[1]))
            }
            thermal = own
            try object.finish()
        }
        let table = try reader.object("models")
        var defaults = ModelRules()
        var models: [String: ModelRules] = [:]
        for member in table.source.members {
            guard let floor = member.value[0]?.exactNumber, let weight = member.value[1]?.exactNumber, let critical = member.value[2]?.boolValue else {
                throw table.error(member.key, "is no floor, weight and whether critical")
            }
            let rules = ModelRules(
                floor: try table.checked(floor, member.key, in: RecordReader.share), weight: try table.checked(weight, member.key, in: RecordReader.amount), critical: critical)
            if member.key == "*" { defaults = rules } else { models[member.key] = rules }
        }
        try reader.finish()
        return (name, PowerPolicy(kind: kind, thermal: thermal, defaults: defaults, models: models))
    }

    private static func kind(_ reader: inout RecordReader) throws(JouledError) -> Kind {
        let text = try reader.string("kind")
        switch text {
        case "lifetime":
            let end: Lifetime.End
            if let duration = try reader.optionalNumber("duration", in: RecordReader.amount) {
                end = .duration(Seconds(duration))
            } else if try reader.optionalFlag("nextCharge") == true {
                end = .nextCharge
            } else {
                end = .until(secondOfDay: try reader.integer("until", in: 0...86399))
            }
            return .lifetime(
                Lifetime(
                    end: end, reserve: try reader.number("reserve", in: RecordReader.share), margin: try reader.number("margin", in: RecordReader.share),
                    capacity: try reader.optionalNumber("capacity", in: RecordReader.amount).map { Joules($0) }))
        case "levels":
            var levels: [Levels.Level] = []
            for element in try reader.array("levels") {
                guard let above = element[0]?.exactNumber, let watts = element[1]?.exactNumber else {
                    throw reader.error("levels[\(levels.count)]", "is no charge with its watts")
                }
                let key = "levels[\(levels.count)]"
                levels.append(.init(above: try reader.checked(above, key, in: RecordReader.share), watts: Watts(try reader.checked(watts, key, in: RecordReader.amount))))
            }
            guard !levels.isEmpty else { throw reader.error("levels", "there is none") }
            return .levels(Levels(levels: levels, hysteresis: try reader.number("hysteresis", in: RecordReader.share)))
        case "fixed": return .fixed(Watts(try reader.number("watts", in: RecordReader.amount)))
        case "unlimited": return .unlimited
        default: throw reader.error("kind", "'\(text)' is none of lifetime, levels, fixed, unlimited")
        }
    }
}
