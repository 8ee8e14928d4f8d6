import Glibc
import Testing
import Units

@testable import ConfigDocument

func document(_ text: String) throws -> ConfigTable { try ConfigDocument(file: "f.toml", text: text).root }

/// The message of the error that `body` throws, or "no error".
func message<T>(_ code: JouledError.Code? = nil, _ body: () throws -> T) -> String {
    do {
        _ = try body()
        return "no error"
    } catch let error as JouledError {
        if let code, code != error.code { return "wrong code \(error.code)" }
        return error.message
    } catch {
        return "other error \(error)"
    }
}

@Suite("ConfigTable")
struct ConfigTableTests {
    @Test("Every typed reader gives the value that was written")
    func values() throws {
        let table = try document(
            """
            name = "a"
            count = 3
            ratio = 2
            share = 0.5
            on = true
            names = ["x", "y"]
            steps = [1, 2]
            weights = [1, 0.5]
            wait = "1h30m"
            pause = 2.5
            [inner]
            x = 1
            [[row]]
            v = 1
            [[row]]
            v = 2
            """)
        #expect(try table.string("name") == "a")
        #expect(try table.integer("count", range: 0...3) == 3)
        #expect(try table.number("ratio") == 2)
        #expect(try table.number("share", range: 0...1) == 0.5)
        #expect(try table.bool("on"))
        #expect(try table.strings("names") == ["x", "y"])
        #expect(try table.integers("steps") == [1, 2])
        #expect(try table.numbers("weights") == [1, 0.5])
        #expect(try table.duration("wait") == Seconds(5400))
        #expect(try table.duration("pause") == Seconds(2.5))
        #expect(try table.table("inner").integer("x") == 1)
        let rows = try table.tables("row")
        #expect(rows.count == 2)
        #expect(try rows[0].integer("v") == 1)
        #expect(try rows[1].integer("v") == 2)
        #expect(try table.string("absent", default: "d") == "d")
        #expect(try table.optionalNumber("absent") == nil)
        #expect(try table.tables("absent").isEmpty)
        #expect(table.keys == ["name", "count", "ratio", "share", "on", "names", "steps", "weights", "wait", "pause", "inner", "row"])
        try table.finish()
    }

    @Test("Errors name file, line and whole key")
    func errors() throws {
        let table = try document(
            """
            kind = 3
            # comment
            share = 1.5
            many = [
              1,
              "two",
            ]
            never = nan
            born = 1979-05-27
            back = -1

            [models."*"]
            floor = "high"
            wait = "5 parsecs"

            [[option]]
            joules = 1
            [[option]]
            inline = { a = 1, b = "x" }
            """)
        #expect(message(.invalidValue) { try table.string("kind") } == "f.toml:1: key 'kind': expected a string, found an integer")
        #expect(message { try table.number("share", range: 0...1) } == "f.toml:3: key 'share': must be between 0 and 1, is 1.5")
        #expect(message { try table.integers("many") } == "f.toml:6: key 'many[1]': expected an integer, found a string")
        #expect(message { try table.number("never") } == "f.toml:8: key 'never': must be a finite number, is nan")
        #expect(message { try table.string("born") } == "f.toml:9: key 'born': expected a string, found a date or time")
        #expect(message { try table.duration("back") } == "f.toml:10: key 'back': a duration cannot be negative")
        #expect(message { try table.number("back", range: 0 ... .infinity) } == "f.toml:10: key 'back': must be at least 0, is -1")
        let star = try table.table("models").table("*")
        #expect(message { try star.number("floor") } == "f.toml:13: key 'models.\"*\".floor': expected a number, found a string")
        #expect(message { try star.duration("wait") }.hasPrefix("f.toml:14: key 'models.\"*\".wait': '5 parsecs' is no duration"))
        #expect(message(.missingKey) { try star.bool("critical") } == "f.toml:12: key 'models.\"*\".critical': required (true or false), but missing")
        let option = try table.tables("option")[1]
        #expect(message { try option.number("joules") } == "f.toml:18: key 'option[1].joules': required (a number), but missing")
        #expect(message { try option.table("inline").number("b") } == "f.toml:19: key 'option[1].inline.b': expected a number, found a string")
        #expect(message { try table.tables("models") } == "f.toml:12: key 'models': expected an array of tables ([[models]]), found a table")
    }

