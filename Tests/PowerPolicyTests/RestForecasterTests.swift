import Glibc
import JouledTestKit
import Testing
import Units

@testable import PowerPolicy

@Suite("Forecast of the rest of the device")
struct RestForecasterTests {
    /// What a sun brings that rises at `rise` and sets as long before midnight, half a sine.
    private func sun(_ second: Double, rise: Double, peak: Double) -> Double {
        let inDay = second.truncatingRemainder(dividingBy: 86400)
        return inDay > rise && inDay < 86400 - rise ? peak * sin(.pi * (inDay - rise) / (86400 - 2 * rise)) : 0
    }

    /// Readings by the minute over `hours`, of a base load of a watt that jitters from one five minutes to the next.
    private func seen(
        hours: ClosedRange<Double>, seed: UInt64, jitter: Double = 0.05, harvest: (Double) -> Double = { _ in 0 },
        charging: (Double) -> Bool = { _ in false },
        load: (Double) -> Double = { _ in 1 }
    ) -> RestForecaster {
        var random = SeededGenerator(seed: seed)
        var forecaster = RestForecaster()
        var departure = 0.0
        for minute in Int(hours.lowerBound * 60)..<Int(hours.upperBound * 60) {
            if minute % 5 == 0 { departure = jitter * random.normal() }
            let second = Double(minute) * 60
            let online = charging(second)
            let net = load(second) + departure - harvest(second) - (online ? 5 : 0)
            forecaster.observe(net: Watts(net), acOnline: online, span: Seconds(60), secondOfDay: second.truncatingRemainder(dividingBy: 86400))
        }
        return forecaster
    }

    /// What an outlook expects to come in, over all of it.
    private func income(_ outlook: Outlook) -> Double { outlook.length.value - outlook.total.value }

    @Test("A base load without sun and charger goes on, and nothing that was never seen is counted on", arguments: seeds(20))
    func steady(seed: UInt64) {
        let forecaster = seen(hours: 0...6, seed: seed)
        for hopeful in [false, true] {
            let outlook = forecaster.outlook(from: 6 * 3600, for: Seconds(18 * 3600), hopeful: hopeful)
            #expect(abs(outlook.length.value - 18 * 3600) < 1e-6)
            #expect(outlook.slots.allSatisfy { abs($0.drain.value - 1) < 0.1 }, "seed \(seed): \(outlook.slots.map(\.drain))")
            #expect(abs(outlook.total.value / (18 * 3600) - 1) < 0.04, "seed \(seed)")
        }
        #expect(forecaster.baseDeviation.value > 0.005 && forecaster.baseDeviation.value < 0.08)
        #expect(!forecaster.isCharging && !forecaster.showsSun)
    }

    @Test("A load that rose is taken to fade in an hour at first, and to stay the longer the longer it has been there", arguments: seeds(10))
    func lasting(seed: UInt64) {
        // From 1 W to 1.6 W at six; what is added to six more hours of 1 W, as a share of what would be were it to stay.
        func share(after hours: Double) -> Double {
            let forecaster = seen(hours: 0...6 + hours, seed: seed, load: { $0 < 6 * 3600 ? 1 : 1.6 })
            let outlook = forecaster.outlook(from: (6 + hours) * 3600, for: Seconds(6 * 3600))
            return (outlook.total.value / outlook.length.value - 1) / 0.6
        }
        let (soon, later) = (share(after: 1), share(after: 4))
        #expect(soon > 0.08 && soon < 0.3, "seed \(seed): \(soon)")
        #expect(later > 0.33 && later > 1.8 * soon, "seed \(seed): \(later) after \(soon)")
        #expect(share(after: 8) > 0.85, "seed \(seed)")
    }

    @Test("A sun that rises is expected to rise on and to set, never brighter than it gets", arguments: seeds(20))
    func risingSun(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        let rise = Double.random(in: 5.5...7.5, using: &random) * 3600
        let peak = Double.random(in: 2...4, using: &random)
        // Two and a half hours after it rose, of which the first half hour looks like a lull.
        let now = rise + 2.5 * 3600
        let forecaster = seen(hours: 0...now / 3600, seed: seed, harvest: { sun($0, rise: rise, peak: peak) })
        #expect(forecaster.showsSun)
        let truth = stride(from: now, to: 86400, by: 60).reduce(0) { $0 + 60 * sun($1, rise: rise, peak: peak) }
        let expected = income(forecaster.outlook(from: now, for: Seconds(86400 - now)))
        #expect(expected > 0.55 * truth && expected < truth, "seed \(seed): \(expected / truth) of what comes")
        let night = forecaster.outlook(from: now, for: Seconds(86400 - now)).slots.suffix(8)
        #expect(night.allSatisfy { abs($0.drain.value - 1) < 0.2 }, "seed \(seed): no sun at night")
    }

    @Test("The next day's sun is like the last one's, less what clouds may take", arguments: seeds(10))
    func nextDay(seed: UInt64) {
        let rise = 6.0 * 3600
        let forecaster = seen(hours: 0...20, seed: seed, harvest: { sun($0, rise: rise, peak: 2.5) })
        #expect(!forecaster.isCharging)
        let outlook = forecaster.outlook(from: 20 * 3600, for: Seconds(86400))
        let truth = stride(from: 0.0, to: 86400, by: 60).reduce(0) { $0 + 60 * sun($1, rise: rise, peak: 2.5) }
        #expect(income(outlook) > 0.7 * truth && income(outlook) < truth, "seed \(seed): \(income(outlook) / truth)")
        #expect(income(forecaster.outlook(from: 20 * 3600, for: Seconds(86400), hopeful: true)) > income(outlook))
    }

