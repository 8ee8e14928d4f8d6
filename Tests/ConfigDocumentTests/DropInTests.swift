import JouledTestKit
import Testing
import Units

@testable import ConfigDocument

@Suite("Drop-ins")
struct DropInTests {
    private let directory = TemporaryDirectory()
    private var file: String { directory("f.toml") }

    private func load() throws -> ConfigTable { try ConfigDocument.loadWithDropIns(file).root }

    @Test("Tables merge, the last word on a key counts, arrays are replaced, in the order of names")
    func merging() throws {
        directory.write("f.toml", "a = 1\nlist = [1, 2]\n[t]\nx = 1\ny = 1\n[t.inner]\nz = 1\n[[row]]\nn = 1\n")
        directory.write("f.toml.d/20-b.toml", "a = 3\n[t]\ny = 3\nnew = 3\n")
        directory.write("f.toml.d/10-a.toml", "a = 2\nlist = [9]\n[t]\ny = 2\n[t.inner]\nw = 2\n[[row]]\nn = 7\n[[row]]\nn = 8\n")
        // Neither hidden files nor others count.
        directory.write("f.toml.d/.hidden.toml", "a = 100\n")
        directory.write("f.toml.d/30.conf", "a = 100\n")
        let root = try load()
        #expect(try root.integer("a") == 3)
        #expect(try root.optionalNumbers("list") == [9])
        let table = try root.table("t")
        #expect(try (table.integer("x"), table.integer("y"), table.integer("new")) == (1, 3, 3))
        let inner = try table.table("inner")
        #expect(try (inner.integer("z"), inner.integer("w")) == (1, 2))
        #expect(try root.tables("row").map { try $0.integer("n") } == [7, 8])
        try root.finish()
    }

    @Test("Names are ordered by bytes, not by language: 9 comes after 10, a after Z")
    func order() throws {
        directory.write("f.toml", "a = 0\n")
        for (name, value) in [("10", 1), ("9", 2), ("a", 4), ("Z", 3)] { directory.write("f.toml.d/\(name).toml", "a = \(value)\n") }
        #expect(ConfigDocument.dropIns(of: file).map { $0.split(separator: "/").last } == ["10.toml", "9.toml", "Z.toml", "a.toml"])
        #expect(try load().integer("a") == 4)
    }

    @Test("Errors name the drop-in that wrote the key, its line, and the key")
    func errors() throws {
        directory.write("f.toml", "a = 1\n[t]\nx = 1\n")
        directory.write("f.toml.d/one.toml", "# first\n[t]\n\nx = \"text\"\n")
        let root = try load()
        #expect(message { try root.table("t").integer("x") } == "\(directory("f.toml.d/one.toml")):4: key 't.x': expected an integer, found a string")
        directory.write("f.toml.d/one.toml", "\nstranger = 1\n")
        let other = try load()
        _ = try (other.integer("a"), other.table("t").integer("x"))
        #expect(message { try other.finish() }.hasPrefix("\(directory("f.toml.d/one.toml")):2: key 'stranger': unknown key"))
        // What the file itself wrote keeps its own place.
        #expect(message { try other.string("a") } == "\(file):1: key 'a': expected a string, found an integer")
        directory.write("f.toml.d/two.toml", "a = = 1\n")
        #expect(message { try load() }.hasPrefix("\(directory("f.toml.d/two.toml")):1:"))
    }

    @Test("Without the file itself, drop-ins stand alone where that is allowed")
    func alone() throws {
        directory.write("f.toml.d/one.toml", "a = 5\n")
        #expect(try ConfigDocument.loadWithDropIns(file, allowsMissing: true).root.integer("a") == 5)
        #expect(message { try load() }.hasPrefix("\(file): "))
    }
}
