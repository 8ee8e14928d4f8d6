import Decisions
import EnergyModel
import Glibc
import PowerTelemetry
import StreamSessions
import Systemd
import Units

/// What inference did since the battery last told something new, and the file that keeps what was learned from it.
struct LearnedEnergy: Sendable {
    /// Gauges refresh at least this often; one that shows the same for longer is stuck, or the device draws what it did to the digit.
    static let slowestGauge = Seconds(360)
    /// Deviation, as a share, below which a meter is believed to have told inference from other programs.
    static let tellingDeviation = 0.25
    /// A power cut loses no more of what was learned.
    static let saveInterval = Seconds(600)

    let path: String
    private var work: [String: UnitWork] = [:]
    private var span = Seconds.zero
    private var lastTaken: MonotonicTime?
    private var meter = MeterAttribution()
    private var savedAt: MonotonicTime?
    private var savedText = ""
    private var hasFailed = false

    init(path: String) { self.path = path }

    /// Adds what was done in `span`.
    mutating func add(_ news: [UnitWork], span: Seconds) {
        for unit in news { work[unit.unit, default: UnitWork(unit: unit.unit)] += unit }
        self.span = self.span + span
    }

    /// What was done up to a look at the battery, with the reading as it may be learned from; nil while the gauge still
    /// shows what it did before.
    ///
    /// After the slowest gauge's period what was done is handed over all the same, but without the draw: a reading that was
    /// seen before says nothing of what ran since, and taken for news every few minutes it would teach that whatever runs
    /// costs nothing.
    mutating func usage(
        upTo reading: DecisionEngine.Reading, drawError: Watts
    ) -> (reading: DecisionEngine.Reading, usage: DecisionEngine.Usage)? {
        var reading = reading
        if let lastTaken, reading.battery != nil, reading.takenAt <= lastTaken {
            guard span >= Self.slowestGauge else { return nil }
            reading.draw = nil
        }
        lastTaken = reading.takenAt
        defer {
            work = [:]
            span = .zero
        }
        let units = work.keys.sorted().compactMap { work[$0] }
        let profiled = units.map { EnergyObservation.Share(unit: $0.unit, energy: $0.profiled.energy) }
        var usage = DecisionEngine.Usage(span: span, profiled: profiled, drawError: drawError)
        usage.running = profiled
        usage.timed = units.compactMap { unit in
            guard unit.profiled.cpu > .zero else { return nil }
            return .init(unit: unit.unit, energy: unit.profiled.energy * (unit.cpu / unit.profiled.cpu))
        }
        return (reading, usage)
    }

    /// Forgets what was done since the last fresh look, because the device slept in between and the battery did not.
    mutating func slept() {
        work = [:]
        span = .zero
    }

    /// A unit's factor as a meter tells it, with its variance.
    typealias Factor = (unit: String, factor: Double, variance: Double)

    /// Learns from a meter that feeds the whole processor; gives factors once inference can be told from the rest.
    mutating func observe(_ sample: EnergySample, busy: Seconds, work: [UnitWork]) -> [Factor] {
        let own = work.reduce(Seconds.zero) { $0 + $1.cpu }
        meter.observe(.init(energy: sample.joules.value, error: sample.joules.error, span: sample.span, busy: busy, own: own))
        guard let told = meter.own, told.joules > 0, told.deviation < Self.tellingDeviation * told.joules else { return [] }
        return work.compactMap { unit in
            guard unit.cpu > .zero, unit.profiled.energy > .zero else { return nil }
            let coreSeconds = unit.cpu.value / unit.profiled.energy.value
            let deviation = told.deviation * coreSeconds
            return (unit.unit, told.joules * coreSeconds, deviation * deviation)
        }
    }

    // MARK: File

    /// What was learned before a restart; a damaged file is reported and learning begins anew.
    mutating func load(_ journal: any JournalSink) -> EnergyModel? {
        guard access(path, F_OK) == 0 else { return nil }
        do throws(JouledError) {
            let text = String(decoding: try StateFile.bytes(path), as: UTF8.self)
            let model = try EnergyModel(persistentText: text, name: path)
            savedText = text
            return model
        } catch {
            journal.send(
                JournalRecord(.warning, "What was learned about energy is lost, learning begins anew: \(error)", messageID: MessageID.stateProblem))
            return nil
        }
    }

    /// Writes what was learned, if it changed and was not written lately.
    mutating func saveIfDue(_ model: EnergyModel, at now: MonotonicTime, _ journal: any JournalSink) {
        guard let savedAt else {
            self.savedAt = now
            return
        }
        guard now.since(savedAt) >= Self.saveInterval else { return }
        self.savedAt = now
        save(model, journal)
    }

    /// Writes what was learned, if it changed. A disk that cannot be written is reported once, until it can again.
    mutating func save(_ model: EnergyModel, _ journal: any JournalSink) {
        let text = model.persistentText
        guard text != savedText, !model.knownUnits.isEmpty else { return }
        do throws(JouledError) {
            try AtomicFile.write(text, to: path)
            savedText = text
            hasFailed = false
        } catch {
            if !hasFailed {
                journal.send(JournalRecord(.warning, "What was learned about energy is not kept: \(error)", messageID: MessageID.stateProblem))
            }
            hasFailed = true
        }
    }
}

extension UnitWork {
    /// How much longer the turns took than profiled, with one standard deviation; nil if nothing ran.
    var slowDown: (ratio: Double, error: Double)? {
        guard turns > 0, profiled.latency > .zero else { return nil }
        // A single turn is off by half, as the profiles' spread shows; many are off by what profiles differ from day to day.
        return (latency / profiled.latency, max(0.05, 0.5 / Double(turns).squareRoot()))
    }
}
