import JouledTestKit
import Testing
import Units

@testable import PowerTelemetry

@Suite("Power supplies")
struct PowerSupplyTests {
    private static let battery = "class/power_supply/BAT0"

    private func snapshot(_ sysfs: FakeSysfs) -> BatterySnapshot {
        var reader = PowerSupplyReader(sysfs: SysfsRoot(sysfs.path))
        return reader.snapshot(at: MonotonicTime(nanoseconds: 0))
    }

    private func near(_ value: Double?, _ expected: Double, _ tolerance: Double = 1e-9) -> Bool {
        guard let value else { return false }
        return (value - expected).magnitude <= tolerance * expected.magnitude
    }

    @Test("A laptop: energies, positive power, a mouse that does not count")
    func laptop() {
        let snapshot = snapshot(.laptop())
        #expect(snapshot.problems == [])
        #expect(near(snapshot.energyNow?.value.wattHours, 25))
        #expect(near(snapshot.energyFull?.value.wattHours, 50))
        #expect(snapshot.chargeFraction?.value == 0.5)
        #expect(near(snapshot.draw?.value.value, 8))
        #expect(snapshot.status == .discharging)
        #expect(!snapshot.acOnline)
        #expect(snapshot.batteryCount == 1)
        #expect(snapshot.origin == Self.battery)
    }

    @Test("A handheld: charge times voltage, negative current while discharging")
    func handheld() {
        let sysfs = FakeSysfs.handheld()
        var seen = snapshot(sysfs)
        #expect(seen.problems == [])
        #expect(near(seen.energyNow?.value.wattHours, 3 * 3.7))
        #expect(near(seen.energyFull?.value.wattHours, 4 * 3.7))
        #expect(near(seen.chargeFraction?.value, 0.75))
        #expect(near(seen.draw?.value.value, 0.5 * 3.9))
        // Charging, whichever sign the driver likes.
        sysfs.supply("usb-charger", type: "USB", ["online": "1"])
        for current in ["500000", "-500000"] {
            sysfs.supply("bq27441-battery", type: "Battery", ["status": "Charging", "current_now": current])
            seen = snapshot(sysfs)
            #expect(near(seen.draw?.value.value, -0.5 * 3.9))
            #expect(seen.acOnline)
        }
    }

    @Test("Two batteries are summed; one that discharges decides")
    func twoBatteries() {
        let sysfs = FakeSysfs.laptop()
        sysfs.supply("BAT1", type: "Battery", ["status": "Unknown", "energy_full": "25000000", "energy_now": "20000000", "power_now": "0"])
        let snapshot = snapshot(sysfs)
        #expect(near(snapshot.energyNow?.value.wattHours, 45))
        #expect(near(snapshot.energyFull?.value.wattHours, 75))
        #expect(near(snapshot.chargeFraction?.value, 0.6))
        #expect(near(snapshot.draw?.value.value, 8))
        #expect(snapshot.status == .discharging)
        #expect(snapshot.batteryCount == 2)
        #expect(snapshot.origin == "\(Self.battery) + class/power_supply/BAT1")
    }

    @Test("No battery, or none that is present: a device on mains, without a complaint")
    func noBattery() {
        let sysfs = FakeSysfs()
        for _ in 0..<2 {
            let snapshot = snapshot(sysfs)
            #expect(snapshot == BatterySnapshot(acOnline: true))
            #expect(!snapshot.hasBattery)
            sysfs.supply("BAT0", type: "Battery", ["present": "0", "capacity": "50"])
        }
    }

    @Test("Capacity only: a percentage, and energy if the operator knows the battery")
    func capacityOnly() {
        let sysfs = FakeSysfs()
        sysfs.supply("BAT0", type: "Battery", ["status": "Discharging", "capacity": "40"])
        let seen = snapshot(sysfs)
        #expect(seen.chargeFraction?.value == 0.4)
        #expect(seen.energyNow == nil && seen.energyFull == nil && seen.draw == nil)
        #expect(seen.problems == [])
        var reader = PowerSupplyReader(sysfs: SysfsRoot(sysfs.path), assumedFull: Joules(wattHours: 10))
        #expect(near(reader.snapshot(at: MonotonicTime(nanoseconds: 0)).energyNow?.value.wattHours, 4))
        // With a capacity from the driver the percentage makes an energy.
        sysfs.supply("BAT0", type: "Battery", ["energy_full_design": "20000000"])
        #expect(near(snapshot(sysfs).energyNow?.value.wattHours, 8))
    }

