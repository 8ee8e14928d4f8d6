import Units

// What was learned, as text: so that a daemon that restarts does not learn it all again. Writing the file is the caller's.
extension EnergyModel {
    /// The units' factors and their covariance, with a checksum in the last line.
    public var persistentText: String {
        var text = "jouled-energy 1\n"
        for (index, unit) in knownUnits.enumerated() {
            let scale = scale(of: unit)
            text += "unit \(index) \(scale.basis?.rawValue ?? "none") \(scale.observations) \(scale.factor) \(unit)\n"
        }
        for row in covarianceRows { text += "covariance " + row.map { "\($0)" }.joined(separator: " ") + "\n" }
        return SealedLines.seal(text)
    }

    /// Reads what `persistentText` gave.
    /// - Parameter name: the file's name, for errors.
    /// - Throws: `.corruptPosterior` naming the line, for anything that such a text cannot be.
    public init(persistentText text: String, name: String) throws(JouledError) {
        func corrupt(_ line: Int, _ what: String) -> JouledError { JouledError(.corruptPosterior, "\(name):\(line): \(what)") }
        let lines: [(number: Int, line: String)]
        do { lines = try SealedLines.open(text, header: "jouled-energy 1") } catch { throw corrupt(error.line, error.what) }
        var units: [(name: String, factor: Double, basis: Basis?, observations: Int)] = []
        var covariance: [[Double]] = []
        for (number, line) in lines {
            let words = line.split(separator: " ", omittingEmptySubsequences: false)
            if words.first == "unit", words.count >= 6 {
                guard Int(words[1]) == units.count, let observations = Int(words[3]), observations >= 0, let factor = Double(words[4]),
                    Self.factorRange.contains(factor), words[2] == "none" || Basis(rawValue: String(words[2])) != nil
                else { throw corrupt(number, "is no unit's factor") }
                let unit = words[5...].joined(separator: " ")
                guard !units.contains(where: { $0.name == unit }) else { throw corrupt(number, "names unit '\(unit)' again") }
                units.append((unit, factor, Basis(rawValue: String(words[2])), observations))
            } else if words.first == "covariance" {
                let row = words.dropFirst().compactMap { Double($0) }
                guard row.count == words.count - 1, row.count == units.count, row.allSatisfy(\.isFinite) else {
                    throw corrupt(number, "is no row of a covariance of \(units.count) units")
                }
                covariance.append(row)
            } else {
                throw corrupt(number, "is neither a unit nor a covariance")
            }
        }
        guard covariance.count == units.count, covariance.indices.allSatisfy({ covariance[$0][$0] >= 0 }) else {
            throw corrupt(lines.count + 2, "the covariance is not of \(units.count) units")
        }
        for row in covariance.indices {
            for column in 0..<row where abs(covariance[row][column] - covariance[column][row]) > 1e-9 {
                throw corrupt(lines.count + 2, "the covariance is not symmetric")
            }
        }
        self.init()
        restore(units, covariance)
    }
}

extension JouledError.Code {
    /// A file of learned energy factors is damaged.
    public static let corruptPosterior = Self("energy.corrupt-posterior")
}
