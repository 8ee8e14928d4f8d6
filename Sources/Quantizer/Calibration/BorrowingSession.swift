import FoundationEssentials
import InferenceRuntime
import OnnxGraph
import Units

extension OnnxModel {
    /// Smaller weights are copied.
    private static let leastBorrowed = 1 << 16

    /// Loads the model into a session that reads large weights where this value has them: a copy each in the file's bytes,
    /// in the parsed file and in the session would take three times the model's memory.
    /// - Throws: what loading throws, and `body`.
    func withSession<Result>(
        runtime: OnnxRuntime, settings: LoadSettings, _ body: (InferenceSession) throws(JouledError) -> Result
    ) throws(JouledError) -> Result {
        var stub = self
        var large: [Tensor] = []
        for index in stub.graph.initializer.indices where stub.graph.initializer[index].rawData.count >= Self.leastBorrowed {
            large.append(stub.graph.initializer[index])
            stub.proto.graph.initializer[index].clearRawData()
            stub.proto.graph.initializer[index].dataLocation = .external
            var location = Onnx_StringStringEntryProto()
            (location.key, location.value) = ("location", "memory")
            stub.proto.graph.initializer[index].externalData = [location]
        }
        let bytes = try stub.serialized()
        let outcome = Self.borrow(large[...], []) { weights in
            Swift.Result { () throws(JouledError) -> Result in
                try body(InferenceSession(runtime: runtime, model: bytes, path: path, settings: settings, weights: weights))
            }
        }
        return try outcome.get()
    }

    /// Calls `body` with the addresses of all tensors; each is valid only within its own closure, hence the recursion.
    private static func borrow<Result>(_ tensors: ArraySlice<Tensor>, _ found: [BorrowedWeight], _ body: ([BorrowedWeight]) -> Result) -> Result {
        guard let tensor = tensors.first else { return body(found) }
        return tensor.rawData.withUnsafeBytes { bytes in
            let weight = BorrowedWeight(name: tensor.name, elementType: tensor.dataType, shape: tensor.shape, bytes: bytes)
            return borrow(tensors.dropFirst(), found + [weight], body)
        }
    }
}
