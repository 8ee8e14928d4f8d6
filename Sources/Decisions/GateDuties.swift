import Glibc
import Units

/// How much of the time streams are awake behind their gates: for each pair of models, an exponentially weighted share of the signal that
/// the gate watched.
///
/// A pair that was never seen begins with a guess that a minute of signal outweighs.
public struct GateDuties: Sendable, Equatable {
    /// Share that is assumed of what was never seen.
    public static let prior = 0.25
    /// Signal that the assumption is worth.
    static let priorWeight = Seconds(60)
    /// Signal after which what was seen counts 1/e: half an hour, for an evening is not like an afternoon.
    static let memory = Seconds(1800)
    /// Pairs kept; the one with least signal makes room.
    static let limit = 256

    struct Pair: Sendable, Hashable {
        var model: String
        var gate: String
    }
    struct Share: Sendable, Equatable {
        var awake: Double
        var watched: Double
    }
    private(set) var shares: [Pair: Share] = [:]

    public init() {}

    public var isEmpty: Bool { shares.isEmpty }

    /// Takes what was seen of a stream since the last call.
    /// - Parameters:
    ///   - awake: signal whose windows were run.
    ///   - watched: signal that the gate decided on, the former included.
    public mutating func observe(_ model: String, behind gate: String, awake: Seconds, of watched: Seconds) {
        guard watched.value > 0, awake.value >= 0, awake <= watched, watched.isFinite else { return }
        let pair = Pair(model: model, gate: gate)
        if shares[pair] == nil, shares.count == Self.limit, let least = shares.min(by: { $0.value.watched < $1.value.watched }) { shares[least.key] = nil }
        var share = shares[pair] ?? Share(awake: 0, watched: 0)
        let kept = exp(-(watched / Self.memory))
        share.awake = share.awake * kept + awake.value
        share.watched = share.watched * kept + watched.value
        shares[pair] = share
    }

    /// Share of time that a stream is expected to be awake, above 0 and below 1.
    public func duty(of model: String, behind gate: String) -> Double {
        let share = shares[Pair(model: model, gate: gate)] ?? Share(awake: 0, watched: 0)
        let duty = (share.awake + Self.prior * Self.priorWeight.value) / (share.watched + Self.priorWeight.value)
        return min(max(duty, 0.001), 0.999)
    }
}

// MARK: - Keeping it over restarts

extension GateDuties {
    private static let header = "jouled-gates 1"

    /// What was learned, with a checksum in the last line.
    public var persistentText: String {
        var text = Self.header + "\n"
        for (pair, share) in shares.sorted(by: { ($0.key.model, $0.key.gate) < ($1.key.model, $1.key.gate) }) {
            text += "\(pair.model) \(pair.gate) \(share.awake) \(share.watched)\n"
        }
        return SealedLines.seal(text)
    }

    /// Reads what `persistentText` gave.
    /// - Parameter name: the file's name, for errors.
    /// - Throws: `.corruptDuties` naming the line.
    public init(persistentText text: String, name: String) throws(JouledError) {
        func corrupt(_ line: Int, _ what: String) -> JouledError { JouledError(.corruptDuties, "\(name):\(line): \(what)") }
        let lines: [(number: Int, line: String)]
        do { lines = try SealedLines.open(text, header: Self.header) } catch { throw corrupt(error.line, error.what) }
        for (number, line) in lines {
            let words = line.split(separator: " ")
            guard words.count == 4, let awake = Double(words[2]), let watched = Double(words[3]), awake >= 0, awake <= watched * (1 + 1e-9), watched < 1e6,
                shares.count < Self.limit, shares.updateValue(Share(awake: awake, watched: watched), forKey: Pair(model: String(words[0]), gate: String(words[1]))) == nil
            else { throw corrupt(number, "is no new pair of models with a share") }
        }
    }
}

extension JouledError.Code {
    /// A file of what was learned of gates is damaged.
    public static let corruptDuties = Self("decisions.corrupt-gates")
}
