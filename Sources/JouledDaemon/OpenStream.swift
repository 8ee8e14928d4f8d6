import Decisions
import EnergyModel
import InferenceRuntime
import ModelStore
import PowerPolicy
import StreamSessions
import Systemd
import Units
import Wire

/// What the scheduler knows of a stream.
struct OpenStream: Sendable {
    let id: UInt64
    private(set) var request: OpenRequest
    let model: HostedModel
    let peer: Peer
    private(set) var contract: StreamContract
    /// What lets it sleep; nil: it is always awake.
    private(set) var gate: StreamGate?
    /// All variants of the model; results name theirs by index.
    let variantNames: [String]
    /// Loaded variants by name: the one in use, and while it changes, the next.
    var loaded: [String: InferenceSession] = [:]
    var statistics: StreamStatistics
    /// True once the inference loop has its socket.
    var isRunning = false
    /// Why a variant could not be loaded, most recently.
    var loadFailure: String?

    /// - Throws: `VarlinkError` naming the parameter that does not fit the model.
    init(id: UInt64, request: OpenRequest, model: HostedModel, peer: Peer) throws(VarlinkError) {
        let manifest = model.bundle.manifest
        let signal = manifest.signal
        guard request.sampleRateHz == signal.sampleRate else {
            throw .signalMismatch("sampleRateHz", wanted: "\(signal.sampleRate)", got: "\(request.sampleRateHz)")
        }
        guard request.channels == signal.channels else {
            throw .signalMismatch("channels", wanted: "\(signal.channels)", got: "\(request.channels)")
        }
        let names = manifest.variants.map(\.name)
        if let variant = request.variant, !names.contains(variant) {
            throw VarlinkError(
                "io.jouled.Streams.UnknownVariant",
                ["model": .string(manifest.name), "variant": .string(variant), "known": JSONValue(names)])
        }
        self.id = id
        self.request = request
        self.model = model
        self.peer = peer
        variantNames = names
        contract = StreamContract(manifest, format: request.format, latencyTolerance: request.latencyTolerance)
        statistics = StreamStatistics(variantCount: names.count)
    }

    /// Puts the stream behind a gate, from its first sample on.
    mutating func put(behind gate: StreamGate) {
        self.gate = gate
        contract.gate = gate.contract
        // The number stays over a restart; another stream may get the name.
        request.gate?.stream = gate.contract.stream
        request.gate?.name = nil
    }

    /// The stream's name, or its model's.
    var displayName: String { request.name.isEmpty ? model.bundle.manifest.name : request.name }

    /// What the decision engine needs of the stream. Variants without a profile of this device are left out.
    var engineRequest: StreamRequest {
        let manifest = model.bundle.manifest
        return StreamRequest(
            id: id, name: displayName, model: manifest.name, hopTime: contract.hopTime,
            // What the gate takes is no longer there for windows to wait for one another.
            latencyTolerance: contract.latencyTolerance - (contract.gate?.reserve ?? .zero),
            floor: request.floor, weight: request.weight, critical: request.critical, pinnedVariant: request.variant,
            variants: manifest.usableVariants.compactMap { variant in
                let profiles = model.profile.options.filter { $0.variant == variant.name }
                return profiles.isEmpty ? nil : .init(
                    name: variant.name, quality: variant.quality, profiles: profiles, artefact: artefact(variant.name))
            },
            cadences: manifest.cadences.map { .init(multiple: $0.multiple, quality: $0.quality) },
            gate: gate.map { .init(stream: $0.contract.stream, duty: GateDuties.prior) })
    }

    /// What a variant is beside its name.
    func artefact(_ variant: String) -> String {
        let manifest = model.bundle.manifest
        return "\(manifest.version)@\(manifest.variants.first { $0.name == variant }?.sha256 ?? "")"
    }

    var contractJSON: JSONObject {
        let manifest = model.bundle.manifest
        return [
            "model": .string(manifest.name), "version": JSONValue(manifest.version), "kind": .string(manifest.signal.kind.rawValue),
            "format": .string(contract.format.name), "sampleRateHz": JSONValue(manifest.signal.sampleRate),
            "channels": JSONValue(contract.channels), "windowSamples": JSONValue(contract.window),
            "hopSamples": JSONValue(contract.hop),
            "latencyToleranceMs": JSONValue(Int(contract.latencyTolerance.milliseconds.rounded())),
            "outputs": .array(
                manifest.outputs.map { ["name": .string($0.tensor.name), "labels": JSONValue($0.labels)] }),
            "variants": JSONValue(variantNames), "gate": gate.map { .object($0.json) } ?? .null,
        ]
    }

    var journalFields: [JournalRecord.Field] {
        var fields: [JournalRecord.Field] = [
            .init("JOULED_STREAM", "\(id)"), .init("JOULED_STREAM_NAME", displayName),
            .init("JOULED_MODEL", "\(model.bundle.manifest.name)/\(model.bundle.manifest.version)"),
            .init("JOULED_PEER_UID", "\(peer.uid)"),
        ]
        if let gate { fields.append(.init("JOULED_GATE", "\(gate.contract.stream)")) }
        return fields
    }
}

extension StreamContract {
    /// The contract that a manifest offers, with what the client chose.
    init(_ manifest: ModelManifest, format: SampleFormat, latencyTolerance: Seconds?) {
        self.init(
            sampleRateHz: Double(manifest.signal.sampleRate), channels: manifest.signal.channels, format: format,
            s16Scale: manifest.signal.s16Scale, window: manifest.window.samples, hop: manifest.window.hop,
            context: manifest.window.context, padsTail: manifest.window.tail == .pad,
            normalization: .init(manifest.window.normalization),
            input: TensorSpec(name: manifest.input.name, shape: manifest.input.shape),
            states: manifest.states.map {
                State(input: TensorSpec(name: $0.input, shape: $0.shape), output: TensorSpec(name: $0.output, shape: $0.shape))
            },
            outputs: manifest.outputs.map { TensorSpec(name: $0.tensor.name, shape: $0.tensor.shape) },
            latencyTolerance: latencyTolerance ?? manifest.latencyTolerance)
    }
}

extension StreamContract.Normalization {
    init(_ normalization: ModelManifest.Window.Normalization) {
        switch normalization {
        case .none: self = .none
        case .subtractMinimum: self = .subtractMinimum
        case .standard: self = .standard
        }
    }
}

/// A stream that is ready to start once the client knows of it.
struct StreamOpening: Sendable {
    var stream: UInt64
    var reply: JSONObject
}

extension StreamEnd {
    var isFault: Bool { if case .failed = self { true } else { false } }

    var text: String {
        switch self {
        case .finished: "the client ended it"
        case .clientGone: "the client closed its connection"
        case .closedByDaemon: "closed by jouled"
        case .failed(let message): message
        }
    }
}
