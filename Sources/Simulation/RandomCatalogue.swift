import Units

extension RandomScenario {
    /// Models' contracts: hop in seconds, deadline in milliseconds, floor.
    static let contracts: [String: (hop: Double, deadline: Double, floor: Double)] = [
        "ecg": (1.0, 500, 0.98), "har": (2.56, 1000, 0.9), "vad": (0.032, 32, 0.97), "kws": (0.08, 80, 0.98),
        "sound": (0.96, 500, 0.95), "asr": (0.64, 640, 0.93),
    ]

    /// A profile of the size that small devices measure.
    static let catalogue: [Scenario.Option] = [
        row("ecg", "fp32", "cpu", 1.0, 0.015, 9.0, 15.0, 8, 0.2), row("ecg", "int8", "cpu", 0.993, 0.0062, 4.0, 7.0, 4, 0.15),
        row("ecg", "mixed", "cpu", 0.998, 0.0088, 5.4, 9.0, 6, 0.18), row("har", "fp32", "cpu", 1.0, 0.011, 7.0, 12.0, 6, 0.2),
        row("har", "int8", "cpu", 0.985, 0.0049, 3.1, 6.0, 3, 0.15), row("vad", "fp32", "cpu", 1.0, 0.00042, 0.35, 0.9, 6, 0.05),
        row("vad", "int8", "cpu", 0.994, 0.00021, 0.18, 0.5, 3, 0.04), row("vad", "palette4", "cpu", 0.981, 0.00041, 0.35, 0.9, 6, 0.05),
        row("kws", "fp32", "cpu", 1.0, 0.009, 6.0, 11.0, 14, 0.3), row("kws", "int8", "cpu", 0.991, 0.0041, 2.9, 5.5, 6, 0.2),
        row("kws", "mixed", "cpu", 0.997, 0.0056, 3.9, 7.4, 9, 0.25), row("kws", "int8", "npu", 0.991, 0.0009, 2.1, 3.0, 6, 0.5),
        row("sound", "fp32", "cpu", 1.0, 0.081, 45, 70, 40, 0.8), row("sound", "int8", "cpu", 0.996, 0.036, 21, 33, 14, 0.5),
        row("sound", "palette4", "cpu", 0.962, 0.079, 45, 69, 9, 0.4), row("sound", "mixed", "npu", 0.998, 0.019, 19, 31, 20, 0.9),
        row("sound", "int8", "npu", 0.996, 0.0024, 8, 12, 14, 0.9), row("asr", "fp32", "cpu", 1.0, 0.62, 300, 420, 180, 4.0),
        row("asr", "int8", "cpu", 0.978, 0.27, 140, 200, 60, 2.0), row("asr", "palette4", "cpu", 0.941, 0.6, 300, 420, 38, 1.5),
        row("asr", "int8", "npu", 0.978, 0.055, 60, 85, 60, 3.0),
    ]

    private static func row(
        _ model: String, _ variant: String, _ unit: String, _ quality: Double, _ joules: Double, _ p50: Double, _ p99: Double,
        _ resident: Double, _ load: Double
    ) -> Scenario.Option {
        Scenario.Option(
            model: model, variant: variant, unit: unit, quality: quality, joules: Joules(joules), p50: Seconds(milliseconds: p50),
            p99: Seconds(milliseconds: p99), residentMegabytes: resident, loadJoules: Joules(load))
    }
}
