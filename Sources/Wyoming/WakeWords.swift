import Glibc


/// Makes detections of the probabilities that a model gives its words window by window: one for each time that a word is said.
public struct WakeWords: Sendable {
    /// Labels that are no words: what a model calls the rest.
    static let rest: Set<String> = ["none", "silence", "unknown", "other", "background", "noise"]

    /// The words among a model's labels.
    public static func words(in labels: [String]) -> [String] {
        labels.filter { !rest.contains($0.lowercased().filter { $0.isLetter }) }
    }

    private let words: [(index: Int, name: String)]
    private let threshold: Float
    /// Words that were told and have not faded away since.
    private var told: Set<Int> = []

    /// - Parameters:
    ///   - labels: of the model's values, in their order.
    ///   - wanted: words to listen for; empty: all.
    ///   - threshold: probability from which on a word is detected, 0 to 1.
    public init(labels: [String], wanted: [String], threshold: Float) {
        let all = Self.words(in: labels)
        words = labels.enumerated().filter { all.contains($0.element) && (wanted.isEmpty || wanted.contains($0.element)) }.map { ($0.offset, $0.element) }
        self.threshold = threshold
    }

    /// Takes the values of a window: probabilities, or logits where one of them is none.
    /// - Returns: the words that are detected anew.
    public mutating func take(_ values: [Float]) -> [String] {
        let probabilities = values.allSatisfy { (0...1).contains($0) } ? values : Self.softmax(values)
        var detected: [String] = []
        for (index, name) in words where index < probabilities.count {
            let probability = probabilities[index]
            if probability >= threshold, told.insert(index).inserted { detected.append(name) }
            // One word is in several windows; it must fade before it counts again.
            if !(probability >= threshold / 2) { told.remove(index) }
        }
        return detected
    }

    private static func softmax(_ values: [Float]) -> [Float] {
        let most = values.max() ?? 0
        let powers = values.map { exp($0 - most) }
        let sum = powers.reduce(0, +)
        return powers.map { $0 / sum }
    }
}
