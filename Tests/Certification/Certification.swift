import Units
import Wire

/// The reference test of Varlink implementations, server's side: each call must bring exactly what the one before it returned.
///
/// A wrong order, value or flag is answered with `CertificationError`, and the client has to begin anew. Whole calls are compared, as the
/// reference server does, because the reference client looks at nothing that it gets.
struct Certification {
    /// Clients that have not come to their end; more than this at once is no test any more.
    private static let clientLimit = 64
    /// The method that each client has to call next.
    private var expected: [String: String] = [:]
    private var random = SystemRandomNumberGenerator()

    private static let order = ["Start"] + (1...11).map { $0 < 10 ? "Test0\($0)" : "Test\($0)" } + ["End"]

    /// The replies to a call; all but the last carry `continues`.
    mutating func answer(_ call: VarlinkCall) throws(VarlinkError) -> [JSONObject] {
        switch call.interface {
        case "org.varlink.service": return [try Self.service(call)]
        case "org.varlink.certification": return try certify(call)
        default: throw .interfaceNotFound(call.interface)
        }
    }

    private static func service(_ call: VarlinkCall) throws(VarlinkError) -> JSONObject {
        switch call.member {
        case "GetInfo":
            return [
                "vendor": "jouled", "product": "certification", "version": "1", "url": "https://jouled.io",
                "interfaces": ["org.varlink.service", "org.varlink.certification"],
            ]
        case "GetInterfaceDescription":
            switch call.parameters["interface"]?.stringValue {
            case "org.varlink.service": return ["description": .string(VarlinkInterface.service.description)]
            case "org.varlink.certification": return ["description": .string(certificationInterfaceText)]
            case let name?: throw .interfaceNotFound(name)
            case nil: throw .invalidParameter("interface")
            }
        default: throw .methodNotFound(call.method)
        }
    }

    private mutating func certify(_ call: VarlinkCall) throws(VarlinkError) -> [JSONObject] {
        guard let position = Self.order.firstIndex(of: call.member) else { throw .methodNotFound(call.method) }
        if position == 0 { return [try start(call)] }
        guard let client = call.parameters["client_id"]?.stringValue, let next = expected[client] else {
            throw VarlinkError("org.varlink.certification.ClientIdError")
        }
        var parameters = Self.wanted(call.member)
        parameters["client_id"] = .string(client)
        let mode: VarlinkCall.Mode = call.member == "Test10" ? .more : call.member == "Test11" ? .oneway : .single
        guard next == call.member, call.mode == mode, Self.isSame(.object(call.parameters), .object(parameters)) else {
            expected[client] = nil
            throw Self.error(wants: Self.message(next, Self.wanted(next), mode), got: Self.message(call.member, call.parameters, call.mode))
        }
        expected[client] = call.member == "End" ? nil : Self.order[position + 1]
        if call.member == "Test10" { return (1...10).map { ["string": "Reply number \($0)"] } }
        return [Self.returned(call.member)]
    }

    private mutating func start(_ call: VarlinkCall) throws(VarlinkError) -> JSONObject {
        guard call.parameters.isEmpty, call.mode == .single, expected.count < Self.clientLimit else {
            throw Self.error(wants: Self.message("Start", [:], .single), got: Self.message("Start", call.parameters, call.mode))
        }
        let client = String(random.next(), radix: 16) + String(random.next(), radix: 16)
        expected[client] = "Test01"
        return ["client_id": .string(client)]
    }

    private static func error(wants: JSONObject, got: JSONObject) -> VarlinkError {
        VarlinkError("org.varlink.certification.CertificationError", ["wants": .object(wants), "got": .object(got)])
    }

    private static func message(_ member: String, _ parameters: JSONObject, _ mode: VarlinkCall.Mode) -> JSONObject {
        var message: JSONObject = ["method": .string("org.varlink.certification." + member), "parameters": .object(parameters)]
        if mode != .single { message[mode.rawValue] = true }
        return message
    }

    // MARK: Values

    private static let structure: JSONObject = ["bool": false, "int": 2, "float": .double(.pi), "string": "a lot of string"]
    private static let map: JSONValue = ["foo": "Foo", "bar": "Bar"]
    private static let set: JSONValue = ["one": [:], "two": [:], "three": [:]]
    private static let ownType: JSONValue = [
        "object": ["method": "org.varlink.certification.Test09", "parameters": ["map": map]],
        "enum": "two",
        "struct": ["first": 1, "second": "2"],
        "array": ["one", "two", "three"],
        "dictionary": map,
        "stringset": set,
        "nullable": nil,
        "nullable_array_struct": nil,
        "interface": [
            "foo": [nil, ["foo": "foo", "bar": "bar"], nil, ["one": "foo", "two": "bar"]],
            "anon": ["foo": true, "bar": false],
        ],
    ]

    /// What a method returns, and so what the next one has to bring.
    private static func returned(_ member: String) -> JSONObject {
        switch member {
        case "Test01": ["bool": true]
        case "Test02": ["int": 1]
        case "Test03": ["float": 1.0]
        case "Test04": ["string": "ping"]
        case "Test05": structure
        case "Test06": ["struct": .object(structure)]
        case "Test07": ["map": map]
        case "Test08": ["set": set]
        case "Test09": ["mytype": ownType]
        case "End": ["all_ok": true]
        default: [:]
        }
    }

    private static func wanted(_ member: String) -> JSONObject {
        switch member {
        case "Test01", "Start", "End": [:]
        case "Test11": ["last_more_replies": .array((1...10).map { "Reply number \($0)" })]
        default: order.firstIndex(of: member).map { returned(order[$0 - 1]) } ?? [:]
        }
    }

    /// Whether two values are one and the same to Varlink: members in any order, a null member as good as none, `1` as good a float as `1.0`
    /// where a float is wanted (but not `1.0` where an integer is).
    private static func isSame(_ got: JSONValue, _ wanted: JSONValue) -> Bool {
        switch (got, wanted) {
        case (.object(let got), .object(let wanted)):
            let names = Set(got.members.map(\.key) + wanted.members.map(\.key))
            return names.allSatisfy { name in
                switch (got.present(name), wanted.present(name)) {
                case (nil, nil): true
                case (let got?, let wanted?): isSame(got, wanted)
                default: false
                }
            }
        case (.array(let got), .array(let wanted)):
            return got.count == wanted.count && zip(got, wanted).allSatisfy { isSame($0, $1) }
        case (_, .double(let wanted)): return got.doubleValue == wanted
        default: return got == wanted
        }
    }
}
