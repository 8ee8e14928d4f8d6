/// MESSAGE_IDs of jouled's journal entries, one per kind of event. Stable for ever: catalogs, filters and replays
/// refer to them.
public enum MessageID {
    /// A stream was placed, moved to another option, paused or resumed.
    public static let planChanged = "5c1f0b6a7a3e4d0f9a5be2d8a1c40e01"
    /// The goal of the policy cannot be met, or can be met again.
    public static let goalChanged = "5c1f0b6a7a3e4d0f9a5be2d8a1c40e02"
    /// A client opened a stream.
    public static let streamOpened = "5c1f0b6a7a3e4d0f9a5be2d8a1c40e03"
    /// A stream ended.
    public static let streamClosed = "5c1f0b6a7a3e4d0f9a5be2d8a1c40e04"
    /// Another policy is in force.
    public static let policyChanged = "5c1f0b6a7a3e4d0f9a5be2d8a1c40e05"
    /// A policy was refused; the one in force stays.
    public static let policyRefused = "5c1f0b6a7a3e4d0f9a5be2d8a1c40e06"
    /// External power came or went.
    public static let powerChanged = "5c1f0b6a7a3e4d0f9a5be2d8a1c40e07"
    /// A battery reading makes no sense.
    public static let powerProblem = "5c1f0b6a7a3e4d0f9a5be2d8a1c40e08"
    /// A variant cannot be used: its file or the runtime is at fault.
    public static let variantFailed = "5c1f0b6a7a3e4d0f9a5be2d8a1c40e09"
    /// The daemon serves, reloads or stops.
    public static let lifecycle = "5c1f0b6a7a3e4d0f9a5be2d8a1c40e0a"
    /// Work on the inference thread makes no progress.
    public static let inferenceStuck = "5c1f0b6a7a3e4d0f9a5be2d8a1c40e0b"
    /// A bundle in the model store cannot be served.
    public static let bundleProblem = "5c1f0b6a7a3e4d0f9a5be2d8a1c40e0c"
    /// A file of the daemon's state is damaged or cannot be written.
    public static let stateProblem = "5c1f0b6a7a3e4d0f9a5be2d8a1c40e0d"
    /// What a decision was made from, for `joulectl replay`.
    public static let decisionInputs = "5c1f0b6a7a3e4d0f9a5be2d8a1c40e0e"
    /// A client holds a floor or a policy, or lets go of it.
    public static let hold = "5c1f0b6a7a3e4d0f9a5be2d8a1c40e0f"
    /// Programs wait for memory, and models were unloaded.
    public static let memoryPressure = "5c1f0b6a7a3e4d0f9a5be2d8a1c40e10"
}
