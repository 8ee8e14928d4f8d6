/// A kind of energy meter: something with cumulative counters in files.
///
/// A new kind is one file beside this one and one line in `EnergyMeters.all`; configuration, its error messages, `meter = "auto"`, wrapping counters,
/// counters that vanish or stand still, and the attribution to inference follow by themselves.
public protocol EnergyMeter: Sendable {
    /// What `meter` in `[power]` begins with, e.g. `powercap`.
    static var name: String { get }
    /// How an operator writes it, for error messages.
    static var forms: [String] { get }
    /// - Parameter argument: what follows `name:`; nil without a colon. Nil is returned for what the kind does not understand.
    init?(argument: String?)
    /// The counters that are there now, all of them or none: a sum that misses a part would look like a cheap device.
    /// - Parameter problems: takes what is there and cannot be used, naming the file.
    func counters(in sysfs: SysfsRoot, _ problems: inout [String]) -> [EnergyCounter]
}

/// A file with a number that only grows.
public struct EnergyCounter: Hashable, Sendable {
    /// Its path below the root of sysfs.
    public var file: String
    /// The number after which it begins at 0 again; nil: it does not say, and never should.
    public var range: Int64?
    /// Microjoules of one step.
    public var microjoules: Double
    /// What it held at the last look.
    var last: Int64?

    /// Looks whether the counter can be read.
    /// - Parameters:
    ///   - file: its path below the root.
    ///   - rangeFile: where its range is told, if it is.
    ///   - microjoules: of one step.
    ///   - problems: takes why it cannot be used, if it is there.
    /// - Returns: nil if it cannot be used.
    public init?(_ file: String, rangeFile: String? = nil, microjoules: Double = 1, in sysfs: SysfsRoot, _ problems: inout [String]) {
        let content = sysfs.integer(file, in: 0 ... .max)
        if let problem = content.problem { problems.append(problem) }
        guard content.value != nil else { return nil }
        self.file = file
        self.microjoules = microjoules
        range = rangeFile.flatMap { sysfs.integer($0, in: 1 ... .max).value }
    }
}

/// The kinds of meters that jouled knows.
public enum EnergyMeters {
    /// In the order in which `meter = "auto"` tries them. A new kind is a line here.
    public static let all: [any EnergyMeter.Type] = [
        PowercapMeter.self,
        HwmonMeter.self,
    ]

    /// The meter that an operator wrote, e.g. `hwmon:ltc4282/input`; nil if there is no such kind, or the kind does not understand the rest.
    static func named(_ text: String) -> (any EnergyMeter)? {
        let parts = text.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
        return all.first { $0.name == parts[0] }.flatMap { $0.init(argument: parts.count > 1 ? parts[1] : nil) }
    }
}
