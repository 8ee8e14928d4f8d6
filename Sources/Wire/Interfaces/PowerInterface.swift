/// `io.jouled.Power`: battery, budget and the decisions that follow from them.
public let powerInterfaceText = """
    # Battery, budget and decisions.
    interface io.jouled.Power

    # The battery as telemetry tells it.
    type Battery (
      # Stored energy in joules; null if the device does not tell.
      energyJoules: ?float,
      # Energy in joules when it is full; null if the device does not tell.
      fullJoules: ?float,
      # 0 to 1; null if the device does not tell.
      charge: ?float,
      # Power drawn from the battery in watts, negative while charging; null if the device does not tell.
      drawWatts: ?float,
      # Whether the battery is being charged.
      charging: bool,
      # Whether external power is connected.
      acOnline: bool,
      # Age of the reading.
      ageSeconds: float,
      # Where it was read.
      origin: string,
      # What was wrong with the readings, naming the file.
      problems: []string
    )

    # Power and what follows from it.
    type Status (
      # Null on a device without one.
      battery: ?Battery,
      # Watts that inference may draw; null means no limit.
      budgetWatts: ?float,
      # Watts that the present plan expects inference to draw.
      plannedWatts: float,
      # Watts that inference drew since the last reading, by the energy model.
      inferenceWatts: float,
      # Estimate of the rest of the device; null before there is one.
      restWatts: ?float,
      # Standard deviation of that estimate; null before there is one.
      restDeviationWatts: ?float,
      # What holds the plan back: none, power, utilization, memory, latency, floor or price (its energy is worth more later).
      bindingConstraint: string,
      # Utility gained by one more watt.
      utilityPerWatt: float,
      # Name of the policy in force.
      policy: string,
      # Why the budget is what it is, in words.
      reason: string,
      # none, feasible or infeasible.
      goal: string,
      # Until the goal; null without one.
      secondsLeft: ?float,
      # Terms of the budget's arithmetic, each `name = value`.
      terms: []string,
      # The part of the day whose rules hold, by the policy's schedule; null if none does.
      schedule: ?string,
      # What clients hold.
      holds: []Hold,
      # Decisions so far.
      decisions: int,
      # What keeps the daemon from doing its job; empty when all is well.
      problems: []string
    )

    # What a client asks for as long as it lives; see io.jouled.Policy.Hold.
    type Hold (
      # Its number.
      hold: int,
      # User id of the client.
      uid: int,
      # Floors and policy, in words.
      effect: string,
      # The client's own words; empty for those who may not know.
      reason: string,
      # How long it has been held.
      sinceSeconds: float
    )

    # One change of plan.
    type Decision (
      # Counted over restarts.
      number: int,
      # Seconds since the daemon started.
      atSeconds: float,
      # What made the daemon think again: stream-opened, stream-closed, power, policy, tick.
      trigger: string,
      # Number of the stream that it concerns.
      stream: int,
      # The client's own name for it, or the model's.
      streamName: string,
      # The stream's model.
      model: string,
      # What ran before: `variant on unit, cadence, coalescing`, or `paused`, or `none` before the first.
      from: string,
      # What runs from now on, in the same form.
      to: string,
      # Watts that inference could draw; null means no limit.
      budgetWatts: ?float,
      # Of the battery, 0 to 1; null if it is not known.
      charge: ?float,
      # Power that this stream is expected to draw from now on.
      predictedWatts: float,
      # Validated quality from now on, 0 to 1 relative to the FP32 baseline.
      quality: float,
      # What held the plan back: none, power, utilization, memory, latency, floor or price (its energy is worth more later).
      bindingConstraint: string,
      # What came second for this stream, in words; its utility is weight x quality less what its energy is worth, without the cost of changing.
      runnerUp: string,
      # Why, in words.
      reason: string,
      # Number of the stream that lets it sleep; null without one.
      gate: ?int,
      # Share of time that it is reckoned to be awake; null without a gate.
      duty: ?float
    )

    # What a stream did on one variant within a stretch of time.
    type HistoryShare (
      # Number of the stream.
      stream: int,
      # The client's own name for it, or the model's.
      name: string,
      # Its model.
      model: string,
      # The variant.
      variant: string,
      # Windows answered in the stretch.
      windows: int,
      # Energy spent in the stretch, by the energy model.
      joules: float,
      # Wake-ups of the whole stream in the stretch, told with its first variant; 0 with the others.
      wakes: int,
      # Validated quality at the end of the stretch; 0 if the stream was paused or had ended.
      quality: float
    )

    # A minute of the device's life, or longer where nothing went on.
    type HistoryPoint (
      # The end of the stretch, in seconds since 1970.
      timeSeconds: float,
      # Its length.
      spanSeconds: float,
      # Charge of the battery at the end, 0 to 1; null if it is not known.
      charge: ?float,
      # Power drawn from the battery at the end, negative while charging; null if it is not known.
      drawWatts: ?float,
      # Whether external power was connected at the end.
      acOnline: bool,
      # Watts that inference could draw at the end; null means no limit.
      budgetWatts: ?float,
      # Watts that the plan expected inference to draw at the end.
      plannedWatts: float,
      # Estimate of the rest of the device; null before there is one.
      restWatts: ?float,
      # The policy in force.
      policy: string,
      # none, feasible or infeasible.
      goal: string,
      # Who did what; streams without a window in the stretch are left out.
      streams: []HistoryShare
    )

    # A change of plan, kept over restarts.
    type HistoryDecision (
      # When, in seconds since 1970.
      timeSeconds: float,
      # Its number, as in Decision.
      number: int,
      # The client's own name for the stream, or the model's.
      streamName: string,
      # The stream's model.
      model: string,
      # What ran before, as in Decision.
      from: string,
      # What ran from then on.
      to: string,
      # What made the daemon think again.
      trigger: string,
      # Validated quality from then on.
      quality: float,
      # Why, in words.
      reason: string
    )

    # With `more`: the present state first, then after each reading or decision.
    method GetStatus() -> (
      # The present state.
      status: Status
    )

    # The latest decisions, oldest first. With `more`: then each new one.
    method ListDecisions(
      # At most so many in the first reply; all that are kept (512) if absent.
      limit: ?int
    ) -> (
      # Oldest first.
      decisions: []Decision
    )

    # What the daemon keeps over restarts, a page at a time. For admins.
    method History(
      # Not what is older, in seconds since 1970; all that is kept if absent.
      sinceSeconds: ?float,
      # `next` of the page before; the first page if absent.
      after: ?int,
      # Points and decisions of the page together, at most 500; 500 if absent.
      limit: ?int
    ) -> (
      # Oldest first.
      points: []HistoryPoint,
      # Oldest first.
      decisions: []HistoryDecision,
      # What to ask for next as `after`; null with the last page.
      next: ?int
    )
    """
