import JouledTestKit
import Testing

@testable import Planner

@Suite struct DualSimplexTests {
    /// All combinations of a few options are the choices, so that what the relaxation would pick is found by looking at each.
    @Test func noPricesGiveALowerBound() {
        for seed in UInt64(1)...300 {
            var random = SeededGenerator(seed: seed)
            let resources = Int.random(in: 1...4, using: &random)
            let streams = Int.random(in: 1...4, using: &random)
            // A pause first, then options of some worth and use.
            let options: [[(worth: Double, use: [Double])]] = (0..<streams).map { _ in
                [(Double.random(in: -2...0, using: &random), [Double](repeating: 0, count: resources))]
                    + (0..<Int.random(in: 1...4, using: &random)).map { _ in
                        (Double.random(in: 0...3, using: &random), (0..<resources).map { _ in Bool.random(using: &random) ? Double.random(in: 0...1, using: &random) : 0 })
                    }
            }
            var choices: [(worth: Double, use: [Double])] = [(0, [Double](repeating: 0, count: resources))]
            for stream in options { choices = choices.flatMap { choice in stream.map { (choice.worth + $0.worth, zip(choice.use, $0.use).map(+)) } } }
            func best(_ prices: [Double]) -> (value: Double, choice: Int) {
                var top = (value: -Double.infinity, choice: 0)
                for (index, choice) in choices.enumerated() {
                    let value = choice.worth - zip(prices, choice.use).reduce(0) { $0 + $1.0 * $1.1 }
                    if value > top.value { top = (value, index) }
                }
                return top
            }
            // Capacities are 1 each.
            func bound(_ prices: [Double]) -> Double { best(prices).value + prices.reduce(0, +) }
            var simplex = DualSimplex(resources: resources, worth: options.reduce(0) { $0 + $1[0].worth })
            var steps = 0
            while steps < 200 {
                simplex.price()
                let top = best(Array(simplex.prices.prefix(resources)))
                guard top.value > simplex.level + 1e-10 else { break }
                for resource in 0..<resources { simplex.entering[resource] = choices[top.choice].use[resource] }
                guard simplex.enter(worth: choices[top.choice].worth) else { break }
                steps += 1
            }
            #expect(steps < 200, "seed \(seed): it goes in circles")
            let prices = Array(simplex.prices.prefix(resources))
            let lowest = bound(prices)
            // What the mix is worth: no choice adds to it any more.
            #expect(abs(simplex.level + prices.reduce(0, +) - lowest) < 1e-8, "seed \(seed)")
            // No whole choice within the capacities is worth more, and other prices give no lower bound, near or far.
            for choice in choices where choice.use.allSatisfy({ $0 <= 1 }) { #expect(choice.worth <= lowest + 1e-9, "seed \(seed)") }
            for _ in 0..<200 {
                let near = Bool.random(using: &random)
                let other = prices.map { max(0, near ? $0 + Double.random(in: -0.1...0.1, using: &random) : Double.random(in: 0...4, using: &random)) }
                #expect(bound(other) >= lowest - 1e-9, "seed \(seed): \(other)")
            }
        }
    }
}
