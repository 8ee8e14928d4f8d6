import Decisions
import Planner
import PowerPolicy
import Units

/// What another policy would have decided on a recorded day.
///
/// The other policy is asked at the moments at which something was decided, with power as it was read then. What it would have
/// saved or spent is not carried over into the battery, so that each decision is compared on the same ground; what its own
/// decisions left running is carried over, so that changes cost it what they would have cost.
public struct WhatIf: Sendable {
    /// What a stream would get or got.
    public struct Tally: Sendable, Equatable {
        public var running = Seconds.zero
        public var paused = Seconds.zero
        public var windows = 0.0
        /// By the energy model, as planned.
        public var energy = Joules.zero
        /// Quality x time.
        var qualitySeconds = 0.0
        /// Mean over the time that it was open, pauses counting as 0.
        public var quality: Double {
            let open = (running + paused).value
            return open > 0 ? qualitySeconds / open : 0
        }
    }
    public struct Account: Sendable, Equatable {
        public var stream: UInt64
        public var name: String
        public var model: String
        public var recorded = Tally()
        public var other = Tally()
    }
    /// A decision that would have been another.
    public struct Difference: Sendable, Equatable {
        public var number: Int
        public var clock: String
        public var recordedBudget: Watts?
        public var otherBudget: Watts?
        /// Whether the goal was out of reach: then there is no budget, and streams run for what they earn per joule.
        public var recordedIsInfeasible: Bool
        public var otherIsInfeasible: Bool
        /// For each stream that differs: its name, and both choices.
        public var streams: [(name: String, recorded: DecisionInputs.Choice?, other: DecisionInputs.Choice?)]

        public static func == (left: Difference, right: Difference) -> Bool { left.number == right.number && left.clock == right.clock }
    }

    public private(set) var accounts: [Account] = []
    public private(set) var differences: [Difference] = []
    public private(set) var decisions = 0
    /// Decisions that had to look further ahead than the recorded forecast reaches.
    public private(set) var extended = 0
    /// Decisions for which nothing was forecast yet.
    public private(set) var withoutForecast = 0

    private let policy: PowerPolicy
    private let name: String
    private var memory = PolicyMemory()
    private var price = 0.0
    /// What held at the decision before, of a policy with a schedule.
    private var last: PowerPolicy?
    private var running: [UInt64: Running] = [:]

    /// What a stream does since `from`.
    private struct Running: Sendable {
        var account: Int
        var from: MonotonicTime
        var recorded: Rate?
        var other: Rate?
        var choice: DecisionInputs.Choice?
        var since: MonotonicTime
    }
    private struct Rate: Sendable {
        var power: Watts
        var quality: Double
        /// Windows a second.
        var pace: Double
    }

    public init(policy: PowerPolicy, named name: String) {
        self.policy = policy
        self.name = name
    }

    public mutating func take(_ event: RecordedEvent) {
        switch event {
        case .decision(let record): take(record)
        case .closed(let stream, let time):
            settle(stream, upTo: time)
            running[stream] = nil
        case .booted:
            running = [:]
            memory = PolicyMemory()
            price = 0
        }
    }

    private mutating func take(_ record: DecisionRecord) {
        let now = record.inputs.state.monotonic
        for id in running.keys.sorted() { settle(id, upTo: now) }
        let live = Set(record.inputs.streams.map(\.request.id))
        running = running.filter { live.contains($0.key) }
        let recorded = record.inputs.derive()
        let outcome = inputs(for: record.inputs).derive()
        memory = outcome.memory
        price = outcome.price
        decisions += 1
        var difference = Difference(
            number: record.number, clock: record.clock, recordedBudget: record.outcome.budget, otherBudget: outcome.budget.watts,
            recordedIsInfeasible: record.outcome.goal == .infeasible, otherIsInfeasible: outcome.budget.goal == .infeasible, streams: [])
        for stream in record.inputs.streams {
            let id = stream.request.id
            let was = record.outcome.choices[id] ?? nil
            let choice = outcome.choice(of: id)
            if was != choice { difference.streams.append((record.name(of: id), was, choice)) }
            let known = running[id]
            let isSame = known.map { $0.choice?.variant == choice?.variant && $0.choice?.unit == choice?.unit } ?? false
            running[id] = Running(
                account: known?.account ?? account(of: stream), from: now,
                recorded: Self.rate(was, recorded.options[id], stream.request) { record.outcome.choices[$0] ?? nil != nil },
                other: Self.rate(choice, outcome.options[id], stream.request) { outcome.choice(of: $0) != nil },
                choice: choice, since: isSame ? known?.since ?? now : known == nil && choice == nil ? stream.openedAt : now)
        }
        if !difference.streams.isEmpty { differences.append(difference) }
    }

