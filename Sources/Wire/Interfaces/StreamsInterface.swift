/// `io.jouled.Streams`: open streams, list and explain them.
public let streamsInterfaceText = """
    # Streams of samples and what the daemon makes of them.
    interface io.jouled.Streams

    # One output tensor; results carry the values of all outputs one after the other, in this order.
    type Output (
      # Tensor name, unique within the model.
      name: string,
      # What each value means; as many as there are values.
      labels: []string
    )

    # What a client asks of another stream that is to let this one sleep: its gate. Without `stream` and `name` the gate is the newest
    # of the client's streams on the model that this one's manifest names. What is absent is as the manifest says, or the default.
    type GateChoice (
      # Number of the gate: an open stream of the same user, which has no gate itself.
      stream: ?int,
      # Its name, instead of its number; the newest of that name.
      name: ?string,
      # Label of the value that is watched; the gate's only one if absent.
      output: ?string,
      # From this value on there is something to hear; 0.5 if absent.
      threshold: ?float,
      # How long before what the gate hears windows are run; if absent 200, for a model without state less what its later windows see anyway.
      prerollMs: ?int,
      # How long after it; 500 if absent.
      holdMs: ?int
    )

    # What lets a stream sleep.
    type Gate (
      # Number of the other stream.
      stream: int,
      # Label of the value that is watched.
      output: string,
      # From this value on there is something to hear.
      threshold: float,
      # How long before what the gate hears windows are run.
      prerollMs: int,
      # How long after it.
      holdMs: int
    )

    # What a gate let a stream do.
    type Gating (
      # Number of the gate; it may be gone.
      gate: int,
      # Its name, or its model's; empty if it is gone.
      gateName: string,
      # Whether the last window was run.
      awake: bool,
      # Share of windows that are run, as learned so far, 0 to 1.
      duty: float,
      # Windows that were run because the gate heard something.
      heard: int,
      # Windows that were let go without inference.
      letGo: int,
      # Windows that were run because the gate's word did not come in time.
      late: int,
      # Windows that were run because the gate was paused, failed or gone, or lost samples.
      unguarded: int,
      # Why the gate says nothing: paused, failed or gone; null while it does.
      silence: ?string
    )

    # What a stream and the daemon agreed on when it was opened.
    type Contract (
      # Name of the model.
      model: string,
      # Version of the model's bundle.
      version: int,
      # audio, ecg, ppg or motion.
      kind: string,
      # Sample format: s16le or f32le.
      format: string,
      # Samples a second, of each channel.
      sampleRateHz: int,
      # Interleaved channels.
      channels: int,
      # Samples that one result speaks of.
      windowSamples: int,
      # Samples between the starts of windows.
      hopSamples: int,
      # How late a result may be after its window's last sample.
      latencyToleranceMs: int,
      # In the order of a result's values.
      outputs: []Output,
      # Names of the model's variants; results name theirs by the index into this list.
      variants: []string,
      # What lets the stream sleep; null: it is always awake.
      gate: ?Gate
    )

    # How a stream is doing.
    type Stream (
      # Its number, given once.
      stream: int,
      # The client's own name for it, or empty.
      name: string,
      # Name of its model.
      model: string,
      # The variant in use; empty while paused.
      variant: string,
      # The compute unit in use; empty while paused.
      unit: string,
      # One of how many hops is answered.
      cadence: int,
      # Windows per wake-up.
      coalescing: int,
      # Validated quality of variant and cadence, 0 to 1 relative to the FP32 baseline.
      quality: float,
      # The lowest variant quality that the stream accepts.
      floor: float,
      # Its worth beside other streams.
      weight: float,
      # Whether it is paused last.
      critical: bool,
      # Whether it is paused now.
      paused: bool,
      # Windows answered so far.
      windows: int,
      # Wake-ups in which windows were answered; 0 for other users than the stream's and admins.
      wakes: int,
      # Energy spent so far.
      joules: float,
      # Energy of the last window.
      joulesPerWindow: float,
      # Power that the plan expects of this stream.
      plannedWatts: float,
      # First values of the last result; empty before the first, if one is no finite number, and for other users than the stream's and admins.
      lastValues: []float,
      # Samples the client said it lost.
      lostSamples: int,
      # Why it runs as it does, in words.
      reason: string,
      # User id of the client.
      uid: int,
      # How the joules are known: metered, battery or modelled.
      basis: string,
      # What its gate lets it do; null without a gate, and for other users than the stream's and admins.
      gating: ?Gating
    )

    # Windows and energy of one stream on one variant, over restarts. Streams of earlier processes are added up as stream 0.
    # Of other users' streams clients other than admins see whole joules and thousands of windows, renewed once a minute.
    type LedgerEntry (
      # Number of the stream; 0 for the sum of earlier ones.
      stream: int,
      # The client's own name for it, or the model's.
      name: string,
      # Name of the model.
      model: string,
      # Name of the variant.
      variant: string,
      # Windows answered.
      windows: int,
      # Energy spent, by the energy model.
      joules: float,
      # Whether the stream is still open.
      open: bool
    )

    # Opens a stream; must be called with `upgrade`. After the reply the connection carries frames (docs/protocol.md).
    method Open(
      # Name of the model, one of io.jouled.Models.List.
      model: string,
      # Bundle version; the newest if absent.
      version: ?int,
      # s16le or f32le; s16le if absent.
      format: ?string,
      # Must equal the model's; it is stated so that a mistake is an error and not a wrong answer.
      sampleRateHz: int,
      # 1 if absent.
      channels: ?int,
      # A name for people.
      name: ?string,
      # The model's default if absent.
      latencyToleranceMs: ?int,
      # The policy's floor if absent; a stream can raise it, not lower it.
      floor: ?float,
      # Its worth beside other streams, 0.001 to 1000. The policy's weight if absent.
      weight: ?float,
      # Paused last. The policy's setting if absent. For admins, as are weights over 1.
      critical: ?bool,
      # Pins one variant by name.
      variant: ?string,
      # Lets the stream sleep until another one hears something; always awake if absent.
      gate: ?GateChoice
    ) -> (
      # Its number.
      stream: int,
      # What both sides keep to.
      contract: Contract,
      # The variant that runs first; empty if the stream begins paused.
      variant: string,
      # Why it is that one, in words.
      reason: string
    )

    # All open streams. With `more`: the present state first, then again after each change.
    method List() -> (
      # By number.
      streams: []Stream
    )

    # Energy by stream and variant, closed streams included.
    method Ledger() -> (
      # One for each stream and variant.
      entries: []LedgerEntry
    )

    # What a stream runs, and what that is expected to take.
    type Running (
      # The variant.
      variant: string,
      # The compute unit.
      unit: string,
      # One of how many hops is answered.
      cadence: int,
      # Windows per wake-up.
      coalescing: int,
      # Validated quality of variant and cadence, 0 to 1.
      quality: float,
      # Power that the plan expects.
      watts: float,
      # Energy of a window, as expected.
      joulesPerWindow: float,
      # Between this and `joulesHigh` it is with a certainty of 90 %.
      joulesLow: float,
      # The upper end of that interval.
      joulesHigh: float,
      # How that is known: metered, battery or modelled.
      basis: string
    )

    # What stands against an option.
    type Need (
      # power, time, memory, deadline, floor, weight, change (it gains less than a change must), dwell (it changed lately), or failed.
      kind: string,
      # So much more (for a floor: less) is needed.
      missing: float,
      # The unit of `missing`.
      unit: string,
      # The same in words.
      text: string
    )

    # A better way to run a stream; all of its needs would have to be met.
    type Upgrade (
      # The variant.
      variant: string,
      # The compute unit.
      unit: string,
      # One of how many hops would be answered.
      cadence: int,
      # Windows per wake-up.
      coalescing: int,
      # Validated quality of variant and cadence, 0 to 1.
      quality: float,
      # Power that it is expected to take.
      watts: float,
      # Than what runs now.
      moreWatts: float,
      # What would have to be given.
      needs: []Need
    )

    # Why a stream runs as it does, what would have to change for better quality, and how sure that is: as figures, and in words
    # (`lines`).
    method Explain(
      # Its number.
      stream: int
    ) -> (
      # Its number.
      stream: int,
      # The client's own name for it, or the model's.
      name: string,
      # Its model.
      model: string,
      # Whether it is paused.
      paused: bool,
      # Why it runs as it does, in words.
      reason: string,
      # Name of the policy in force.
      policy: string,
      # The part of the day whose rules hold; null if none does.
      schedule: ?string,
      # Watts that inference may draw; null means no limit.
      budgetWatts: ?float,
      # Why the budget is what it is, in words.
      budgetReason: string,
      # Watts that the plan expects of all streams together.
      plannedWatts: float,
      # What holds the plan back: none, power, utilization, memory, latency, floor or price (its energy is worth more later).
      bindingConstraint: string,
      # none, feasible or infeasible.
      goal: string,
      # 0 to 1; null where nothing is forecast.
      chanceOfGoal: ?float,
      # What came second for this stream, in words; its utility is weight x quality less what its energy is worth, without the cost of changing.
      runnerUp: string,
      # Better ways to run it.
      better: []Upgrade,
      # Plain words.
      lines: []string,
      # null while it is paused.
      runs: ?Running,
      # What lets it sleep; null: it is always awake.
      gate: ?Gate,
      # Share of time that it is reckoned to be awake, 0 to 1; 1 without a gate, and while the gate does not run.
      duty: float
    )

    # No such model.
    error UnknownModel (
      # The name that was asked for.
      model: string,
      # The names that there are.
      known: []string
    )

    # The model has no such version or variant.
    error UnknownVariant (
      # The model that was asked for.
      model: string,
      # The variant that was asked for.
      variant: string,
      # The names that there are.
      known: []string
    )

    # The samples are not what the model takes.
    error SignalMismatch (
      # The parameter at fault.
      field: string,
      # What the model takes.
      wanted: string,
      # What was offered.
      got: string
    )

    # The stream cannot be put behind that gate.
    error InvalidGate (
      # The parameter at fault.
      field: string,
      # What is wrong with it, in words.
      reason: string
    )

    # The model cannot be served: its bundle or the runtime library is at fault.
    error ModelUnavailable (
      # The model that was asked for.
      model: string,
      # What is at fault, in words.
      reason: string
    )

    # No room for another stream, or for another of this user's.
    error TooManyStreams (
      # How many there may be.
      limit: int
    )

    # The user's streams have spent the energy that one user may spend within an hour.
    error EnergyQuotaExceeded (
      # How much that is.
      joulesPerHour: float
    )

    # No such stream is open.
    error UnknownStream (
      # The number that was asked for.
      stream: int
    )
    """
