// Number formatting without Foundation: the daemon's path must stay free of locale code.

/// `value` with a fixed number of decimal places, rounded half away from zero.
public func decimal(_ value: Double, places: Int) -> String {
    guard value.isFinite else { return value.isNaN ? "nan" : (value < 0 ? "-inf" : "inf") }
    precondition((0...9).contains(places), "0 to 9 decimal places")
    var power = 1.0
    for _ in 0..<places { power *= 10 }
    let scaled = (value.magnitude * power).rounded(.toNearestOrAwayFromZero)
    // Beyond 2^63 the fraction is meaningless and Int64 would trap.
    guard scaled < 9.2e18 else { return "\(value)" }
    let digits = Int64(scaled)
    let sign = value < 0 && digits != 0 ? "-" : ""
    guard places > 0 else { return sign + String(digits) }
    let unit = Int64(power)
    let fraction = String(digits % unit)
    return sign + String(digits / unit) + "." + String(repeating: "0", count: places - fraction.count) + fraction
}

/// `value` with three significant digits and an SI prefix, e.g. `2.40 mJ`.
public func scaled(_ value: Double, _ unit: String) -> String {
    guard value.isFinite else { return "\(decimal(value, places: 0)) \(unit)" }
    let magnitude = value.magnitude
    let steps: [(Double, String)] = [(1e9, "G"), (1e6, "M"), (1e3, "k"), (1, ""), (1e-3, "m"), (1e-6, "µ"), (1e-9, "n")]
    guard magnitude > 0, let (factor, prefix) = steps.first(where: { magnitude >= $0.0 * 0.9995 }) else {
        return "0 \(unit)"
    }
    let mantissa = value / factor
    let places = mantissa.magnitude >= 99.95 ? 0 : (mantissa.magnitude >= 9.995 ? 1 : 2)
    return decimal(mantissa, places: places) + " " + prefix + unit
}

/// A span as `1h02m`, `3m20s` or `12s`.
public func clockText(_ seconds: Double) -> String {
    guard seconds.isFinite, seconds.magnitude < 3.2e9 else { return "unknown" }
    let whole = Int64(seconds.rounded())
    let (hours, minutes, rest) = (whole / 3600, whole / 60 % 60, whole % 60)
    func two(_ number: Int64) -> String { number < 10 ? "0\(number)" : "\(number)" }
    if hours > 0 { return "\(hours)h\(two(minutes))m" }
    if minutes > 0 { return "\(minutes)m\(two(rest))s" }
    return "\(rest)s"
}

/// A fraction 0...1 as a percentage with `places` decimals.
public func percent(_ fraction: Double, places: Int = 0) -> String { decimal(fraction * 100, places: places) + " %" }

/// `text` for HTML and SVG, in elements and in quoted attributes.
public func escapedForHTML(_ text: String) -> String {
    var result = ""
    for character in text {
        switch character {
        case "<": result += "&lt;"
        case ">": result += "&gt;"
        case "&": result += "&amp;"
        case "\"": result += "&quot;"
        default: result.append(character)
        }
    }
    return result
}
