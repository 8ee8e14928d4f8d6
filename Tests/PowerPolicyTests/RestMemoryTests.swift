import Glibc
import JouledTestKit
import Testing
import Units

@testable import PowerPolicy

@Suite("What was seen of the rest of the device, kept over a restart")
struct RestMemoryTests {
    private static let day = 86400.0
    private static let midnight = 1_700_006_400.0

    /// Half a sine from six to six.
    private static func sun(_ second: Double, peak: Double = 3) -> Double {
        let inDay = second.truncatingRemainder(dividingBy: day)
        return inDay > 21600 && inDay < 64800 ? peak * sin(.pi * (inDay - 21600) / 43200) : 0
    }

    /// Readings by the minute from one hour to another, of a load of `base` watts.
    private static func see(
        _ forecaster: inout RestForecaster, from: Double, to: Double, base: Double = 1, peak: Double = 3, charging: (Double) -> Bool = { _ in false }
    ) {
        var random = SeededGenerator(seed: 7)
        for minute in Int(from * 60)..<Int(to * 60) {
            let second = Double(minute) * 60
            let net = base + 0.03 * random.normal() - sun(second, peak: peak) - (charging(second) ? 5 : 0)
            forecaster.observe(net: Watts(net), acOnline: charging(second), span: Seconds(60), secondOfDay: second.truncatingRemainder(dividingBy: day))
        }
    }

    /// As it is after a restart: saved at one hour, read at another.
    private static func restarted(_ forecaster: RestForecaster, at hour: Double, after gap: Double) throws -> RestForecaster {
        let wall = WallTime(secondsSince1970: midnight + hour * 3600)
        let text = forecaster.persistentText(at: wall, secondOfDay: (hour * 3600).truncatingRemainder(dividingBy: day))
        #expect(text.utf8.count < 20_000)
        return try RestForecaster(persistentText: text, name: "rest", at: WallTime(secondsSince1970: wall.secondsSince1970 + gap * 3600))
    }

    private func income(_ forecaster: RestForecaster, hour: Double) -> Double {
        let outlook = forecaster.outlook(from: (hour * 3600).truncatingRemainder(dividingBy: Self.day), for: Seconds(Self.day))
        return outlook.slots.reduce(0) { $0 + max(0, 1 - $1.drain.value) * $1.length.value }
    }

    @Test("A restart of a minute changes nothing that is forecast", arguments: [7.0, 20, 36, 61])
    func brief(hour: Double) throws {
        var forecaster = RestForecaster()
        Self.see(&forecaster, from: 0, to: hour) { second in (second / 3600).truncatingRemainder(dividingBy: 24) > 22 }
        let again = try Self.restarted(forecaster, at: hour, after: 1 / 60)
        let second = (hour * 3600).truncatingRemainder(dividingBy: Self.day)
        for hopeful in [false, true] {
            #expect(again.outlook(from: second, for: Seconds(100_000), hopeful: hopeful) == forecaster.outlook(from: second, for: Seconds(100_000), hopeful: hopeful))
        }
        #expect(again.showsSun == forecaster.showsSun && again.baseDeviation == forecaster.baseDeviation)
    }

    @Test("After hours the sun's and the charger's times are still known, the level of then is not", arguments: [0.5, 5, 20, 26])
    func hours(gap: Double) throws {
        var forecaster = RestForecaster()
        Self.see(&forecaster, from: 0, to: 44.5)
        var again = try Self.restarted(forecaster, at: 44.5, after: gap)
        let back = 44.5 + gap
        // By night or by day, the load is told from the sun.
        Self.see(&again, from: back, to: back + 0.5)
        let truth = stride(from: 0, to: Self.day, by: 60).reduce(0) { $0 + 60 * min(Self.sun($1), 3) }
        #expect(income(again, hour: back + 0.5) > 0.6 * truth && income(again, hour: back + 0.5) < 1.15 * truth, "\(income(again, hour: back + 0.5) / truth)")
        #expect(abs(again.baseLoad.value - 1) < 0.15, "\(again.baseLoad)")
        #expect(again.isCharging == (Self.sun((back + 0.5) * 3600) > 0.5))
    }

    @Test("A base load that changed meanwhile is learned within the hour", arguments: [true, false])
    func changed(hasSun: Bool) throws {
        var forecaster = RestForecaster()
        Self.see(&forecaster, from: 0, to: 44.5, peak: hasSun ? 3 : 0)
        var again = try Self.restarted(forecaster, at: 44.5, after: 1)
        #expect(again.hasData == hasSun)
        Self.see(&again, from: 45.5, to: 46.5, base: 2, peak: hasSun ? 3 : 0)
        #expect(abs(again.baseLoad.value - 2) < 0.2, "\(again.baseLoad)")
    }

