import JouledTestKit
import Testing
import Units

@testable import Wire

@Suite("Parameters of a method")
struct ParametersTests {
    private enum Colour: String { case red, green }

    /// Reads the fields of an imagined method.
    private func read(_ object: JSONObject) throws(JouledError) -> String {
        var reader = VarlinkParameters(object)
        let name = try reader.string("name")
        let rate = try reader.optionalInt("rate", in: 1...1000)
        let gain = try reader.optionalDouble("gain")
        let flag = try reader.optionalBool("flag")
        let colour = try reader.optionalChoice("colour", of: Colour.self)
        let tags = try reader.optionalStrings("tags")
        var inner = try reader.optionalStructure("inner")
        let depth = try inner?.int("depth")
        try inner?.finish()
        try reader.finish()
        return [
            name, rate.map { "\($0)" }, gain.map { "\($0)" }, flag.map { "\($0)" }, colour?.rawValue, tags?.joined(separator: "+"),
            depth.map { "\($0)" },
        ].map { $0 ?? "-" }.joined(separator: " ")
    }

    @Test("Good parameters; null and absent are the same", arguments: [
        (["name": "x"], "x - - - - - -"), (["name": "x", "rate": nil, "inner": nil], "x - - - - - -"),
        (["name": "x", "rate": 7, "gain": 2, "flag": false, "colour": "red", "tags": ["a", "b"], "inner": ["depth": 3]], "x 7 2.0 false red a+b 3"),
    ] as [(JSONObject, String)])
    func good(object: JSONObject, expected: String) throws {
        #expect(try read(object) == expected)
    }

    @Test("Bad parameters are named", arguments: [
        ([:], "name"), (["name": nil], "name"), (["name": 1], "name"), (["name": "x", "rate": 0], "rate"), (["name": "x", "rate": 1.0], "rate"),
        (["name": "x", "rate": "1"], "rate"), (["name": "x", "gain": "1"], "gain"), (["name": "x", "flag": 1], "flag"),
        (["name": "x", "colour": "blue"], "colour"), (["name": "x", "tags": ["a", 1]], "tags"), (["name": "x", "tags": "a"], "tags"),
        (["name": "x", "inner": 1], "inner"), (["name": "x", "inner": [:]], "inner.depth"),
        (["name": "x", "inner": ["depth": 1, "other": nil]], "inner.other"), (["name": "x", "nome": 1], "nome"), (["name": "x", "nome": nil], "nome"),
    ] as [(JSONObject, String)])
    func bad(object: JSONObject, parameter: String) throws {
        let error = #expect(throws: JouledError(.invalidParameter, "")) { try read(object) }
        #expect(error.flatMap { VarlinkError($0) } == .invalidParameter(parameter))
        #expect(error?.message.contains("'\(parameter)'") == true)
    }
}

@Suite("Interface descriptions")
struct DefinitionTests {
    @Test("org.varlink.service")
    func service() throws {
        let definition = try VarlinkInterface.service.definition()
        #expect(definition.methods.map(\.name) == ["GetInfo", "GetInterfaceDescription"])
        #expect(definition.method("GetInfo")?.output.last == .init(name: "interfaces", type: .array(.string)))
        // Every error that Wire can build is declared, with these parameters.
        let built: [VarlinkError] = [
            .interfaceNotFound("x"), .methodNotFound("x"), .methodNotImplemented("x"), .invalidParameter("x"), .permissionDenied,
            .expectedMore, .expectedUpgrade,
        ]
        #expect(definition.errors.map { "\(definition.name).\($0.name)" } == built.map(\.name))
        #expect(definition.errors.map { $0.fields.map(\.name) } == built.map { $0.parameters.members.map(\.key) })
    }

    @Test("Every type of the subset")
    func types() throws {
        let definition = try VarlinkDefinition(parsing: """
            # Documentation.
            interface org.example-1.test2 # not documentation

            type Shade (light, dark)
            # About T.
            type T (
              # About a.
              a: bool, b: ?int, c: []float, d: ?[string]string,
              e: object, f: Shade, g: ?[](x: int, y: (on, off)) # trailing
            )
            method M(t: ?T)->()
            method N ( ) -> ( a:int )
            error E (reason: string)
            """)
        #expect(definition.name == "org.example-1.test2")
        #expect(definition.types.first?.type == .enumeration(["light", "dark"]))
        guard case .structure(let fields)? = definition.types.last?.type else { return #expect(Bool(false)) }
        #expect(fields.map(\.type) == [
            .bool, .nullable(.int), .array(.float), .nullable(.map(.string)), .object, .named("Shade"),
            .nullable(.array(.structure([.init(name: "x", type: .int), .init(name: "y", type: .enumeration(["on", "off"]))]))),
        ])
        #expect(definition.methods == [
            .init(name: "M", input: [.init(name: "t", type: .nullable(.named("T")))], output: []),
            .init(name: "N", input: [], output: [.init(name: "a", type: .int)]),
        ])
    }

    @Test("Malformed descriptions are refused with their line", arguments: [
        ("", 1), ("interface org\nerror E ()", 1), ("interface org.a", 1), ("interface org.a error E ()", 1), ("error E ()", 1),
        ("interface org.a\nmethod M() -> (), error E ()", 2), ("interface org.a\nmethod m() -> ()", 2), ("interface org.a\nmethod M()", 2),
        ("interface org.a\nmethod M() -> (a)", 2), ("interface org.a\nmethod M() -> (a: any)", 2), ("interface org.a\nerror E (a: [][]int)", 2),
        ("interface org.a\nerror E (a: ?[]?int)", 2), ("interface org.a\nerror E (a: [string]())", 2), ("interface org.a\ntype T ()", 2),
        ("interface org.a\nerror E (a: int, b)", 2), ("interface org.a\nerror E (a: int,)", 2), ("interface org.a\nerror E (a: int", 2),
        ("interface org.a\nerror E (a_: int)", 2), ("interface org.a\nerror E (a: int, a: int)", 2), ("interface org.a\nerror E ()\n\nerror E ()", 4),
        ("interface org.a\nerror E (a: Missing)", 2), ("interface org.a\nerror E ()\nmethod M(a: E) -> ()", 3), ("interface org.a\nfoo E ()", 2),
        ("interface org.a\ntype T " + String(repeating: "(a: ", count: 65) + "int" + String(repeating: ")", count: 65), 2),
    ])
    func malformed(text: String, line: Int) {
        let error = #expect(throws: JouledError(.malformedInterface, "")) { try VarlinkDefinition(parsing: text) }
        #expect(error?.message.hasPrefix("line \(line):") == true, "\(error?.message ?? "accepted")")
    }

    @Test("Random damage never traps", arguments: seeds(100))
    func damage(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        var bytes = Array(VarlinkInterface.service.description.utf8)
        for _ in 0..<10 { bytes[Int.random(in: 0..<bytes.count, using: &random)] = "()[]?:,->#\n aE".utf8.randomElement(using: &random) ?? 0 }
        _ = try? VarlinkDefinition(parsing: String(decoding: bytes, as: UTF8.self))
        _ = try? VarlinkDefinition(parsing: String(decoding: bytes.prefix(Int.random(in: 0..<bytes.count, using: &random)), as: UTF8.self))
    }

    @Test("A description under another name is refused")
    func otherName() {
        let interface = VarlinkInterface(name: "org.b.c", description: "interface org.a.b\nerror E ()\n")
        #expect(throws: JouledError(.malformedInterface, "")) { try interface.definition() }
    }
}
