import EnergyModel
import InferenceRuntime
import ModelStore
import Systemd
import Units

/// A bundle that can be served, with what its variants cost on this device.
struct HostedModel: Sendable {
    var bundle: ModelBundle
    var profile: DeviceProfile
}

/// Loads bundles, the runtime library and models, on a thread of its own, because all of it blocks.
///
/// A variant is loaded once and shared by the streams that run it; what no stream runs is released. After the last stream
/// all of it, the library too, stays for `keepTime`, so that a client that comes back does not wait for it, and then goes:
/// a daemon without streams has the memory of one that never had any.
actor ModelHost {
    private nonisolated let loop: EventLoop
    nonisolated var unownedExecutor: UnownedSerialExecutor { loop.asUnownedSerialExecutor() }
    private let store: ModelStore
    private let runtimeLibrary: String
    private let keepTime: Seconds
    private let clocks = SystemClocks()
    /// Gives up a load that does not end.
    nonisolated let watch = LoadGuard()
    /// Armed while something is loaded that no stream runs; without it there is no wake-up.
    private var timer: LoopTimer?
    private var runtime: OnnxRuntime?
    private var sessions: [String: InferenceSession] = [:]

    /// - Parameter keepTime: how long models and library stay loaded without a stream.
    init(store: ModelStore, runtimeLibrary: String, keepTime: Seconds, loop: EventLoop) {
        self.store = store
        self.runtimeLibrary = runtimeLibrary
        self.keepTime = keepTime
        self.loop = loop
    }

    /// The bundle of a model with its profile of this device.
    /// - Throws: what the store throws, or `.notProfiled`.
    func model(_ name: String, version: Int?) throws(JouledError) -> HostedModel {
        let bundle = try store.load(name, version: version)
        return HostedModel(bundle: bundle, profile: try profile(of: bundle))
    }

    /// All bundles, and what is wrong with those that cannot be served.
    func list() -> (models: [(bundle: ModelBundle, profile: DeviceProfile?)], problems: [String]) {
        var models: [(ModelBundle, DeviceProfile?)] = []
        let listing: ModelStore.Listing
        do {
            listing = try store.list()
        } catch {
            return ([], [error.description])
        }
        var problems = listing.faults.map(\.error.description)
        for bundle in listing.bundles {
            do {
                models.append((bundle, try profile(of: bundle)))
            } catch {
                problems.append(error.description)
                models.append((bundle, nil))
            }
        }
        return (models, problems)
    }

    private func profile(of bundle: ModelBundle) throws(JouledError) -> DeviceProfile {
        let path = bundle.profilePath
        do {
            return try DeviceProfile.load(path)
        } catch {
            throw JouledError(
                .notProfiled,
                "\(bundle.manifest.name) \(bundle.manifest.version) has no usable profile of this device; run: joulectl model profile \(bundle.directory)",
                cause: error)
        }
    }

    /// A loaded variant, shared between streams.
    /// - Throws: wrong digest, missing library, ONNX Runtime's refusal or a broken contract; nothing stays behind.
    func session(_ bundle: ModelBundle, variant: String) throws(JouledError) -> InferenceSession {
        let declared = try bundle.manifest.variant(variant)
        let path = bundle.path(of: declared)
        timer?.disarm()
        if let session = sessions[path] { return session }
        let number = watch.enter(path, at: clocks.monotonic())
        let session = try load(bundle, declared, path, number)
        ProcessMemory.trimHeap()
        // Loading ran through most of the library; a run needs a small part of that.
        ProcessMemory.releaseCode()
        sessions[path] = session
        return session
    }

    /// Has another thread go on with what this one's loop has to do, after a load was given up.
    /// - Throws: as `EventLoop.takeOver` does.
    nonisolated func takeOver() throws(JouledError) { try loop.takeOver() }

    /// Nothing of the host is in the middle of a change meanwhile, so that a load which never comes back leaves it whole.
    private func load(_ bundle: ModelBundle, _ declared: ModelManifest.Variant, _ path: String, _ number: UInt64) throws(JouledError) -> InferenceSession {
        defer { watch.leave(number) }
        // What is loaded is what was verified, even if the file changes meanwhile.
        let model = try bundle.contents(of: declared)
        if runtime == nil { runtime = try OnnxRuntime(libraryPath: runtimeLibrary) }
        guard let runtime else { throw JouledError(.runtimeUnavailable, "\(runtimeLibrary): not loaded") }
        let session = try InferenceSession(runtime: runtime, model: model, path: path)
        let manifest = bundle.manifest
        try session.check(inputs: manifest.inputSpecs, outputs: manifest.outputSpecs)
        return session
    }

    /// Forgets loaded variants that are not among `paths`; streams that still run one keep it until they move on. Where none is
    /// left, everything stays for `keepTime` first.
    func keep(only paths: Set<String>) {
        guard !paths.isEmpty else { return releaseLater() }
        timer?.disarm()
        let count = sessions.count
        sessions = sessions.filter { paths.contains($0.key) }
        if sessions.count < count { ProcessMemory.trimHeap() }
    }

    private func releaseLater() {
        guard runtime != nil, timer?.deadline == nil else { return }
        if timer == nil { timer = try? loop.timer { [weak self] in self?.assumeIsolated { $0.release() } } }
        guard let timer, keepTime > .zero else { return release() }
        timer.arm(at: clocks.monotonic().advanced(by: keepTime), accuracy: keepTime * 0.1)
    }

    /// Lets go of all models and of the library.
    private func release() {
        sessions = [:]
        runtime = nil
        ProcessMemory.trimHeap()
        ProcessMemory.releaseCode()
    }

    /// Memory is short: what is only kept for clients that may come back goes at once, and free memory to the kernel.
    func trim() {
        if timer?.deadline != nil {
            timer?.disarm()
            release()
        }
        ProcessMemory.trimHeap()
    }
}

extension JouledError.Code {
    /// The model was never measured on this device, so its energy is unknown.
    static let notProfiled = Self("daemon.not-profiled")
}

extension ModelManifest {
    /// Tensors in the order in which a stream feeds them: the signal, then states.
    var inputSpecs: [TensorSpec] {
        [TensorSpec(name: input.name, shape: input.shape)] + states.map { TensorSpec(name: $0.input, shape: $0.shape) }
    }

    /// Results first, then states.
    var outputSpecs: [TensorSpec] {
        outputs.map { TensorSpec(name: $0.tensor.name, shape: $0.tensor.shape) } + states.map { TensorSpec(name: $0.output, shape: $0.shape) }
    }
}
