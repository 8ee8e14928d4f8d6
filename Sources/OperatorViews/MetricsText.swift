import Units
import Wire

/// The daemon's state as metrics: names and units as Prometheus advises (base units, `_total` for counters, ratios from 0 to 1).
///
/// Counters are sums over all streams of a model and variant, because those alone never go backwards: what closed streams spent is added up by
/// the daemon as time goes by. What belongs to one open stream is a gauge, or a counter that ends with the stream.
public struct MetricsText {
    /// The two text formats, which differ in how a counter is announced and in the end mark.
    public enum Format: String, CaseIterable, Sendable {
        /// Text format 0.0.4, which the node exporter's textfile collector and `promtool check metrics` read.
        case prometheus
        /// OpenMetrics 1.0.
        case openmetrics
    }

    private let format: Format
    private var lines: [String] = []

    /// - Parameters:
    ///   - info: the reply to `org.varlink.service.GetInfo`.
    ///   - status: `status` of `io.jouled.Power.GetStatus`.
    ///   - streams: `streams` of `io.jouled.Streams.List`.
    ///   - ledger: `entries` of `io.jouled.Streams.Ledger`.
    public init(info: JSONValue, status: JSONValue, streams: [JSONValue], ledger: [JSONValue], format: Format) {
        self.format = format
        gauge("jouled_build_info", "The daemon's version.", [(["version": info["version"]?.stringValue ?? ""], 1)])
        power(status)
        energy(ledger)
        self.streams(streams)
        if format == .openmetrics { lines.append("# EOF") }
    }

    /// The whole text, a newline at its end.
    public var text: String { lines.joined(separator: "\n") + "\n" }

    private mutating func power(_ status: JSONValue) {
        let battery = status["battery"] ?? .null
        single("jouled_battery_charge_ratio", "Charge of the battery.", battery["charge"])
        single("jouled_battery_energy_joules", "Energy in the battery.", battery["energyJoules"])
        single("jouled_battery_full_joules", "Energy in the battery when it is full.", battery["fullJoules"])
        single("jouled_battery_draw_watts", "Power drawn from the battery; negative while it is charged.", battery["drawWatts"])
        single("jouled_battery_reading_age_seconds", "Age of the reading of the battery.", battery["ageSeconds"])
        if let online = battery["acOnline"]?.boolValue { gauge("jouled_external_power", "1 while external power is on.", [([:], online ? 1 : 0)]) }
        single("jouled_budget_watts", "Power that inference may draw; absent without a limit.", status["budgetWatts"])
        single("jouled_planned_watts", "Power that the present plan expects inference to draw.", status["plannedWatts"])
        single("jouled_inference_watts", "Power that inference drew lately, by the energy model.", status["inferenceWatts"])
        single("jouled_rest_watts", "Estimate of what the rest of the device draws.", status["restWatts"])
        single("jouled_rest_deviation_watts", "Standard deviation of that estimate.", status["restDeviationWatts"])
        single("jouled_goal_left_seconds", "Time until the goal of the policy; absent without one.", status["secondsLeft"])
        let goal = status["goal"]?.stringValue ?? "none"
        gauge("jouled_goal", "1 for the state that the policy's goal is in.", ["none", "feasible", "infeasible"].map { (["state": $0], $0 == goal ? 1 : 0) })
        gauge("jouled_policy_info", "The policy in force.", [(["policy": status["policy"]?.stringValue ?? ""], 1)])
        gauge("jouled_problems", "What keeps the daemon from doing its job, in number.", [([:], Double(status["problems"]?.arrayValue?.count ?? 0))])
        counter("jouled_decisions", "Changes of plan.", [([:], status["decisions"]?.doubleValue ?? 0)])
    }

    private mutating func energy(_ ledger: [JSONValue]) {
        var sums: [[String]: (windows: Double, joules: Double)] = [:]
        for entry in ledger {
            let key = ["model", "variant"].map { entry[$0]?.stringValue ?? "" }
            sums[key, default: (0, 0)].windows += entry["windows"]?.doubleValue ?? 0
            sums[key, default: (0, 0)].joules += entry["joules"]?.doubleValue ?? 0
        }
        let keys = sums.keys.sorted { $0.lexicographicallyPrecedes($1) }
        func samples(_ value: ((windows: Double, joules: Double)) -> Double) -> [(JSONObject, Double)] {
            keys.map { key in (["model": .string(key[0]), "variant": .string(key[1])], sums[key].map(value) ?? 0) }
        }
        counter("jouled_windows", "Windows answered.", labelled(samples(\.windows)))
        counter("jouled_energy_joules", "Energy spent on inference, by the energy model.", labelled(samples(\.joules)))
    }

    private mutating func streams(_ streams: [JSONValue]) {
        gauge("jouled_streams", "Open streams.", [([:], Double(streams.count))])
        func samples(_ field: String) -> [([String: String], Double)] {
            streams.compactMap { stream in
                let value = stream[field]
                guard let number = value?.doubleValue ?? value?.boolValue.map({ $0 ? 1 : 0 }) else { return nil }
                return (["stream": "\(stream["stream"]?.intValue ?? 0)", "name": stream["name"]?.stringValue ?? "", "model": stream["model"]?.stringValue ?? ""], number)
            }
        }
        gauge("jouled_stream_quality_ratio", "Validated quality of what the stream runs.", samples("quality"))
        gauge("jouled_stream_paused", "1 while the stream is paused.", samples("paused"))
        gauge("jouled_stream_planned_watts", "Power that the plan expects of the stream.", samples("plannedWatts"))
        gauge("jouled_stream_window_joules", "Energy of one window as the stream runs now.", samples("joulesPerWindow"))
        counter("jouled_stream_wakeups", "Wake-ups in which the stream had windows to answer.", samples("wakes"))
        counter("jouled_stream_lost_samples", "Samples that the client said it lost.", samples("lostSamples"))
    }

    // MARK: Text

    private func labelled(_ samples: [(JSONObject, Double)]) -> [([String: String], Double)] {
        samples.map { labels, value in (Dictionary(uniqueKeysWithValues: labels.members.map { ($0.key, $0.value.stringValue ?? "") }), value) }
    }

    private mutating func single(_ name: String, _ help: String, _ value: JSONValue?) {
        if let number = value?.doubleValue { gauge(name, help, [([:], number)]) }
    }

    private mutating func gauge(_ name: String, _ help: String, _ samples: [([String: String], Double)]) { family(name, name, "gauge", help, samples) }

    private mutating func counter(_ name: String, _ help: String, _ samples: [([String: String], Double)]) {
        family(format == .openmetrics ? name : name + "_total", name + "_total", "counter", help, samples)
    }

    private mutating func family(_ name: String, _ sample: String, _ type: String, _ help: String, _ samples: [([String: String], Double)]) {
        guard !samples.isEmpty else { return }
        lines.append("# HELP \(name) \(help)")
        lines.append("# TYPE \(name) \(type)")
        for (labels, value) in samples {
            let text = labels.sorted { $0.key < $1.key }.map { "\($0.key)=\"\(Self.escaped($0.value))\"" }.joined(separator: ",")
            lines.append("\(sample)\(text.isEmpty ? "" : "{\(text)}") \(value == value.rounded() && value.magnitude < 1e15 ? "\(Int64(value))" : "\(value)")")
        }
    }

    private static func escaped(_ text: String) -> String {
        var result = ""
        for character in text {
            switch character {
            case "\\": result += "\\\\"
            case "\"": result += "\\\""
            case "\n": result += "\\n"
            default: result.append(character)
            }
        }
        return result
    }
}
