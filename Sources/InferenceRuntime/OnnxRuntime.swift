import CLinux
import COnnxRuntime
import Glibc
import Units

/// The loaded ONNX Runtime library with its environment.
///
/// The library is opened with dlopen, so that a missing or old one is an error with a name and not a process that
/// cannot start. It is meant for servers: here telemetry is off before it loads (since 1.29 it would start a thread,
/// a database and an uploader), one thread computes, and nothing spins.
public final class OnnxRuntime: Sendable {
    /// The oldest release whose function table has everything asked for, verified by test.
    public static let minimumVersion = (major: 1, minor: 24)

    /// The library's own version, e.g. `1.32.0`.
    public let version: String
    /// The file that was loaded.
    public let libraryPath: String
    // Set once in init; ONNX Runtime documents environment and function table as safe to share between threads.
    nonisolated(unsafe) let api: UnsafePointer<OrtApi>
    nonisolated(unsafe) let environment: OpaquePointer
    nonisolated(unsafe) let memoryInfo: OpaquePointer
    // Set once in init, and used by deinit alone.
    private nonisolated(unsafe) let handle: UnsafeMutableRawPointer

    /// Keeps the library from starting telemetry. Call before any thread starts, since it writes the environment;
    /// `init` refuses to load the library without it.
    public static func disableTelemetry() { setenv("ORT_DISABLE_TELEMETRY", "1", 1) }

    /// Loads the library. Blocks for some 10 ms, so not for a thread that serves clients.
    /// - Parameter libraryPath: e.g. `/usr/lib/jouled/libonnxruntime.so.1.32.0`.
    /// - Throws: `.runtimeUnavailable` naming the path and dlopen's or the library's own words.
    public init(libraryPath: String) throws(JouledError) {
        guard let setting = getenv("ORT_DISABLE_TELEMETRY"), strcmp(setting, "1") == 0 else {
            throw JouledError(.runtimeUnavailable, "\(libraryPath): refusing to load while telemetry is not disabled (ORT_DISABLE_TELEMETRY=1)")
        }
        guard access(libraryPath, R_OK) == 0 else {
            throw JouledError(
                .runtimeUnavailable,
                "\(libraryPath): the ONNX Runtime library cannot be read (\(String(cString: strerror(errno)))); set runtime.library in jouled.toml")
        }
        guard let handle = dlopen(libraryPath, RTLD_NOW | RTLD_LOCAL) else {
            throw JouledError(.runtimeUnavailable, "\(libraryPath): cannot be loaded: \(dlerror().map { String(cString: $0) } ?? "unknown reason")")
        }
        guard let symbol = dlsym(handle, "OrtGetApiBase"), let base = ort_call_get_api_base(symbol) else {
            dlclose(handle)
            throw JouledError(.runtimeUnavailable, "\(libraryPath): not an ONNX Runtime library (no OrtGetApiBase)")
        }
        let version = String(cString: base.pointee.GetVersionString())
        // The version is looked at first: asking an older library for a newer table prints to standard error.
        guard let (major, minor) = Self.parse(version: version),
            (major, minor) >= (Self.minimumVersion.major, Self.minimumVersion.minor),
            let api = base.pointee.GetApi(UInt32(Self.minimumVersion.minor))
        else {
            dlclose(handle)
            throw JouledError(
                .runtimeUnavailable,
                "\(libraryPath): ONNX Runtime \(version) is too old; jouled needs \(Self.minimumVersion.major).\(Self.minimumVersion.minor) or later")
        }
        let (environment, memoryInfo): (OpaquePointer, OpaquePointer)
        do {
            environment = try Self.made("CreateEnv", api) { api.pointee.CreateEnv(3, "jouled", $0) }
            try Self.check(api.pointee.DisableTelemetryEvents(environment), api, "DisableTelemetryEvents")
            memoryInfo = try Self.made("CreateCpuMemoryInfo", api) { api.pointee.CreateCpuMemoryInfo(0, 0, $0) }
        } catch {
            dlclose(handle)
            throw JouledError(.runtimeUnavailable, "\(libraryPath): cannot be started", cause: error)
        }
        self.version = version
        self.libraryPath = libraryPath
        self.api = api
        self.environment = environment
        self.memoryInfo = memoryInfo
        self.handle = handle
    }

    /// Unloads the library, unless another `OnnxRuntime` has it: 16 MB, of which 9 MB stay allocated even after `ReleaseEnv`.
    ///
    /// Safe, because nothing of the library is left that could run: it was loaded without telemetry, its sessions compute on
    /// their caller's thread and have no pool, and every session and tensor holds this object; so does a run that was given up, for ever. What a thread of ours
    /// keeps for it (thread_local objects) holds the library in memory until that thread ends, by glibc's own count.
    deinit {
        api.pointee.ReleaseMemoryInfo(memoryInfo)
        api.pointee.ReleaseEnv(environment)
        dlclose(handle)
        // Whoever drops the last reference, the memory goes back to the kernel.
        ProcessMemory.trimHeap()
    }

    static func parse(version: String) -> (Int, Int)? {
        let parts = version.split(separator: ".")
        guard parts.count >= 2, let major = Int(parts[0]), let minor = Int(parts[1]) else { return nil }
        return (major, minor)
    }

    /// Throws ONNX Runtime's own message if `status` is an error, and releases it.
    static func check(_ status: OpaquePointer?, _ api: UnsafePointer<OrtApi>, _ doing: String) throws(JouledError) {
        guard let status else { return }
        defer { api.pointee.ReleaseStatus(status) }
        let text = String(cString: api.pointee.GetErrorMessage(status))
        throw JouledError(.inferenceFailed, "\(doing): \(text) (ONNX Runtime error \(api.pointee.GetErrorCode(status)))")
    }

    /// Calls a function that returns an object through its last parameter.
    static func made(
        _ doing: String, _ api: UnsafePointer<OrtApi>, _ body: (UnsafeMutablePointer<OpaquePointer?>) -> OpaquePointer?
    ) throws(JouledError) -> OpaquePointer {
        var object: OpaquePointer?
        try check(body(&object), api, doing)
        guard let object else { throw JouledError(.inferenceFailed, "\(doing) returned nothing") }
        return object
    }
}

extension JouledError.Code {
    /// The ONNX Runtime library is missing, too old or broken.
    public static let runtimeUnavailable = Self("runtime.unavailable")
    /// ONNX Runtime refused a call; the message is its own.
    public static let inferenceFailed = Self("runtime.inference-failed")
    /// A run did not come back in its time and was ended.
    public static let inferenceStuck = Self("runtime.inference-stuck")
    /// A model's inputs or outputs are not what its manifest says.
    public static let contractBroken = Self("runtime.contract-broken")
}
