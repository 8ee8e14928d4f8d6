import ModelStore
import StreamSessions
import Units
import Wire

// What a handover's file holds: bytes and samples as hexadecimal text, exact to the bit.
extension Handover.Stream {
    var json: JSONObject {
        [
            "request": .object(request.json), "version": JSONValue(version),
            "frameOrdinal": JSONValue(position.frame.ordinal), "frameHeader": .string(hex(position.frame.header)),
            "frameReceived": JSONValue(position.frame.received), "partialGap": .string(hex(position.frame.partialGap.bytes)),
            "pendingBytes": .string(hex(position.pendingBytes)), "values": .string(hex(position.values)),
            "nextWindowStart": JSONValue(position.nextWindowStart), "windowNumber": JSONValue(position.windowNumber),
            "hasOrigin": .bool(position.hasOrigin), "states": JSONValue(position.states.map(hex)), "backlog": .string(hex(position.backlog)),
            "told": position.gate.map { .object($0.json) } ?? .null, "gate": gate.map { .object($0.keptJSON) } ?? .null,
        ]
    }

    /// nil if anything is missing or impossible.
    init?(_ value: JSONValue) {
        func count(_ key: String) -> UInt64? { value[key]?.intValue.flatMap { UInt64(exactly: $0) } }
        func bytes(_ key: String) -> [UInt8]? { value[key]?.stringValue.flatMap(unhex) }
        guard let parameters = value["request"]?.objectValue, let request = try? OpenRequest(VarlinkCall(method: "io.jouled.Streams.Open", parameters: parameters)),
            let version = count("version"), let ordinal = count("frameOrdinal"), let header = bytes("frameHeader"),
            let received = count("frameReceived"), let gap = bytes("partialGap"), gap.count == 8, let pending = bytes("pendingBytes"),
            let values = bytes("values").flatMap(floats), let start = count("nextWindowStart"), let number = count("windowNumber"),
            let hasOrigin = value["hasOrigin"]?.boolValue, let backlog = bytes("backlog"),
            let states = value["states"]?.arrayValue?.map({ $0.stringValue.flatMap(unhex).flatMap(floats) }), !states.contains(nil)
        else { return nil }
        self.init(
            request: request, version: Int(version),
            position: StreamPosition(
                frame: .init(
                    ordinal: ordinal, header: header, received: Int(received),
                    partialGap: gap.enumerated().reduce(0) { $0 | UInt64($1.element) << UInt64(8 * $1.offset) }),
                pendingBytes: pending, values: values, nextWindowStart: start, windowNumber: number, hasOrigin: hasOrigin,
                states: states.compactMap { $0 }, backlog: backlog, gate: value["told"].flatMap(GateMemory.init)),
            gate: value["gate"].flatMap(StreamGate.init))
    }
}

extension OpenRequest {
    /// The parameters of the call that makes this request.
    var json: JSONObject {
        var object: JSONObject = [
            "model": .string(model), "format": .string(format.name), "sampleRateHz": JSONValue(sampleRateHz), "channels": JSONValue(channels),
            "name": .string(name),
        ]
        if let version { object["version"] = JSONValue(version) }
        if let latencyTolerance { object["latencyToleranceMs"] = JSONValue(Int(latencyTolerance.milliseconds.rounded())) }
        if let floor { object["floor"] = .double(floor) }
        if let weight { object["weight"] = .double(weight) }
        if let critical { object["critical"] = .bool(critical) }
        if let variant { object["variant"] = .string(variant) }
        if let gate { object["gate"] = .object(gate.json) }
        return object
    }
}

extension GateMemory {
    var json: JSONObject {
        [
            "spans": .array(spans.map { JSONValue($0) }), "settled": JSONValue(settled), "hearing": hearing.map { JSONValue($0) } ?? .null, "hasSlept": .bool(hasSlept),
            "finish": finish.map { JSONValue($0) } ?? .null,
        ]
    }