    @Test("Thousandths for millionths are found out and named", arguments: [
        ["energy_full": "50000", "energy_now": "25000", "power_now": "8000", "voltage_min_design": "11400"],
        ["energy_full": "50000", "energy_now": "25000", "power_now": "15000"],
        ["energy_now": "25000"], ["energy_now": "25000000000"], ["power_now": "8000"], ["power_now": "8000000000"],
    ])
    func units(attributes: [String: String]) {
        let sysfs = FakeSysfs.laptop()
        sysfs.supply("BAT0", type: "Battery", attributes)
        let snapshot = snapshot(sysfs)
        #expect(near(snapshot.energyNow?.value.wattHours, 25))
        #expect(near(snapshot.energyFull?.value.wattHours, 50))
        #expect(near(snapshot.draw?.value.value, attributes["power_now"] == "15000" ? 15 : 8))
        // A driver whose full energy is off is not blamed again for what is left of it.
        let blamed = attributes.keys.filter { $0 != "energy_now" || attributes["energy_full"] == nil }
        for name in blamed { #expect(snapshot.problems.contains { $0.contains("BAT0/\(name): ") }, "\(name)") }
        #expect(snapshot.problems.count == blamed.count)
    }

    @Test("What is left is taken as it is read, whatever percentage stands beside it", arguments: [
        ("0", 0.8), ("0", 0.001), ("10", 0.26), ("1", 0.8), ("14", 0.3), ("15", 0.99), ("50", 0.002), ("100", 0.001), ("100", 0.0), ("100", 0.8), ("3", 1.0),
    ])
    func besideAStuckPercentage(percentage: String, left: Double) {
        let sysfs = FakeSysfs.laptop()
        // The last that could be a register of thousandths is, where the percentage says so.
        let expected = percentage == "100" && left == 0.001 ? 1 : left
        sysfs.supply("BAT0", type: "Battery", ["capacity": percentage, "energy_now": "\(Int(5e7 * left))"])
        let seen = snapshot(sysfs)
        #expect(near(seen.chargeFraction?.value, expected))
        #expect(seen.problems.isEmpty == (expected == left))
        #expect(near(seen.draw?.value.value, 8))
    }

    @Test("Registers off by 1000 alone or together are found out", arguments: [(1, 1), (1, 1000), (1, 0.001), (1000, 1), (0.001, 1), (1000, 1000), (0.001, 0.001)])
    func mixedRegisters(nowScale: Double, fullScale: Double) {
        for (kind, micro) in [("energy", 5e7), ("charge", 4e6)] {
            for (share, percentage) in [(0.75, "75"), (0.75, nil), (0.75, "65"), (0.02, "2"), (0.015, "1"), (1, "100"), (0, "0")] as [(Double, String?)] {
                let sysfs = FakeSysfs()
                var attributes = ["status": "Discharging", "voltage_min_design": "3700000", "current_now": "-500000"]
                attributes["\(kind)_full"] = "\(Int(micro * fullScale))"
                attributes["\(kind)_now"] = "\(Int((micro * share * nowScale).rounded()))"
                attributes["capacity"] = percentage
                sysfs.supply("BAT0", type: "Battery", attributes)
                let seen = snapshot(sysfs)
                let place: Comment = "\(kind): now x \(nowScale), full x \(fullScale), \(share) of full, \(percentage ?? "no") %"
                #expect(near(seen.energyFull?.value.wattHours, kind == "energy" ? 50 : 4 * 3.7), place)
                // Too small a register of its own is a nearly empty battery where nothing speaks against it.
                let isTold = nowScale / fullScale > 0.5 || percentage != nil
                #expect(near(seen.chargeFraction?.value, isTold ? share : share * nowScale / fullScale, 1e-5), place)
                #expect(near(seen.draw?.value.value, 0.5 * 3.7), place)
            }
        }
    }

    @Test("A register above full that no unit explains leaves the word to the percentage", arguments: [("75000000", "90"), ("400000000", "70")])
    func farAboveFull(now: String, percentage: String) {
        let sysfs = FakeSysfs.laptop()
        sysfs.supply("BAT0", type: "Battery", ["capacity": percentage, "energy_now": now])
        let seen = snapshot(sysfs)
        #expect(near(seen.chargeFraction?.value, Double(percentage).map { $0 / 100 } ?? 0))
        #expect(seen.problems == ["\(Self.battery)/energy_now: \(now) is far above full"])
    }

    @Test("A small device on a large battery draws what its gauge says", arguments: [("200000", 0.2), ("30000", 0.03), ("8000", 8), ("200000000", 200)])
    func largeBattery(power: String, draw: Double) {
        let sysfs = FakeSysfs()
        sysfs.supply("BAT0", type: "Battery", ["status": "Discharging", "energy_full": "1200000000", "energy_now": "600000000", "power_now": power])
        let seen = snapshot(sysfs)
        #expect(near(seen.draw?.value.value, draw))
        #expect(seen.problems.isEmpty == (power != "8000"))
    }

    @Test("A small battery at rest is not taken for wrong units")
    func wearable() {
        let sysfs = FakeSysfs()
        sysfs.supply("BAT0", type: "Battery", ["status": "Discharging", "energy_full": "1100000", "energy_now": "500000", "power_now": "900"])
        let seen = snapshot(sysfs)
        #expect(near(seen.draw?.value.value, 0.0009))
        #expect(seen.problems == [])
        sysfs.supply("AC", type: "Mains", ["online": "1"])
        sysfs.supply("BAT0", type: "Battery", ["status": "Full", "energy_full": "50000000", "energy_now": "50000000", "power_now": "800"])
        #expect(snapshot(sysfs).draw?.value == .zero)
    }

    @Test("States: at rest on mains nothing is drawn; an unknown state is read from the mains", arguments: [
        ("Full", "1", "8000000", 0.0, BatteryStatus.full), ("Not charging", "1", "8000000", 0.0, .notCharging),
        ("Not charging", "0", "8000000", 8.0, .notCharging), ("Unknown", "0", "8000000", 8.0, .unknown),
        ("Unknown", "1", "8000000", nil, .unknown), ("Unknown", "1", "-8000000", 8.0, .unknown), ("Charging", "1", "8000000", -8.0, .charging),
    ] as [(String, String, String, Double?, BatteryStatus)])
    func states(status: String, online: String, power: String, draw: Double?, expected: BatteryStatus) {
        let sysfs = FakeSysfs.laptop()
        sysfs.supply("BAT0", type: "Battery", ["status": status, "power_now": power])
        sysfs.supply("AC", type: "Mains", ["online": online])
        let snapshot = snapshot(sysfs)
        #expect(snapshot.draw?.value.value == draw)
        #expect(snapshot.status == expected)
        #expect(snapshot.acOnline == (online == "1"))
    }

    @Test("Nonsense in one file is named and changes nothing else", arguments: [
        ("power_now", "nan"), ("power_now", "99999999999999999999"), ("power_now", "1000000000000000"), ("power_now", ""), ("power_now", "8 W"),
        ("capacity", "-5"), ("capacity", "400"), ("capacity", "full"), ("status", "Exploding"), ("voltage_min_design", "-1"),
        ("energy_full", "zero"), ("voltage_now", "1e7"), ("power_now", String(repeating: "9", count: 5000)), ("power_now", "\u{1b}[2J"),
    ])
    func nonsense(name: String, value: String) {
        let sysfs = FakeSysfs.laptop()
        let good = snapshot(sysfs)
        sysfs.supply("BAT0", type: "Battery", [name: value])
        var bad = snapshot(sysfs)
        #expect(bad.problems.count == 1)
        #expect(bad.problems.first?.hasPrefix("\(Self.battery)/\(name): ") == true)
        #expect(bad.problems.first?.unicodeScalars.allSatisfy { $0.value >= 0x20 } == true)
        bad.problems = []
        if name == "power_now" {
            #expect(bad.draw == nil)
            bad.draw = good.draw
        }
        if name == "status" { bad.status = good.status }
        if name == "energy_full" {
            #expect(near(bad.energyFull?.value.wattHours, 57), "the design's capacity stands in")
            (bad.energyFull, bad.energyNow, bad.chargeFraction) = (good.energyFull, good.energyNow, good.chargeFraction)
        }
        #expect(bad == good)
    }

    @Test("A directory with nothing but nonsense has problems and no numbers")
    func allNonsense() {
        let sysfs = FakeSysfs()
        let names = ["status", "capacity", "energy_full", "energy_now", "power_now", "voltage_now", "charge_full", "charge_now", "current_now"]
        for name in names { sysfs.write("\(Self.battery)/\(name)", bytes: [0xff, 0x00, 0xfe]) }
        sysfs.write("\(Self.battery)/type", "Battery")
        sysfs.makeUnreadable("\(Self.battery)/voltage_min_design")
        let snapshot = snapshot(sysfs)
        #expect(snapshot.chargeFraction == nil && snapshot.energyNow == nil && snapshot.draw == nil)
        #expect(snapshot.batteryCount == 1)
        #expect(snapshot.problems.contains { $0.hasPrefix("\(Self.battery)/voltage_min_design: Is a directory") })
        #expect(snapshot.problems.last == "\(Self.battery): neither energy, charge nor capacity can be read")
    }

    @Test("Charge above full is held at full", arguments: ["51000000", "60000000"])
    func aboveFull(now: String) {
        let sysfs = FakeSysfs.laptop()
        sysfs.supply("BAT0", type: "Battery", ["energy_now": now, "capacity": "103"])
        let snapshot = snapshot(sysfs)
        #expect(snapshot.chargeFraction?.value == 1)
        #expect(snapshot.problems.count == 2)
    }

    @Test("Random contents of all files never trap and keep what is read within its bounds", arguments: seeds(150))
    func garbage(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        let sysfs = Bool.random(using: &random) ? FakeSysfs.laptop() : .handheld()
        let name = SysfsRoot(sysfs.path).names(in: "class/power_supply").first { $0 != "AC" } ?? ""
        let words = ["0", "-1", "9223372036854775807", "-9223372036854775808", "nan", "", "100", "1000000", "50000", "5000000000", "Full", "Unknown"]
        for attribute in ["status", "capacity", "energy_full", "energy_now", "power_now", "voltage_now", "voltage_min_design", "charge_full", "charge_now", "current_now", "present"]
        where Int.random(in: 0..<3, using: &random) == 0 {
            sysfs.write("class/power_supply/\(name)/\(attribute)", words.randomElement(using: &random) ?? "")
        }
        let snapshot = snapshot(sysfs)
        if let fraction = snapshot.chargeFraction?.value { #expect((0...1).contains(fraction)) }
        if let now = snapshot.energyNow, let full = snapshot.energyFull { #expect(now.value >= .zero && now.value <= full.value * 1.0000001) }
        if let draw = snapshot.draw { #expect(draw.value.isFinite) }
    }

    @Test("A reading grows old while nothing changes")
    func age() {
        let sysfs = FakeSysfs.laptop()
        var reader = PowerSupplyReader(sysfs: SysfsRoot(sysfs.path))
        func age(_ seconds: UInt64) -> Double { reader.snapshot(at: MonotonicTime(nanoseconds: seconds * 1_000_000_000)).age.value }
        #expect(age(10) == 0)
        #expect(age(40) == 30)
        sysfs.supply("BAT0", type: "Battery", ["voltage_now": "11390000"])
        #expect(age(50) == 0)
        #expect(age(55) == 5)
    }

    @Test("A battery at rest beside one that is used makes no reading old, and its energy counts", arguments: [
        ["status": "Not charging", "power_now": "0"], ["status": "Full"], ["status": "Unknown", "power_now": "0"],
    ])
    func besideOneAtRest(attributes: [String: String]) {
        let sysfs = FakeSysfs.laptop()
        sysfs.supply("BAT1", type: "Battery", ["energy_full": "25000000", "energy_now": "20000000"].merging(attributes) { $1 })
        var reader = PowerSupplyReader(sysfs: SysfsRoot(sysfs.path))
        _ = reader.snapshot(at: MonotonicTime(nanoseconds: 0))
        for (power, second, age) in [("8100000", 7200, 0.0), ("8200000", 7260, 0), ("8200000", 7320, 60)] as [(String, UInt64, Double)] {
            sysfs.supply("BAT0", type: "Battery", ["power_now": power])
            let seen = reader.snapshot(at: MonotonicTime(nanoseconds: second * 1_000_000_000))
            #expect(seen.energyNow?.age == Seconds(age) && seen.chargeFraction?.age == Seconds(age) && seen.draw?.age == Seconds(age))
            #expect(near(seen.energyNow?.value.wattHours, 45) && near(seen.energyFull?.value.wattHours, 75))
        }
    }

    @Test("A second battery that is used and not refreshed makes the sum old, and so do two at rest", arguments: [
        ["status": "Discharging", "power_now": "5000000"], ["status": "Unknown", "power_now": "5000000"],
        ["status": "Not charging", "power_now": "5000000"], ["status": "Unknown"],
    ])
    func besideOneThatIsStuck(attributes: [String: String]) {
        let sysfs = FakeSysfs.laptop()
        sysfs.supply("BAT1", type: "Battery", ["energy_full": "25000000", "energy_now": "20000000"].merging(attributes) { $1 })
        var reader = PowerSupplyReader(sysfs: SysfsRoot(sysfs.path))
        _ = reader.snapshot(at: MonotonicTime(nanoseconds: 0))
        sysfs.supply("BAT0", type: "Battery", ["power_now": "8100000"])
        #expect(reader.snapshot(at: MonotonicTime(nanoseconds: 3600_000_000_000)).age == Seconds(3600))
        for name in ["BAT0", "BAT1"] { sysfs.supply(name, type: "Battery", ["status": "Full", "power_now": "0"]) }
        _ = reader.snapshot(at: MonotonicTime(nanoseconds: 3600_000_000_000))
        #expect(reader.snapshot(at: MonotonicTime(nanoseconds: 3660_000_000_000)).age == Seconds(60))
    }
}

@Suite("Thermal zones")
struct ThermalTests {
    @Test("The hottest zone, and the trip point that its zone is closest to")
    func hottest() {
        let sysfs = FakeSysfs()
        sysfs.thermalZone(0, type: "acpitz", millidegrees: 41_000, trips: [("critical", 100_000)])
        sysfs.thermalZone(1, type: "cpu", millidegrees: 63_500, trips: [("active", 65_000), ("passive", 85_000), ("critical", 105_000), ("hot", -274_000)])
        sysfs.thermalZone(2, type: "wifi", millidegrees: -274_000)
        sysfs.write("class/thermal/thermal_zone3/temp", "hot")
        let snapshot = ThermalReader(sysfs: SysfsRoot(sysfs.path)).snapshot()
        #expect(snapshot.hottest?.value == Celsius(63.5))
        #expect(snapshot.zone == "cpu")
        #expect(snapshot.passiveTrip == .init(kind: "passive", temperature: Celsius(85)))
        #expect(snapshot.passiveMargin == Celsius(21.5) && snapshot.margin == Celsius(41.5))
        #expect(snapshot.problems.count == 2)
        sysfs.thermalZone(1, type: "cpu", millidegrees: 110_000)
        let hot = ThermalReader(sysfs: SysfsRoot(sysfs.path)).snapshot()
        #expect(hot.passiveMargin == Celsius(-25) && hot.margin == Celsius(-5))
        // A battery is not the hottest and yet the closest to its trip point; a placeholder is none.
        sysfs.thermalZone(1, type: "cpu", millidegrees: 63_500)
        sysfs.thermalZone(4, type: "battery", millidegrees: 47_000, trips: [("critical", 20_800), ("hot", 55_000)])
        let warm = ThermalReader(sysfs: SysfsRoot(sysfs.path)).snapshot()
        #expect(warm.hottest?.value == Celsius(63.5) && warm.margin == Celsius(8))
        #expect(warm.nearestTrip == .init(kind: "hot", temperature: Celsius(55)))
    }

    @Test("No zones at all")
    func none() {
        #expect(ThermalReader(sysfs: SysfsRoot("/nonexistent")).snapshot() == ThermalSnapshot())
    }
}
