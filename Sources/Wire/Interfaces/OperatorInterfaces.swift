/// `io.jouled`: errors that any method may answer with, besides those of `org.varlink.service`.
public let commonInterfaceText = """
    # Errors of no one method. There is nothing to call here.
    interface io.jouled

    # What was sent is no Varlink; the connection is closed after this.
    error ProtocolViolation (
      # What was wrong, in words.
      message: string
    )

    # There is no room for this connection, which is closed after this. Nothing was read from it.
    error TooManyConnections (
      # Which limit was reached, in words.
      reason: string
    )

    # A defect of jouled, or a part of the system that failed it.
    error Internal (
      # What happened, in words.
      message: string
    )
    """

/// `io.jouled.Models`: what can be served.
public let modelsInterfaceText = """
    # Models that can be served.
    interface io.jouled.Models

    # One artefact of a model.
    type Variant (
      # Unique within the model, e.g. int8.
      name: string,
      # How it was made: fp32, fp16, int8, palette, ...
      scheme: string,
      # Size of its file.
      bytes: int,
      # Validated quality relative to the baseline, 0 to 1.
      quality: float,
      # False if it broke a declared threshold: the planner never uses it.
      usable: bool,
      # Energy per window with one window a wake-up; null if not profiled on this device.
      joulesPerWindow: ?float,
      # 99th percentile of the time to compute one window, in milliseconds; null if not profiled on this device.
      p99Ms: ?float,
      # How the joules are known: metered, battery or modelled.
      basis: string
    )

    # The newest version of a model.
    type Model (
      # What Open takes as `model`.
      name: string,
      # Version of the bundle.
      version: int,
      # One line for people.
      summary: string,
      # SPDX identifier, or words.
      licence: string,
      # What it is for, e.g. voice-activity. Models with one task may stand in for each other.
      task: string,
      # audio, ecg, ppg or motion.
      kind: string,
      # The only rate that it takes.
      sampleRateHz: int,
      # Interleaved channels that it takes.
      channels: int,
      # Unit of its samples in f32le, e.g. mV, or full-scale for -1 to 1.
      unit: string,
      # Samples that one result speaks of.
      windowSamples: int,
      # Samples between the starts of windows.
      hopSamples: int,
      # How late a result may be for a stream that does not say.
      latencyToleranceMs: int,
      # The model that may let it sleep, for clients that ask for a gate and do not say which; null: none is named.
      gate: ?string,
      # What each value of a result means.
      labels: []string,
      # The baseline first.
      variants: []Variant
    )

    # All models, those that cannot be served left out.
    method List() -> (
      # By name.
      models: []Model,
      # Bundles that cannot be served, with the reason.
      problems: []string
    )
    """

/// `io.jouled.Policy`: which policy rules.
public let policyInterfaceText = """
    # Which power policy rules.
    interface io.jouled.Policy

    # A policy file of the operator.
    type Policy (
      # File name without `.toml`.
      name: string,
      # lifetime, levels, fixed or unlimited; empty if the file is not valid.
      kind: string,
      # The operator's own words.
      description: string,
      # Whether it is in force now.
      active: bool,
      # Whether it is the operator's choice, which is in force unless a client holds another.
      chosen: bool,
      # Whether a client's hold keeps it in force.
      held: bool,
      # What is wrong with the file, naming line and key; empty if it is valid.
      problem: string
    )

    # All policies, valid or not.
    method List() -> (
      # By name.
      policies: []Policy
    )

    # Makes a policy the operator's choice, and remembers it over restarts. While a client holds another policy, the choice waits for
    # that hold's end. A bad one changes nothing. For admins.
    method Set(
      # One of List.
      name: string
    ) -> (
      # The policy that is in force now: the chosen one, unless a hold keeps another.
      inForce: string
    )

    # Reads the file of the operator's choice again, also while a hold keeps another in force. A bad one changes nothing. For admins.
    method Reload() -> (
      # The policy that was read again.
      chosen: string,
      # The policy that is in force now.
      inForce: string
    )

    # A lowest quality that is asked for.
    type Floor (
      # A model's name, or `*` for all.
      model: string,
      # Lowest acceptable quality of a variant, 0 to 1.
      floor: float
    )

    # Asks for floors, or for another policy, until the connection is closed or upgraded. Give one of them at least. A policy is
    # for admins. Floors that others ask for count for their own streams. Of several policies the newest holds.
    method Hold(
      # The client's own words: one line, 256 bytes at most.
      reason: string,
      # At most one for each model.
      floors: ?[]Floor,
      # One of List.
      policy: ?string
    ) -> (
      # Its number.
      hold: int
    )

    # There is no policy of this name.
    error UnknownPolicy (
      # The name that was asked for.
      name: string,
      # The names that there are.
      known: []string
    )

    # A floor is of no model that there is.
    error UnknownModel (
      # The name that was asked for.
      model: string,
      # The names that there are.
      known: []string
    )

    # No room for another hold.
    error TooManyHolds (
      # How many there may be.
      limit: int,
      # Which limit that is, in words.
      reason: string
    )

    # The file is not valid; the policy in force stays.
    error InvalidPolicy (
      # The policy that was asked for.
      name: string,
      # What is wrong with the file, naming line and key.
      problem: string
    )
    """

/// `io.jouled.VirtualDevice`: hands on the virtual battery, for demonstrations and tests.
public let virtualDeviceInterfaceText = """
    # The virtual battery that stands in on machines without one. Not there when jouled reads a real one.
    interface io.jouled.VirtualDevice

    # Changes what is given, and returns the true state (the gauge in io.jouled.Power may lag behind). For admins.
    method Set(
      # Plugs the charger in or out; as it is if absent.
      chargerPluggedIn: ?bool,
      # What the rest of the device draws, in watts; as it is if absent.
      baseWatts: ?float
    ) -> (
      # Whether the charger is plugged in now.
      chargerPluggedIn: bool,
      # What the rest of the device draws now, in watts.
      baseWatts: float,
      # What the battery truly holds, in joules.
      energyJoules: float
    )
    """
