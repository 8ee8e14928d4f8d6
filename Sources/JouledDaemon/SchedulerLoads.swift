import InferenceRuntime
import ModelStore
import Systemd
import Units

/// A variant that is being loaded for the scheduler.
struct LoadFlight {
    var path: String
    var continuation: CheckedContinuation<InferenceSession, any Error>
    /// Armed for as long as the load may take.
    var timer: LoopTimer?
}

extension Scheduler {
    /// A loaded variant; after `[runtime] load_limit` the load is given up, and its thread with it.
    /// - Throws: what `ModelHost.session` throws; `.inferenceStuck`.
    func load(_ bundle: ModelBundle, variant: String) async throws -> InferenceSession {
        let path = bundle.path(of: try bundle.manifest.variant(variant))
        lastFlight += 1
        let number = lastFlight
        return try await withCheckedThrowingContinuation { continuation in
            let timer = try? loop.timer { [weak self] in self?.assumeIsolated { $0.lookAtLoad(number) } }
            timer?.arm(at: clocks.monotonic().advanced(by: configuration.runtimeLoadLimit), accuracy: configuration.runtimeLoadLimit * 0.1)
            flights[number] = LoadFlight(path: path, continuation: continuation, timer: timer)
            // Never ends if the load is given up: what would resume it is on the stack that was left.
            Task(executorPreference: loop) { await self.fly(number, bundle, variant) }
        }
    }

    private func fly(_ number: UInt64, _ bundle: ModelBundle, _ variant: String) async {
        do {
            land(number, .success(try await models.session(bundle, variant: variant)))
        } catch {
            land(number, .failure(error))
        }
    }

    private func land(_ number: UInt64, _ result: Result<InferenceSession, any Error>) {
        guard let flight = flights.removeValue(forKey: number) else { return }
        flight.timer?.disarm()
        flight.continuation.resume(with: result)
    }

    private func lookAtLoad(_ number: UInt64) {
        guard let flight = flights[number] else { return }
        let limit = configuration.runtimeLoadLimit
        switch models.watch.look(at: flight.path, limit: limit, now: clocks.monotonic()) {
        case .wait(let end): flight.timer?.arm(at: end, accuracy: limit * 0.1)
        case .lost:
            lose("\(LoadGuard.limit) threads hang in loads already")
            fail(number, flight, limit)
        case .givenUp(let threads):
            do throws(JouledError) {
                try models.takeOver()
                journal.send(
                    JournalRecord(
                        .error, "\(flight.path) does not load within \(limit): its thread is given up (\(threads) of at most \(LoadGuard.limit)), and another one goes on",
                        messageID: MessageID.inferenceStuck, fields: [.init("JOULED_THREADS_GIVEN_UP", "\(threads)")]))
            } catch {
                lose("\(error)")
            }
            fail(number, flight, limit)
        }
    }

    /// Who waits for a load is not left waiting, even where nothing but a restart helps: no watchdog may be there.
    private func fail(_ number: UInt64, _ flight: LoadFlight, _ limit: Seconds) {
        land(number, .failure(JouledError(.inferenceStuck, "\(flight.path): did not load within \(limit)")))
    }

    private func lose(_ reason: String) {
        guard models.watch.lose() else { return }
        journal.send(JournalRecord(.critical, "Models can no longer be loaded (\(reason)): the watchdog is not fed", messageID: MessageID.inferenceStuck))
    }
}
