import OnnxGraph
import Units

/// Sentences on what of a model did not become an integer kernel, and why.
enum Findings {
    static func of(_ model: OnnxModel, _ placement: Placement) -> [String] {
        var result: [String] = []
        let index = GraphIndex(model.graph)
        let kernels = Dictionary(grouping: placement.operations, by: \.kernel)
        let nodes = Dictionary(model.graph.node.map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })
        let isQuantized = model.graph.node.contains { ["QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"].contains($0.opType) || $0.domain == microsoftDomain }
        if isQuantized {
            for item in placement.operations where ["Conv", "FusedConv", "Gemm", "FusedGemm", "MatMul", "LSTM", "GRU", "ConvTranspose"].contains(item.kernel) {
                let reason = item.origin.flatMap { nodes[$0] }.map { self.reason($0, model.graph, index) } ?? "the runtime made it of other operations"
                result.append("'\(item.origin ?? item.name)' runs in float (\(item.kernel)): \(reason)")
            }
        }
        for item in placement.operations where item.kernel.hasPrefix("QLinear") || item.kernel == "QGemm" {
            guard let origin = item.origin, let node = nodes[origin] else { continue }
            let weights = Assignment.weightInputs(node).filter { $0 < node.input.count }.compactMap { index.initializer[node.input[$0]] }
            if weights.contains(where: { model.graph.initializer[$0].elementType == .float }) {
                result.append("'\(origin)' has float weights in the file, but runs as \(item.kernel): between quantized tensors the runtime quantizes them by itself, with one scale per tensor")
            }
        }
        let atEveryRun = (kernels["DequantizeLinear"] ?? []).filter { item in
            item.origin.flatMap { nodes[$0] }?.input.first.map { index.initializer[$0] != nil } ?? false
        }
        if !atEveryRun.isEmpty {
            result.append("\(atEveryRun.count) weights are dequantized at every run: about twice float's time for convolutions; load with session.disable_quant_qdq=1, or use int8 or palette")
        }
        if let slow = kernels["ConvInteger"] { result.append("\(slow.count) ConvInteger: dynamic 8-bit convolutions, several times slower than float") }
        let added = (kernels["Transpose"] ?? []).filter(\.isConversion)
        if added.count > 2 { result.append("\(added.count) Transpose were added around integer convolutions: quantize what lies between them too") }
        if placement.transfers > 0 { result.append("\(placement.transfers) transfers between the memories of units at every run") }
        let others = Set(placement.operations.map(\.provider))
        if others.count > 1 {
            for item in placement.operations where item.provider == "CPUExecutionProvider" && !item.isTransfer && !item.isConversion {
                result.append("'\(item.origin ?? item.name)' (\(item.kernel)) fell back to the processor: \(others.subtracting(["CPUExecutionProvider"]).sorted().joined(separator: ", ")) does not take it")
            }
        }
        return result
    }

    /// Why an operation of a quantized model has no integer kernel, as the file shows it.
    private static func reason(_ node: Node, _ graph: Graph, _ index: GraphIndex) -> String {
        if ["LSTM", "GRU", "ConvTranspose"].contains(node.opType) {
            return node.opType == "LSTM" ? "LSTM has no static 8-bit form; int8-dynamic has one" : "\(node.opType) has no 8-bit form in ONNX Runtime"
        }
        func writer(_ name: String) -> String? { index.producer[name].map { graph.node[$0].opType } }
        let inputs = node.input.filter { !$0.isEmpty }
        let weights = Assignment.weightInputs(node).first { $0 < inputs.count && (index.initializer[inputs[$0]] != nil || writer(inputs[$0]) == "DequantizeLinear") }
        var missing: [String] = []
        if let weights, index.initializer[inputs[weights]] != nil { missing.append("its weights are float") }
        if let first = inputs.indices.first(where: { $0 != weights }), writer(inputs[first]) != "DequantizeLinear" { missing.append("its input is float") }
        var output = node.output.first ?? ""
        // Activations that become the clipping of the quantized output.
        while let next = index.consumers[output], next.count == 1, ["Relu", "Clip"].contains(graph.node[next[0]].opType) { output = graph.node[next[0]].output.first ?? "" }
        let readers = (index.consumers[output] ?? []).map { graph.node[$0].opType }
        if index.outputs.contains(output) || readers.contains(where: { $0 != "QuantizeLinear" }) || readers.isEmpty { missing.append("its output is read in float") }
        return missing.isEmpty ? "it is quantized in the file, but the runtime has no integer kernel for it in this form" : missing.joined(separator: ", ")
    }
}
