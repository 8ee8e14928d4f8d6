import Testing

@testable import Units

@Suite("Quantities")
struct QuantitiesTests {
    @Test("Worked numbers of the field: power times time is energy")
    func energyIsPowerTimesTime() {
        #expect((Watts(0.3) * Seconds(milliseconds: 8)).description == "2.40 mJ")
        #expect((Watts(1.8) * Seconds(milliseconds: 45)).description == "81.0 mJ")
        #expect(Joules(wattHours: 1) / Watts(1) == Seconds(3600))
    }

    @Test("Decimal text agrees with an independent rounding", arguments: [(0.005, 2, "0.01"), (-1.25, 1, "-1.3"), (-0.001, 2, "0.00"), (12345.678, 0, "12346"), (.infinity, 1, "inf")])
    func decimals(value: Double, places: Int, expected: String) {
        #expect(decimal(value, places: places) == expected)
    }

    @Test("Monotonic arithmetic neither wraps nor loses nanoseconds")
    func monotonic() {
        let start = MonotonicTime(nanoseconds: 4_000_000_000_000_000_001)
        #expect(start.advanced(by: Seconds(1)).nanoseconds == 4_000_000_001_000_000_001)
        #expect(MonotonicTime(nanoseconds: 5).advanced(by: Seconds(-1)).nanoseconds == 0)
        #expect(MonotonicTime(nanoseconds: 5).since(MonotonicTime(nanoseconds: 9)).value == -4e-9)
    }
}
