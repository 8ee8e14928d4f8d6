import ConfigDocument
import Units

extension PowerPolicy {
    private static let dayNames = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]

    /// Reads `[[schedule]]`.
    /// - Parameter base: the document that the entries stand in, to lay their `[schedule.set]` over.
    static func schedule(_ root: ConfigTable, _ base: ConfigDocument) throws(JouledError) -> [ScheduleEntry] {
        var entries: [ScheduleEntry] = []
        for table in try root.tables("schedule") {
            let from = try time(table, "from")
            let until = try time(table, "until")
            let days = try days(table)
            let name = try table.string("name", default: "\(timeOfDay(from)) to \(timeOfDay(until))")
            let other = try table.optionalString("policy")
            let changes = try table.optionalDocument("set")
            let policy: PowerPolicy
            switch (other, changes) {
            case (let other?, nil): policy = try neighbour(other, of: base.file, table)
            case (nil, let changes?):
                guard !changes.root.contains("schedule") else { throw table.error("set", "a schedule within a schedule") }
                policy = try PowerPolicy(reading: base.without(["schedule"]).overlaid(by: changes, superseding: superseded))
            case (nil, nil): throw table.error("policy", "give 'policy', the name of another policy, or [schedule.set] with keys that hold then", code: .missingKey)
            case (.some, .some): throw table.error("policy", "give either 'policy' or [schedule.set], not both")
            }
            entries.append(ScheduleEntry(name: name, from: from, until: until, days: days, policy: policy))
        }
        return entries
    }

    private static func time(_ table: ConfigTable, _ key: String) throws(JouledError) -> Int {
        let text = try table.string(key)
        guard let second = secondOfDay(text) else { throw table.error(key, "'\(text)' is no time of day; write \"22:00\"") }
        return second
    }

    private static func days(_ table: ConfigTable) throws(JouledError) -> Set<Int> {
        guard let texts = try table.optionalStrings("days") else { return Set(0..<7) }
        var days: Set<Int> = []
        for text in texts {
            let parts = text.split(separator: "-", omittingEmptySubsequences: false).map { dayNames.firstIndex(of: String($0)) }
            guard let first = parts[0], let last = parts[parts.count - 1], parts.count <= 2 else {
                throw table.error("days", "'\(text)' is no day; write \"mon\" or \"mon-fri\", of \(dayNames.joined(separator: ", "))")
            }
            // "fri-mon" goes over the week's end.
            for step in 0...((last - first + 7) % 7) { days.insert((first + step) % 7) }
        }
        guard !days.isEmpty else { throw table.error("days", "names no day; leave it out for all days") }
        return days
    }

    /// The policy of that name beside `file`.
    private static func neighbour(_ name: String, of file: String, _ table: ConfigTable) throws(JouledError) -> PowerPolicy {
        guard !name.contains("/"), !name.hasPrefix("."), !name.isEmpty else { throw table.error("policy", "'\(name)' is no name of a policy") }
        let directory = file.lastIndex(of: "/").map { String(file[...$0]) } ?? ""
        let document: ConfigDocument
        do throws(JouledError) {
            document = try self.document("\(directory)\(name).toml")
        } catch {
            throw table.error("policy", "policy '\(name)' cannot be used: \(error)", code: error.code)
        }
        guard !document.root.contains("schedule") else {
            throw table.error("policy", "policy '\(name)' has a schedule of its own; a schedule within a schedule would be hard to follow")
        }
        return try PowerPolicy(reading: document)
    }

    // MARK: Drop-ins

    /// A policy file with its drop-ins laid over it.
    /// - Throws: what `ConfigDocument.loadWithDropIns` throws.
    public static func document(_ path: String) throws(JouledError) -> ConfigDocument {
        try ConfigDocument.loadWithDropIns(path, superseding: superseded)
    }

    /// Keys that only some kinds of policies have.
    private static let kindKeys: Set<String> = ["duration", "until", "reserve_percent", "margin", "capacity_wh", "level", "hysteresis_percent", "watts"]

    /// What an overlay makes void: one that names another kind all that belongs to the old, `until` a `duration` and the reverse.
    static func superseded(_ base: ConfigTable, _ overlay: ConfigTable) -> Set<String> {
        var void: Set<String> = []
        if let kind = try? overlay.optionalString("kind"), kind != (try? base.optionalString("kind")) { void = kindKeys }
        if overlay.contains("until") { void.insert("duration") }
        if overlay.contains("duration") { void.insert("until") }
        return void
    }
}