    /// nil if there is none, or it is not whole: the gate is then listened to anew.
    init?(_ value: JSONValue) {
        guard let array = value["spans"]?.arrayValue, let settled = value["settled"]?.intValue.flatMap({ UInt64(exactly: $0) }),
            let hasSlept = value["hasSlept"]?.boolValue
        else { return nil }
        let spans = array.compactMap { $0.intValue.flatMap { UInt64(exactly: $0) } }
        guard spans.count == array.count, spans.count.isMultiple(of: 2) else { return nil }
        func index(_ key: String) -> UInt64? { value[key]?.intValue.flatMap { UInt64(exactly: $0) } }
        self.init(spans: spans, settled: settled, hearing: index("hearing"), hasSlept: hasSlept, finish: index("finish"))
    }
}

extension StreamGate {
    var keptJSON: JSONObject {
        [
            "stream": JSONValue(contract.stream), "output": JSONValue(contract.output), "threshold": .double(Double(contract.threshold)),
            "preroll": .double(contract.preroll.value), "hold": .double(contract.hold.value), "gateRateHz": JSONValue(contract.gateRateHz),
            "rateHz": JSONValue(contract.rateHz), "reserve": .double(contract.reserve.value), "model": .string(model), "label": .string(label),
        ]
    }

    /// nil if there is none, or anything is missing or impossible: the stream then goes on always awake.
    init?(_ value: JSONValue) {
        func number(_ key: String, to most: Double) -> Double? { value[key]?.doubleValue.flatMap { (0...most).contains($0) ? $0 : nil } }
        func count(_ key: String, in range: ClosedRange<Int64>) -> Int? { value[key]?.intValue.flatMap { range.contains($0) ? Int($0) : nil } }
        guard let stream = count("stream", in: 0...Int64.max), let output = count("output", in: 0...Int64(Int32.max)), let threshold = value["threshold"]?.doubleValue,
            let preroll = number("preroll", to: ModelManifest.Gate.longestPreroll.value), let hold = number("hold", to: ModelManifest.Gate.longestHold.value),
            let gateRate = count("gateRateHz", in: 1...1_000_000), let rate = count("rateHz", in: 1...1_000_000),
            let reserve = number("reserve", to: Self.longestReserve.value), let model = value["model"]?.stringValue, let label = value["label"]?.stringValue
        else { return nil }
        self.init(
            contract: GateContract(
                stream: UInt64(stream), output: output, threshold: Float(threshold), preroll: Seconds(preroll), hold: Seconds(hold), gateRateHz: gateRate,
                rateHz: rate, reserve: Seconds(reserve)),
            model: model, label: label)
    }
}

extension FixedWidthInteger {
    /// Little-endian.
    fileprivate var bytes: [UInt8] { (0..<(Self.bitWidth / 8)).map { UInt8(truncatingIfNeeded: self >> Self(8 * $0)) } }
}

private func hex(_ values: [Float]) -> String { hex(values.flatMap(\.bitPattern.bytes)) }

private func hex(_ bytes: [UInt8]) -> String {
    let digits = Array("0123456789abcdef".utf8)
    return String(unsafeUninitializedCapacity: bytes.count * 2) { text in
        for (index, byte) in bytes.enumerated() {
            text[2 * index] = digits[Int(byte >> 4)]
            text[2 * index + 1] = digits[Int(byte & 15)]
        }
        return bytes.count * 2
    }
}

private func unhex(_ text: String) -> [UInt8]? {
    let digits = Array(text.utf8)
    guard digits.count.isMultiple(of: 2) else { return nil }
    func value(_ digit: UInt8) -> UInt8? {
        switch digit {
        case 0x30...0x39: digit - 0x30
        case 0x61...0x66: digit - 0x61 + 10
        default: nil
        }
    }
    var bytes: [UInt8] = []
    bytes.reserveCapacity(digits.count / 2)
    for index in stride(from: 0, to: digits.count, by: 2) {
        guard let high = value(digits[index]), let low = value(digits[index + 1]) else { return nil }
        bytes.append(high << 4 | low)
    }
    return bytes
}

private func floats(_ bytes: [UInt8]) -> [Float]? {
    guard bytes.count.isMultiple(of: 4) else { return nil }
    return stride(from: 0, to: bytes.count, by: 4).map { start in
        Float(bitPattern: (0..<4).reduce(0) { $0 | UInt32(bytes[start + $1]) << UInt32(8 * $1) })
    }
}