    @Test("Keys that nobody asked for are refused, also in tables handed out, with the likeliest meant")
    func unknownKeys() throws {
        var table = try document("kind = 1\nresreve_percent = 5")
        _ = try table.integer("kind")
        _ = try table.optionalNumber("reserve_percent")
        #expect(message(.unknownKey) { try table.finish() } == "f.toml:2: key 'resreve_percent': unknown key; did you mean 'reserve_percent'?")
        table = try document("[a]\nx = 1\nzzz = 2")
        _ = try table.table("a").integer("x")
        #expect(message { try table.finish() } == "f.toml:3: key 'a.zzz': unknown key; known here: x")
        #expect(message { try table.table("a").finish() } == "f.toml:3: key 'a.zzz': unknown key; known here: x")
        table = try document("[b]\n")
        #expect(message { try table.finish() } == "f.toml:1: key 'b': unknown key")
    }

    @Test("Syntax errors give line and column", arguments: [("a = 1\nb = ", 2), ("a = 1\na = 2", 2), ("[t\n", 1), ("\n\nx = \"abc", 3)])
    func syntax(text: String, line: Int) {
        let text = message(.configSyntax) { try document(text) }
        #expect(text.hasPrefix("f.toml:\(line):"), "\(text)")
    }

    @Test("Durations")
    func durations() {
        let good: [(String, Double)] = [
            ("8h", 28800), ("90m", 5400), ("32ms", 0.032), ("1h30m", 5400), ("1.5h", 5400), ("2d", 172800), ("250us", 250e-6), ("1m30s", 90),
        ]
        for (text, seconds) in good {
            #expect(DurationText.seconds(text).map { abs($0 - seconds) < 1e-9 } == true, "\(text)")
        }
        for text in ["", "8", "h", "8 h", "-8h", "30m1h", "1h1h", "8hours", "1.h", ".5h", "1..5h", "nanh", "1e3s", "٣h"] {
            #expect(DurationText.seconds(text) == nil, "\(text)")
        }
    }

    @Test("Files that are no configuration are refused with their path")
    func files() throws {
        #expect(message(.unreadableFile) { try ConfigDocument.load("/nonexistent/x.toml") } == "/nonexistent/x.toml: No such file or directory")
        #expect(message { try ConfigDocument.load("/tmp") } == "/tmp: not a regular file")
        #expect(message { try ConfigDocument.load("/dev/zero") } == "/dev/zero: not a regular file")
        try withFile([0x61, 0x0A, 0xFF, 0xFE]) { path in
            #expect(message { try ConfigDocument.load(path) } == "\(path):2: not valid UTF-8")
        }
        try withFile([UInt8](repeating: 0x23, count: ConfigDocument.sizeLimit + 1)) { path in
            #expect(message { try ConfigDocument.load(path) } == "\(path): larger than 1048576 bytes")
        }
        try withFile(Array("a = 1\nb = \"\0\"".utf8)) { path in
            #expect(message(.configSyntax) { try ConfigDocument.load(path) } == "\(path):2: a NUL byte does not belong in a text file")
        }
        try withFile(Array("a = \"ü\"".utf8)) { path in
            let value = try ConfigDocument.load(path).root.string("a")
            #expect(value == "ü")
        }
    }

    private func withFile(_ bytes: [UInt8], _ body: (String) throws -> Void) throws {
        var template = Array("/tmp/config-XXXXXX".utf8CString)
        let descriptor = mkstemp(&template)
        try #require(descriptor >= 0)
        let path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
        defer { unlink(path) }
        try #require(write(descriptor, bytes, bytes.count) == bytes.count)
        close(descriptor)
        try body(path)
    }
}

@Suite("Misspelt required keys")
struct MisspeltRequiredKeyTests {
    @Test("A misspelt required key is found where it stands, not reported as missing")
    func misspelt() throws {
        let document = try ConfigDocument(file: "p.toml", text: "kind = \"fixed\"\nwats = 1\n")
        let root = document.root
        _ = try root.string("kind")
        do {
            _ = try root.number("watts")
            Issue.record("the key is missing, but no error was thrown")
        } catch {
            #expect(error.description == "p.toml:2: key 'wats': unknown key; did you mean 'watts' (required, a number)?")
        }
    }
}
