import Units
import Wire

/// What a stream did on one variant within a stretch of time.
struct HistoryShare: Sendable, Equatable {
    var stream: UInt64
    var name: String
    var model: String
    var variant: String
    var windows: Int
    var joules: Joules
    /// Wake-ups of the whole stream, told with its first variant of the stretch.
    var wakes: Int
    /// Validated quality at the end of the stretch.
    var quality: Double
}

/// A minute of the device's life, or longer where nothing went on.
package struct HistoryPoint: Sendable, Equatable {
    /// The end of the stretch.
    var at: WallTime
    var span: Seconds
    var charge: Double?
    var draw: Watts?
    var acOnline: Bool
    var budget: Watts?
    var planned: Watts
    var rest: Watts?
    var policy: String
    var goal: String
    var shares: [HistoryShare]
}

/// A change of plan, kept for reports.
package struct HistoryDecision: Sendable, Equatable {
    var at: WallTime
    var number: Int
    var name: String
    var model: String
    var from: String
    var to: String
    var trigger: String
    var quality: Double
    var reason: String
}

/// One line of the history.
package enum HistoryRecord: Sendable, Equatable {
    case point(HistoryPoint)
    case decision(HistoryDecision)

    /// Whether a line is a whole record, as the daemon finds out when it reads its history.
    package static func check(_ line: [UInt8]) -> Bool { parse(line) != nil }

    var at: WallTime {
        switch self {
        case .point(let point): point.at
        case .decision(let decision): decision.at
        }
    }
}

// MARK: As clients see it

extension HistoryPoint {
    var json: JSONValue {
        [
            "timeSeconds": .double(at.secondsSince1970), "spanSeconds": .double(span.value), "charge": charge.map { .double($0) } ?? .null,
            "drawWatts": draw.map { .double($0.value) } ?? .null, "acOnline": .bool(acOnline), "budgetWatts": budget.map { .double($0.value) } ?? .null,
            "plannedWatts": .double(planned.value), "restWatts": rest.map { .double($0.value) } ?? .null, "policy": .string(policy), "goal": .string(goal),
            "streams": .array(shares.map(\.json)),
        ]
    }
}

extension HistoryShare {
    fileprivate var json: JSONValue {
        [
            "stream": JSONValue(stream), "name": .string(name), "model": .string(model), "variant": .string(variant), "windows": JSONValue(windows),
            "joules": .double(joules.value), "wakes": JSONValue(wakes), "quality": .double(quality),
        ]
    }
}

extension HistoryDecision {
    var json: JSONValue {
        [
            "timeSeconds": .double(at.secondsSince1970), "number": JSONValue(number), "streamName": .string(name), "model": .string(model), "from": .string(from),
            "to": .string(to), "trigger": .string(trigger), "quality": .double(quality), "reason": .string(reason),
        ]
    }
}

// MARK: As it is kept: arrays without names, a third of the size

extension HistoryRecord {
    /// One line without its newline, with three to six digits of each figure: more were never measured.
    func line(_ sequence: Int64) -> String {
        func short(_ value: Double?, _ places: Int) -> JSONValue { value.map { .double((Double(decimal($0, places: places)) ?? $0)) } ?? .null }
        let time = JSONValue.int(Int64(at.secondsSince1970.rounded()))
        let fields: [JSONValue]
        switch self {
        case .point(let point):
            let shares = point.shares.map { share -> JSONValue in
                [
                    JSONValue(share.stream), .string(share.name), .string(share.model), .string(share.variant), JSONValue(share.windows), short(share.joules.value, 6),
                    JSONValue(share.wakes), short(share.quality, 4),
                ]
            }
            fields = [
                .int(sequence), "p", time, short(point.span.value, 1), short(point.charge, 4), short(point.draw?.value, 4), .bool(point.acOnline),
                short(point.budget?.value, 6), short(point.planned.value, 6), short(point.rest?.value, 4), .string(point.policy), .string(point.goal), .array(shares),
            ]
        case .decision(let decision):
            fields = [
                .int(sequence), "d", time, JSONValue(decision.number), .string(decision.name), .string(decision.model), .string(decision.from), .string(decision.to),
                .string(decision.trigger), short(decision.quality, 4), .string(decision.reason),
            ]
        }
        return JSONValue.array(fields).description
    }

    /// Reads a line; nil if it is not whole.
    static func parse(_ line: some Collection<UInt8>) -> (sequence: Int64, record: HistoryRecord)? {
        guard let value = try? JSONValue(parsing: Array(line)), let sequence = value[0]?.intValue, let time = value[2]?.intValue else { return nil }
        let at = WallTime(secondsSince1970: Double(time))
        func number(_ index: Int) -> Double? { value[index]?.doubleValue }
        func text(_ index: Int) -> String? { value[index]?.stringValue }
        switch value[1]?.stringValue {
        case "p":
            guard let span = number(3), let ac = value[6]?.boolValue, let planned = number(8), let policy = text(10), let goal = text(11), let array = value[12]?.arrayValue else { return nil }
            let shares = array.compactMap(HistoryShare.init)
            guard shares.count == array.count else { return nil }
            return (
                sequence,
                .point(
                    HistoryPoint(
                        at: at, span: Seconds(span), charge: number(4), draw: number(5).map { Watts($0) }, acOnline: ac, budget: number(7).map { Watts($0) },
                        planned: Watts(planned), rest: number(9).map { Watts($0) }, policy: policy, goal: goal, shares: shares))
            )
        case "d":
            guard let count = value[3]?.intValue, let name = text(4), let model = text(5), let from = text(6), let to = text(7), let trigger = text(8), let quality = number(9),
                let reason = text(10)
            else { return nil }
            return (
                sequence,
                .decision(HistoryDecision(at: at, number: Int(count), name: name, model: model, from: from, to: to, trigger: trigger, quality: quality, reason: reason))
            )
        default: return nil
        }
    }
}

extension HistoryShare {
    fileprivate init?(_ value: JSONValue) {
        guard let stream = value[0]?.intValue, stream >= 0, let name = value[1]?.stringValue, let model = value[2]?.stringValue, let variant = value[3]?.stringValue,
            let windows = value[4]?.intValue, let joules = value[5]?.doubleValue, let wakes = value[6]?.intValue, let quality = value[7]?.doubleValue
        else { return nil }
        self.init(
            stream: UInt64(stream), name: name, model: model, variant: variant, windows: Int(windows), joules: Joules(joules), wakes: Int(wakes), quality: quality)
    }
}
