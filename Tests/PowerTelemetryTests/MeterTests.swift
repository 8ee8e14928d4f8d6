import JouledTestKit
import Testing
import Units

@testable import PowerTelemetry

@Suite("Energy counters and power monitors")
struct MeterTests {
    private func at(_ second: Double) -> MonotonicTime { MonotonicTime(nanoseconds: UInt64(second * 1e9)) }

    /// Two looks, 10 s apart, between which `change` moves the counters.
    private func difference(_ sysfs: FakeSysfs, _ source: EnergyCounterReader.Source = .automatic, _ change: () -> Void) -> EnergySample? {
        var reader = EnergyCounterReader(sysfs: SysfsRoot(sysfs.path), source: source)
        let first = reader.sample(at: at(100))
        #expect(first == nil || first?.span == .zero, "one look tells no difference")
        change()
        return reader.sample(at: at(110))
    }

    @Test("RAPL's domains nest: a package counts its parts, memory comes beside it, a second window on the same counter does not")
    func nested() throws {
        let sysfs = FakeSysfs.rapl()
        let sample = try #require(
            difference(sysfs) {
                for prefix in ["intel-rapl", "intel-rapl-mmio"] { sysfs.write("class/powercap/\(prefix):0/energy_uj", 1_080_000_000) }
                sysfs.write("class/powercap/intel-rapl:0:0/energy_uj", 450_000_000)
                sysfs.write("class/powercap/intel-rapl:0:2/energy_uj", 320_000_000)
            })
        #expect(sample.joules.value == Joules(100))
        #expect(sample.span == Seconds(10) && sample.problems == [])
        #expect(sample.joules.origin.contains("intel-rapl:0/energy_uj") && !sample.joules.origin.contains("mmio"))
    }

    @Test("The platform's counter is taken alone; two packages are summed")
    func platforms() throws {
        let sysfs = FakeSysfs.rapl()
        sysfs.powercapZone("intel-rapl:1", name: "package-1", microjoules: 5)
        let two = difference(sysfs) {
            sysfs.write("class/powercap/intel-rapl:0/energy_uj", 1_010_000_000)
            sysfs.write("class/powercap/intel-rapl:1/energy_uj", 20_000_005)
        }
        #expect(two?.joules.value == Joules(30))
        sysfs.powercapZone("intel-rapl:2", name: "psys", microjoules: 7)
        let platform = difference(sysfs) { sysfs.write("class/powercap/intel-rapl:2/energy_uj", 90_000_007) }
        #expect(platform?.joules.value == Joules(90))
    }

    @Test("A counter that wraps goes on; one that may have wrapped twice, or that does not say when it wraps, tells nothing")
    func wrap() {
        let sysfs = FakeSysfs()
        sysfs.powercapZone("intel-rapl:0", name: "package-0", microjoules: 65_532_000_000, range: 65_532_610_987)
        #expect(difference(sysfs) { sysfs.write("class/powercap/intel-rapl:0/energy_uj", 49_389_013) }?.joules.value == Joules(50))
        #expect(EnergyCounterReader.difference(from: 10, to: 5, nil, Seconds(1)) == nil)
        #expect(EnergyCounterReader.difference(from: 10, to: 50, 65_532_610_987, Seconds(131.1)) == nil, "65 kJ pass in 131 s at 500 W")
        #expect(EnergyCounterReader.difference(from: .max - 1, to: .max, .max, Seconds(1)) == 1)
        #expect(EnergyCounterReader.difference(from: 70, to: 5, 60, Seconds(0)) == nil, "a counter above its own range")
    }

    @Test("Counters that cannot be read, disappear, or stand still are told, and found again")
    func broken() throws {
        let sysfs = FakeSysfs.rapl()
        sysfs.write("class/powercap/intel-rapl:0/energy_uj", "nonsense")
        var reader = EnergyCounterReader(sysfs: SysfsRoot(sysfs.path))
        #expect(reader.sample(at: at(1))?.problems.first?.contains("intel-rapl:0/energy_uj: 'nonsense'") == true)
        sysfs.write("class/powercap/intel-rapl:0/energy_uj", 5)
        #expect(reader.sample(at: at(2)) == nil)
        sysfs.write("class/powercap/intel-rapl:0/energy_uj", 3_000_005)
        #expect(reader.sample(at: at(3))?.joules.value == Joules(3))
        sysfs.remove("class/powercap/intel-rapl:0/energy_uj")
        let fourth = reader.sample(at: at(4))
        let gone = try #require(fourth)
        #expect(gone.span == .zero && gone.problems.first?.contains("is gone") == true)
        sysfs.write("class/powercap/intel-rapl:0/energy_uj", 9)
        #expect(reader.sample(at: at(5)) == nil, "nothing is known of the time without it")
        var words: [String] = []
        for second in 6...9 { words += reader.sample(at: at(Double(second)))?.problems ?? [] }
        #expect(words.contains { $0.contains("stands still") })
    }

    @Test("A hwmon energy channel is taken if it is the only one, or by name and label")
    func hwmon() {
        let sysfs = FakeSysfs()
        sysfs.write("class/hwmon/hwmon0/name", "ina237")
        sysfs.write("class/hwmon/hwmon0/energy1_input", 1_000_000)
        #expect(difference(sysfs) { sysfs.write("class/hwmon/hwmon0/energy1_input", 21_000_000) }?.joules.value == Joules(20))
        sysfs.write("class/hwmon/hwmon1/name", "ltc4282")
        sysfs.write("class/hwmon/hwmon1/energy1_input", 1)
        sysfs.write("class/hwmon/hwmon1/energy1_label", "input")
        var reader = EnergyCounterReader(sysfs: SysfsRoot(sysfs.path))
        #expect(reader.sample(at: at(1))?.problems.first?.contains("more than one") == true)
        let named = difference(sysfs, .named("hwmon:ltc4282/input")) { sysfs.write("class/hwmon/hwmon1/energy1_input", 4_000_001) }
        #expect(named?.joules.value == Joules(4))
        var absent = EnergyCounterReader(sysfs: SysfsRoot(sysfs.path), source: .named("hwmon:ina999"))
        #expect(absent.sample(at: at(1))?.problems.first?.contains("'ina999'") == true)
    }

    @Test("A device without any counter is no problem")
    func nothing() {
        var reader = EnergyCounterReader(sysfs: SysfsRoot(FakeSysfs.laptop().path))
        #expect(reader.sample(at: at(1)) == nil)
    }

    @Test("INA3221 has no power file: voltage times current of the labelled channel")
    func ina3221() throws {
        let sysfs = FakeSysfs.jetson()
        let power = try #require(RailReader(sysfs: SysfsRoot(sysfs.path), chip: "ina3221", label: "VDD_SOC").power().reading)
        #expect((power.value.value - 5.064 * 0.272).magnitude < 1e-9)
        let first = try #require(RailReader(sysfs: SysfsRoot(sysfs.path), chip: "ina3221", label: nil).power().reading)
        #expect((first.value.value - 5.072 * 0.928).magnitude < 1e-9)
        sysfs.write("class/hwmon/hwmon3/curr3_input", "fast")
        let broken = RailReader(sysfs: SysfsRoot(sysfs.path), chip: "ina3221", label: "VDD_SOC").power()
        #expect(broken.reading == nil && broken.problem?.contains("hwmon3/curr3_input: 'fast'") == true)
        let wrong = RailReader(sysfs: SysfsRoot(sysfs.path), chip: "ina3221", label: "VDD_NPU").power()
        #expect(wrong.problem == "class/hwmon: no chip 'ina3221' with a channel 'VDD_NPU' gives power")
    }

    @Test("INA226 on a hat gives microwatts")
    func ina226() throws {
        let sysfs = FakeSysfs.raspberryPiHat()
        let power = try #require(RailReader(sysfs: SysfsRoot(sysfs.path), chip: "ina226", label: nil).power().reading)
        #expect(power.value == Watts(2.475))
    }

    @Test("CPU time of all programs leaves idling and guests out")
    func processorTime() throws {
        let directory = FakeSysfs()
        directory.write("stat", "cpu  100 20 30 9999 555 6 7 8 40 2\ncpu0 1 2 3 4")
        let ticks = 100 + 20 + 30 + 6 + 7 + 8
        #expect(ProcessorTime(path: directory.path + "/stat").busy() == Seconds(Double(ticks) / 100))
        directory.write("stat", "intr 5")
        #expect(ProcessorTime(path: directory.path + "/stat").busy() == nil)
        #expect(try #require(ProcessorTime().busy()).value > 0, "this machine has been busy")
    }

    @Test("What an operator writes: forms of the kinds that there are, and nothing else")
    func forms() {
        for text in ["auto", "powercap", "hwmon:ina226", "hwmon:ina3221/VDD_IN"] { #expect(EnergyCounterReader.Source(text) != nil, "\(text)") }
        for text in ["", "rapl", "powercap:0", "hwmon", "hwmon:", "auto:1"] { #expect(EnergyCounterReader.Source(text) == nil, "\(text)") }
        #expect(Set(EnergyMeters.all.map { $0.name }).count == EnergyMeters.all.count)
        #expect(EnergyCounterReader.Source.forms == ["auto", "powercap", "hwmon:CHIP", "hwmon:CHIP/LABEL"])
    }

    @Test("The meter that docs/contributing.md shows is the one that works here")
    func example() throws {
        let sysfs = FakeSysfs()
        sysfs.write("class/example/energy_mj", 5)
        var problems: [String] = []
        let counters = try #require(ExampleMeter(argument: nil)).counters(in: SysfsRoot(sysfs.path), &problems)
        #expect(counters.map(\.file) == ["class/example/energy_mj"] && counters.map(\.microjoules) == [1000] && problems == [])
        #expect(ExampleMeter(argument: "x") == nil)
        let root = #filePath.split(separator: "/", omittingEmptySubsequences: false).dropLast(3).joined(separator: "/")
        func lines(_ file: String) throws -> [String] {
            let bytes = try #require(TemporaryDirectory.contents(of: file))
            return String(decoding: bytes, as: UTF8.self).split(separator: "\n").map { String($0.drop { $0 == " " }).replacing("public ", with: "").replacing("private ", with: "") }
        }
        let shown = try lines("\(root)/docs/contributing.md").drop { !$0.hasPrefix("struct ExampleMeter") }.prefix { $0 != "```" }
        let here = try lines(#filePath)
        #expect(shown.count == 8)
        for line in shown { #expect(here.contains(line), "'\(line)' is not what was tested") }
    }
}

private struct ExampleMeter: EnergyMeter {
    static let name = "example"
    static let forms = ["example"]
    init?(argument: String?) { if argument != nil { return nil } }
    func counters(in sysfs: SysfsRoot, _ problems: inout [String]) -> [EnergyCounter] {
        [EnergyCounter("class/example/energy_mj", microjoules: 1000, in: sysfs, &problems)].compactMap { $0 }
    }
}
