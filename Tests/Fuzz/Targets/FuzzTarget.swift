import ConfigDocument
import DecisionRecords
import Decisions
import EnergyModel
import JouledDaemon
import JouledTestKit
import ModelStore
import OnnxGraph
import PowerPolicy
import PowerTelemetry
import Quantizer
import Simulation
import Units
import Wire
import Wyoming

/// A parser of what comes from outside, fed with bytes that may be anything. A trap or a hang is a defect; an error is the answer
/// that bad input gets.
public enum FuzzTarget: String, CaseIterable, Sendable {
    case varlink, frames, json, configuration, policy, manifest, profile, scenario, sysfs, state, energy, ledger, handover, onnx, idl, journal, habit, gates, rest, history, recording, wyoming, npz

    /// Runs the parser on `bytes`.
    public func run(_ bytes: [UInt8]) {
        switch self {
        case .varlink: Self.varlink(bytes)
        case .frames: Self.frames(bytes)
        case .json: _ = try? JSONValue(parsing: bytes)
        case .configuration: with(document: bytes) { (document) throws(JouledError) in _ = try DaemonConfiguration(reading: document) }
        case .policy: with(document: bytes) { (document) throws(JouledError) in _ = try PowerPolicy(reading: document) }
        case .manifest: with(document: bytes) { (document) throws(JouledError) in _ = try ModelManifest(reading: document) }
        case .profile: with(document: bytes) { (document) throws(JouledError) in _ = try DeviceProfile(reading: document) }
        case .scenario: with(document: bytes) { (document) throws(JouledError) in _ = try Scenario(reading: document) }
        case .sysfs: Self.sysfs(bytes)
        case .state: _ = try? StateFile.content(of: bytes, "fuzz")
        case .energy: _ = try? EnergyModel(persistentText: Self.text(bytes), name: "fuzz")
        case .ledger: _ = try? LedgerFile.check(Self.text(bytes))
        case .handover: _ = try? Handover.check(Self.text(bytes))
        case .onnx: Self.onnx(bytes)
        case .journal: Self.journal(bytes)
        case .habit: _ = try? ChargeHabit(persistentText: Self.text(bytes), name: "fuzz")
        case .gates: _ = try? GateDuties(persistentText: Self.text(bytes), name: "fuzz")
        case .rest: _ = try? RestForecaster(persistentText: Self.text(bytes), name: "fuzz", at: WallTime(secondsSince1970: 1.7e9 + 3600))
        case .history: for line in bytes.split(separator: 0x0A) { _ = HistoryRecord.check(Array(line)) }
        case .recording: Self.recording(bytes)
        case .wyoming: Self.wyoming(bytes)
        case .npz: Self.npz(bytes)
        case .idl: _ = try? VarlinkDefinition(parsing: Self.text(bytes))
        }
    }

    private static func text(_ bytes: [UInt8]) -> String { String(decoding: bytes, as: UTF8.self) }

    private func with(document bytes: [UInt8], _ read: (ConfigDocument) throws(JouledError) -> Void) {
        guard let document = try? ConfigDocument(file: "fuzz.toml", text: Self.text(bytes)) else { return }
        try? read(document)
    }

    /// The first byte says how the rest is cut, for a split must not matter.
    private static func pieces(_ bytes: [UInt8]) -> [ArraySlice<UInt8>] {
        guard let size = bytes.first, size > 0 else { return [bytes.dropFirst()] }
        let rest = bytes.dropFirst()
        return stride(from: rest.startIndex, to: rest.endIndex, by: Int(size)).map { rest[$0..<min($0 + Int(size), rest.endIndex)] }
    }

    private static func varlink(_ bytes: [UInt8]) {
        var connection = VarlinkServerConnection()
        for piece in pieces(bytes) {
            connection.receive(piece)
            while let action = connection.next() {
                switch action {
                case .call(let call):
                    // Answered in every way that there is.
                    _ = try? call.mode == .upgrade ? connection.replyUpgrade(call.parameters) : connection.reply(call.parameters)
                case .close: return
                case .raw: continue
                }
            }
        }
    }

    private static func frames(_ bytes: [UInt8]) {
        for role in [FrameParser.Role.daemon(sampleSize: 2), .daemon(sampleSize: 12), .client] {
            var parser = FrameParser(role: role)
            do {
                for piece in pieces(bytes) {
                    try piece.withUnsafeBytes { bytes in
                        try parser.receive(bytes) { (event) throws(JouledError) in
                            guard case .message(let header, let payload) = event else { return }
                            if header.type == .result { _ = try ResultPayload(decoding: payload) } else { _ = try Notice(decoding: payload) }
                        }
                    }
                    if case .daemon = role, let position = parser.position { parser = try FrameParser(role: role, from: position) }
                }
                try parser.finish()
            } catch {
                continue
            }
        }
    }