    @Test("A device whose clock shows another place's time finds out when its noon is", arguments: [20.0, 6.5, 4.0])
    func otherClock(noon: Double) {
        // From four in the morning by the sun to ten at night.
        let shift = (noon - 12) * 3600
        func shine(_ second: Double) -> Double { sun((second - shift + 2 * 86400).truncatingRemainder(dividingBy: 86400), rise: 6 * 3600, peak: 3) }
        let begin = (noon + 24 - 8).truncatingRemainder(dividingBy: 24)
        for hours in [11.0, 14.5, 18] {
            let forecaster = seen(hours: begin...begin + hours, seed: 5, harvest: shine)
            let now = (begin + hours) * 3600
            let truth = stride(from: now, to: now + 36000, by: 60).reduce(0) { $0 + 60 * shine($1) }
            let expected = income(forecaster.outlook(from: now.truncatingRemainder(dividingBy: 86400), for: Seconds(36000)))
            #expect(expected < truth + 0.1 * 36000, "\(hours) h after the beginning: \(expected / 3600) Wh of \(truth / 3600) Wh")
        }
    }

    @Test("A sun that does not rise on the second day is not waited for until noon")
    func cellar() {
        let forecaster = seen(hours: 0...34, seed: 2, harvest: { $0 < 86400 ? sun($0, rise: 6 * 3600, peak: 3) : 0 })
        let expected = income(forecaster.outlook(from: 10 * 3600, for: Seconds(8 * 3600)))
        let before = stride(from: 36000.0, to: 64800, by: 60).reduce(0) { $0 + 60 * sun($1, rise: 6 * 3600, peak: 3) }
        #expect(expected < 0.25 * before, "\(expected / before) of what the day before brought")
    }

    @Test("A load that falls at once is no sun, whatever a single odd reading said", arguments: [false, true])
    func falls(odd: Bool) {
        var forecaster = RestForecaster()
        for minute in 0..<105 {
            let net = minute == 20 && odd ? -6.0 : minute < 45 ? 6 : 2
            forecaster.observe(net: Watts(net), acOnline: false, span: Seconds(60), secondOfDay: 13 * 3600 + Double(minute) * 60)
        }
        let outlook = forecaster.outlook(from: 53100, for: Seconds(6 * 3600))
        #expect(outlook.total.value / outlook.length.value < 2.6, "an hour after it fell from 6 to 2 W")
        #expect(!forecaster.isCharging)
    }

    @Test("What inference may have been overestimated by is no sun")
    func overestimated() {
        var forecaster = RestForecaster()
        for minute in 0..<120 {
            forecaster.observe(net: Watts(-0.1), acOnline: false, span: Seconds(60), secondOfDay: Double(minute) * 60, doubt: Watts(0.2))
        }
        #expect(!forecaster.isCharging && !forecaster.showsSun)
    }

    @Test("A load that doubles for good is planned with within a day")
    func doubles() {
        var forecaster = RestForecaster()
        for minute in 0..<4 * 1440 {
            forecaster.observe(net: Watts(minute < 3 * 1440 ? 2 : 4), acOnline: false, span: Seconds(60), secondOfDay: Double(minute % 1440) * 60)
        }
        #expect(forecaster.baseLoad.value > 3.9)
    }

    @Test("A night on the charger is no income of the day, not even if its plug was loose once")
    func loosePlug() {
        var forecaster = RestForecaster()
        var second = 22 * 3600.0
        func look(_ net: Double, _ online: Bool, _ span: Double) {
            forecaster.observe(net: Watts(net), acOnline: online, span: Seconds(span), secondOfDay: second.truncatingRemainder(dividingBy: 86400))
            second += span
        }
        for _ in 0..<30 { look(3, false, 60) }
        for minute in 0..<600 { minute == 300 ? look(3, false, 10) : look(-10, true, 60) }
        for _ in 0..<60 { look(3, false, 60) }
        let outlook = forecaster.outlook(from: second.truncatingRemainder(dividingBy: 86400), for: Seconds(8 * 3600))
        #expect(outlook.total.value / outlook.length.value > 2.8)
    }

    @Test("Charging that comes back is counted on by half, once is not enough")
    func chargers() {
        func cradle(_ every: Double) -> (Double) -> Bool { { $0.truncatingRemainder(dividingBy: every) >= every - 300 } }
        let once = seen(hours: 0...2.5, seed: 1, charging: cradle(7200))
        #expect(abs(income(once.outlook(from: 9000, for: Seconds(36000)))) < 0.05 * 36000)
        let often = seen(hours: 0...8.5, seed: 1, charging: cradle(7200))
        let truth = 5 * 300.0 / 7200 * 36000
        let expected = income(often.outlook(from: 30600, for: Seconds(36000)))
        #expect(expected > 0.3 * truth && expected < 0.8 * truth, "\(expected / truth) of what comes")
    }

    @Test("Readings that are no numbers, and spans over nights, change nothing", arguments: [(Double.nan, 60.0), (.infinity, 60), (1, .nan), (1, -1), (1, 30000)])
    func bad(net: Double, span: Double) {
        var forecaster = seen(hours: 0...3, seed: 3)
        let before = forecaster.outlook(from: 10800, for: Seconds(7200))
        forecaster.observe(net: Watts(net), acOnline: false, span: Seconds(span), secondOfDay: 10800)
        #expect(forecaster.outlook(from: 10800, for: Seconds(7200)) == before)
    }
}
