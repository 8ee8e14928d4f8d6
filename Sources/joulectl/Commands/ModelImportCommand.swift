import ArgumentParser
import InferenceRuntime
import OnnxGraph
import Quantizer
import Units

/// `joulectl model import`: makes a model fit for streaming.
struct ModelImportCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "import", abstract: "Fix open dimensions and constant inputs of a model, and fold what follows from them.")
    @Argument(help: "The model.", completion: .file(extensions: ["onnx"]))
    var model: String
    @Option(help: "NAME=SIZE or INPUT.AXIS=SIZE: fix an open dimension; may be repeated.")
    var dim: [String] = []
    @Option(help: "INPUT=VALUE: turn an input into a constant; may be repeated.")
    var constant: [String] = []
    @Option(help: "A model.toml, with or without variants, that says what a stream feeds: gives the sizes, and the model is checked against it.", completion: .file(extensions: ["toml"]))
    var manifest: String?
    @Flag(help: "Leave open dimensions that --dim does not name as they are, instead of making them 1.")
    var keepDynamic = false
    @Option(help: "Windows (.npz): rewrite the model for this device where it answers the same on them and takes at least a tenth less CPU time.", completion: .file(extensions: ["npz"]))
    var specialise: String?
    @OptionGroup var runtime: RuntimeOptions
    @Option(name: .shortAndLong, help: "The imported model.", completion: .file(extensions: ["onnx"]))
    var output: String

    func run() throws {
        try reporting {
            let library = try runtime.load()
            var outcome = try ModelImport.run(
                OnnxModel.load(model), dimensions: try pairs(dim, "--dim").mapValues { Int($0) }, constants: try pairs(constant, "--constant"),
                fixAll: !keepDynamic, contract: try loadContract(manifest), runtime: library)
            if let specialise {
                let result = try Specialisation(runtime: library, dataset: Dataset(path: specialise)).run(outcome.model)
                outcome.model = result.model ?? outcome.model
                outcome.notes.append(result.note)
            }
            try outcome.model.save(to: output)
            for note in outcome.notes { Console.out(note) }
            Console.out("\(output): written")
        }
    }

    private func pairs(_ texts: [String], _ flag: String) throws(JouledError) -> [String: Double] {
        var result: [String: Double] = [:]
        for text in texts {
            guard let equals = text.lastIndex(of: "="), let value = Double(text[text.index(after: equals)...]), value.isFinite, value.magnitude < 1e15 else {
                throw JouledError(.invalidRecipe, "\(flag): '\(text)' is not NAME=NUMBER")
            }
            result[String(text[..<equals])] = value
        }
        return result
    }
}
