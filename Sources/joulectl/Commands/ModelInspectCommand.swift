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
        if !inspection.kernels.isEmpty { Console.out("runs as (CPUExecutionProvider): " + inspection.kernels.map { "\($0.type) \($0.count)" }.joined(separator: ", ")) }
        for finding in inspection.findings { Console.out("note: \(finding)") }
        guard let other else { return }
        let before = Dictionary(uniqueKeysWithValues: other.kernels.map { ($0.type, $0.count) })
        let after = Dictionary(uniqueKeysWithValues: inspection.kernels.map { ($0.type, $0.count) })
        for type in Set(before.keys).union(after.keys).sorted() where before[type] != after[type] {
            Console.out("changed: \(type) \(before[type] ?? 0) -> \(after[type] ?? 0)")
        }
        Console.out("changed: weights \(other.weightBytes) -> \(inspection.weightBytes) bytes")
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
            "weights": .array(inspection.weights.map { item in
                .object([
                    "operation": .string(item.operation), "type": .string(item.type), "tensor": .string(item.tensor),
                    "shape": .array(item.shape.map { .int(Int64($0)) }), "element_type": .string(TensorSpec.ElementType.name(item.elementType)),
                    "bytes": .int(Int64(item.bytes)), "sparsity": item.sparsity.map { .double($0) } ?? .null,
                    "distinct": item.distinct.map { .int(Int64($0)) } ?? .null, "palette4_snr_db": item.paletteNoise.map { .double($0) } ?? .null,
                ])
            }),
            "kernels": kernels(inspection.kernels), "findings": .array(inspection.findings.map { .string($0) }),
            "kernels_before": other.map { kernels($0.kernels) } ?? .null,
        ])
    }
}
