import ArgumentParser
import InferenceRuntime
import OnnxGraph
import Quantizer
import Units
import Wire

/// `joulectl model inspect`: what is in a model and how it runs here.
struct ModelInspectCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "inspect", abstract: "Show a model's operations, weights, and the kernels that ONNX Runtime makes of them.")
    @Argument(help: "The model.", completion: .file(extensions: ["onnx"]))
    var model: String
    @Option(help: "Show what changed since this model, e.g. the float one.", completion: .file(extensions: ["onnx"]))
    var against: String?
    @Flag(help: "Look at the file only; do not load it in ONNX Runtime.")
    var fileOnly = false
    @OptionGroup var runtime: RuntimeOptions
    @Flag(help: "Print JSON.")
    var json = false

    func run() throws {
        try reporting {
            let library = fileOnly ? nil : try runtime.load()
            let source = try OnnxModel.load(model)
            let inspection = try Inspection(source, runtime: library)
            let other = try against.map { path throws(JouledError) in try Inspection(OnnxModel.load(path), runtime: library) }
            if json {
                Console.out(value(inspection, other).description)
            } else {
                show(inspection, other)
            }
        }
    }

    private func show(_ inspection: Inspection, _ other: Inspection?) {
        Console.out("\(model): opset \(inspection.opset), \(inspection.parameters) parameters, \(inspection.weightBytes) bytes of weights\(inspection.producer.isEmpty ? "" : ", by \(inspection.producer)")")
        for (kind, specs) in [("input", inspection.inputs), ("output", inspection.outputs)] {
            for spec in specs { Console.out("\(kind) \(spec.name): \(spec.elementType) \(spec.shape)") }
        }
        Console.out("operations: " + inspection.operations.map { "\($0.type) \($0.count)" }.joined(separator: ", "))
        var table = TextTable([("OPERATION", .left), ("TYPE", .left), ("WEIGHTS", .left), ("SHAPE", .left), ("BYTES", .right), ("ZEROS", .right), ("DISTINCT", .right), ("4-BIT SNR", .right)])
        for item in inspection.weights where item.bytes >= 256 {
            table.add([
                item.operation, item.type, "\(item.tensor): \(TensorSpec.ElementType.name(item.elementType))", "\(item.shape)", String(item.bytes),
                item.sparsity.map { percent($0, places: 1) } ?? "", item.distinct.map(String.init) ?? "", item.paletteNoise.map { decimal($0, places: 1) + " dB" } ?? "",
            ])
        }
        for line in table.lines { Console.out(line) }
        showPlacement(inspection)
        for finding in inspection.findings { Console.out("note: \(finding)") }
        guard let other else { return }
        if let before = other.placement, let after = inspection.placement {
            let change = PlacementChange(before: before, after: after)
            for line in change.changes { Console.out("changed: \(line)") }
            for line in change.warnings { Console.error("warning: \(line)") }
        }
        Console.out("changed: weights \(other.weightBytes) -> \(inspection.weightBytes) bytes")
    }

    private func showPlacement(_ inspection: Inspection) {
        guard let placement = inspection.placement else { return }
        for (provider, kernels) in Dictionary(grouping: inspection.kernels, by: \.provider).sorted(by: { $0.key < $1.key }) {
            Console.out("runs on \(provider): " + kernels.map { "\($0.type) \($0.count)" }.joined(separator: ", "))
        }
        Console.out("\(placement.transfers) transfers between memories, \(placement.conversions) conversions of format or layout")
        let total = placement.operations.reduce(0) { $0 + $1.time.value }
        var table = TextTable([("RAN", .left), ("KERNEL", .left), ("PROVIDER", .left), ("INPUTS", .left), ("TIME", .right), ("SHARE", .right)])
        for item in placement.operations {
            table.add([item.name, item.kernel, item.provider, item.types.joined(separator: " "), item.time.description, percent(item.time.value / max(total, 1e-9))])
        }
        for line in table.lines { Console.out(line) }
    }

    private func value(_ inspection: Inspection, _ other: Inspection?) -> JSONValue {
        func specs(_ list: [TensorSpec]) -> JSONValue {
            .array(list.map { .object(["name": .string($0.name), "type": .string($0.elementType.description), "shape": .array($0.shape.map { .int(Int64($0)) })]) })
        }
        func kernels(_ list: [Inspection.Kernel]) -> JSONValue {
            .array(list.map { .object(["type": .string($0.type), "provider": .string($0.provider), "count": .int(Int64($0.count))]) })
        }
        return .object([
            "path": .string(model), "opset": .int(Int64(inspection.opset)), "producer": .string(inspection.producer),
            "parameters": .int(Int64(inspection.parameters)), "weight_bytes": .int(Int64(inspection.weightBytes)),
            "inputs": specs(inspection.inputs), "outputs": specs(inspection.outputs),
            "operations": .array(inspection.operations.map { .object(["type": .string($0.type), "count": .int(Int64($0.count))]) }),
            "weights": weights(inspection.weights),
            "placement": placement(inspection.placement),
            "change": change(inspection, other),
            "kernels": kernels(inspection.kernels), "findings": .array(inspection.findings.map { .string($0) }),
            "kernels_before": other.map { kernels($0.kernels) } ?? .null,
        ])
    }

    private func placement(_ placement: Placement?) -> JSONValue {
        guard let placement else { return .null }
        return .object([
            "transfers": .int(Int64(placement.transfers)), "conversions": .int(Int64(placement.conversions)),
            "operations": .array(placement.operations.map { item in
                .object([
                    "name": .string(item.name), "origin": item.origin.map { .string($0) } ?? .null, "kernel": .string(item.kernel), "provider": .string(item.provider),
                    "inputs": .array(item.types.map { .string($0) }), "seconds": .double(item.time.value), "integer": .bool(item.isInteger),
                ])
            }),
        ])
    }

    private func change(_ inspection: Inspection, _ other: Inspection?) -> JSONValue {
        guard let before = other?.placement, let after = inspection.placement else { return .null }
        let change = PlacementChange(before: before, after: after)
        return .object(["changes": .array(change.changes.map { .string($0) }), "warnings": .array(change.warnings.map { .string($0) })])
    }

    private func weights(_ list: [Inspection.Weights]) -> JSONValue {
        .array(list.map { item in
            .object([
                "operation": .string(item.operation), "type": .string(item.type), "tensor": .string(item.tensor),
                "shape": .array(item.shape.map { .int(Int64($0)) }), "element_type": .string(TensorSpec.ElementType.name(item.elementType)),
                "bytes": .int(Int64(item.bytes)), "sparsity": item.sparsity.map { .double($0) } ?? .null,
                "distinct": item.distinct.map { .int(Int64($0)) } ?? .null, "palette4_snr_db": item.paletteNoise.map { .double($0) } ?? .null,
            ])
        })
    }
}
