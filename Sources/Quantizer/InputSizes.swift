import ModelStore
import OnnxGraph
import Units

/// The sizes that a model's open input dimensions get at import: asked for, from the contract, or 1.
struct InputSizes {
    private struct Axis {
        let input: Int
        let axis: Int
        /// Of the dimension; empty where it has none.
        let name: String
        /// How a flag names it.
        let flag: String
        var size: Int
        /// Nobody asked for it: 1 because most open dimensions are a batch.
        let isGuess: Bool
    }
    private var axes: [Axis] = []
    private let path: String

    /// - Throws: `.unsupportedGraph` for a dimension that no input has, an input that nothing would feed, and shapes that
    ///   contradict the contract.
    init(_ model: OnnxModel, dimensions: [String: Int], contract: ModelManifest?, fixAll: Bool) throws(JouledError) {
        path = model.path
        func failure(_ what: String) -> JouledError { JouledError(.unsupportedGraph, "\(model.path): \(what)") }
        var unused = Set(dimensions.keys)
        var promised: [String: [Int]] = [:]
        if let contract {
            promised[contract.input.name] = contract.input.shape
            for state in contract.states { promised[state.input] = state.shape }
            let inputs = model.graph.input.map(\.name)
            for name in promised.keys.sorted() where !inputs.contains(name) {
                throw failure("the contract feeds input '\(name)', which the model does not have; it has \(inputs.joined(separator: ", "))")
            }
            let weights = Set(model.graph.initializer.map(\.name))
            for name in inputs where promised[name] == nil && !weights.contains(name) {
                throw failure("the contract feeds nothing into input '\(name)': make it constant with --constant \(name)=VALUE")
            }
        }
        for (index, input) in model.graph.input.enumerated() {
            if let shape = promised[input.name], let declared = input.shape {
                guard shape.count == declared.count, zip(shape, declared).allSatisfy({ $1 == nil || $0 == $1 }) else {
                    throw failure("input '\(input.name)' has shape [\(declared.map { $0.map(String.init) ?? "?" }.joined(separator: ", "))], the contract says \(shape)")
                }
            }
            for (axis, name) in input.openDimensions {
                let keys = ["\(input.name).\(axis)", name].filter { !$0.isEmpty }
                unused.subtract(keys)
                let asked = keys.lazy.compactMap { dimensions[$0] }.first
                let contracted = promised[input.name]?[axis]
                if let asked, let contracted, asked != contracted { throw failure("input '\(input.name)' axis \(axis) is to be \(asked), but the contract says \(contracted)") }
                guard let size = asked ?? contracted ?? (fixAll ? 1 : nil) else { continue }
                axes.append(Axis(input: index, axis: axis, name: name, flag: keys.last ?? "", size: size, isGuess: asked == nil && contracted == nil))
            }
        }
        if let name = unused.sorted().first { throw failure("no input has an open dimension '\(name)'") }
    }

    /// Fixes the sizes and folds what follows from them.
    /// - Throws: `.impossibleShape`; where a guess is to blame with the sizes that would do and the flag that gives them.
    func fix(_ model: inout OnnxModel, _ notes: inout [String]) throws(JouledError) -> ShapeFolding.Outcome {
        apply(to: &model)
        for item in axes {
            notes.append("input '\(model.graph.input[item.input].name)' axis \(item.axis)\(item.name.isEmpty ? "" : " (\(item.name))") fixed to \(item.size)\(item.isGuess ? ", as nothing else was asked for" : "")")
        }
        let open = model
        do throws(JouledError) {
            return try ShapeFolding.fold(&model)
        } catch {
            throw explained(error, open)
        }
    }

    private func apply(to model: inout OnnxModel) {
        for item in axes { model.graph.input[item.input].type.tensorType.shape.dim[item.axis].value = .dimValue(Int64(item.size)) }
        // Of other sizes, perhaps.
        model.graph.valueInfo = []
    }

    private func explained(_ error: JouledError, _ model: OnnxModel) -> JouledError {
        guard error.code == .impossibleShape else { return error }
        for flag in Set(axes.filter(\.isGuess).map(\.flag)).sorted() {
            guard let range = sizes(for: flag, model), let item = axes.first(where: { $0.flag == flag }) else { continue }
            let input = model.graph.input[item.input].name
            return JouledError(
                .impossibleShape,
                "\(error.message); axis \(item.axis) of input '\(input)' is open and was taken for 1: give its size by --dim \(flag)=SIZE or --manifest (sizes from \(range.lowerBound)\(range.upperBound >= Self.largest ? "" : " to \(range.upperBound)") fit)",
                cause: error.cause)
        }
        let guesses = Set(axes.filter(\.isGuess).map { "--dim \($0.flag)=SIZE" }).sorted()
        return guesses.isEmpty ? error : JouledError(.impossibleShape, "\(error.message); give the sizes that are open: \(guesses.joined(separator: ", "))", cause: error.cause)
    }

    private static let largest = 1 << 20

    /// The sizes of one dimension, all others as they are, that the model can have: a range around the first power of two that does.
    private func sizes(for flag: String, _ model: OnnxModel) -> ClosedRange<Int>? {
        func fits(_ size: Int) -> Bool {
            var trial = self
            for index in axes.indices where axes[index].flag == flag { trial.axes[index].size = size }
            var copy = model
            trial.apply(to: &copy)
            return (try? ShapeInference.infer(copy)) != nil
        }
        /// Between one that is not like `good` and one that is, the last that is.
        func edge(_ bad: Int, _ good: Int) -> Int {
            var (bad, good) = (bad, good)
            while (bad - good).magnitude > 1 {
                let middle = (bad + good) / 2
                if fits(middle) { good = middle } else { bad = middle }
            }
            return good
        }
        guard let first = (1...20).map({ 1 << $0 }).first(where: fits) else { return nil }
        let low = edge(first / 2, first)
        var high = first
        while high < Self.largest, fits(high * 2) { high *= 2 }
        return low...(high >= Self.largest ? Self.largest : edge(high * 2, high))
    }

    /// - Throws: `.unsupportedGraph` where an output is not what the contract promises.
    static func check(_ model: OnnxModel, _ contract: ModelManifest) throws(JouledError) {
        let promised = contract.outputs.map { ($0.tensor.name, $0.tensor.shape) } + contract.states.map { ($0.output, $0.shape) }
        for (name, shape) in promised {
            guard let output = model.graph.output.first(where: { $0.name == name }) else {
                throw JouledError(.unsupportedGraph, "\(model.path): the contract reads output '\(name)', which the model does not have; it has \(model.graph.output.map(\.name).joined(separator: ", "))")
            }
            guard let declared = output.shape, !zip(declared, shape).contains(where: { $0 != nil && $0 != $1 }), declared.count == shape.count else {
                throw JouledError(.unsupportedGraph, "\(model.path): output '\(name)' has shape \(output.shape.map { "[" + $0.map { $0.map(String.init) ?? "?" }.joined(separator: ", ") + "]" } ?? "unknown"), the contract says \(shape)")
            }
        }
    }
}
