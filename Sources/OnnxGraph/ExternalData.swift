import FoundationEssentials
import Units

/// Tensors kept in files beside the model, as ONNX does for models above protobuf's 2 GB.
enum ExternalData {
    /// Page size: lets a runtime map the tensors.
    private static let alignment = 4096
    /// Smaller tensors stay in the model file.
    private static let threshold = 1024

    static func readIn(_ model: inout OnnxModel) throws(JouledError) {
        let path = model.path
        let directory = path.lastIndex(of: "/").map { String(path[...$0]) } ?? ""
        try model.proto.graph.updateEachGraph { graph throws(JouledError) in
            for index in graph.initializer.indices where graph.initializer[index].dataLocation == .external {
                try readIn(&graph.initializer[index], directory, path)
            }
        }
    }

    private static func readIn(_ tensor: inout Tensor, _ directory: String, _ path: String) throws(JouledError) {
        func failure(_ what: String) -> JouledError { JouledError(.unreadableGraph, "\(path): external data of tensor '\(tensor.name)': \(what)") }
        func value(_ key: String) -> String? { tensor.externalData.first { $0.key == key }?.value }
        guard let location = value("location"), !location.isEmpty else { throw failure("no 'location'") }
        // A model must not lead to files outside its own directory.
        guard !location.hasPrefix("/"), !location.split(separator: "/").contains("..") else {
            throw failure("'\(location)' lies outside the model's directory")
        }
        guard let offset = Int(value("offset") ?? "0") else { throw failure("'offset' is no number") }
        let length = value("length").flatMap { Int($0) } ?? tensor.expectedByteCount
        do throws(JouledError) {
            tensor.rawData = Data(try BinaryFile.read(directory + location, offset: offset, length: length))
        } catch {
            throw JouledError(error.code, "\(path): external data of tensor '\(tensor.name)'", cause: error)
        }
        tensor.externalData = []
        tensor.clearDataLocation()
    }

    static func save(_ model: OnnxModel, to path: String) throws(JouledError) {
        var copy = model
        let file = (path.lastIndex(of: "/").map { String(path[path.index(after: $0)...]) } ?? path) + ".data"
        var chunks: [[UInt8]] = []
        var position = 0
        try copy.proto.graph.updateEachGraph { graph throws(JouledError) in
            for index in graph.initializer.indices where graph.initializer[index].rawData.count >= threshold {
                let padding = (alignment - position % alignment) % alignment
                chunks.append([UInt8](repeating: 0, count: padding))
                position += padding
                let bytes = [UInt8](graph.initializer[index].rawData)
                graph.initializer[index].clearRawData()
                graph.initializer[index].dataLocation = .external
                graph.initializer[index].externalData = [("location", file), ("offset", String(position)), ("length", String(bytes.count))].map { key, value in
                    var entry = Onnx_StringStringEntryProto()
                    entry.key = key
                    entry.value = value
                    return entry
                }
                position += bytes.count
                chunks.append(bytes)
            }
        }
        // The data first: a model that names data which is not there yet must not exist.
        let directory = path.lastIndex(of: "/").map { String(path[...$0]) } ?? ""
        try AtomicFile.write(chunks, to: directory + file, mode: 0o644)
        try AtomicFile.write([copy.serialized()], to: path, mode: 0o644)
    }
}
