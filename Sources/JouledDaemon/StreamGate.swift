import ModelStore
import StreamSessions
import Units
import Wire

/// The gate of an open stream.
struct StreamGate: Sendable, Equatable {
    let contract: GateContract
    /// The gate's model.
    let model: String
    /// Label of the value that is watched.
    let label: String

    /// A window's fate may take so long to be known; its samples wait in memory meanwhile.
    static let longestReserve = Seconds(30)
    /// Values of all channels that may wait.
    static let mostValues = 1 << 22

    init(contract: GateContract, model: String, label: String) {
        self.contract = contract
        self.model = model
        self.label = label
    }

    /// Puts together what the client asks for with what the manifest says.
    /// - Throws: `InvalidGate` naming the parameter that does not fit.
    init(_ wish: OpenRequest.Gate, of stream: OpenStream, behind gate: OpenStream) throws(VarlinkError) {
        let manifest = stream.model.bundle.manifest
        let other = gate.model.bundle.manifest
        let labels = other.outputs.flatMap(\.labels)
        // What the manifest says of a value is said of that model's.
        let known = manifest.gate.flatMap { $0.model == other.name ? $0 : nil }
        guard let label = wish.output ?? known?.output ?? (labels.count == 1 ? labels[0] : nil) else {
            throw .invalidGate("gate.output", "\(other.name) has several, say which: \(labels.joined(separator: ", "))")
        }
        guard let output = labels.firstIndex(of: label) else {
            throw .invalidGate("gate.output", "\(other.name) has no '\(label)'; there are: \(labels.joined(separator: ", "))")
        }
        let preroll = wish.preroll ?? manifest.gate?.preroll ?? manifest.defaultPreroll
        let slowest = other.cadences.map(\.multiple).max() ?? 1
        // So long after a window's end the gate may have yet to answer what begins the pre-roll later.
        let reserve = preroll + gate.contract.latencyTolerance
            + Seconds(Double(gate.contract.window + (slowest - 1) * gate.contract.hop) / gate.contract.sampleRateHz)
        guard reserve <= Self.longestReserve, reserve.value * stream.contract.sampleRateHz * Double(stream.contract.channels) <= Double(Self.mostValues) else {
            throw .invalidGate("gate", "its word comes up to \(reserve) after a window, too long for the samples to wait in memory")
        }
        guard reserve < stream.contract.latencyTolerance else {
            throw .invalidGate(
                "latencyToleranceMs",
                "\(stream.contract.latencyTolerance) is too short: the gate's word comes up to \(reserve) after a window (\(preroll) of pre-roll, \(gate.contract.latencyTolerance) that the gate itself may be late, and its window)")
        }
        contract = GateContract(
            stream: gate.id, output: output, threshold: Float(wish.threshold ?? known?.threshold ?? ModelManifest.Gate.defaultThreshold),
            preroll: preroll, hold: wish.hold ?? manifest.gate?.hold ?? ModelManifest.Gate.defaultHold,
            gateRateHz: other.signal.sampleRate, rateHz: manifest.signal.sampleRate, reserve: reserve)
        model = other.name
        self.label = label
    }

    /// As clients see it.
    var json: JSONObject {
        [
            "stream": JSONValue(contract.stream), "output": .string(label), "threshold": .double(Double("\(contract.threshold)") ?? Double(contract.threshold)),
            "prerollMs": JSONValue(Int(contract.preroll.milliseconds.rounded())), "holdMs": JSONValue(Int(contract.hold.milliseconds.rounded())),
        ]
    }
}
