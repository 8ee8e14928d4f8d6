import EnergyModel
import Testing
import Units

@testable import Decisions

@Suite("A sun that rises is not inference's doing")
struct TwilightTests {
    private func time(_ minutes: Double) -> MonotonicTime { MonotonicTime(nanoseconds: UInt64((1 + minutes * 60) * 1e9)) }

    private func learn(_ attribution: inout BatteryAttribution, draw: Double, own: Double, at minutes: Double) {
        attribution.observe(draw: Watts(draw), profiled: [("cpu", Watts(own))], noise: Watts(0.02 * draw), at: time(minutes))
    }

    /// Three hours of steady load, then a sun that takes off more and more while the plan steps down with the battery.
    @Test("What was learned while it rose unnoticed is taken back, and nothing is learned until it has set")
    func dawn() throws {
        var attribution = BatteryAttribution()
        var twilight = Twilight()
        func truth(_ minute: Int) -> (draw: Double, own: Double) {
            let own = minute < 180 ? (minute / 30 % 2 == 0 ? 0.1 : 0.05) : 0.1 - 0.002 * Double(minute - 180)
            let sun = minute < 180 ? 0 : 0.004 * Double(minute - 180)
            return (0.2 + own - sun, own)
        }
        var naive = BatteryAttribution()
        for minute in 0..<215 {
            let (draw, own) = truth(minute)
            #expect(!twilight.hides(&attribution, sun: false, mayShine: false, at: time(Double(minute))))
            learn(&attribution, draw: draw, own: own, at: Double(minute))
            learn(&naive, draw: draw, own: own, at: Double(minute))
        }
        let fooled = try #require(naive.factor(of: "cpu")).factor
        #expect(fooled > 1.15, "a rising sun should fool a learner that does not know of it: \(fooled)")
        #expect(twilight.hides(&attribution, sun: true, mayShine: true, at: time(215)))
        let kept = try #require(attribution.factor(of: "cpu")).factor
        #expect(abs(kept - 1) < 0.08, "\(kept) instead of 1")
        // Noticed no longer, it is still there.
        #expect(twilight.hides(&attribution, sun: false, mayShine: false, at: time(216)))
        #expect(twilight.hides(&attribution, sun: false, mayShine: false, at: time(259)))
        #expect(!twilight.hides(&attribution, sun: false, mayShine: false, at: time(261)))
        #expect(attribution.factor(of: "cpu")?.factor == kept)
    }

    @Test("A sun that shines from the first reading takes nothing back")
    func noon() {
        var attribution = BatteryAttribution()
        var twilight = Twilight()
        #expect(twilight.hides(&attribution, sun: true, mayShine: true, at: time(0)))
        #expect(attribution.knownUnits.isEmpty)
    }
}
