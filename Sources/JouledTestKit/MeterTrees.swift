// Trees with energy counters and power monitors, as drivers lay them out.
extension FakeSysfs {
    /// RAPL of a laptop of 2020 or later: the platform, a package with its parts, and the same counters again through MMIO.
    public static func rapl() -> FakeSysfs {
        let sysfs = FakeSysfs()
        sysfs.write("class/powercap/intel-rapl/enabled", "1")
        for prefix in ["intel-rapl", "intel-rapl-mmio"] {
            sysfs.powercapZone("\(prefix):0", name: "package-0", microjoules: 1_000_000_000)
        }
        sysfs.powercapZone("intel-rapl:0:0", name: "core", microjoules: 400_000_000)
        sysfs.powercapZone("intel-rapl:0:1", name: "uncore", microjoules: 100_000_000)
        sysfs.powercapZone("intel-rapl:0:2", name: "dram", microjoules: 300_000_000)
        return sysfs
    }

    /// Writes one zone of `class/powercap`.
    public func powercapZone(_ zone: String, name: String, microjoules: Int, range: Int? = 262_143_328_850) {
        write("class/powercap/\(zone)/name", name)
        write("class/powercap/\(zone)/energy_uj", microjoules)
        if let range { write("class/powercap/\(zone)/max_energy_range_uj", range) }
    }

    /// A Jetson: an INA3221 on the module, three labelled channels, no power file; no battery driver.
    public static func jetson() -> FakeSysfs {
        let sysfs = FakeSysfs()
        sysfs.write("class/hwmon/hwmon0/name", "cpu_thermal")
        sysfs.write("class/hwmon/hwmon0/temp1_input", 41500)
        sysfs.write("class/hwmon/hwmon3/name", "ina3221")
        for (channel, label, milliVolts, milliAmperes) in [(1, "VDD_IN", 5072, 928), (2, "VDD_CPU_GPU_CV", 5064, 184), (3, "VDD_SOC", 5064, 272)] {
            sysfs.write("class/hwmon/hwmon3/in\(channel)_label", label)
            sysfs.write("class/hwmon/hwmon3/in\(channel)_input", milliVolts)
            sysfs.write("class/hwmon/hwmon3/curr\(channel)_input", milliAmperes)
        }
        return sysfs
    }

    /// A Raspberry Pi with an INA226 hat, and a battery of which the driver tells the percentage only.
    public static func raspberryPiHat() -> FakeSysfs {
        let sysfs = FakeSysfs()
        sysfs.write("class/hwmon/hwmon1/name", "rpi_volt")
        sysfs.write("class/hwmon/hwmon1/in0_lcrit_alarm", 0)
        sysfs.write("class/hwmon/hwmon2/name", "ina226")
        sysfs.write("class/hwmon/hwmon2/power1_input", 2_475_000)
        sysfs.write("class/hwmon/hwmon2/in1_input", 5100)
        sysfs.write("class/hwmon/hwmon2/curr1_input", 485)
        sysfs.supply("battery", type: "Battery", ["capacity": "63", "status": "Discharging"])
        return sysfs
    }
}
