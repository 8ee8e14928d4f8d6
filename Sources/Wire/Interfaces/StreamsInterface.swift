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

    # What a stream and the daemon agreed on when it was opened.
    type Contract (
      model: string,
      # Version of the model's bundle.
      version: int,
      # audio, ecg, ppg or motion.
      kind: string,
      # Sample format: s16le or f32le.
      format: string,
      sampleRateHz: int,
      channels: int,
      # Samples that one result speaks of.
      windowSamples: int,
      # Samples between the starts of windows.
      hopSamples: int,
      # How late a result may be after its window's last sample.
      latencyToleranceMs: int,
      outputs: []Output,
      # Names of the model's variants; results name theirs by the index into this list.
      variants: []string
    )

    # How a stream is doing.
    type Stream (
      stream: int,
      # The client's own name for it, or empty.
      name: string,
      model: string,
      # The variant in use; empty while paused.
      variant: string,
      unit: string,
      # One of how many hops is answered.
      cadence: int,
      # Windows per wake-up.
      coalescing: int,
      # Validated quality of variant and cadence, 0 to 1 relative to the FP32 baseline.
      quality: float,
      # The lowest variant quality that the stream accepts.
      floor: float,
      weight: float,
      critical: bool,
      paused: bool,
      # Windows answered so far.
      windows: int,
      # Energy spent so far.
      joules: float,
      # Energy of the last window.
      joulesPerWindow: float,
      # Power that the plan expects of this stream.
      plannedWatts: float,
      # First values of the last result; empty before the first, and for other users than the stream's and admins.
      lastValues: []float,
      # Samples the client said it lost.
      lostSamples: int,
      # Why it runs as it does, in words.
      reason: string,
      # User id of the client.
      uid: int,
      # How the joules are known: metered, battery or modelled.
      basis: string
    )

    # Windows and energy of one stream on one variant, over restarts. Streams of earlier processes are added up as stream 0.
    # Of other users' streams clients other than admins see whole joules and thousands of windows, renewed once a minute.
    type LedgerEntry (
      stream: int,
      name: string,
      model: string,
      variant: string,
      windows: int,
      joules: float,
      open: bool
    )

    # Opens a stream; must be called with `upgrade`. After the reply the connection carries frames (docs/protocol.md).
    method Open(
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
      # The policy's weight if absent.
      weight: ?float,
      # Paused last. The policy's setting if absent. For admins, as are weights over 1.
      critical: ?bool,
      # Pins one variant by name.
      variant: ?string
    ) -> (stream: int, contract: Contract, variant: string, reason: string)

    # All open streams. With `more`: the present state first, then again after each change.
    method List() -> (streams: []Stream)

    # Energy by stream and variant, closed streams included.
    method Ledger() -> (entries: []LedgerEntry)

    # What a stream runs, and what that is expected to take.
    type Running (
      variant: string,
      unit: string,
      cadence: int,
      coalescing: int,
      quality: float,
      watts: float,
      joulesPerWindow: float,
      # Between these it is with a certainty of 90 %.
      joulesLow: float,
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
      unit: string,
      text: string
    )

    # A better way to run a stream; all of its needs would have to be met.
    type Upgrade (
      variant: string,
      unit: string,
      cadence: int,
      coalescing: int,
      quality: float,
      watts: float,
      # Than what runs now.
      moreWatts: float,
      needs: []Need
    )

    # Why a stream runs as it does, what would have to change for better quality, and how sure that is: as figures, and in words
    # (`lines`).
    method Explain(stream: int) -> (
      stream: int,
      name: string,
      model: string,
      paused: bool,
      reason: string,
      policy: string,
      schedule: ?string,
      budgetWatts: ?float,
      budgetReason: string,
      plannedWatts: float,
      bindingConstraint: string,
      goal: string,
      # 0 to 1; null where nothing is forecast.
      chanceOfGoal: ?float,
      runnerUp: string,
      better: []Upgrade,
      lines: []string,
      # null while it is paused.
      runs: ?Running
    )

    # No such model; `known` lists those there are.
    error UnknownModel (model: string, known: []string)
    # The model has no such version or variant.
    error UnknownVariant (model: string, variant: string, known: []string)
    # The samples are not what the model takes.
    error SignalMismatch (field: string, wanted: string, got: string)
    # The model cannot be served: its bundle or the runtime library is at fault.
    error ModelUnavailable (model: string, reason: string)
    # No room for another stream, or for another of this user's.
    error TooManyStreams (limit: int)
    # The user's streams have spent the energy that one user may spend within an hour.
    error EnergyQuotaExceeded (joulesPerHour: float)
    error UnknownStream (stream: int)
    """
