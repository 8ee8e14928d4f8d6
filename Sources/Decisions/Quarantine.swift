// Variants that failed, and are not planned.
extension DecisionEngine {
    /// Never plans `variant` of `model` again, because it failed on this device. Another artefact of that name is not meant.
    public mutating func quarantine(model: String, variant: String, artefact: String = "") {
        quarantined.insert(Self.key(model, variant, artefact))
    }

    private static func key(_ model: String, _ variant: String, _ artefact: String) -> String { "\(model)/\(variant)/\(artefact)" }

    func isQuarantined(_ name: String, of request: StreamRequest) -> Bool {
        request.variants.contains { $0.name == name && isQuarantined($0, of: request.model) }
    }

    private func isQuarantined(_ variant: StreamRequest.Variant, of model: String) -> Bool {
        quarantined.contains(Self.key(model, variant.name, variant.artefact))
    }

    /// Lets variants that failed be tried again, because what made them fail may have been repaired.
    public mutating func pardon() { quarantined = [] }

    /// Names of the variants that failed. Where one version's failed and another's did not, the name alone does not tell, and the
    /// failed one is left out of its stream's request.
    func leaveOutFailed(_ streams: inout [DecisionInputs.Stream]) -> Set<String> {
        guard !quarantined.isEmpty else { return [] }
        var (failed, fine): (Set<String>, Set<String>) = ([], [])
        for request in streams.map(\.request) {
            for variant in request.variants {
                let name = "\(request.model)/\(variant.name)"
                if isQuarantined(variant, of: request.model) { failed.insert(name) } else { fine.insert(name) }
            }
        }
        let mixed = failed.intersection(fine)
        guard !mixed.isEmpty else { return failed }
        for index in streams.indices {
            let model = streams[index].request.model
            streams[index].request.variants.removeAll { mixed.contains("\(model)/\($0.name)") && isQuarantined($0, of: model) }
        }
        return failed.subtracting(mixed)
    }
}
