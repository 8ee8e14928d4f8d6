import JouledTestKit
import Testing
import Units

@testable import ConfigDocument

@Suite("Line index")
struct LineIndexTests {
    @Test("Keys are found among strings, comments and nested values that look like keys")
    func tricky() {
        let text = #"""
            # a = 1
            title = "b = 2 # not a comment"
            quoted."x.y".'z w' = 1
            many = """
            [not.a.table]
            c = 3 ""\"
            """ # end
            lit = '''
            d = 4'''''
            nest = [ # e = 5
              [1, 2], # ]
              { f = 6, g = [ "}" ] },
            ]
            [a.b]
            [[a.c]]
            k = 1
            [a.c.sub]
            k = 2
            [[a.c]]
            k = 3
            [[a.c.deep]]
            k = 4
            [a]
            z = { p.q = 1 }
            "\u00e9" = 1
            """#
        let index = LineIndex(text)
        let expected = [
            "title": 2, "quoted.\"x.y\"": 3, "quoted.\"x.y\".\"z w\"": 3, "many": 4, "lit": 8, "nest": 10,
            "nest[0]": 11, "nest[0][1]": 11, "nest[1]": 12, "nest[1].f": 12, "nest[1].g[0]": 12, "a.b": 14,
            "a.c[0]": 15, "a.c[0].k": 16, "a.c[0].sub.k": 18, "a.c[1]": 19, "a.c[1].k": 20,
            "a.c[1].deep[0].k": 22, "a": 23, "a.z.p.q": 24, "a.\"é\"": 25,
        ]
        for (path, line) in expected { #expect(index.place(of: path)?.line == line, "\(path)") }
        for path in ["a", "b", "c", "d", "e", "not.a.table"] where expected[path] == nil {
            #expect(index.place(of: path) == nil, "\(path)")
        }
    }

    @Test("Random documents: every key's line is where it was written", arguments: 1...200)
    func randomDocuments(seed: Int) throws {
        var random = SeededGenerator(seed: UInt64(seed))
        var text = ""
        var line = 1
        var expected: [(String, Int)] = []
        func put(_ piece: String) {
            text += piece
            line += piece.utf8.filter { $0 == 0x0A }.count
        }
        let values = [
            "1", "2.5", "true", "\"x = 1 # [y]\"", "'it\\'", "\"\"\"\nq = 1\n[t]\n\"\"\"", "[1,\n 2, # c\n 3]",
            "{ u = 1, v = \"}\" }", "'''a\n''b'''", "[[1], [\"]\"]]", "1979-05-27T07:32:00Z",
        ]
        var arrays = 0
        for table in 0..<Int.random(in: 1...6, using: &random) {
            var prefix = ""
            switch Int.random(in: 0...2, using: &random) {
            case 0:
                prefix = "t\(table).\"a b\""
                expected.append((prefix, line))
                put("[ t\(table) . \"a b\" ] # [x]\n")
            case 1:
                prefix = "rows[\(arrays)]"
                arrays += 1
                expected.append((prefix, line))
                put("[[rows]]\n")
            default:
                prefix = "s\(table)"
                expected.append((prefix, line))
                put("\t['s\(table)']\r\n")
            }
            for key in 0..<Int.random(in: 0...5, using: &random) {
                if Bool.random(using: &random) { put("\n # k = 1\n") }
                let name = ["k\(key)", "\"k \(key)\"", "d\(key).e"].randomElement(using: &random) ?? ""
                expected.append((prefix + "." + name, line))
                put("\(name) = \(values.randomElement(using: &random) ?? "1")\n")
            }
        }
        // The real parser must agree that this is TOML, else the test would test nothing.
        _ = try ConfigDocument(file: "random", text: text)
        let index = LineIndex(text)
        for (path, line) in expected {
            #expect(index.place(of: path)?.line == line, "seed \(seed): \(path) in\n\(text)")
        }
    }

    @Test("Any bytes at all are scanned to the end without a crash", arguments: 1...300)
    func garbage(seed: Int) {
        var random = SeededGenerator(seed: UInt64(seed))
        let alphabet = Array("[]{}\"'=.,#\\\n \tab1u".utf8)
        let bytes = (0..<Int.random(in: 0...200, using: &random)).map { _ in alphabet.randomElement(using: &random) ?? 0 }
        _ = LineIndex(String(decoding: bytes, as: UTF8.self))
    }
}

@Suite("What ends the TOML parser is refused before it")
struct DefectTests {
    @Test(
        "An error with line and column instead of the end of the process",
        arguments: [
            ("a = 1\n[é]\n", "f:2:2"), ("[ $x ]\n", "f:1:3"), ("[[=]]\n", "f:1:3"), ("[\n", "f:1:2"), ("a = [1,\n }\n", "f:2:2"),
            ("s = \"\"\"\n[é]\n\"\"\"\n[.a]\n", "f:4:2"),
        ])
    func refused(text: String, place: String) {
        do {
            _ = try ConfigDocument(file: "f", text: text)
            Issue.record("\(text) was taken")
        } catch {
            #expect(error.message.hasPrefix(place + ": "), "\(error)")
        }
    }

    @Test("Nesting is bounded", arguments: [256, 257, 100_000])
    func nesting(depth: Int) {
        #expect(throws: (any Error).self) { try ConfigDocument(file: "f", text: "a = " + String(repeating: "[", count: depth) + "1") }
    }

    @Test("What only looks like it is taken")
    func taken() throws {
        _ = try ConfigDocument(file: "f", text: "\"é\" = '[é]'\n[ \"ö\" ]\na = [\n # }\n '}', \"[=]\"]\n[[b]]\n")
    }
}
