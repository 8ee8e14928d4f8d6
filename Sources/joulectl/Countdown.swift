import Units

/// Share done and time left of long work, from the pace since it began or was resumed.
struct Countdown {
    private let clocks = SystemClocks()
    private var start: (time: MonotonicTime, share: Double)?

    mutating func text(_ share: Double) -> String {
        let now = clocks.monotonic()
        guard let start, share > start.share else {
            if start == nil { start = (now, share) }
            return percent(share)
        }
        let left = now.since(start.time).value / (share - start.share) * (1 - share)
        return "\(percent(share)), \(Int(left.rounded(.up))) s left"
    }
}
