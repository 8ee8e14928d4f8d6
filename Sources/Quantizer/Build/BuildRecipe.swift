import ConfigDocument
import ModelStore
import Units

/// What `joulectl model build` reads: one model, its contract, its data, and the variants to try. See docs/quantization.md.
public struct BuildRecipe: Sendable {
    /// A variant to try.
    public struct Variant: Sendable {
        public var id: String
        /// nil: the search decides.
        public var recipe: Recipe
        public var isMixed: Bool
    }
    public var file: String
    public var source: String
    public var contract: ModelManifest
    public var dimensions: [String: Int]
    public var constants: [String: Double]
    public var calibration: String
    /// Data that a mixed search chooses on; nil: the calibration data.
    public var selection: String?
    public var evaluation: String
    /// How the evaluation data is called in the bundle.
    public var evaluationName: String
    /// Data unlike the calibration set's that the thresholds must hold on too.
    public var outOfDistribution: [String]
    public var allowFew: Bool
    /// Rewrite the float model for this device where that answers the same and is cheaper.
    public var specialise: Bool
    /// Fewer variants within the thresholds, float not counted, fail the build.
    public var fewestVariants: Int
    public var variants: [Variant]

    /// Paths in the recipe are relative to its directory.
    /// - Throws: errors with file, line and key.
    public init(path: String) throws(JouledError) {
        let document = try ConfigDocument.load(path)
        let directory = path.lastIndex(of: "/").map { String(path[...$0]) } ?? ""
        func resolve(_ text: String) -> String { text.hasPrefix("/") ? text : directory + text }
        let root = document.root
        file = path
        source = resolve(try root.string("source"))
        contract = try ModelManifest(contract: ConfigDocument.load(resolve(root.string("contract"))))
        calibration = resolve(try root.string("calibration"))
        selection = try root.optionalString("selection").map(resolve)
        evaluation = resolve(try root.string("evaluation"))
        evaluationName = try root.string("evaluation_name", default: evaluation)
        outOfDistribution = try root.strings("out_of_distribution", default: []).map(resolve)
        allowFew = try root.bool("allow_few", default: false)
        specialise = try root.bool("specialise", default: true)
        fewestVariants = try root.integer("fewest_variants", default: 1, range: 0...100)
        dimensions = [:]
        constants = [:]
        if let table = try root.optionalTable("dimensions") {
            for key in table.keys { dimensions[key] = try table.integer(key, range: 1...(1 << 24)) }
        }
        if let table = try root.optionalTable("constants") {
            for key in table.keys { constants[key] = try table.number(key) }
        }
        variants = []
        for table in try root.tables("variant") {
            let id = try table.string("id")
            guard id != "fp32", !variants.contains(where: { $0.id == id }) else { throw table.error("id", "'\(id)' is used twice; 'fp32' is the float model") }
            var base = Recipe()
            var isMixed = false
            if let text = try table.optionalString("scheme") {
                isMixed = text == "mixed"
                guard isMixed || Scheme(rawValue: text) != nil else {
                    throw table.error("scheme", "'\(text)' is none of \(Scheme.allCases.map { "'\($0.rawValue)'" }.joined(separator: ", ")), 'mixed'")
                }
                base.global.scheme = Scheme(rawValue: text) ?? .int8
                if base.global.scheme == .palette { base.global.granularity = .tensor }
            }
            variants.append(Variant(id: id, recipe: try Recipe(table, base: base), isMixed: isMixed))
        }
        try root.finish()
        guard !variants.isEmpty else { throw root.error("variant", "at least one [[variant]] is needed", code: .missingKey) }
    }
}
