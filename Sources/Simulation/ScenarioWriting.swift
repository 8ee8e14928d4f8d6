import Units

extension Scenario {
    /// The scenario as TOML that `load` reads, and the trace that it names.
    public var text: (toml: String, csv: String) {
        func number(_ value: Double) -> String { "\(value)" }
        func map(_ values: [String: Double]) -> String {
            "{ " + values.keys.sorted().map { "\($0) = \(number(values[$0] ?? 1))" }.joined(separator: ", ") + " }"
        }
        var toml = """
            name = \(ScenarioReport.quoted(name))
            trace = \(ScenarioReport.quoted(name + ".csv"))
            seed = \(seed)
            [battery]
            capacity_wh = \(number(battery.capacity.wattHours))
            initial_percent = \(number(battery.initialCharge * 100))
            charger_w = \(number(battery.charger.value))
            [gauge]
            period_s = \(number(gauge.period.value))
            quantum_percent = \(number(gauge.quantum * 100))
            power_noise = \(number(gauge.powerNoise))
            [meter]
            present = \(hasMeter)
            [goal]
            until_s = \(number(goal.until.value))
            reserve_percent = \(number(goal.reserve * 100))
            [truth]
            energy_scale = \(map(energyScale))
            latency_scale = \(map(latencyScale))
            [limits]
            unit_utilization = \(map(unitUtilization))

            """
        if let residentMegabytes { toml += "resident_mb = \(number(residentMegabytes))\n" }
        for option in options {
            toml += """
                [[option]]
                model = \(ScenarioReport.quoted(option.model))
                variant = \(ScenarioReport.quoted(option.variant))
                unit = \(ScenarioReport.quoted(option.unit))
                quality = \(number(option.quality))
                joules = \(number(option.joules.value))
                p50_ms = \(number(option.p50.milliseconds))
                p99_ms = \(number(option.p99.milliseconds))
                resident_mb = \(number(option.residentMegabytes))
                load_joules = \(number(option.loadJoules.value))

                """
        }
        for stream in streams {
            toml += """
                [[stream]]
                name = \(ScenarioReport.quoted(stream.name))
                model = \(ScenarioReport.quoted(stream.model))
                start_s = \(number(stream.start.value))
                end_s = \(number(stream.end.value))
                hop_s = \(number(stream.hop.value))
                deadline_ms = \(number(stream.deadline.milliseconds))
                floor = \(number(stream.floor))
                \(stream.statesWeight ? "weight = \(number(stream.weight))" : "")
                \(stream.statesCritical ? "critical = \(stream.critical)" : "")
                cadences = [\(stream.cadences.map { "\($0)" }.joined(separator: ", "))]
                cadence_quality = [\(stream.cadenceQuality.map(number).joined(separator: ", "))]

                """
        }
        var csv = TraceFile.columns.joined(separator: ",") + "\n"
        for row in rows {
            csv += "\(number(row.time.value)),\(number(row.base.value)),\(number(row.harvest.value)),\(row.acOnline ? 1 : 0),\(number(row.temperature.value))\n"
        }
        return (toml, csv)
    }
}