    @Test("What is older than two days says nothing; a clock that is behind tells no age")
    func old() throws {
        var forecaster = RestForecaster()
        Self.see(&forecaster, from: 0, to: 44.5)
        // Saved at half past eight in the evening: 40 hours later what was seen before half past twelve is too old.
        let late = try Self.restarted(forecaster, at: 44.5, after: 40)
        #expect(late.harvest[40] == nil && late.harvest[52] != nil && late.harvest[68] != nil && late.harvest[95] == nil)
        let lost = [50.0, 1e6].map { gap in (try? Self.restarted(forecaster, at: 44.5, after: gap)) ?? forecaster }
        #expect(lost.allSatisfy { !$0.hasData && income($0, hour: 12) == 24 * 3600 && $0.harvest.allSatisfy { $0 == nil } })
        for behind in [-2.0, -50, -40_000] {
            var early = try Self.restarted(forecaster, at: 44.5, after: behind)
            #expect(early.harvest[40] != nil && early.harvest[95] != nil && early.ahead == WallTime(secondsSince1970: Self.midnight + 44.5 * 3600))
            // Once the clock is right, it tells what is too old.
            let wall = WallTime(secondsSince1970: Self.midnight + 84.5 * 3600)
            for minute in 0..<31 {
                early.observe(
                    net: Watts(1), acOnline: false, span: Seconds(60), secondOfDay: 12.5 * 3600 + Double(minute) * 60,
                    wall: WallTime(secondsSince1970: wall.secondsSince1970 + Double(minute) * 60))
            }
            #expect(early.harvest[40] == nil && early.harvest[60] != nil && early.harvest[95] == nil)
        }
    }

    @Test("A charger that no longer comes is forgotten by a device that runs at other times only", arguments: [true, false])
    func habits(isRestarted: Bool) throws {
        var forecaster = RestForecaster()
        /// Hours of a day, one reading a minute.
        func use(day: Int, _ hours: Range<Int>, charging: Bool) throws {
            for minute in hours.lowerBound * 60..<hours.upperBound * 60 {
                let second = Double(minute) * 60
                let wall = WallTime(secondsSince1970: Self.midnight + Double(day) * Self.day + second)
                forecaster.observe(net: Watts(charging ? -4 : 1), acOnline: charging, span: Seconds(60), secondOfDay: second, wall: wall)
            }
            guard isRestarted else { return }
            let end = WallTime(secondsSince1970: Self.midnight + Double(day) * Self.day + Double(hours.upperBound) * 3600)
            let text = forecaster.persistentText(at: end, secondOfDay: Double(hours.upperBound) * 3600)
            forecaster = try RestForecaster(persistentText: text, name: "rest", at: WallTime(secondsSince1970: end.secondsSince1970 + 3600))
        }
        for day in 0..<3 {
            try use(day: day, 0..<17, charging: false)
            try use(day: day, 18..<21, charging: true)
        }
        #expect(forecaster.charging[19 * 4].map { $0 > 0.9 } == true && forecaster.chargingDays[19 * 4] == 3)
        for day in 3..<7 { try use(day: day, 8..<10, charging: false) }
        #expect(forecaster.charging[19 * 4] == nil && forecaster.chargingDays[19 * 4] == 0)
        #expect(forecaster.charging[8 * 4] != nil)
    }

    @Test("Any damage is told with file and line, and nothing is taken")
    func damage() throws {
        var forecaster = RestForecaster()
        Self.see(&forecaster, from: 0, to: 20)
        let wall = WallTime(secondsSince1970: Self.midnight)
        let text = forecaster.persistentText(at: wall, secondOfDay: 100)
        for cut in stride(from: 0, to: text.utf8.count - 1, by: 97) {
            #expect { try RestForecaster(persistentText: String(text.prefix(cut)), name: "rest", at: wall) } throws: { "\($0)".hasPrefix("rest:") }
        }
        let body = text.split(separator: "checksum ")[0]
        for (old, new) in [
            ("elapsed ", "elapsed -"), ("elapsed ", "elapsed x"), ("at ", "at nan "), ("bin 3.0 ", "bin 96 "), ("load ", "loud "), ("jouled-rest 1", "jouled-rest 2"),
            ("long ", "long 1e300 "), ("bin 3.0 ", "bin 3.0 1 "), ("at ", "when "),
        ] {
            let broken = SealedLines.seal(String(body).replacing(old, with: new))
            #expect(broken != text)
            #expect { try RestForecaster(persistentText: broken, name: "rest", at: wall) } throws: { "\($0)".hasPrefix("rest:") }
        }
        // More than a day of loads is not ours.
        let long = SealedLines.seal(String(body) + String(repeating: "load 1.0\n", count: 100))
        #expect(throws: JouledError.self) { try RestForecaster(persistentText: long, name: "rest", at: wall) }
    }
}
