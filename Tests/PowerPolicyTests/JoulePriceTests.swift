import Testing
import Units

@testable import PowerPolicy

@Suite("What a joule is worth")
struct JoulePriceTests {
    /// Up to 1 W a joule earns ten times what it earns on the whole, up to 2 W twice, up to 4 W a tenth.
    static let rungs = [(10.0, 1.0), (2, 2), (0.1, 4)].map { PowerState.Rung(worth: $0.0, now: Watts($0.1), mean: Watts($0.1)) }

    private func price(share: Double = 0, least: Double = 0) -> JoulePrice {
        JoulePrice(rungs: Self.rungs, least: Watts(least), share: share, ordinary: 2)
    }

    @Test("Without doubt, what the last joule earns")
    func certain() {
        for (power, expected) in [(0.5, 10.0), (1.5, 2), (3, 0.1), (5, 0)] {
            let (worth, chance) = price().expected { _ in Watts(power) }
            #expect(abs(worth - expected) < 1e-9)
            #expect(abs(chance - 1) < 1e-9)
        }
    }

    @Test("Doubt raises the price where less would hurt more than more would help")
    func prudent() {
        let sure = price().expected { _ in Watts(2.5) }.worth
        let unsure = price().expected { Watts(2.5 - 0.8 * $0) }.worth
        #expect(sure < 0.2)
        #expect(unsure > 0.5)
    }

    @Test("A goal that only luck can meet does not stop ordinary service early on, but does at the end")
    func luck() {
        // Nine of ten futures leave nothing.
        func power(_ deviations: Double) -> Watts { Watts(deviations < -1.25 ? 0.5 : -1) }
        let early = price(share: 1).expected(power)
        let late = price(share: 0).expected(power)
        #expect(early.chance < 0.15)
        #expect(early.worth < 2)
        #expect(late.worth > 9)
    }

    @Test("Streams that may yet come are insured against while there is time")
    func insurance() {
        #expect(price(share: 0.5).expected { _ in Watts(3) }.worth > price(share: 0.01).expected { _ in Watts(3) }.worth)
    }
}
