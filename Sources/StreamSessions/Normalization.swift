extension StreamContract.Normalization {
    /// Changes a window's values, context included, in place.
    public func apply(to values: UnsafeMutableBufferPointer<Float>) {
        switch self {
        case .none: break
        case .subtractMinimum: Self.subtractMinimum(values)
        case .standard: Self.standardize(values)
        }
    }

    private static func subtractMinimum(_ values: UnsafeMutableBufferPointer<Float>) {
        guard let least = values.min() else { return }
        for index in values.indices { values[index] -= least }
    }

    private static func standardize(_ values: UnsafeMutableBufferPointer<Float>) {
        // Sums in Double: a window of 10^5 samples would lose digits in Float.
        var sum = 0.0
        for value in values { sum += Double(value) }
        let mean = sum / Double(values.count)
        var squares = 0.0
        for value in values { squares += (Double(value) - mean) * (Double(value) - mean) }
        let deviation = (squares / Double(values.count)).squareRoot()
        let factor = deviation > 0 ? 1 / deviation : 0
        for index in values.indices { values[index] = Float((Double(values[index]) - mean) * factor) }
    }
}
