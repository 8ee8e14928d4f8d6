import JouledDaemon

extension RuntimeLibrary {
    /// JOULED_ONNXRUNTIME, else the one that the daemon takes by itself.
    static func path() -> String { environment("JOULED_ONNXRUNTIME") ?? standard }
}
