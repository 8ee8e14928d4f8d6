/// `io.jouled.Power`: battery, budget and the decisions that follow from them.
public let powerInterfaceText = """
    # Battery, budget and decisions.
    interface io.jouled.Power

    # The battery as telemetry tells it.
    type Battery (
      # Stored energy in joules; null if the device does not tell.
      energyJoules: ?float,
      fullJoules: ?float,
      # 0 to 1.
      charge: ?float,
      # Power drawn from the battery in watts; negative while charging.
      drawWatts: ?float,
      charging: bool,
      acOnline: bool,
      # Age of the reading.
      ageSeconds: float,
      # Where it was read.
      origin: string,
      # What was wrong with the readings, naming the file.
      problems: []string
    )

    type Status (
      battery: ?Battery,
      # Watts that inference may draw; null means no limit.
      budgetWatts: ?float,
      # Watts that the present plan expects inference to draw.
      plannedWatts: float,
      # Watts that inference drew since the last reading, by the energy model.
      inferenceWatts: float,
      # Estimate of the rest of the device.
      restWatts: ?float,
      restDeviationWatts: ?float,
      # What holds the plan back: none, power, utilization, memory, latency or floor.
      bindingConstraint: string,
      # Utility gained by one more watt.
      utilityPerWatt: float,
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
      hold: int,
      uid: int,
      # Floors and policy, in words.
      effect: string,
      # The client's own words; empty for those who may not know.
      reason: string,
      sinceSeconds: float
    )

    # One change of plan.
    type Decision (
      number: int,
      # Seconds since the daemon started.
      atSeconds: float,
      # What made the daemon think again: stream-opened, stream-closed, power, policy, tick.
      trigger: string,
      stream: int,
      streamName: string,
      model: string,
      # `variant/unit x cadence, coalescing`, or `paused`, or `none` before the first.
      from: string,
      to: string,
      budgetWatts: ?float,
      charge: ?float,
      predictedWatts: float,
      quality: float,
      bindingConstraint: string,
      runnerUp: string,
      reason: string
    )

    # With `more`: the present state first, then after each reading or decision.
    method GetStatus() -> (status: Status)

    # The latest decisions, oldest first. With `more`: then each new one.
    method ListDecisions(limit: ?int) -> (decisions: []Decision)
    """

/// `io.jouled.Models`: what can be served.
public let modelsInterfaceText = """
    # Models that can be served.
    interface io.jouled.Models

    type Variant (
      name: string,
      scheme: string,
      bytes: int,
      # Validated quality relative to the baseline, 0 to 1.
      quality: float,
      # False if it broke a declared threshold: the planner never uses it.
      usable: bool,
      # Energy per window with one window a wake-up; null if not profiled on this device.
      joulesPerWindow: ?float,
      # 99th percentile of the time to compute one window.
      p99Ms: ?float,
      # metered, battery or modelled.
      basis: string
    )

    type Model (
      name: string,
      version: int,
      summary: string,
      licence: string,
      kind: string,
      sampleRateHz: int,
      windowSamples: int,
      hopSamples: int,
      variants: []Variant
    )

    # `problems` names bundles that cannot be served, with the reason.
    method List() -> (models: []Model, problems: []string)
    """

/// `io.jouled.Policy`: which policy rules.
public let policyInterfaceText = """
    # Which power policy rules.
    interface io.jouled.Policy

    type Policy (
      # File name without `.toml`.
      name: string,
      # lifetime, levels, fixed or unlimited; empty if the file is not valid.
      kind: string,
      description: string,
      active: bool,
      # What is wrong with the file, naming line and key; empty if it is valid.
      problem: string
    )

    method List() -> (policies: []Policy)
    # Makes a policy the active one, and remembers it over restarts. A bad one changes nothing.
    method Set(name: string) -> ()
    # Reads the active policy's file again. A bad one changes nothing.
    method Reload() -> ()

    type Floor (
      # A model's name, or `*` for all.
      model: string,
      # Lowest acceptable quality of a variant, 0 to 1.
      floor: float
    )

    # Asks for floors, or for another policy, until the connection is closed or upgraded. Give one of them at least. A policy is
    # for admins. Floors that others ask for count for their own streams. Of several policies the newest holds.
    method Hold(reason: string, floors: ?[]Floor, policy: ?string) -> (hold: int)

    error UnknownPolicy (name: string, known: []string)
    error UnknownModel (model: string, known: []string)
    error TooManyHolds (limit: int, reason: string)
    # The file is not valid; the policy in force stays.
    error InvalidPolicy (name: string, problem: string)
    """

/// `io.jouled.VirtualDevice`: hands on the virtual battery, for demonstrations and tests.
public let virtualDeviceInterfaceText = """
    # The virtual battery that stands in on machines without one. Not there when jouled reads a real one.
    interface io.jouled.VirtualDevice

    # Changes what is given, and returns the true state (the gauge in io.jouled.Power may lag behind).
    method Set(chargerPluggedIn: ?bool, baseWatts: ?float) -> (chargerPluggedIn: bool, baseWatts: float, energyJoules: float)
    """
