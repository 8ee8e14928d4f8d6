import Units

/// Energy that counters of the device took between two looks.
public struct EnergySample: Hashable, Sendable {
    /// Energy in `span`.
    public var joules: Reading<Joules>
    /// Time between the looks.
    public var span: Seconds
    /// What could not be used, each naming the file at fault.
    public var problems: [String] = []
}

/// Reads the cumulative counters of an `EnergyMeter`.
///
/// Counters measure all that their domain feeds and not inference alone; telling the two apart is `MeterAttribution`'s.
public struct EnergyCounterReader: Sendable {
    /// The source of counters.
    public enum Source: Hashable, Sendable {
        /// The first kind of `EnergyMeters.all` that has counters here.
        case automatic
        /// One that the operator named, e.g. `hwmon:ltc4282/input`.
        case named(String)

        /// - Parameter text: `auto`, or a form of one of `EnergyMeters.all`; nil is returned for anything else.
        public init?(_ text: String) {
            guard text != "auto" else {
                self = .automatic
                return
            }
            // Of several chips only the automatic choice may leave the name out.
            guard text != HwmonMeter.name, EnergyMeters.named(text) != nil else { return nil }
            self = .named(text)
        }

        /// All that `init` understands, for error messages.
        public static var forms: [String] { ["auto"] + EnergyMeters.all.flatMap { $0.forms } }
    }

    /// No package takes more: with it a counter that may have wrapped twice is told from one that did not.
    private static let mostWatts = 500.0
    /// RAPL's counters were found within 3 % of a wattmeter's changes on Haswell and later (Khan et al. 2018, ACM TOMPECS).
    private static let relativeError = 0.03

    public let sysfs: SysfsRoot
    private let source: Source
    private var counters: [EnergyCounter] = []
    private var last: MonotonicTime?
    private var unchanged = 0

    /// - Parameter sysfs: where the counters are read.
    public init(sysfs: SysfsRoot = SysfsRoot(), source: Source = .automatic) {
        self.sysfs = sysfs
        self.source = source
    }

    /// The energy since the look before; nil on the first look, without counters, or if they cannot be believed.
    ///
    /// The first look finds the counters; so does each after a counter disappeared.
    public mutating func sample(at time: MonotonicTime) -> EnergySample? {
        var problems: [String] = []
        if counters.isEmpty {
            find(&problems)
            last = nil
        }
        guard !counters.isEmpty else { return problems.isEmpty ? nil : EnergySample(joules: none, span: .zero, problems: problems) }
        let span = last.map { time.since($0) } ?? .zero
        var total = 0.0
        var isWhole = last != nil && span > .zero
        for index in counters.indices {
            let content = sysfs.integer(counters[index].file, in: 0 ... .max)
            guard let now = content.value else {
                problems.append(content.problem ?? "\(counters[index].file): the counter is gone")
                counters = []
                return EnergySample(joules: none, span: .zero, problems: problems)
            }
            if let before = counters[index].last, let steps = Self.difference(from: before, to: now, counters[index].range, span, counters[index].microjoules) {
                total += Double(steps) * counters[index].microjoules / 1e6
            } else {
                isWhole = false
            }
            counters[index].last = now
        }
        last = time
        guard isWhole else { return nil }
        let origin = counters.map(\.file).joined(separator: " + ")
        // A processor that runs this takes something: a counter that stands still is not connected.
        unchanged = total > 0 ? 0 : unchanged + 1
        guard total > 0 else {
            return unchanged < 3 ? nil : EnergySample(joules: none, span: .zero, problems: ["\(origin): the counter stands still"])
        }
        return EnergySample(
            joules: Reading(Joules(total), age: .zero, error: Joules(total * Self.relativeError), origin: origin), span: span)
    }

    private var none: Reading<Joules> { Reading(.zero, age: .zero, error: .zero, origin: "") }

    /// Steps between two looks; nil if they cannot be known.
    static func difference(from before: Int64, to now: Int64, _ range: Int64?, _ span: Seconds, _ microjoules: Double = 1) -> Int64? {
        if let range, span.value * mostWatts * 1e6 >= Double(range) * microjoules { return nil }
        if now >= before { return now - before }
        guard let range, before <= range else { return nil }
        let (difference, overflow) = (range - before).addingReportingOverflow(now)
        return overflow ? nil : difference
    }

    private mutating func find(_ problems: inout [String]) {
        switch source {
        case .named(let text): counters = EnergyMeters.named(text)?.counters(in: sysfs, &problems) ?? []
        case .automatic:
            for kind in EnergyMeters.all where counters.isEmpty { counters = kind.init(argument: nil)?.counters(in: sysfs, &problems) ?? [] }
        }
    }
}
