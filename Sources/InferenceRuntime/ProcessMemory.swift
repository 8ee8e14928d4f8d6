import CLinux

/// Memory that this process has and no longer needs. ONNX Runtime and the C library give nothing back by themselves.
public enum ProcessMemory {
    /// Gives free heap pages back to the kernel.
    public static func trimHeap() { clinux_trim_heap() }

    /// Lets go of the code that ran so far, the program's and its libraries'.
    ///
    /// After a start or a load most of it is code that will not run again (reading configuration, optimising graphs). What does run
    /// comes back from the page cache with a minor fault for every 64 kB, so this belongs where minutes of something else follow.
    public static func releaseCode() { clinux_release_code() }
}
