import Decisions
import ModelStore
import Units
import Wire

// Who may open a stream, and why one cannot be opened.
extension Scheduler {
    /// - Throws: if there is no room for another stream, or not for this user's.
    func checkRoom(for peer: Peer) throws(VarlinkError) {
        guard streams.count < configuration.limits.streams, !isStopping else {
            throw VarlinkError("io.jouled.Streams.TooManyStreams", ["limit": JSONValue(configuration.limits.streams)])
        }
        guard !peer.isAdmin else { return }
        let limit = configuration.access.streamsPerUser
        guard streams.values.count(where: { $0.peer.uid == peer.uid }) < limit else {
            throw VarlinkError("io.jouled.Streams.TooManyStreams", ["limit": JSONValue(limit)])
        }
        if let quota, quota.isExceeded(by: peer.uid, at: clocks.monotonic()) {
            throw VarlinkError("io.jouled.Streams.EnergyQuotaExceeded", ["joulesPerHour": .double(quota.limit.value)])
        }
    }

    func explain(_ error: any Error, _ request: OpenRequest) async -> VarlinkError {
        guard let error = error as? JouledError else {
            return VarlinkError("io.jouled.Streams.ModelUnavailable", ["model": .string(request.model), "reason": .string("\(error)")])
        }
        guard error.code == .unknownModel else {
            return VarlinkError("io.jouled.Streams.ModelUnavailable", ["model": .string(request.model), "reason": .string(error.description)])
        }
        let known = Set(await models.list().models.map(\.bundle.manifest.name)).sorted()
        // The model is there, only not in the version that was asked for.
        guard !known.contains(request.model) else {
            return VarlinkError("io.jouled.Streams.ModelUnavailable", ["model": .string(request.model), "reason": .string(error.description)])
        }
        return VarlinkError("io.jouled.Streams.UnknownModel", ["model": .string(request.model), "known": JSONValue(known)])
    }

    /// Why no variant that the stream might use can run; nil if one can.
    func unusable(_ stream: OpenStream) -> String? {
        let request = stream.engineRequest
        let variants = request.variants.filter { request.pinnedVariant == nil || request.pinnedVariant == $0.name }
        guard !variants.isEmpty else {
            return "no variant that it may use holds its declared thresholds and has a profile of this device"
        }
        let reasons = variants.map { failures["\(request.model)/\($0.name)/\($0.artefact)"] }
        return reasons.contains(nil) ? nil : reasons.last ?? nil
    }
}