    private mutating func account(of stream: DecisionInputs.Stream) -> Int {
        accounts.append(Account(stream: stream.request.id, name: stream.request.name, model: stream.request.model))
        return accounts.count - 1
    }

    private static func rate(
        _ choice: DecisionInputs.Choice?, _ options: [RunOption]?, _ request: StreamRequest, runs: (UInt64) -> Bool
    ) -> Rate? {
        guard let choice, let option = options?.first(where: { DecisionInputs.Choice($0.plan) == choice })?.plan else { return nil }
        let duty = request.duty(runs)
        return Rate(power: option.power * duty, quality: option.quality, pace: duty / (request.hopTime.value * Double(choice.cadence)))
    }

    private mutating func settle(_ stream: UInt64, upTo now: MonotonicTime) {
        guard let state = running[stream] else { return }
        let span = max(.zero, now.since(state.from))
        func add(_ rate: Rate?, to tally: inout Tally) {
            guard let rate else { return tally.paused += span }
            tally.running += span
            tally.windows += rate.pace * span.value
            tally.energy += rate.power * span
            tally.qualitySeconds += rate.quality * span.value
        }
        add(state.recorded, to: &accounts[state.account].recorded)
        add(state.other, to: &accounts[state.account].other)
        running[stream]?.from = now
    }

    // MARK: The other policy's inputs

    private mutating func inputs(for recorded: DecisionInputs) -> DecisionInputs {
        var inputs = recorded
        let policy = policy.inForce(at: recorded.state.wall, utcOffset: recorded.state.utcOffset).policy
        inputs.policy = policy
        inputs.policyName = name
        // The very same policy remembers what it remembered, decisions included that changed nothing and were not recorded.
        if policy != recorded.policy {
            if let last, last != policy { memory = memory.forSuccessor }
            inputs.memory = memory
            inputs.lastPrice = price
        }
        for index in inputs.streams.indices {
            guard let known = running[inputs.streams[index].request.id] else {
                inputs.streams[index].current = nil
                inputs.streams[index].isPlaced = false
                continue
            }
            inputs.streams[index].current = known.choice
            inputs.streams[index].since = known.since
            inputs.streams[index].isPlaced = true
        }
        let state = inputs.state
        last = policy
        guard policy != recorded.policy else { return inputs }
        let left = policy.secondsLeft(at: state.monotonic, wall: state.wall, utcOffset: state.utcOffset, memory: memory, nextCharge: state.nextCharge)
        inputs.state.outlook = nil
        inputs.state.hopefulOutlook = nil
        guard let left else { return inputs }
        guard let outlook = recorded.state.outlook ?? recorded.prospect?.outlook else {
            withoutForecast += 1
            return inputs
        }
        if outlook.length.value < left.value - 1 { extended += 1 }
        inputs.state.outlook = outlook.fitted(to: left)
        inputs.state.hopefulOutlook = recorded.state.hopefulOutlook?.fitted(to: left)
        if let prospect = recorded.prospect {
            inputs.state.rest = prospect.rest
            inputs.state.restDeviation = prospect.restDeviation
        }
        return inputs
    }
}

extension Outlook {
    /// Cut to `length`, or drawn out to it: by what is a day before, and where there is no day yet by the mean.
    func fitted(to length: Seconds) -> Outlook {
        let own = self.length
        guard own.value > 0, !slots.isEmpty else { return self }
        var fitted: [Slot] = []
        var filled = 0.0
        let mean = total / own
        let deviation = slots.reduce(0) { $0 + $1.deviation.value * $1.length.value } / own.value
        for slot in slots where filled < length.value {
            let span = min(slot.length.value, length.value - filled)
            fitted.append(.init(length: Seconds(span), drain: slot.drain, deviation: slot.deviation))
            filled += span
        }
        // Weeks ahead, nobody knows a quarter of an hour from the next.
        let step = max(900, length.value / 1000)
        while length.value.isFinite, length.value - filled > 1e-3 {
            // What was drawn out already is a day before what follows.
            guard own.value >= 86400, let (slot, rest) = slot(at: filled.truncatingRemainder(dividingBy: 86400)) else {
                let span = min(step, length.value - filled)
                fitted.append(.init(length: Seconds(span), drain: mean, deviation: Watts(deviation)))
                filled += span
                continue
            }
            let span = min(max(rest, step > 900 ? step : 1), length.value - filled)
            fitted.append(.init(length: Seconds(span), drain: slot.drain, deviation: slot.deviation))
            filled += span
        }
        return Outlook(slots: fitted)
    }

    /// The slot at a time from the beginning, and how much of it is left; nil behind the end.
    private func slot(at time: Double) -> (slot: Slot, rest: Double)? {
        var begin = 0.0
        for slot in slots {
            if time < begin + slot.length.value { return (slot, begin + slot.length.value - time) }
            begin += slot.length.value
        }
        return nil
    }
}
