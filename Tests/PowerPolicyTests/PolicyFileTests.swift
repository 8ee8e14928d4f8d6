import ConfigDocument
import Testing
import Units

@testable import PowerPolicy

@Suite("Policy files")
struct PolicyFileTests {
    private func read(_ text: String) throws(JouledError) -> PowerPolicy {
        try PowerPolicy(reading: ConfigDocument(file: "p.toml", text: text))
    }

    @Test("Every kind is read as written, with the documented defaults")
    func kinds() throws {
        let night = try read(
            """
            kind = "lifetime"
            description = "until ten"
            until = "22:00"
            reserve_percent = 10
            margin = 0.1
            capacity_wh = 2
            [thermal]
            derate_from_celsius = 60
            derate_to_celsius = 80
            full_watts = 1.5
            [models."*"]
            floor = 0.5
            weight = 2
            [models.vad]
            critical = true
            [models."ecg 2"]
            floor = 0.9
            """)
        #expect(
            night.kind
                == .lifetime(.init(end: .until(secondOfDay: 79200), reserve: 0.1, margin: 0.1, capacity: Joules(wattHours: 2))))
        #expect(night.description == "until ten")
        #expect(night.thermal == .init(from: Celsius(60), to: Celsius(80), full: Watts(1.5)))
        #expect(try read("kind = \"unlimited\"\n[thermal]\n").thermal == .init())
        let none = try read("kind = \"unlimited\"\n[thermal]\nderate_from_celsius = 60\nderate_to_celsius = 80\nderate_from_below_trip = 0")
        #expect(none.thermal == .init(from: Celsius(60), to: Celsius(80), fromBelowTrip: .zero, toBelowTrip: .zero))
        #expect(try read("kind = \"unlimited\"\n[thermal]\nderate_from_below_trip = 0\nderate_to_below_trip = 0").thermal?.countsTripPoints == false)
        #expect(none.differences.contains { $0.key == "thermal.derate_from_below_trip" && $0.value.hasPrefix("0") }, "\(none.differences)")
        let trips = try read("kind = \"unlimited\"\n[thermal]\nderate_from_below_trip = 15\nderate_to_below_trip = 5")
        #expect(trips.thermal == .init(fromBelowTrip: Celsius(15), toBelowTrip: Celsius(5)))
        #expect(trips.differences.map(\.key) == ["kind", "thermal.derate_from_below_trip", "thermal.derate_to_below_trip"])
        #expect(night.rules(for: "vad") == .init(floor: 0.5, weight: 2, critical: true))
        #expect(night.rules(for: "ecg 2") == .init(floor: 0.9, weight: 2))
        #expect(night.rules(for: "other") == .init(floor: 0.5, weight: 2))
        #expect(try read("kind = \"lifetime\"\nduration = \"8h\"").kind == .lifetime(.init(end: .duration(Seconds(28800)))))
        #expect(try read("kind = \"fixed\"\nwatts = 0.25").kind == .fixed(Watts(0.25)))
        #expect(try read("kind = \"unlimited\"").rules(for: "x") == .init())
        let levels = try read(
            """
            kind = "levels"
            hysteresis_percent = 3
            [[level]]
            above_percent = 50
            watts = 1
            [[level]]
            above_percent = 0
            watts = 0.1
            """)
        #expect(levels.kind == .levels(.init(levels: [.init(above: 0.5, watts: Watts(1)), .init(above: 0, watts: Watts(0.1))], hysteresis: 0.03)))
    }

    @Test(
        "What is wrong is named by file, line and key",
        arguments: [
            ("kind = \"lifetmie\"", "p.toml:1: key 'kind': 'lifetmie' is none of lifetime, levels, fixed, unlimited"),
            ("description = \"x\"", "p.toml:1: key 'kind': required (a string), but missing"),
            ("kind = \"lifetime\"", "p.toml:1: key 'duration': a lifetime policy needs 'duration' or 'until'"),
            ("kind = \"lifetime\"\nduration = \"8h\"\nuntil = \"22:00\"", "p.toml:3: key 'until': give either 'duration' or 'until', not both"),
            ("kind = \"lifetime\"\n\nuntil = \"24:00\"", "p.toml:3: key 'until': '24:00' is no time of day; write \"22:00\", or \"next-charge\""),
            ("kind = \"lifetime\"\nduration = 0", "p.toml:2: key 'duration': must be more than 0"),
            ("kind = \"lifetime\"\nduration = \"8h\"\n# more\nresreve_percent = 5", "p.toml:4: key 'resreve_percent': unknown key; did you mean 'reserve_percent'?"),
            ("kind = \"lifetime\"\nduration = \"8h\"\nreserve_percent = 100", "p.toml:3: key 'reserve_percent': must be between 0 and 99, is 100"),
            ("kind = \"fixed\"\nwatts = \"1\"", "p.toml:2: key 'watts': expected a number, found a string"),
            ("kind = \"fixed\"\nwatts = -1", "p.toml:2: key 'watts': must be at least 0, is -1"),
            ("kind = \"fixed\"\nwatts = 1\nuntil = \"22:00\"", "p.toml:3: key 'until': unknown key; known here: description, kind, models, schedule, thermal, watts"),
            ("kind = \"levels\"", "p.toml:1: key 'level': a levels policy needs at least one [[level]]"),
            ("kind = \"levels\"\n[[level]]\nabove_percent = 20\nwatts = 1\n[[level]]\nabove_percent = 50\nwatts = 1", "p.toml:6: key 'level[1].above_percent': levels go from the fullest battery down; must be below 20.0 %"),
            ("kind = \"levels\"\n[[level]]\nabove_percent = 20\nwatts = 1", "p.toml:3: key 'level[0].above_percent': the last level must begin at 0, so that every charge has one"),
            ("kind = \"levels\"\nhysteresis_percent = 20\n[[level]]\nabove_percent = 90\nwatts = 1\n[[level]]\nabove_percent = 0\nwatts = 0", "p.toml:2: key 'hysteresis_percent': the highest level could never be entered again: 90 % + 20 % is over 100 %"),
            ("kind = \"unlimited\"\n[thermal]\nderate_from_celsius = 80\nderate_to_celsius = 70", "p.toml:4: key 'thermal.derate_to_celsius': must be above derate_from_celsius (80.0)"),
            ("kind = \"unlimited\"\n[thermal]\nderate_from_celsius = 80", "p.toml:2: key 'thermal.derate_to_celsius': belongs to derate_from_celsius; without both, trip points alone count"),
            ("kind = \"unlimited\"\n[thermal]\nderate_from_below_trip = 0\nderate_to_below_trip = 3", "p.toml:3: key 'thermal.derate_from_below_trip': must be more than derate_to_below_trip (3.0)"),
            ("kind = \"unlimited\"\n[thermal]\nderate_from_below_trip = 2\nderate_to_below_trip = 3", "p.toml:3: key 'thermal.derate_from_below_trip': must be more than derate_to_below_trip (3.0)"),
            ("kind = \"unlimited\"\n[models.vad]\nfloor = 1.2", "p.toml:3: key 'models.vad.floor': must be between 0 and 1, is 1.2"),
            ("kind = \"unlimited\"\n[models.vad]\nweight = 0", "p.toml:3: key 'models.vad.weight': must be between 0.001 and 1000, is 0"),
            ("kind = \"unlimited\"\n[models.vad]\nweight = 1e308", "p.toml:3: key 'models.vad.weight': must be between 0.001 and 1000, is 1e+308"),
            ("kind = \"unlimited\"\n[models.\"*\"]\nweight = nan", "p.toml:3: key 'models.\"*\".weight': must be a finite number, is nan"),
            ("kind = \"unlimited\"\n[models.vad]\ncritcal = true", "p.toml:3: key 'models.vad.critcal': unknown key; did you mean 'critical'?"),
            ("kind = \"unlimited\"\nmodels = 3", "p.toml:2: key 'models': expected a table, found an integer"),
            ("kind = \"unlimited\n", "p.toml:1:"),
        ])
    func errors(text: String, expected: String) {
        do {
            _ = try read(text)
            Issue.record("accepted")
        } catch {
            #expect(expected.hasSuffix(":") ? error.message.hasPrefix(expected) : error.message == expected)
        }
    }

    @Test("Differences from the defaults, and nothing else")
    func differences() throws {
        func keys(_ text: String) throws -> [String] { try read(text).differences.map(\.key) }
        #expect(try keys("kind = \"unlimited\"") == ["kind"])
        #expect(try keys("kind = \"lifetime\"\nduration = \"8h\"\nreserve_percent = 5\nmargin = 0.05") == ["kind", "duration"])
        let changed = try read(
            "kind = \"lifetime\"\nuntil = \"07:05\"\nreserve_percent = 10\n[models.\"*\"]\nweight = 2\n[models.vad]\ncritical = true"
        ).differences
        #expect(
            changed == [
                .init(key: "kind", value: "lifetime", standard: nil), .init(key: "until", value: "07:05", standard: nil),
                .init(key: "reserve_percent", value: "10.00", standard: "5.00"),
                .init(key: "models.\"*\".weight", value: "2.0000", standard: "1.0000"),
                .init(key: "models.vad.critical", value: "true", standard: "false"),
            ])
    }
}
