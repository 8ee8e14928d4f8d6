import JouledTestKit
import Testing
import Units

@testable import PowerTelemetry

@Suite("Virtual device")
struct VirtualDeviceTests {
    private func at(_ seconds: Double) -> MonotonicTime { MonotonicTime(nanoseconds: 7_000_000_000).advanced(by: Seconds(seconds)) }

    private func device(
        wattHours: Double = 1, percent: Double = 100, charger: Double = 5, plugged: Bool = false, load: Double = 1,
        period: Double = 60, quantum: Double = 1, noise: Double = 0, seed: UInt64 = 1
    ) -> VirtualDevice {
        VirtualDevice(
            .init(
                capacityWattHours: wattHours, initialPercent: percent, charger: Watts(charger), isPlugged: plugged, baseLoad: Watts(load),
                gauge: .init(period: Seconds(period), quantumPercent: quantum, powerNoise: noise, seed: seed)),
            start: at(0))
    }

    @Test("Energy is conserved over loads, inference, charging and death")
    func ledger() {
        var device = device(percent: 50)
        device.advance(to: at(600))
        #expect((device.storedEnergy.value - (1800 - 600)).magnitude < 1e-6)
        #expect(device.draw(Joules(200)) == Joules(200))
        #expect((device.storedEnergy.value - 1000).magnitude < 1e-6)
        device.advance(to: at(1700))
        #expect(device.isDead && device.storedEnergy == .zero)
        #expect(device.diedAt.map { ($0.since(at(1600)).value).magnitude < 1e-6 } == true)
        #expect(device.draw(Joules(1)) == .zero)
        // Dead, it draws nothing and comes back at 2 %: 72 J at 5 W.
        device.isPlugged = true
        device.advance(to: at(1714.3))
        #expect(device.isDead)
        device.advance(to: at(1714.5))
        #expect(!device.isDead)
        device.advance(to: at(10_000))
        #expect(device.trueFraction == 1)
        #expect(device.draw(Joules(5000)) == Joules(3600))
        #expect(device.isDead)
    }

    @Test("How the time is cut into steps makes no difference", arguments: seeds(40))
    func steps(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        let load = Double.random(in: 0...4, using: &random)
        let plugged = Bool.random(using: &random)
        let period = Double.random(in: 0.5...200, using: &random)
        var coarse = device(percent: Double.random(in: 0...100, using: &random), plugged: plugged, load: load, period: period, noise: 0.1)
        var fine = coarse
        var now = 0.0
        for _ in 0..<5 {
            now += Double.random(in: 0...2000, using: &random)
            var steps = (0..<20).map { _ in Double.random(in: 0...now, using: &random) }
            steps.sort()
            for step in steps { fine.advance(to: at(step)) }
            coarse.advance(to: at(now))
            fine.advance(to: at(now))
            let joules = Joules(Double.random(in: 0...50, using: &random))
            coarse.draw(joules)
            fine.draw(joules)
            #expect((coarse.storedEnergy.value - fine.storedEnergy.value).magnitude < 1e-3)
            #expect(coarse.isDead == fine.isDead)
            let (left, right) = (coarse.snapshot(at: at(now)), fine.snapshot(at: at(now)))
            #expect(((left.draw?.value.value ?? 0) - (right.draw?.value.value ?? 1)).magnitude < 1e-3)
            #expect(left.age == right.age)
        }
    }

    @Test("The gauge is stale by up to its period, and tells whole steps")
    func gauge() {
        var device = device(period: 60, quantum: 5)
        device.advance(to: at(3.6 * 30))
        let snapshot = device.snapshot(at: at(3.6 * 30))
        #expect((device.trueFraction - 0.97).magnitude < 1e-9)
        // Refreshed last at 60 s, at 98.3 %, which is nearer to 100 than to 95.
        #expect(snapshot.chargeFraction?.value == 1)
        #expect(snapshot.chargeFraction?.error == 0.025)
        #expect((snapshot.age.value - 48).magnitude < 1e-6)
        #expect((snapshot.draw?.value.value ?? 0) - 1 < 1e-9)
        #expect(snapshot.status == .discharging)
        #expect(snapshot.origin == "virtual")
        #expect(device.snapshot(at: at(500)) == device.snapshot(at: at(500)), "asking changes nothing")
    }

    @Test("Every reading's error covers the truth of its moment", arguments: seeds(20))
    func errors(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        var device = device(wattHours: 2, period: 30, quantum: 2, noise: 0.05, seed: seed)
        for step in 1...60 {
            device.advance(to: at(Double(step) * 30))
            let snapshot = device.snapshot(at: at(Double(step) * 30))
            let charge = snapshot.chargeFraction
            #expect(((charge?.value ?? 9) - device.trueFraction).magnitude <= (charge?.error ?? 0) + 1e-9)
            device.baseLoad = Watts(Double.random(in: 0.1...2, using: &random))
        }
    }

    @Test("The noise has the spread asked for, and belongs to the seed")
    func noise() {
        func powers(_ seed: UInt64) -> [Double] {
            let device = device(wattHours: 100, load: 1, period: 1, noise: 0.1, seed: seed)
            return (1...2000).map { device.snapshot(at: at(Double($0) + 0.5)).draw?.value.value ?? 0 }
        }
        let values = powers(1)
        let mean = values.reduce(0, +) / Double(values.count)
        let variance = values.map { ($0 - mean) * ($0 - mean) }.reduce(0, +) / Double(values.count)
        #expect((mean - 1).magnitude < 0.01)
        #expect((variance.squareRoot() - 0.1).magnitude < 0.01)
        #expect(powers(1) == values)
        #expect(powers(2) != values)
    }

    @Test("Inference shows in the next refresh; the charger at once")
    func visibility() {
        var device = device(period: 10, quantum: 0)
        device.advance(to: at(5))
        device.draw(Joules(20))
        #expect(device.snapshot(at: at(9)).draw?.value == Watts(1))
        #expect(((device.snapshot(at: at(10)).draw?.value.value ?? 0) - 3).magnitude < 1e-9)
        device.advance(to: at(11))
        device.isPlugged = true
        #expect(device.snapshot(at: at(11)).acOnline)
        #expect(device.snapshot(at: at(11)).status == .discharging)
        // The 11 J drawn before and the 9 s at 4 W of charging share a period.
        #expect(device.snapshot(at: at(30)).status != .discharging)
    }

    @Test("Both sources serve through one protocol")
    func sources() {
        let sysfs = FakeSysfs.laptop()
        var sources: [any PowerSource] = [PowerSupplyReader(sysfs: SysfsRoot(sysfs.path)), device(percent: 50)]
        for index in sources.indices { #expect(sources[index].snapshot(at: at(0)).chargeFraction?.value == 0.5) }
    }
}
