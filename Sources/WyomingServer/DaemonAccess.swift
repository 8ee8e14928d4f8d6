import JouledClient
import Units
import Wire
import Wyoming

/// How the connections of an endpoint reach jouled.
struct DaemonAccess {
    /// jouled's socket.
    let socket: String
    /// How late a result may be, in milliseconds; nil: as late as the model says.
    let toleranceMs: Int?
    let log: (String) -> Void

    /// How long the daemon may take to answer: whoever waits longer keeps all others waiting.
    static let patience = Seconds(10)

    private func connect() throws(JouledError) -> JouledConnection {
        let connection = try JouledConnection(path: socket)
        connection.timeout = Self.patience
        connection.openingTimeout = Self.patience
        return connection
    }

    /// What is served for voice now, in the order of names.
    func models() throws(JouledError) -> [ServedModel] {
        (try connect().call("io.jouled.Models.List")["models"]?.arrayValue ?? []).compactMap(ServedModel.init)
    }

    func open(_ model: ServedModel) throws(JouledError) -> StreamConnection {
        var parameters: JSONObject = [
            "model": .string(model.name), "format": "s16le", "channels": 1, "sampleRateHz": JSONValue(AudioFormat.native.rate), "name": "wyoming",
        ]
        if let toleranceMs { parameters["latencyToleranceMs"] = JSONValue(toleranceMs) }
        return try connect().openStream(parameters)
    }
}
