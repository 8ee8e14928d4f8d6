import JouledClient
import Units
import Wire

/// Turns a stream's events into JSON lines on standard output.
final class ResultPrinter {
    private let variants: [String]
    private let labels: [String]
    private let notices: Bool
    private let quiet: Bool
    /// The message of the ERROR that ended the stream, if one did.
    private(set) var failure: String?

    init(contract reply: JSONObject, notices: Bool, quiet: Bool) {
        let contract = reply["contract"] ?? .null
        variants = contract.list("variants").compactMap(\.stringValue)
        labels = contract.list("outputs").flatMap { $0.list("labels").compactMap(\.stringValue) }
        self.notices = notices
        self.quiet = quiet
    }

    func handle(_ event: StreamEvent) -> Bool {
        switch event {
        case .result(let result, let end, _): add(result, end: end)
        case .notice(let notice, let index):
            if notices {
                var object: JSONObject = ["notice": .string(notice.kind), "at": JSONValue(index), "message": .string(notice.message)]
                for member in notice.fields.members { object[member.key] = member.value }
                line(JSONValue.object(object).description)
            } else if !quiet, !["end", "flushed"].contains(notice.kind) {
                Console.error("joulectl: \(notice.line)")
            }
        case .error(let notice): failure = notice.message
        }
        return true
    }

    private func add(_ result: ResultPayload, end: UInt64) {
        let index = Int(result.variant)
        var object: JSONObject = [
            "end": JSONValue(end), "variant": .string(index < variants.count ? variants[index] : "?"),
            "joules": .double(result.joules.value),
        ]
        for (position, value) in result.values.enumerated() {
            // Through the shortest text of the Float, so that 0.2 is not printed as 0.20000000298.
            let number = value.isFinite ? Double("\(value)") ?? Double(value) : .nan
            object[position < labels.count ? labels[position] : "value\(position)"] = .double(number)
        }
        if result.isPadded { object["padded"] = true }
        line(JSONValue.object(object).description)
    }

    private func line(_ text: String) { Console.out(text) }
}
