import ConfigDocument
import Units

extension Recipe {
    /// Reads a recipe:
    /// ```toml
    /// weight_threshold = 2048
    /// [global]
    /// scheme = "int8"
    /// [type.LSTM]
    /// scheme = "int8-dynamic"
    /// [name."/stft/Conv"]
    /// scheme = "skip"
    /// [calibration]
    /// method = "percentile"
    /// ```
    /// A table for a name or type takes what it does not say from `[global]`.
    /// - Throws: errors with file, line and key: unknown keys, unknown values, values out of range.
    /// - Parameter base: what the file does not say.
    public init(reading document: ConfigDocument, base: Recipe = Recipe()) throws(JouledError) {
        try self.init(document.root, base: base, finishing: true)
    }

    /// Reads the recipe's keys of a table that has others too.
    init(_ root: ConfigTable, base: Recipe = Recipe(), finishing: Bool = false) throws(JouledError) {
        self = base
        weightThreshold = try root.integer("weight_threshold", default: weightThreshold, range: 0...(1 << 30))
        if let table = try root.optionalTable("global") { global = try OperatorRecipe(table, base: global) }
        for (key, isName) in [("type", false), ("name", true)] {
            guard let table = try root.optionalTable(key) else { continue }
            for entry in table.keys {
                let recipe = try OperatorRecipe(table.table(entry), base: global)
                if isName { names[entry] = recipe } else { types[entry] = recipe }
            }
        }
        if let table = try root.optionalTable("calibration") { calibration = try CalibrationRecipe(table, base: calibration) }
        if finishing { try root.finish() }
    }
}

extension OperatorRecipe {
    init(_ table: ConfigTable, base: OperatorRecipe) throws(JouledError) {
        self = base
        scheme = try value(table, "scheme", scheme)
        bits = try table.integer("bits", default: bits, range: 1...8)
        guard [1, 2, 3, 4, 6, 8].contains(bits) else { throw table.error("bits", "a palette has 1, 2, 3, 4, 6 or 8 bits, not \(bits)") }
        granularity = try value(table, "granularity", granularity)
        blockSize = try table.integer("block_size", default: blockSize, range: 16...4096)
        guard blockSize & (blockSize - 1) == 0 else { throw table.error("block_size", "must be a power of two, is \(blockSize)") }
        groupSize = try table.integer("group_size", default: groupSize, range: 1...65536)
        symmetric = try table.bool("symmetric", default: symmetric)
        method = try value(table, "method", method)
        channelScale = try table.bool("channel_scale", default: channelScale)
        activationWeighted = try table.bool("activation_weighted", default: activationWeighted)
    }
}

extension CalibrationRecipe {
    init(_ table: ConfigTable, base: CalibrationRecipe) throws(JouledError) {
        self = base
        method = try value(table, "method", method)
        percentile = try table.number("percentile", default: percentile, range: 50...100)
        activations = try value(table, "activations", activations)
        equalize = try table.bool("equalize", default: equalize)
    }
}

/// One of an enumeration's names.
func value<Choice: RawRepresentable & CaseIterable>(
    _ table: ConfigTable, _ key: String, _ fallback: Choice
) throws(JouledError) -> Choice where Choice.RawValue == String {
    guard let text = try table.optionalString(key) else { return fallback }
    guard let choice = Choice(rawValue: text) else {
        throw table.error(key, "'\(text)' is none of \(Choice.allCases.map { "'\($0.rawValue)'" }.joined(separator: ", "))")
    }
    return choice
}
