import Decisions
import PowerPolicy
import PowerTelemetry
import Systemd
import Units
import Wire

/// A look at the battery, with the temperature.
struct PowerReading: Sendable, Equatable {
    var snapshot: BatterySnapshot
    var temperature: Celsius?
    /// How far the device is below the nearest hot or critical trip point, and the nearest passive one.
    var tripMargin: Celsius?
    var passiveMargin: Celsius?
    var readAt: MonotonicTime
    var problems: [String]
    /// Energy by the device's counters since the reading before; nil without such.
    var meter: EnergySample?
    /// CPU time of all programs since the reading before.
    var busy: Seconds?
    /// How long the device was suspended since the reading before.
    var slept = Seconds.zero

    var acOnline: Bool { snapshot.acOnline }
    /// 0 to 1; nil without a battery.
    var chargeFraction: Double? { snapshot.chargeFraction?.value }

    var forEngine: DecisionEngine.Reading {
        let energy = snapshot.energyNow
        let full = snapshot.energyFull?.value
        // A gauge that only knows percent is as wrong as its step, in energy if the capacity is known.
        let error = energy?.error ?? full.map { $0 * (snapshot.chargeFraction?.error ?? 0) } ?? .zero
        let battery = snapshot.hasBattery
            ? PowerState.Battery(energy: energy?.value, full: full, charge: chargeFraction, error: error, age: energy?.age ?? snapshot.age)
            : nil
        let age = snapshot.draw?.age ?? snapshot.age
        return DecisionEngine.Reading(
            battery: battery, draw: snapshot.draw?.value, acOnline: acOnline, temperature: temperature, tripMargin: tripMargin,
            passiveMargin: passiveMargin, takenAt: readAt.advanced(by: -age))
    }

    var json: JSONValue {
        guard snapshot.batteryCount > 0 || !problems.isEmpty else { return .null }
        return [
            "energyJoules": snapshot.energyNow.map { .double($0.value.value) } ?? .null,
            "fullJoules": snapshot.energyFull.map { .double($0.value.value) } ?? .null,
            "charge": chargeFraction.map { .double($0) } ?? .null,
            "drawWatts": snapshot.draw.map { .double($0.value.value) } ?? .null,
            "charging": .bool(snapshot.status == .charging), "acOnline": .bool(acOnline),
            "ageSeconds": .double(snapshot.age.value), "origin": .string(snapshot.origin ?? ""),
            "problems": JSONValue(problems),
        ]
    }
}

/// The true state of the virtual device.
struct VirtualDeviceState: Sendable, Equatable {
    var chargerPluggedIn: Bool
    var base: Watts
    var energy: Joules
}

/// Reads power where reading may block (a gauge on a slow bus takes milliseconds), off the control loop.
actor PowerMonitor {
    private nonisolated let loop: EventLoop
    nonisolated var unownedExecutor: UnownedSerialExecutor { loop.asUnownedSerialExecutor() }
    private let clocks = SystemClocks()
    private let thermal: ThermalReader?
    private var source: Source
    private let inferenceFactor: Double
    private var meter: EnergyCounterReader?
    private let rail: RailReader?
    private let processor = ProcessorTime()
    private var busyBefore: Seconds?
    /// How far boot time is ahead of monotonic time: by the time that the device slept.
    private var sleep: Seconds?

    private enum Source {
        case sysfs(PowerSupplyReader)
        case virtual(VirtualDevice)
    }

    init(_ configuration: DaemonConfiguration, loop: EventLoop) {
        self.loop = loop
        let sysfs = SysfsRoot(configuration.power.sysfsRoot)
        inferenceFactor = configuration.virtualDevice.inferenceFactor
        switch configuration.power.source {
        case .sysfs:
            source = .sysfs(PowerSupplyReader(sysfs: sysfs))
            thermal = ThermalReader(sysfs: sysfs)
            meter = configuration.power.meter.map { EnergyCounterReader(sysfs: sysfs, source: $0) }
            rail = configuration.power.rail.map { name in
                let parts = name.split(separator: "/", maxSplits: 1).map(String.init)
                return RailReader(sysfs: sysfs, chip: parts.first ?? "", label: parts.count > 1 ? parts[1] : nil)
            }
        case .virtual:
            source = .virtual(VirtualDevice(.init(configuration.virtualDevice), start: clocks.monotonic()))
            thermal = nil
            meter = nil
            rail = nil
        }
    }

    func read() -> PowerReading {
        let now = clocks.monotonic()
        let heat = thermal?.snapshot()
        var snapshot: BatterySnapshot
        switch source {
        case .sysfs(var reader):
            snapshot = reader.snapshot(at: now)
            source = .sysfs(reader)
        case .virtual(var device):
            device.advance(to: now)
            snapshot = device.snapshot(at: now)
            source = .virtual(device)
        }
        if let rail, snapshot.hasBattery, snapshot.draw == nil, !snapshot.acOnline {
            let (power, problem) = rail.power()
            snapshot.draw = power
            if let problem { snapshot.problems.append(problem) }
        }
        let sample = meter?.sample(at: now)
        var reading = PowerReading(
            snapshot: snapshot, temperature: heat?.hottest?.value, tripMargin: heat?.margin, passiveMargin: heat?.passiveMargin, readAt: now,
            problems: snapshot.problems + (heat?.problems ?? []) + (sample?.problems ?? []))
        if let sample, sample.span > .zero { reading.meter = sample }
        if meter != nil, let busy = processor.busy() {
            reading.busy = busyBefore.map { busy - $0 }
            busyBefore = busy
        }
        let ahead = clocks.boot().since(now)
        reading.slept = max(.zero, ahead - (sleep ?? ahead))
        sleep = ahead
        return reading
    }

    /// Takes what inference spent out of the virtual battery; real ones feel it by themselves.
    /// - Parameter profiled: as the profiles say.
    func draw(_ profiled: Joules) {
        guard case .virtual(var device) = source else { return }
        device.advance(to: clocks.monotonic())
        device.draw(profiled * inferenceFactor)
        source = .virtual(device)
    }

    /// Changes the virtual device; nil if power is read from the kernel.
    func setVirtualDevice(chargerPluggedIn: Bool?, base: Watts?) -> VirtualDeviceState? {
        guard case .virtual(var device) = source else { return nil }
        device.advance(to: clocks.monotonic())
        if let chargerPluggedIn { device.isPlugged = chargerPluggedIn }
        if let base { device.baseLoad = base }
        source = .virtual(device)
        return VirtualDeviceState(chargerPluggedIn: device.isPlugged, base: device.baseLoad, energy: device.storedEnergy)
    }
}

extension VirtualDevice.Settings {
    fileprivate init(_ settings: DaemonConfiguration.VirtualDeviceSettings) {
        self.init(
            capacityWattHours: settings.capacity.wattHours, initialPercent: settings.initialPercent, charger: settings.charger,
            baseLoad: settings.base,
            gauge: .init(
                period: settings.gaugePeriod, quantumPercent: settings.gaugeQuantumPercent, powerNoise: settings.gaugePowerNoise,
                seed: UInt64(bitPattern: Int64(settings.seed))))
    }
}
