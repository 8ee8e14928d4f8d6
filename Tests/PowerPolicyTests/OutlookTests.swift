import Glibc
import JouledTestKit
import Testing
import Units

@testable import PowerPolicy

@Suite("Outlook: the power that can be kept up longest")
struct OutlookTests {
    private struct Day {
        var outlook: Outlook
        var energy: Double
        var capacity: Double
        var least: Double
        var reserve: Double
    }

    /// A day on which the battery could run empty, and on some could overflow.
    private func day(_ random: inout SeededGenerator) -> Day {
        let capacity = Double.random(in: 50...200, using: &random)
        let slots = (0..<Int.random(in: 1...16, using: &random)).map { _ in
            Outlook.Slot(
                length: Seconds(Double.random(in: 1...20, using: &random)), drain: Watts(Double.random(in: -10...6, using: &random)),
                deviation: Watts(Double.random(in: 0...0.5, using: &random)))
        }
        return Day(
            outlook: Outlook(slots: slots), energy: capacity * Double.random(in: 0.05...1, using: &random), capacity: capacity,
            least: capacity * 0.02, reserve: capacity * 0.1)
    }

    /// Powers by slot when the steady power is asked for anew at every slot's beginning, with the energies at their ends.
    private func follow(_ day: Day) -> (powers: [Double], energies: [Double]) {
        var energy = day.energy
        var powers: [Double] = []
        var energies: [Double] = []
        for index in day.outlook.slots.indices {
            let rest = Outlook(slots: Array(day.outlook.slots[index...]))
            let power = rest.steadyPower(
                energy: Joules(energy), capacity: Joules(day.capacity), least: Joules(day.least), reserve: Joules(day.reserve), caution: 0
            ).value
            let slot = day.outlook.slots[index]
            energy -= (power + slot.drain.value) * slot.length.value
            powers.append(power)
            energies.append(energy)
        }
        return (powers, energies)
    }

    /// Concave, increasing, and steep near nothing: the best path under it is that of every other such utility.
    private func utility(_ day: Day, _ powers: [Double]) -> Double {
        zip(day.outlook.slots, powers).reduce(0) { $0 + $1.0.length.value * log($1.1) }
    }

    @Test("Followed, it neither empties the battery nor lets it overflow, and ends at the reserve", arguments: seeds(500))
    func corridor(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        let day = day(&random)
        let (powers, energies) = follow(day)
        // Where even nothing is too much, the answer is negative, and there is no path.
        guard powers.allSatisfy({ $0 > 0 }) else { return }
        for (index, energy) in energies.enumerated() {
            let floor = index == energies.count - 1 ? day.reserve : day.least
            #expect(energy > floor - 1e-6 && energy < day.capacity + 1e-6, "seed \(seed), slot \(index)")
        }
        #expect(abs((energies.last ?? 0) - day.reserve) < 1e-6, "seed \(seed)")
    }

    @Test("No exchange of power between two slots that the battery allows earns more", arguments: seeds(500))
    func optimal(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        let day = day(&random)
        let (powers, _) = follow(day)
        guard powers.count > 1, powers.allSatisfy({ $0 > 1e-3 }) else { return }
        let best = utility(day, powers)
        for _ in 0..<200 {
            var other = powers
            let from = Int.random(in: 0..<powers.count, using: &random)
            let to = Int.random(in: 0..<powers.count, using: &random)
            let joules = Double.random(in: 0...0.5, using: &random) * powers[from] * day.outlook.slots[from].length.value
            other[from] -= joules / day.outlook.slots[from].length.value
            other[to] += joules / day.outlook.slots[to].length.value
            var energy = day.energy
            let isAllowed = zip(day.outlook.slots, other).allSatisfy { slot, power in
                energy -= (power + slot.drain.value) * slot.length.value
                return energy >= day.least - 1e-9 && energy <= day.capacity + 1e-9
            }
            guard isAllowed else { continue }
            #expect(utility(day, other) <= best + 1e-9, "seed \(seed): \(joules) J from slot \(from) to \(to)")
        }
    }

    @Test("Where nothing comes in, caution allows less, and what lasts survives", arguments: seeds(100))
    func monotonic(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        var day = day(&random)
        for index in day.outlook.slots.indices { day.outlook.slots[index].drain = Watts(day.outlook.slots[index].drain.value.magnitude) }
        func power(_ caution: Double) -> Double {
            // Below nothing, how far is of no meaning.
            max(
                0,
                day.outlook.steadyPower(
                    energy: Joules(day.energy), capacity: Joules(day.capacity), least: Joules(day.least), reserve: Joules(day.reserve),
                    caution: caution
                ).value)
        }
        let survival = day.outlook.survivalPower(energy: Joules(day.energy), least: Joules(day.least), caution: 0, within: day.outlook.length).value
        #expect(power(0) <= max(0, survival) + 1e-9, "seed \(seed)")
        #expect(power(1) <= power(0) && power(2) <= power(1), "seed \(seed)")
    }
}
