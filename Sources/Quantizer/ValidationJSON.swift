import Wire

extension ValidationReport {
    /// All figures, for programs.
    public var json: JSONValue {
        func pair(_ value: (reference: Double, variant: Double)?) -> JSONValue {
            value.map { .object(["reference": .double($0.reference), "variant": .double($0.variant)]) } ?? .null
        }
        return .object([
            "task": .string(task.rawValue), "windows": .int(Int64(windows)), "agreement": .double(agreement),
            "top1": pair(top1), "top5": pair(top5), "auc": pair(auc), "auc_loss": aucLoss.map { .double($0) } ?? .null,
            "error": .object([
                "mean": .double(meanError), "p50": .double(p50Error), "p95": .double(p95Error), "p99": .double(p99Error), "max": .double(maximumError),
            ]),
            "outputs": .array(outputs.map { .object(["name": .string($0.name), "snr_db": .double($0.signalToNoise)]) }),
            "classes": .array(classes.map { .object(["class": .int(Int64($0.index)), "reference": .int(Int64($0.reference)), "agreed": .int(Int64($0.agreed))]) }),
            "worst": .array(worst.map { .object(["window": .int(Int64($0.window)), "error": .double($0.error)]) }),
            "growth": .array(growth.map { .double($0) }),
            "seams": .array(seams.map(\.json)),
        ])
    }
}

extension ValidationReport.Seam {
    var json: JSONValue {
        .object(["direction": .string(direction), "switches": .int(Int64(switches)), "max_error_by_window": .array(maximumByWindow.map { .double($0) })])
    }
}
