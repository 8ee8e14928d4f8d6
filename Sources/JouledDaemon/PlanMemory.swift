import Decisions
import Glibc
import ModelStore
import Planner
import PowerPolicy
import Units
import Wire

/// What decisions are made from beside readings, over restarts: how far a goal has come, and how the streams ran.
struct PlanMemory: Sendable {
    /// How a stream ran when the state was kept.
    struct Stream: Sendable, Equatable {
        var id: UInt64
        var model: String
        /// As the client called it; may be empty.
        var name: String
        var choice: EarlierChoice
    }

    /// When the state was kept, on clocks that other processes have, too.
    struct Stamp: Sendable, Equatable {
        /// Which boot of the device `boot` counts from.
        var bootID: String
        /// CLOCK_BOOTTIME, which goes on while the device sleeps.
        var boot: Seconds
        /// Civil time in seconds since 1970, for what another boot kept.
        var wall: Double

        static func now(_ clocks: SystemClocks) -> Stamp {
            Stamp(
                bootID: currentBoot, boot: Seconds(nanoseconds: clocks.boot().nanoseconds), wall: clocks.wall().secondsSince1970)
        }

        private static let currentBoot: String = {
            guard let file = fopen("/proc/sys/kernel/random/boot_id", "r") else { return "" }
            defer { fclose(file) }
            var buffer = [CChar](repeating: 0, count: 64)
            guard fgets(&buffer, Int32(buffer.count), file) != nil else { return "" }
            return String(decoding: buffer.map { UInt8(bitPattern: $0) }.prefix { $0 > 0x20 }, as: UTF8.self)
        }()

        /// Time from this moment to `later`. Between two boots only civil time tells, and where that went backwards nobody knows.
        func time(until later: Stamp) -> Seconds {
            let same = !bootID.isEmpty && bootID == later.bootID
            return max(.zero, same ? later.boot - boot : Seconds(later.wall - wall))
        }
    }

    /// The policy's name and what tells whether it still says the same.
    var policy: String
    var digest: String
    /// How long a `duration` has been counting; nil if it does not.
    var elapsed: Seconds?
    var level: Int?
    var peak: Watts
    var hopelessSince: Joules?
    var stamp: Stamp
    var streams: [Stream]

    /// What tells two policies apart, whatever their comments and the order of their keys.
    static func digest(of policy: PowerPolicy) -> String {
        Checksum.text(of: policy.differences.map { "\($0.key) = \($0.value)\n" }.joined().utf8)
    }

    init(_ engine: DecisionEngine, _ streams: [UInt64: OpenStream], at now: MonotonicTime, _ stamp: Stamp) {
        policy = engine.operatorPolicy.name
        digest = Self.digest(of: engine.operatorPolicy.policy)
        let memory = engine.operatorMemory
        elapsed = memory.started == nil ? nil : memory.elapsed(at: now)
        (level, peak, hopelessSince) = (memory.level, memory.peak, memory.hopelessSince)
        self.stamp = stamp
        self.streams = streams.keys.sorted().compactMap { id in
            guard let stream = streams[id], let placement = engine.placements[id], let plan = placement.option?.plan else { return nil }
            return Stream(
                id: id, model: stream.model.bundle.manifest.name, name: stream.request.name,
                choice: EarlierChoice(
                    variant: plan.variant, unit: plan.unit, cadence: plan.cadence, coalescing: plan.coalescing,
                    age: max(.zero, now.since(placement.since))))
        }
    }

    /// What the policy remembered, as of `now`; nil if another policy is in force.
    func memory(for engine: DecisionEngine, at now: MonotonicTime, _ stamp: Stamp) -> PolicyMemory? {
        let own = engine.operatorPolicy
        guard policy == own.name, digest == Self.digest(of: own.policy) else { return nil }
        var memory = PolicyMemory()
        if let elapsed {
            memory.started = now
            memory.before = elapsed + self.stamp.time(until: stamp)
        }
        if case .levels(let levels) = own.policy.kind, let level, levels.levels.indices.contains(level) { memory.level = level }
        memory.peak = peak
        memory.hopelessSince = hopelessSince
        return memory
    }
}