    /// The lines become the attributes of a battery and a supply.
    private static func sysfs(_ bytes: [UInt8]) {
        let names = ["status", "capacity", "energy_full", "energy_now", "power_now", "charge_full", "charge_now", "voltage_now", "current_now", "online", "present", "scope"]
        let tree = FakeSysfs()
        tree.write("class/power_supply/BAT0/type", "Battery")
        tree.write("class/power_supply/AC/type", "Mains")
        for (name, line) in zip(names, bytes.split(separator: 0x0A, maxSplits: names.count - 1, omittingEmptySubsequences: false)) {
            tree.write("class/power_supply/\(name == "online" ? "AC" : "BAT0")/\(name)", bytes: Array(line))
        }
        var reader = PowerSupplyReader(sysfs: SysfsRoot(tree.path))
        for second in [0, 30] {
            let snapshot = reader.snapshot(at: MonotonicTime(nanoseconds: UInt64(second) * 1_000_000_000))
            precondition(snapshot.chargeFraction.map { (0...1).contains($0.value) } ?? true, "a charge of \(snapshot)")
            precondition(snapshot.draw.map(\.value.isFinite) ?? true && snapshot.energyNow.map(\.value.isFinite) ?? true, "\(snapshot)")
        }
    }

    /// Records are also replayed: inputs that no daemon writes must not trap the planner.
    private static func journal(_ bytes: [UInt8]) {
        var journal = RecordedEvents(bytes, name: "fuzz")
        guard let events = try? journal.all().events else { return }
        var whatIf = WhatIf(policy: PowerPolicy(kind: .lifetime(.init(end: .until(secondOfDay: 79200)))), named: "fuzz")
        for event in events {
            whatIf.take(event)
            if case .decision(let record) = event { _ = record.replay() }
        }
    }

    /// The first byte chooses the format.
    private static func recording(_ bytes: [UInt8]) {
        guard let first = bytes.first else { return }
        let name = ["r.wav", "r.csv", "r.edf"][Int(first) % 3]
        for channel in [nil, "2", "a"] {
            guard let recording = try? Recording(Array(bytes.dropFirst()), path: name, s16Scale: 1, channel: channel) else { continue }
            precondition(recording.channels > 0 && recording.values.count % recording.channels == 0, "\(recording.channels) channels, \(recording.values.count) values")
        }
    }

    /// Each stream that a client opens answers with windows of its own samples.
    private static func wyoming(_ bytes: [UInt8]) {
        let models = [
            ServedModel(name: "voice", version: 1, summary: "", task: .voiceActivity, labels: ["speech_probability"]),
            ServedModel(name: "words", version: 1, summary: "", task: .wakeWord, labels: ["none", "stop"]),
        ]
        var parser = WyomingParser()
        var session = WyomingSession()
        var (end, sent) = (UInt64(0), 0)
        func perform(_ actions: [WyomingSession.Action]) {
            for action in actions {
                switch action {
                case .open:
                    end = 0
                    if let model = try? session.model(among: models) { perform(session.opened(model, labels: model.labels, window: 2)) }
                case .samples(let samples):
                    for value in samples.prefix(16) {
                        end += 2
                        perform(session.take(result: [Float(value) / 255, Float(bitPattern: UInt32(value) << 23)], end: end))
                    }
                case .finish: perform(session.finished())
                case .send(let event): sent += event.bytes.count
                case .describe: sent += ServedModel.info(models).bytes.count
                case .abandon, .close: break
                }
            }
        }
        for piece in pieces(bytes) {
            piece.withUnsafeBytes { parser.receive($0) }
            do {
                while let event = try parser.next() { perform(session.take(event)) }
            } catch {
                return perform(session.reject(error))
            }
            precondition(parser.pending <= 16 << 10 + 64 << 10 + 1 << 20 + bytes.count)
        }
    }

    private static func npz(_ bytes: [UInt8]) {
        guard let arrays = try? NumpyFile.parse(bytes, "fuzz.npz") else { return }
        for array in arrays.values { precondition(array.floats.count == array.count && array.integers.count == array.count, "\(array.shape)") }
    }

    private static func onnx(_ bytes: [UInt8]) {
        guard let model = try? OnnxModel.parse(bytes, path: "fuzz.onnx") else { return }
        try? GraphCheck.check(model)
    }
}