extension PlanMemory: Equatable {
    /// Whether they say the same of different moments: state is not written only because time goes by.
    static func == (left: PlanMemory, right: PlanMemory) -> Bool {
        func sameBegin() -> Bool {
            guard let mine = left.elapsed, let other = right.elapsed else { return (left.elapsed == nil) == (right.elapsed == nil) }
            return abs(((left.stamp.boot - mine) - (right.stamp.boot - other)).value) < 1
        }
        func choices(_ memory: PlanMemory) -> [Stream] {
            memory.streams.map { stream in
                var stream = stream
                stream.choice.age = .zero
                return stream
            }
        }
        return left.policy == right.policy && left.digest == right.digest && left.level == right.level && left.peak == right.peak
            && left.hopelessSince == right.hopelessSince && left.stamp.bootID == right.stamp.bootID && sameBegin()
            && choices(left) == choices(right)
    }
}

// As it is kept.
extension PlanMemory {
    var json: JSONObject {
        [
            "policy": .string(policy), "digest": .string(digest), "elapsed": elapsed.map { .double($0.value) } ?? .null,
            "level": level.map { JSONValue($0) } ?? .null, "peak": .double(peak.value),
            "hopelessSince": hopelessSince.map { .double($0.value) } ?? .null,
            "bootID": .string(stamp.bootID), "boot": .double(stamp.boot.value), "wall": .double(stamp.wall),
            "streams": .array(
                streams.map { stream in
                    [
                        "id": JSONValue(stream.id), "model": .string(stream.model), "name": .string(stream.name),
                        "variant": .string(stream.choice.variant), "unit": .string(stream.choice.unit),
                        "cadence": JSONValue(stream.choice.cadence), "coalescing": JSONValue(stream.choice.coalescing),
                        "age": .double(stream.choice.age.value),
                    ]
                }),
        ]
    }

    /// Nil if it is not whole.
    init?(_ value: JSONValue) {
        func number(_ value: JSONValue?) -> Double? { value?.doubleValue.flatMap { $0.isFinite && $0 >= 0 ? $0 : nil } }
        func optional(_ key: String) -> Double?? {
            guard let member = value[key], !member.isNull else { return .some(nil) }
            return number(member).map { .some($0) }
        }
        guard let policy = value["policy"]?.stringValue, let digest = value["digest"]?.stringValue, let elapsed = optional("elapsed"),
            let hopeless = optional("hopelessSince"), let peak = number(value["peak"]), let bootID = value["bootID"]?.stringValue,
            let boot = number(value["boot"]), let wall = number(value["wall"]), let array = value["streams"]?.arrayValue
        else { return nil }
        let streams = array.compactMap { value -> Stream? in
            guard let id = value["id"]?.intValue, id > 0, let model = value["model"]?.stringValue, let name = value["name"]?.stringValue,
                let variant = value["variant"]?.stringValue, let unit = value["unit"]?.stringValue, let cadence = value["cadence"]?.intValue,
                let coalescing = value["coalescing"]?.intValue, let age = number(value["age"])
            else { return nil }
            return Stream(
                id: UInt64(id), model: model, name: name,
                choice: EarlierChoice(variant: variant, unit: unit, cadence: Int(cadence), coalescing: Int(coalescing), age: Seconds(age)))
        }
        guard streams.count == array.count else { return nil }
        self.policy = policy
        self.digest = digest
        self.elapsed = elapsed.map { Seconds($0) }
        level = value["level"]?.intValue.map { Int($0) }
        self.peak = Watts(peak)
        hopelessSince = hopeless.map { Joules($0) }
        stamp = Stamp(bootID: bootID, boot: Seconds(boot), wall: wall)
        self.streams = streams
    }
}
